//! Who takes part in a game: all that are there when it begins, whoever comes later, and this node itself.

use std::{collections::BTreeMap, convert::Infallible, sync::mpsc::SyncSender, time::Duration};

use anyhow::Context;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::LevelSpec,
};
use p2c2r_swarm::{PeerStatus, SwarmHandle};
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, timeout_at},
};
use tracing::{info, warn};

use super::link::{Arrival, LinkWatch, PeerLink, connect, connect_self};
use crate::node::Node;

/// Between two looks for newcomers.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Peers that take part at once.
const MAX_MEMBERS: usize = 32;
/// A game waits no longer for those that are there when it begins.
const GATHER_LIMIT: Duration = Duration::from_secs(3);
/// Streams that are being opened at once.
const MAX_OPENING: usize = 8;
/// Peers that are remembered: when there are more, nobody new is tried.
const MAX_KNOWN: usize = 1024;
/// A peer whose stream does not open, or breaks, is tried so often in a game.
const MAX_TRIES: u8 = 4;

/// A peer that was tried.
#[derive(Default)]
struct Known {
    tries: u8,
    is_opening: bool,
    /// Its stream, if it opened.
    link: Option<LinkWatch>,
}

impl Known {
    fn is_open(&self) -> bool {
        self.link.as_ref().is_some_and(LinkWatch::is_open)
    }
}

/// A stream that is being opened: to whom, and what came of it.
type Opening = BoxFuture<'static, (NodeId, anyhow::Result<PeerLink>)>;

/// All that take part.
pub struct Company {
    swarm: SwarmHandle,
    level: LevelSpec,
    arrivals: SyncSender<Arrival>,
    known: BTreeMap<NodeId, Known>,
    opening: FuturesUnordered<Opening>,
}

impl Company {
    /// Of a game on this level; what they answer arrives there.
    pub fn new(node: &Node, level: LevelSpec, arrivals: SyncSender<Arrival>) -> anyhow::Result<Self> {
        let swarm = node.swarm.clone().context("this node has no swarm")?;
        let opening = FuturesUnordered::new();
        Ok(Self { swarm, level, arrivals, known: BTreeMap::new(), opening })
    }

    /// Opens streams to all that are there, and to this node. One that takes too long may come later.
    pub async fn gather(&mut self, node: &Node) -> anyhow::Result<Vec<PeerLink>> {
        self.look().await;
        let mut links = Vec::new();
        let until = Instant::now() + GATHER_LIMIT;
        while let Ok(Some((peer, opened))) = timeout_at(until, self.opening.next()).await {
            links.extend(self.opened(peer, opened));
        }
        links.push(connect_self(node, self.level, self.arrivals.clone()).await?);
        Ok(links)
    }

    /// Lets whoever comes later take part, each as soon as its stream is open; ends when it is dropped.
    pub async fn welcome(mut self) -> Infallible {
        let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look().await,
                Some((peer, opened)) = self.opening.next() => {
                    let Some(link) = self.opened(peer, opened) else { continue };
                    info!(peer = %peer.short(), "a peer joins the game");
                    let arrivals = self.arrivals.clone();
                    // A loop that has ended hears of nobody.
                    let told = spawn_blocking(move || arrivals.send(Arrival::Joined { link }).is_ok());
                    let _ = told.await;
                }
            }
        }
    }

    /// Begins to open streams to those that offer such work and have none.
    async fn look(&mut self) {
        let members = self.known.values().filter(|known| known.is_opening || known.is_open()).count();
        let room = MAX_MEMBERS.saturating_sub(members).min(MAX_OPENING.saturating_sub(self.opening.len()));
        let room = room.min(MAX_KNOWN.saturating_sub(self.known.len()));
        let mut heard = self.swarm.peers().await;
        // Those that were tried least first, then those that are near at hand.
        let tries = |status: &PeerStatus| self.known.get(&status.node).map_or(0, |known| known.tries);
        heard.sort_by_key(|status| (tries(status), !status.connected));
        let offers = heard.into_iter().filter_map(|status| {
            let may_try = self.may_try(&status);
            let heartbeat = status.heartbeat.filter(|heartbeat| heartbeat.contributing)?;
            may_try.then_some((status.node, heartbeat.kinds))
        });
        let offers: Vec<(NodeId, Vec<WorkKind>)> = offers.take(room).collect();
        for (peer, kinds) in offers {
            let known = self.known.entry(peer).or_default();
            known.tries += 1;
            known.is_opening = true;
            let (swarm, level, arrivals) = (self.swarm.clone(), self.level, self.arrivals.clone());
            let opening = async move { (peer, connect(&swarm, peer, kinds, level, arrivals).await) };
            self.opening.push(opening.boxed());
        }
    }

    /// Whoever was there before and is gone is heard of for a while: it is tried again when it is back.
    fn may_try(&self, status: &PeerStatus) -> bool {
        let is_back = |known: &Known| {
            status.connected && known.tries < MAX_TRIES && !known.is_opening && !known.is_open()
        };
        self.known.get(&status.node).is_none_or(is_back)
    }

    /// Notes what came of an opening.
    fn opened(&mut self, peer: NodeId, opened: anyhow::Result<PeerLink>) -> Option<PeerLink> {
        let link = opened
            .inspect_err(|error| warn!(peer = %peer.short(), %error, "a peer takes no part in the game"))
            .ok();
        let known = self.known.entry(peer).or_default();
        known.is_opening = false;
        known.link = link.as_ref().map(PeerLink::watch);
        link
    }
}
