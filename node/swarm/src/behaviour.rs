//! The protocols that the node speaks, and how each is set.

use std::{collections::HashSet, time::Duration};

use libp2p::{
    StreamProtocol, allow_block_list, autonat, connection_limits, dcutr, gossipsub,
    gossipsub::{MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter},
    identify,
    identity::Keypair,
    kad, mdns, memory_connection_limits, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    upnp,
};
use p2c2r_protocol::{id::NodeId, limit::MAX_HEARTBEAT_BYTES};
use tracing::warn;

use crate::{
    config::SwarmLimits,
    error::SwarmError,
    identity::peer_id,
    limit::{
        MAX_CONNECTIONS_PER_PEER, MAX_INCOMING_SHARE, MAX_MEMORY_SHARE, MAX_PENDING_CONNECTIONS,
        MAX_PROVIDED_SCENES, MAX_PROVIDER_KEYS, MAX_PROVIDERS, PING_INTERVAL, PING_TIMEOUT,
        PROVIDER_INTERVAL, PROVIDER_TTL,
    },
    reach::{Callers, Guarded, relay_limits},
};

/// The Kademlia of this swarm: its own, not the public one.
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/p2c2r/kad/1");
/// What identify says that we speak.
const PROTOCOL_VERSION: &str = "/p2c2r/1";
/// A query that has not ended by then will not.
const KAD_QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Gossip's own bookkeeping (grafts, prunes, adverts). Each advert wakes two nodes; a new neighbour is taken into a mesh that is too
/// small at once.
const GOSSIP_HEARTBEAT: Duration = Duration::from_secs(2);
/// The first one comes soon: until then there is no mesh, and nothing is passed on.
const GOSSIP_INITIAL_DELAY: Duration = Duration::from_millis(300);
/// A heartbeat with gossip's envelope around it, and room for adverts.
const MAX_GOSSIP_BYTES: usize = MAX_HEARTBEAT_BYTES + (12 << 10);

/// Gossip that only ever carries our topic.
pub(crate) type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

/// Everything that the node does on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    /// The owner's own list, if there is one.
    pub(crate) allowed: Toggle<allow_block_list::Behaviour<allow_block_list::AllowedPeers>>,
    pub(crate) ping: ping::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) kad: kad::Behaviour<kad::store::MemoryStore>,
    pub(crate) gossip: Gossip,
    pub(crate) stream: libp2p_stream::Behaviour,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    /// The other end of every relayed connection of ours.
    pub(crate) relayed: relay::client::Behaviour,
    /// Passes on what comes for others, while this node is public.
    pub(crate) relay: Toggle<relay::Behaviour>,
    pub(crate) callers: Callers,
    pub(crate) punch: Toggle<Guarded<dcutr::Behaviour>>,
    pub(crate) probe: Toggle<Guarded<autonat::v2::client::Behaviour>>,
    pub(crate) probe_others: Toggle<Guarded<autonat::v2::server::Behaviour>>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
}

/// What of all protocols a node takes part in.
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Multicast on the local network.
    pub(crate) mdns: bool,
    /// Whatever brings nodes together that are not on one machine: relays, hole punching, finding out what is public.
    pub(crate) reach: bool,
    /// Passing on what comes for others, when this node is public.
    pub(crate) relay: bool,
    /// Asking the router for a port.
    pub(crate) upnp: bool,
    /// The owner says that strangers get through.
    pub(crate) is_named_public: bool,
}

impl Behaviour {
    /// Lets only these in, if there are any, and none of those.
    pub(crate) fn admit(&mut self, allowed: &[NodeId], denied: &[NodeId]) {
        for peer in denied.iter().filter_map(peer_id) {
            self.blocked.block_peer(peer);
        }
        if !allowed.is_empty() {
            let mut list = allow_block_list::Behaviour::<allow_block_list::AllowedPeers>::default();
            for peer in allowed.iter().filter_map(peer_id) {
                list.allow_peer(peer);
            }
            self.allowed = Toggle::from(Some(list));
        }
    }

    /// All protocols of a node with this key.
    pub(crate) fn new(
        key: &Keypair,
        limits: SwarmLimits,
        software: &str,
        choice: Choice,
        relayed: relay::client::Behaviour,
    ) -> Result<Self, SwarmError> {
        let own = key.public().to_peer_id();
        let if_reaching = choice.reach.then_some(());
        let mut relay = relay::Behaviour::new(own, relay_limits());
        // Addresses on a LAN or of a relay make no relay: the actor says when this node is one.
        relay.set_status(Some(relay::Status::Disable));
        Ok(Self {
            limits: connection_limits::Behaviour::new(connection_limits(limits)),
            memory: memory_connection_limits::Behaviour::with_max_percentage(MAX_MEMORY_SHARE),
            blocked: allow_block_list::Behaviour::default(),
            allowed: Toggle::from(None),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT),
            ),
            identify: identify::Behaviour::new(
                identify::Config::new(PROTOCOL_VERSION.to_owned(), key.public())
                    .with_agent_version(software.to_owned())
                    .with_push_listen_addr_updates(true)
                    // What is dialled is for discovery to say, which judges addresses first.
                    .with_cache_size(0),
            ),
            kad: kad_behaviour(key),
            gossip: gossip_behaviour()?,
            stream: libp2p_stream::Behaviour::new(),
            mdns: Toggle::from(if choice.mdns { mdns_behaviour(key) } else { None }),
            relayed,
            relay: Toggle::from(if_reaching.filter(|()| choice.relay).map(|()| relay)),
            callers: Callers::new(choice.is_named_public),
            punch: Toggle::from(if_reaching.map(|()| Guarded::new(dcutr::Behaviour::new(own)))),
            probe: Toggle::from(
                if_reaching.map(|()| Guarded::new(autonat::v2::client::Behaviour::default())),
            ),
            probe_others: Toggle::from(
                if_reaching.map(|()| Guarded::new(autonat::v2::server::Behaviour::default())),
            ),
            upnp: Toggle::from(choice.upnp.then(upnp::tokio::Behaviour::default)),
        })
    }
}

/// The topic of heartbeats.
pub(crate) fn heartbeat_topic() -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new("p2c2r/heartbeat/1")
}

fn connection_limits(limits: SwarmLimits) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(limits.max_connections))
        .with_max_established_incoming(Some(
            (f64::from(limits.max_connections) * MAX_INCOMING_SHARE).ceil() as u32
        ))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING_CONNECTIONS))
        .with_max_pending_outgoing(Some(MAX_PENDING_CONNECTIONS))
}

/// Every node serves the routing table: whether a node can be reached is judged by those who insert it
/// ([`crate::routing`]), and a LAN has no public addresses to wait for.
fn kad_behaviour(key: &Keypair) -> kad::Behaviour<kad::store::MemoryStore> {
    let own = key.public().to_peer_id();
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_query_timeout(KAD_QUERY_TIMEOUT)
        .disjoint_query_paths(true)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        // Nobody may store records here, only say who has which package; what of that is kept is for the actor to say.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        .set_provider_publication_interval(Some(PROVIDER_INTERVAL))
        .set_periodic_bootstrap_interval(None);
    let store = kad::store::MemoryStoreConfig {
        // The actor keeps others' within their limit: there is always room for the node's own.
        max_provided_keys: MAX_PROVIDER_KEYS + MAX_PROVIDED_SCENES,
        max_providers_per_key: MAX_PROVIDERS,
        ..kad::store::MemoryStoreConfig::default()
    };
    let store = kad::store::MemoryStore::with_config(own, store);
    let mut behaviour = kad::Behaviour::with_config(own, store, config);
    behaviour.set_mode(Some(kad::Mode::Server));
    behaviour
}

/// Messages carry no signature of gossip's own: a heartbeat is signed by its node, and named by its content.
fn gossip_behaviour() -> Result<Gossip, SwarmError> {
    let topic = heartbeat_topic();
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(GOSSIP_HEARTBEAT)
        .heartbeat_initial_delay(GOSSIP_INITIAL_DELAY)
        // Every link more is a copy more of every heartbeat, and what is lost is told of by the next one.
        .mesh_n(4)
        .mesh_n_low(3)
        .mesh_n_high(5)
        // Each time one node outside the mesh is told what there is: enough to find what was lost.
        .gossip_lazy(1)
        .gossip_factor(0.0)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .flood_publish(false)
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .message_id_fn(|message| MessageId::from(blake3::hash(&message.data).as_bytes().as_slice()))
        .build()
        .map_err(|error| SwarmError::Start(error.to_string()))?;
    let filter = WhitelistSubscriptionFilter(HashSet::from([topic.hash()]));
    let mut behaviour =
        gossipsub::Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .map_err(|error| SwarmError::Start(error.to_owned()))?;
    behaviour.subscribe(&topic).map_err(|error| SwarmError::Start(error.to_string()))?;
    Ok(behaviour)
}

/// Multicast may be forbidden (containers, some VPNs); the swarm works without it.
fn mdns_behaviour(key: &Keypair) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), key.public().to_peer_id())
        .inspect_err(|error| warn!(%error, "no discovery on the local network: multicast does not work"))
        .ok()
}
