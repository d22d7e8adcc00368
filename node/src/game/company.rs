//! Who takes part in a game: all that are there when it begins, whoever comes later, and this node itself.

use std::{collections::BTreeMap, convert::Infallible, sync::mpsc::SyncSender, time::Duration};

use anyhow::Context;
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::LevelSpec,
};
use p2c2r_swarm::{PeerStatus, SwarmHandle};
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use super::link::{Arrival, LinkWatch, PeerLink, connect, connect_self};
use crate::node::Node;

/// Between two looks for newcomers.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Peers that take part at once.
const MAX_MEMBERS: usize = 32;
/// Streams that are opened in a look.
const MAX_OPENING: usize = 8;
/// Peers that are remembered: when there are more, nobody new is tried.
const MAX_KNOWN: usize = 1024;
/// A peer whose stream does not open, or breaks, is tried so often in a game.
const MAX_TRIES: u8 = 4;

/// A peer that was tried.
struct Known {
    tries: u8,
    /// Its stream, if it opened.
    link: Option<LinkWatch>,
}

/// All that take part.
pub struct Company {
    swarm: SwarmHandle,
    level: LevelSpec,
    arrivals: SyncSender<Arrival>,
    known: BTreeMap<NodeId, Known>,
}

impl Company {
    /// Of a game on this level; what they answer arrives there.
    pub fn new(node: &Node, level: LevelSpec, arrivals: SyncSender<Arrival>) -> anyhow::Result<Self> {
        let swarm = node.swarm.clone().context("this node has no swarm")?;
        Ok(Self { swarm, level, arrivals, known: BTreeMap::new() })
    }

    /// Opens streams to all that are there, and to this node.
    pub async fn gather(&mut self, node: &Node) -> anyhow::Result<Vec<PeerLink>> {
        let mut links = self.newcomers().await;
        links.push(connect_self(node, self.level, self.arrivals.clone()).await?);
        Ok(links)
    }

    /// Lets whoever comes later take part; ends when it is dropped.
    pub async fn welcome(mut self) -> Infallible {
        loop {
            sleep(LOOK_INTERVAL).await;
            for link in self.newcomers().await {
                info!(peer = %link.peer.short(), "a peer joins the game");
                let arrivals = self.arrivals.clone();
                // A loop that has ended hears of nobody.
                let told = spawn_blocking(move || arrivals.send(Arrival::Joined { link }).is_ok());
                let _ = told.await;
            }
        }
    }

    /// Opens streams to those that offer such work and have none.
    async fn newcomers(&mut self) -> Vec<PeerLink> {
        let known = &self.known;
        // Whoever was there before and is gone is heard of for a while: it is tried again when it is back.
        let may_try = |status: &PeerStatus| {
            known.get(&status.node).is_none_or(|known| {
                status.connected
                    && known.tries < MAX_TRIES
                    && known.link.as_ref().is_none_or(|link| !link.is_open())
            })
        };
        let members = known.values().filter(|known| known.link.as_ref().is_some_and(LinkWatch::is_open));
        let room = MAX_MEMBERS.saturating_sub(members.count()).min(MAX_OPENING);
        let room = room.min(MAX_KNOWN.saturating_sub(known.len()));
        let mut heard = self.swarm.peers().await;
        // Those that are near at hand first.
        heard.sort_by_key(|status| !status.connected);
        let offers: Vec<(NodeId, Vec<WorkKind>)> = heard
            .into_iter()
            .filter_map(|status| {
                let may_try = may_try(&status);
                let heartbeat = status.heartbeat.filter(|heartbeat| heartbeat.contributing)?;
                may_try.then_some((status.node, heartbeat.kinds))
            })
            .take(room)
            .collect();
        let (swarm, level, arrivals) = (&self.swarm, self.level, &self.arrivals);
        let opening = offers.into_iter().map(|(peer, kinds)| async move {
            let link = connect(swarm, peer, kinds, level, arrivals.clone()).await;
            let link = link
                .inspect_err(|error| warn!(peer = %peer.short(), %error, "a peer takes no part in the game"));
            (peer, link.ok())
        });
        let opened = futures::future::join_all(opening).await;
        for (peer, link) in &opened {
            let known = self.known.entry(*peer).or_insert(Known { tries: 0, link: None });
            known.tries += 1;
            known.link = link.as_ref().map(PeerLink::watch);
        }
        opened.into_iter().filter_map(|(_, link)| link).collect()
    }
}
