//! Telling the swarm's table which packages are here, and asking it who else has one. Only in a crowd: in a small swarm every
//! heartbeat says so, and the table would be asked for nothing.

use std::{collections::HashSet, time::Instant};

use libp2p::{
    PeerId,
    kad::{self, store::RecordStore},
};
use p2c2r_protocol::id::{NodeId, SceneHash};
use tracing::debug;

use super::Actor;
use crate::{identity::node_id, limit::TARGET_PEERS, providers};

impl Actor {
    fn is_crowd(&self) -> bool {
        self.peers.len() > TARGET_PEERS
    }

    pub(super) fn provide(&mut self, scene: SceneHash) {
        if !self.is_crowd() {
            return;
        }
        let (is_new, dropped) = self.providers.provide(scene);
        let table = &mut self.parts.swarm.behaviour_mut().kad;
        if let Some(dropped) = dropped {
            table.stop_providing(&providers::key(&dropped));
        }
        if is_new && let Err(error) = table.start_providing(providers::key(&scene)) {
            debug!(scene = %scene.short(), %error, "the table is not told of a scene");
        }
    }

    /// Those who are known to be said to have it; the table is asked meanwhile.
    pub(super) fn providers_of(&mut self, scene: SceneHash, now: Instant) -> Vec<NodeId> {
        if !self.is_crowd() {
            return Vec::new();
        }
        let (found, is_due) = self.providers.of(scene, now);
        if is_due {
            self.parts.swarm.behaviour_mut().kad.get_providers(providers::key(&scene));
        }
        found
    }

    pub(super) fn providers_found(&mut self, key: &kad::RecordKey, found: HashSet<PeerId>) {
        let Some(scene) = providers::scene(key) else { return };
        for node in found.iter().filter_map(node_id).filter(|node| *node != self.own) {
            self.providers.found(&scene, node);
        }
    }

    /// Keeps the word of a peer that it has a package, if it is one, without what it says of its addresses: those are looked up
    /// when they are needed.
    pub(super) fn keep_provider(&mut self, mut record: kad::ProviderRecord) {
        if providers::scene(&record.key).is_none() {
            return;
        }
        record.addresses = Vec::new();
        let kept = self.parts.swarm.behaviour_mut().kad.store_mut().add_provider(record);
        if let Err(error) = kept {
            debug!(%error, "the word of who has a scene is not kept");
        }
    }
}
