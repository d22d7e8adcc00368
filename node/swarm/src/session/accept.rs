//! Incoming work sessions: one for each coordinator, a limited number in all.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use libp2p::PeerId;
use p2c2r_protocol::id::NodeId;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::AbortHandle,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::contributor::greet;
use crate::{
    counters::Counters, event::SwarmEvent, identity::node_id, in_use::Held, limit::HANDSHAKE_TIMEOUT,
    wire::tokio_stream,
};

/// Takes sessions until the swarm ends. A second one from the same coordinator replaces the first: the coordinator
/// may have restarted and this node may not have noticed that the old stream is dead.
pub(crate) async fn accept(
    mut incoming: impl futures::Stream<Item = (PeerId, Held)> + Unpin,
    events: mpsc::Sender<SwarmEvent>,
    max_sessions: usize,
    counters: Arc<Counters>,
    pumps: TaskTracker,
) {
    let mut sessions = HashMap::<NodeId, AbortHandle>::new();
    while let Some((peer, stream)) = incoming.next().await {
        let Some(peer) = node_id(&peer) else { continue };
        sessions.retain(|_, session| !session.is_finished());
        if sessions.len() >= max_sessions && !sessions.contains_key(&peer) {
            debug!(peer = %peer.short(), max_sessions, "a work session was turned away: too many are open");
            Counters::count(&counters.sessions_refused);
            continue;
        }
        Counters::count(&counters.sessions_accepted);
        let session = pumps.spawn(serve(tokio_stream(stream), peer, events.clone()));
        if let Some(former) = sessions.insert(peer, session.abort_handle()) {
            former.abort();
        }
    }
}

/// Runs one session.
async fn serve<S: AsyncRead + AsyncWrite>(stream: S, peer: NodeId, events: mpsc::Sender<SwarmEvent>) {
    let ended = match greet(stream, peer).await {
        Ok((link, pump)) => match timeout(HANDSHAKE_TIMEOUT, events.send(SwarmEvent::Session(link))).await {
            Ok(Ok(())) => pump.run().await,
            _ => return,
        },
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        debug!(peer = %peer.short(), %error, "a work session broke off");
    }
}
