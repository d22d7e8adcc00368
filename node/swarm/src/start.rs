//! Starting the swarm: transports, behaviour, listeners, and the tasks that run it.

use std::sync::Arc;

use libp2p::{Multiaddr, Swarm, SwarmBuilder, dns, identity::Keypair, noise, relay, yamux};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{
    actor::{Actor, Known, Parts},
    address::is_loopback,
    behaviour::{Behaviour, Choice},
    blob,
    config::SwarmConfig,
    counters::Counters,
    error::SwarmError,
    event::SwarmEvent,
    hand_over,
    handle::{Shared, SwarmHandle},
    identity,
    in_use::InUse,
    limit::{COMMAND_QUEUE, EVENT_QUEUE, IDLE_CONNECTION_TIMEOUT, MAX_REMEMBERED_PEERS},
    listen::{Listening, listen},
    reach::is_direct_and_public,
    seed::Seed,
    session, step, transport,
};

/// Starts a node's swarm and returns once every listener is bound.
///
/// # Errors
/// A listen address that is malformed, in use or not this machine's; a ticket without a usable address.
pub async fn start(config: SwarmConfig) -> Result<(SwarmHandle, mpsc::Receiver<SwarmEvent>), SwarmError> {
    let keypair = identity::keypair(&config.secret)?;
    let tickets = config.join.iter().map(Seed::of).collect::<Result<Vec<_>, _>>()?;
    let remembered =
        config.remembered.iter().take(MAX_REMEMBERED_PEERS).filter_map(Seed::remembered).collect();
    let external = config.external.iter().map(|text| external(text)).collect::<Result<Vec<_>, _>>()?;
    let mut swarm = build(&keypair, &config)?;
    swarm.behaviour_mut().admit(&config.allowed, &config.denied);
    for address in external {
        swarm.add_external_address(address);
    }
    let Listening { ports, early } = listen(&mut swarm, &config.listen, &config.preferred_ports).await?;

    let (events_in, events) = mpsc::channel(EVENT_QUEUE);
    let (commands_in, commands) = mpsc::channel(COMMAND_QUEUE);
    let counters = Arc::<Counters>::default();
    let pumps = TaskTracker::new();
    let mut control = swarm.behaviour().stream.new_control();
    let in_use = InUse::default();
    let refused = |_| SwarmError::Start("a stream protocol is registered twice".to_owned());
    let sessions = control.accept(session::PROTOCOL).map_err(refused)?;
    let blobs = control.accept(blob::PROTOCOL).map_err(refused)?;
    let hand_overs = control.accept(hand_over::PROTOCOL).map_err(refused)?;
    let steps = control.accept(step::PROTOCOL).map_err(refused)?;
    let limits = config.limits;
    let transfers = Arc::new(blob::Transfers::new(limits.upload_bytes_per_s, limits.download_bytes_per_s));
    let acceptors = [
        tokio::spawn(hand_over::serve(in_use.watch(hand_overs), config.hand_overs, pumps.clone())),
        tokio::spawn(step::accept(in_use.watch(steps), events_in.clone(), pumps.clone())),
        tokio::spawn(session::accept(
            in_use.watch(sessions),
            events_in.clone(),
            limits.max_incoming_sessions,
            Arc::clone(&counters),
            pumps.clone(),
        )),
        tokio::spawn(blob::serve(
            in_use.watch(blobs),
            config.blobs,
            limits.max_blob_streams,
            Arc::clone(&transfers),
            Arc::clone(&counters),
            pumps.clone(),
        )),
    ];
    let node = config.secret.node_id();
    let parts = Parts {
        swarm,
        commands,
        events: events_in,
        counters: Arc::clone(&counters),
        in_use: in_use.clone(),
        pumps: pumps.clone(),
        acceptors: acceptors.map(|task| task.abort_handle()).into(),
    };
    let known = Known { tickets, remembered };
    let actor = Actor::new(node, parts, limits.target_peers, known);
    tokio::spawn(actor.run(early));
    let shared = Shared { counters, transfers, in_use };
    Ok((SwarmHandle::new(node, ports, commands_in, control, shared, pumps), events))
}

/// An address under which the owner says that the node is reached.
fn external(text: &str) -> Result<Multiaddr, SwarmError> {
    let address = text.parse().ok().filter(is_direct_and_public);
    address.ok_or_else(|| SwarmError::ExternalAddress(text.to_owned()))
}

/// The swarm, not listening yet.
fn build(keypair: &Keypair, config: &SwarmConfig) -> Result<Swarm<Behaviour>, SwarmError> {
    let failed = |error: &dyn std::error::Error| SwarmError::Start(error.to_string());
    let only_here = |text: &String| text.parse().is_ok_and(|address| is_loopback(&address));
    let reach = !config.listen.iter().all(only_here);
    let choice = Choice {
        mdns: config.mdns,
        reach,
        relay: config.relay,
        upnp: reach && config.upnp,
        is_named_public: !config.external.is_empty(),
    };
    let behaviour = |_: &Keypair, relayed: relay::client::Behaviour| {
        Behaviour::new(keypair, config.limits, &config.software, choice, relayed).map_err(Box::from)
    };
    let key = config.swarm_key.as_ref();
    let transports = || {
        let (tcp, quic) = (transport::tcp(keypair, key)?, transport::quic(keypair, key));
        let builder = SwarmBuilder::with_existing_identity(keypair.clone()).with_tokio();
        let builder = builder.with_other_transport(|_| tcp).map_err(|error| failed(&error))?;
        let builder = builder.with_other_transport(|_| quic).map_err(|error| failed(&error))?;
        #[cfg(feature = "webrtc")]
        let builder = {
            let webrtc = transport::webrtc(keypair, config.webrtc_certificate.as_ref(), key)?;
            builder.with_other_transport(|_| webrtc).map_err(|error| failed(&error))?
        };
        Ok::<_, SwarmError>(builder)
    };
    let idle = |swarm: libp2p::swarm::Config| swarm.with_idle_connection_timeout(IDLE_CONNECTION_TIMEOUT);
    match transports()?.with_dns() {
        Ok(builder) => Ok(builder
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .map_err(|error| failed(&error))?
            .with_behaviour(behaviour)
            .map_err(|error| failed(&error))?
            .with_swarm_config(idle)
            .build()),
        // A container without a resolver: names in tickets do not work, everything else does.
        Err(error) => {
            tracing::warn!(%error, "no DNS: only numeric addresses can be dialled");
            let resolver = dns::ResolverConfig::default();
            let builder = transports()?.with_dns_config(resolver, dns::ResolverOpts::default());
            Ok(builder
                .with_relay_client(noise::Config::new, yamux::Config::default)
                .map_err(|error| failed(&error))?
                .with_behaviour(behaviour)
                .map_err(|error| failed(&error))?
                .with_swarm_config(idle)
                .build())
        }
    }
}
