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
use crate::{
    address::{Scope, believable},
    identity::node_id,
    limit::{MAX_ADDRESSES_PER_PEER, PROVIDER_SWEEP, TARGET_PEERS},
    providers,
};

impl Actor {
    fn is_crowd(&self) -> bool {
        self.peers.len() > TARGET_PEERS
    }

    pub(super) fn provide(&mut self, here: &[SceneHash]) {
        let here = if self.is_crowd() { here } else { &[] };
        let (gone, new) = self.providers.provide(here);
        let table = &mut self.parts.swarm.behaviour_mut().kad;
        for scene in gone {
            table.stop_providing(&providers::key(&scene));
        }
        for scene in new {
            match table.start_providing(providers::key(&scene)) {
                Ok(_) => self.providers.note_provided(scene),
                Err(error) => debug!(scene = %scene.short(), %error, "the table is not told of a scene"),
            }
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

    pub(super) fn providers_found(&mut self, key: &kad::RecordKey, found: &HashSet<PeerId>) {
        let Some(scene) = providers::scene(key) else { return };
        for node in found.iter().filter_map(node_id).filter(|node| *node != self.own) {
            self.providers.found(&scene, node);
        }
    }

    /// Keeps the word of a peer that it has a package, if it is one, with what is believable of its addresses.
    pub(super) fn keep_provider(&mut self, mut record: kad::ProviderRecord, now: Instant) {
        let is_ours = providers::scene(&record.key).is_some();
        if !is_ours || !self.providers.keeps(record.provider, &record.key, now) {
            return;
        }
        record.addresses =
            believable(record.addresses, &record.provider, Scope::Loopback, MAX_ADDRESSES_PER_PEER);
        let kept = self.parts.swarm.behaviour_mut().kad.store_mut().add_provider(record);
        if let Err(error) = kept {
            debug!(%error, "the word of who has a scene is not kept");
        }
    }

    /// Forgets others' word that is too old: the table itself only looks when it is asked.
    pub(super) fn expire_providers(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept_providers) < PROVIDER_SWEEP {
            return;
        }
        self.swept_providers = now;
        let store = self.parts.swarm.behaviour_mut().kad.store_mut();
        for (peer, key) in self.providers.expire(now) {
            store.remove_provider(&key, &peer);
        }
    }
}
