//! WebRTC: how pages in browsers come in. Nodes listen for them and never dial each other over it.
//!
//! The transport is libp2p's own. Around it: what strangers may cost ([`doorkeeper`]), and how streams are written so that
//! no message becomes too large ([`channel`]).

mod certificate;
mod channel;
mod doorkeeper;
#[cfg(test)]
mod tests;

use libp2p::identity::Keypair;
use tracing::debug;

use self::{certificate::usable, doorkeeper::Doorkeeper};
use crate::{config::WebrtcCertificate, error::SwarmError};

/// The transport of a node with this key. Without a certificate of its own it gets one for this run, and addresses that
/// browsers were given before do not lead to it.
pub(crate) fn transport(
    keypair: &Keypair,
    certificate: Option<&WebrtcCertificate>,
) -> Result<Doorkeeper, SwarmError> {
    // DTLS asks for a default. If there is one already, somebody has chosen it on purpose.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        debug!("the process has a default provider of TLS already");
    }
    let certificate = match certificate {
        Some(certificate) => usable(certificate),
        None => usable(&WebrtcCertificate::generate()?),
    };
    Ok(Doorkeeper::new(keypair.clone(), certificate?))
}
