//! Private swarms: who has the key is in, over each transport; and the owner's own lists.

use p2c2r_protocol::swarm_key::SwarmKey;

use super::*;

fn key(byte: u8) -> SwarmKey {
    SwarmKey::from_random([byte; 32])
}

/// Whether, after everybody has had the time to meet, the guest is connected to the host; a friend, who joined after the guest,
/// tells when.
async fn is_let_in(listen: &str, guests_key: Option<SwarmKey>) -> bool {
    let with = |seed, join: &[Ticket], swarm_key| SwarmConfig { swarm_key, ..config(seed, &[listen], join) };
    let host = TestNode::with(with(1, &[], Some(key(7)))).await;
    let ticket = [host.ticket().await];
    let guest = TestNode::with(with(2, &ticket, guests_key)).await;
    let refused = async || guest.swarm.counters().dials_failed > 0 || guest.swarm.counters().connections > 1;
    until("the guest's attempt", async || host.knows(&[guest.id()]).await || refused().await).await;
    let friend = TestNode::with(with(3, &ticket, Some(key(7)))).await;
    until("the friend's connection", async || host.knows(&[friend.id()]).await).await;
    assert!(friend.knows(&[host.id()]).await);
    let is_let_in = host.knows(&[guest.id()]).await;
    assert_eq!(guest.swarm.open_session(host.id()).await.is_ok(), is_let_in);
    is_let_in
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_the_key_connects_to_a_private_swarm() {
    for listen in ANY_PORT {
        assert!(is_let_in(listen, Some(key(7))).await, "{listen}");
        assert!(!is_let_in(listen, Some(key(8))).await, "another key, {listen}");
        assert!(!is_let_in(listen, None).await, "no key, {listen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_denied_or_not_on_the_list_does_not_connect() {
    let (denied, allowed) =
        (SecretKey::from_seed([2; 32]).node_id(), SecretKey::from_seed([3; 32]).node_id());
    for lists in [(vec![], vec![denied]), (vec![allowed], vec![])] {
        let host_config = config(1, &ANY_PORT, &[]);
        let host = TestNode::with(SwarmConfig { allowed: lists.0, denied: lists.1, ..host_config }).await;
        let ticket = [host.ticket().await];
        let other = TestNode::start(2, &ticket).await;
        let friend = TestNode::start(3, &ticket).await;
        until("the friend's connection", async || host.knows(&[friend.id()]).await).await;
        until("the other's attempt", async || {
            let counters = other.swarm.counters();
            counters.dials_failed > 0 || counters.connections > 0
        })
        .await;
        assert!(!host.knows(&[other.id()]).await);
        assert!(friend.knows(&[host.id()]).await);
    }
}
