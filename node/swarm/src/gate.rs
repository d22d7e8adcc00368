//! The gate of a private swarm: a connection counts only when both ends have shown that they have the swarm's key.
//!
//! It stands above the secure channel of every transport, QUIC as well as TCP: the end that dialled opens the first stream, and
//! before anything else is spoken each end sends a nonce and the key's code for both nonces and both peers' ids. The secure channel
//! has proved the ids, so nobody can stand between the two and pass codes on. Relays are members as well: whoever calls through
//! one has passed its gate.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    PeerId, Transport,
    core::{
        ConnectedPoint, Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt},
        transport::Boxed,
    },
};
use p2c2r_protocol::swarm_key::SwarmKey;

/// The first bytes, so that an old or foreign program is told from one with another key.
const GREETING: &[u8; 16] = b"p2c2r/gate/1    ";
/// What the end that was let in hears.
const WELCOME: u8 = 1;

/// By this an error that libp2p hands on as a text is known.
pub(crate) const NOT_OURS: &str = "not of this private swarm";

/// Why a connection was not let through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    /// The other end stopped talking, or never began.
    #[error("the other node is {NOT_OURS}: it hung up at the gate ({0})")]
    Broken(#[from] io::Error),
    /// The other end is something else.
    #[error("the other node is {NOT_OURS}, nor of any")]
    Greeting,
    /// The other end has another key.
    #[error("the other node is {NOT_OURS}: it has another key")]
    Key,
    /// The connection broke.
    #[error("the connection broke at the gate: {0}")]
    Connection(String),
}

/// A transport whose connections pass the gate, if there is a key.
pub(crate) fn gated(
    transport: Boxed<(PeerId, StreamMuxerBox)>,
    own: PeerId,
    key: Option<SwarmKey>,
) -> Boxed<(PeerId, StreamMuxerBox)> {
    let Some(key) = key else { return transport };
    transport
        .and_then(move |(peer, muxer), endpoint| async move {
            let muxer = pass(muxer, Ends { own, peer, opens: opens(&endpoint) }, &key).await?;
            Ok::<_, GateError>((peer, muxer))
        })
        .boxed()
}

/// Who meets, and which of the two opens the stream.
#[derive(Debug, Clone, Copy)]
struct Ends {
    own: PeerId,
    peer: PeerId,
    opens: bool,
}

/// Of two that dialled each other through their NATs, one was told to play the listener.
fn opens(endpoint: &ConnectedPoint) -> bool {
    matches!(endpoint, ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. })
}

async fn pass(mut muxer: StreamMuxerBox, ends: Ends, key: &SwarmKey) -> Result<StreamMuxerBox, GateError> {
    let broke = |error: io::Error| GateError::Connection(error.to_string());
    let stream = poll_fn(|context| {
        let stream =
            if ends.opens { muxer.poll_outbound_unpin(context) } else { muxer.poll_inbound_unpin(context) };
        if let Poll::Ready(stream) = stream {
            return Poll::Ready(stream);
        }
        // Without this the connection does not move.
        while let Poll::Ready(event) = muxer.poll_unpin(context) {
            if let Err(error) = event {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    });
    let stream = stream.await.map_err(broke)?;
    let mut shown = pin!(show_key(stream, ends, key));
    poll_fn(|context| {
        if let Poll::Ready(shown) = shown.as_mut().poll(context) {
            return Poll::Ready(shown);
        }
        while let Poll::Ready(event) = muxer.poll_unpin(context) {
            if let Err(error) = event {
                return Poll::Ready(Err(broke(error)));
            }
        }
        Poll::Pending
    })
    .await?;
    Ok(muxer)
}

/// Both ends show each other that they have the key.
async fn show_key<S>(mut stream: S, ends: Ends, key: &SwarmKey) -> Result<(), GateError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (own_nonce, own, peer) = (nonce()?, ends.own.to_bytes(), ends.peer.to_bytes());
    stream.write_all(GREETING).await?;
    stream.write_all(&own_nonce).await?;
    stream.flush().await?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await?;
    if greeting != *GREETING {
        return Err(GateError::Greeting);
    }
    let mut their_nonce = [0; 32];
    stream.read_exact(&mut their_nonce).await?;

    let own_role: &[u8] = if ends.opens { b"opens" } else { b"waits" };
    let their_role: &[u8] = if ends.opens { b"waits" } else { b"opens" };
    stream.write_all(&key.code(&[own_role, &own, &peer, &own_nonce, &their_nonce])).await?;
    stream.flush().await?;
    let mut code = [0; 32];
    stream.read_exact(&mut code).await?;
    if !key.verifies(&[their_role, &peer, &own, &their_nonce, &own_nonce], code) {
        return Err(GateError::Key);
    }
    // Neither may go on, or let the stream go, before the other is through.
    stream.write_all(&[WELCOME]).await?;
    stream.flush().await?;
    let mut welcome = [0];
    stream.read_exact(&mut welcome).await?;
    Ok(stream.close().await?)
}

fn nonce() -> io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    fn key(byte: u8) -> SwarmKey {
        SwarmKey::from_random([byte; 32])
    }

    fn ends() -> (Ends, Ends) {
        let (a, b) = (PeerId::random(), PeerId::random());
        (Ends { own: a, peer: b, opens: true }, Ends { own: b, peer: a, opens: false })
    }

    async fn meet(
        a: (Ends, SwarmKey),
        b: (Ends, SwarmKey),
    ) -> (Result<(), GateError>, Result<(), GateError>) {
        let (near, far) = duplex(1 << 10);
        tokio::join!(show_key(near.compat(), a.0, &a.1), show_key(far.compat(), b.0, &b.1))
    }

    #[tokio::test]
    async fn who_has_the_key_passes_and_nobody_else() {
        let (a, b) = ends();
        assert!(matches!(meet((a, key(1)), (b, key(1))).await, (Ok(()), Ok(()))));
        let (at_a, at_b) = meet((a, key(1)), (b, key(2))).await;
        assert!(matches!(at_a, Err(GateError::Key)) && at_b.is_err());
    }

    #[tokio::test]
    async fn a_code_for_others_is_worth_nothing() {
        let ((a, b), stranger) = (ends(), PeerId::random());
        let somebody_else = Ends { peer: stranger, ..b };
        assert!(matches!(meet((a, key(1)), (somebody_else, key(1))).await, (Err(_), Err(GateError::Key))));
        let (at_a, _) = meet((a, key(1)), (Ends { opens: true, ..b }, key(1))).await;
        assert!(matches!(at_a, Err(GateError::Key)), "a code sent back is not one's own");
    }

    #[tokio::test]
    async fn b42_another_protocol_is_not_spoken_to() {
        let (a, _) = ends();
        let (near, far) = duplex(1 << 10);
        let stranger = async {
            let mut far = far.compat();
            far.write_all(b"\x13/multistream/1.0.0\n and whatever else there is to say about it\n").await
        };
        let key = key(1);
        let (at_a, _) = tokio::join!(show_key(near.compat(), a, &key), stranger);
        assert!(matches!(at_a, Err(GateError::Greeting)), "{at_a:?}");
    }
}
