//! Starting the swarm: transports, behaviour, listeners, and the tasks that run it.

use std::sync::Arc;

use libp2p::{Swarm, SwarmBuilder, dns, identity::Keypair, noise, quic, tcp, yamux};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

#[cfg(feature = "webrtc")]
use crate::webrtc;
use crate::{
    actor::{Actor, Parts},
    behaviour::Behaviour,
    blob,
    config::SwarmConfig,
    counters::Counters,
    error::SwarmError,
    event::SwarmEvent,
    hand_over,
    handle::SwarmHandle,
    identity,
    limit::{
        COMMAND_QUEUE, EVENT_QUEUE, IDLE_CONNECTION_TIMEOUT, MAX_REMEMBERED_PEERS, QUIC_IDLE_TIMEOUT_MS,
        QUIC_KEEP_ALIVE,
    },
    listen::{Listening, listen},
    seed::Seed,
    session, step,
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
    let mut swarm = build(&keypair, &config)?;
    let Listening { ports, early } = listen(&mut swarm, &config.listen, &config.preferred_ports).await?;

    let (events_in, events) = mpsc::channel(EVENT_QUEUE);
    let (commands_in, commands) = mpsc::channel(COMMAND_QUEUE);
    let counters = Arc::<Counters>::default();
    let pumps = TaskTracker::new();
    let mut control = swarm.behaviour().stream.new_control();
    let refused = |_| SwarmError::Start("a stream protocol is registered twice".to_owned());
    let sessions = control.accept(session::PROTOCOL).map_err(refused)?;
    let blobs = control.accept(blob::PROTOCOL).map_err(refused)?;
    let hand_overs = control.accept(hand_over::PROTOCOL).map_err(refused)?;
    let steps = control.accept(step::PROTOCOL).map_err(refused)?;
    let limits = config.limits;
    let acceptors = [
        tokio::spawn(hand_over::serve(hand_overs, config.hand_overs, pumps.clone())),
        tokio::spawn(step::accept(steps, events_in.clone(), pumps.clone())),
        tokio::spawn(session::accept(
            sessions,
            events_in.clone(),
            limits.max_incoming_sessions,
            Arc::clone(&counters),
            pumps.clone(),
        )),
        tokio::spawn(blob::serve(
            blobs,
            config.blobs,
            limits.max_blob_streams,
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
        pumps: pumps.clone(),
        acceptors: acceptors.map(|task| task.abort_handle()).into(),
    };
    let actor = Actor::new(node, parts, limits.target_peers, tickets, remembered);
    tokio::spawn(actor.run(early));
    Ok((SwarmHandle::new(node, ports, commands_in, control, counters, pumps), events))
}

/// The swarm, not listening yet.
fn build(keypair: &Keypair, config: &SwarmConfig) -> Result<Swarm<Behaviour>, SwarmError> {
    let failed = |error: &dyn std::error::Error| SwarmError::Start(error.to_string());
    let behaviour = Behaviour::new(keypair, config.limits, &config.software, config.mdns)?;
    let transports = || {
        let builder = SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .map_err(|error| failed(&error))?
            .with_quic_config(quic_config);
        #[cfg(feature = "webrtc")]
        let builder = {
            let doorkeeper = webrtc::transport(keypair, config.webrtc_certificate.as_ref())?;
            builder.with_other_transport(|_| doorkeeper).map_err(|error| failed(&error))?
        };
        Ok::<_, SwarmError>(builder)
    };
    let idle = |swarm: libp2p::swarm::Config| swarm.with_idle_connection_timeout(IDLE_CONNECTION_TIMEOUT);
    match transports()?.with_dns() {
        Ok(builder) => Ok(builder
            .with_behaviour(|_| behaviour)
            .map_err(|error| failed(&error))?
            .with_swarm_config(idle)
            .build()),
        // A container without a resolver: names in tickets do not work, everything else does.
        Err(error) => {
            tracing::warn!(%error, "no DNS: only numeric addresses can be dialled");
            let resolver = dns::ResolverConfig::default();
            let builder = transports()?.with_dns_config(resolver, dns::ResolverOpts::default());
            Ok(builder
                .with_behaviour(|_| behaviour)
                .map_err(|error| failed(&error))?
                .with_swarm_config(idle)
                .build())
        }
    }
}

fn quic_config(mut config: quic::Config) -> quic::Config {
    config.max_idle_timeout = QUIC_IDLE_TIMEOUT_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config
}
