//! The certificate that browsers recognise a node by: its hash stands in the addresses that they dial.

use std::panic::catch_unwind;

use libp2p_webrtc::tokio::Certificate;

use crate::{config::WebrtcCertificate, error::SwarmError};

impl WebrtcCertificate {
    /// A new one, with a new key. It does not expire in anybody's lifetime.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, SwarmError> {
        // The randomness that is asked for is not used: the key comes from the system's.
        let made = catch_unwind(|| Certificate::generate(&mut rand::rng()));
        let made = made.map_err(|_| failed(&"a certificate for browsers could not be made"))?;
        Ok(Self::from_pem(made.map_err(|error| failed(&error))?.serialize_pem()))
    }

    /// Whether it can be used.
    pub fn is_usable(&self) -> bool {
        usable(self).is_ok()
    }
}

/// The certificate as the transport wants it.
pub(super) fn usable(certificate: &WebrtcCertificate) -> Result<Certificate, SwarmError> {
    // It is read by code that trusts it and panics on what is too short.
    let read = catch_unwind(|| Certificate::from_pem(certificate.pem()));
    let read = read.map_err(|_| failed(&"the certificate for browsers is damaged"))?;
    read.map_err(|error| failed(&format!("the certificate for browsers is damaged: {error}")))
}

fn failed(reason: &dyn std::fmt::Display) -> SwarmError {
    SwarmError::Start(reason.to_string())
}
