//! At which relays a node without a public address keeps a place: the plan, without the network.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, core::transport::ListenerId, multiaddr::Protocol};

use crate::{
    address::{Subnet, subnet},
    limit::{MAX_KNOWN_RELAYS, MAX_RELAYS},
};

/// Others may still find the node to be public, or the router map a port: relays are not bothered before.
const PATIENCE: Duration = Duration::from_secs(3);
/// Wait before a relay is asked again; doubles with each refusal.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest such wait.
const MAX_RETRY: Duration = Duration::from_mins(10);

/// A place to ask a relay for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The relay.
    pub(crate) relay: PeerId,
    /// `…/p2p/RELAY/p2p-circuit`.
    pub(crate) at: Multiaddr,
}

/// The relays that a node knows and those that it uses.
#[derive(Debug)]
pub(crate) struct Reservations {
    own: PeerId,
    relays: BTreeMap<PeerId, Relay>,
    not_before: Instant,
}

#[derive(Debug)]
struct Relay {
    address: Multiaddr,
    place: Option<ListenerId>,
    /// Whether it says that it passes on.
    is_offering: bool,
    refusals: u32,
    next_try: Instant,
}

impl Reservations {
    /// A plan that knows no relay.
    pub(crate) fn new(own: PeerId, now: Instant) -> Self {
        Self { own, relays: BTreeMap::new(), not_before: now + PATIENCE }
    }

    /// A connected peer offers to pass on what comes for others, and can be dialled at this public address. Says whether it
    /// is new and one of the first, which are likely to be used.
    pub(crate) fn offered(&mut self, relay: PeerId, address: Multiaddr, now: Instant) -> bool {
        if let Some(known) = self.relays.get_mut(&relay) {
            known.address = address;
            known.is_offering = true;
            return false;
        }
        if self.relays.len() < MAX_KNOWN_RELAYS {
            self.relays
                .insert(relay, Relay { address, place: None, is_offering: true, refusals: 0, next_try: now });
        }
        self.relays.len() <= MAX_RELAYS
    }

    /// A peer no longer offers it. A place that it keeps stays for as long as the connection.
    pub(crate) fn withdrawn(&mut self, relay: &PeerId) {
        if let Some(relay) = self.relays.get_mut(relay) {
            relay.is_offering = false;
        }
    }

    /// A peer is gone.
    pub(crate) fn gone(&mut self, relay: &PeerId) {
        self.relays.remove(relay);
    }

    /// Which places to ask for now. A node that has become public keeps the ones that it has: a relay that is asked to let go
    /// while its answer is under way makes the library panic, and they end with the connections anyway.
    pub(crate) fn wishes(&self, is_public: bool, now: Instant) -> Vec<Place> {
        let places = self.relays.values().filter_map(|relay| relay.place);
        let free = MAX_RELAYS.saturating_sub(places.count());
        if is_public || free == 0 || now < self.not_before {
            return Vec::new();
        }
        let mut offers: Vec<(&PeerId, &Relay)> = self
            .relays
            .iter()
            .filter(|(_, relay)| relay.is_offering && relay.place.is_none() && relay.next_try <= now)
            .collect();
        // Another network first, for relays of one network fail together; then each node another one, so that the load is shared.
        offers.sort_by_key(|(peer, relay)| (self.uses_network_of(relay), share(&self.own, peer)));
        offers.into_iter().take(free).map(|(peer, relay)| relay.wish(*peer)).collect()
    }

    /// Notes that a place was asked for.
    pub(crate) fn asked(&mut self, relay: &PeerId, place: Option<ListenerId>, now: Instant) {
        let Some(relay) = self.relays.get_mut(relay) else { return };
        relay.place = place;
        relay.refusals = relay.refusals.saturating_add(1);
        relay.next_try = now + FIRST_RETRY.saturating_mul(1 << (relay.refusals - 1).min(16)).min(MAX_RETRY);
    }

    /// Notes that a relay keeps a place for the node.
    pub(crate) fn accepted(&mut self, relay: &PeerId) {
        if let Some(relay) = self.relays.get_mut(relay) {
            relay.refusals = 0;
        }
    }

    /// Whether a peer keeps a place for the node.
    pub(crate) fn keeps(&self, relay: &PeerId) -> bool {
        self.relays.get(relay).is_some_and(|relay| relay.place.is_some())
    }

    /// Whose place a listener is.
    pub(crate) fn relay_of(&self, listener: ListenerId) -> Option<PeerId> {
        self.relays.iter().find(|(_, relay)| relay.place == Some(listener)).map(|(peer, _)| *peer)
    }

    /// Notes that a listener is gone; says whether it was a place at a relay.
    pub(crate) fn closed(&mut self, listener: ListenerId) -> bool {
        let mut relays = self.relays.values_mut();
        let Some(relay) = relays.find(|relay| relay.place == Some(listener)) else { return false };
        relay.place = None;
        true
    }

    fn uses_network_of(&self, offer: &Relay) -> bool {
        let network: Option<Subnet> = subnet(&offer.address);
        self.relays.values().any(|relay| relay.place.is_some() && subnet(&relay.address) == network)
    }
}

impl Relay {
    fn wish(&self, relay: PeerId) -> Place {
        let at = self.address.clone().with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
        Place { relay, at }
    }
}

fn share(own: &PeerId, relay: &PeerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (own, relay).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> (Reservations, Instant) {
        let now = Instant::now();
        (Reservations::new(PeerId::random(), now), now + PATIENCE)
    }

    fn address(net: u8) -> Multiaddr {
        format!("/ip4/203.0.{net}.1/tcp/4001").parse().unwrap()
    }

    fn relays_of(wishes: &[Place]) -> Vec<PeerId> {
        wishes.iter().map(|place| place.relay).collect()
    }

    #[test]
    fn two_places_are_kept_in_different_networks_while_the_node_is_not_public() {
        let (mut plan, now) = plan();
        for net in [1, 1, 1, 1, 2] {
            plan.offered(PeerId::random(), address(net), now);
        }
        assert_eq!(
            plan.wishes(false, plan.not_before.checked_sub(PATIENCE).unwrap()),
            [],
            "it may turn out to be public"
        );
        let first = relays_of(&plan.wishes(false, now))[0];
        plan.asked(&first, Some(ListenerId::next()), now);
        let second = relays_of(&plan.wishes(false, now));
        assert_eq!(second.len(), 1);
        assert_ne!(subnet(&plan.relays[&first].address), subnet(&plan.relays[&second[0]].address));
        plan.asked(&second[0], Some(ListenerId::next()), now);
        assert_eq!(plan.wishes(false, now), []);
        assert_eq!(plan.relay_of(plan.relays[&first].place.unwrap()), Some(first));
    }

    #[test]
    fn f25_a_place_that_is_lost_is_sought_elsewhere_and_a_refusal_is_not_repeated_at_once() {
        let (mut plan, mut now) = plan();
        let relay = PeerId::random();
        plan.offered(relay, address(1), now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(relays_of(&plan.wishes(false, now)), [relay]);
            let place = ListenerId::next();
            plan.asked(&relay, Some(place), now);
            assert!(plan.closed(place) && !plan.closed(place));
            assert_eq!(plan.wishes(false, now), []);
            waits.push(plan.relays[&relay].next_try - now);
            now = plan.relays[&relay].next_try;
        }
        assert_eq!((waits[0], waits[1], waits[11]), (FIRST_RETRY, FIRST_RETRY * 2, MAX_RETRY));
        let other = PeerId::random();
        plan.offered(other, address(2), now);
        assert_eq!(relays_of(&plan.wishes(false, now)).len(), 2);
        assert_eq!(plan.wishes(true, now), [], "a public node needs none");
        plan.withdrawn(&relay);
        assert_eq!(relays_of(&plan.wishes(false, now)), [other]);
        plan.offered(relay, address(1), now);
        plan.accepted(&relay);
        plan.gone(&relay);
        assert_eq!(relays_of(&plan.wishes(false, now)), [other]);
    }

    #[test]
    fn b21_relays_that_offer_themselves_are_bounded() {
        let (mut plan, now) = plan();
        for _ in 0..=MAX_KNOWN_RELAYS {
            plan.offered(PeerId::random(), address(1), now);
        }
        assert_eq!(plan.relays.len(), MAX_KNOWN_RELAYS);
    }
}
