//! The transports: TCP and QUIC, each behind the gate of a private swarm if there is one.

use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade},
    identity::Keypair,
    noise, quic, tcp, yamux,
};
use p2c2r_protocol::swarm_key::SwarmKey;

#[cfg(feature = "webrtc")]
use crate::{config::WebrtcCertificate, webrtc};
use crate::{
    error::SwarmError,
    gate::gated,
    limit::{QUIC_IDLE_TIMEOUT_MS, QUIC_KEEP_ALIVE},
};

/// A transport whose connections are encrypted, whose peers have proved their ids, and which carries many streams.
pub(crate) type Secured = Boxed<(PeerId, StreamMuxerBox)>;

/// TCP with Noise and Yamux.
pub(crate) fn tcp(keypair: &Keypair, key: Option<&SwarmKey>) -> Result<Secured, SwarmError> {
    let noise = noise::Config::new(keypair).map_err(|error| SwarmError::Start(error.to_string()))?;
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .boxed();
    Ok(gated(transport, keypair.public().to_peer_id(), key.cloned()))
}

/// QUIC.
pub(crate) fn quic(keypair: &Keypair, key: Option<&SwarmKey>) -> Secured {
    let mut config = quic::Config::new(keypair);
    config.max_idle_timeout = QUIC_IDLE_TIMEOUT_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    let transport = quic::tokio::Transport::new(config)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .boxed();
    gated(transport, keypair.public().to_peer_id(), key.cloned())
}

/// WebRTC, for browsers. They know no keys of private swarms, so none of them gets into one.
#[cfg(feature = "webrtc")]
pub(crate) fn webrtc(
    keypair: &Keypair,
    certificate: Option<&WebrtcCertificate>,
    key: Option<&SwarmKey>,
) -> Result<Secured, SwarmError> {
    let transport = webrtc::transport(keypair, certificate)?
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .boxed();
    Ok(gated(transport, keypair.public().to_peer_id(), key.cloned()))
}
