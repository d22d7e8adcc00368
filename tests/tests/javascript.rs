//! A client of another libp2p, js-libp2p in Node.js, in a swarm of real nodes. Skips, loudly, without Node.js or the
//! packages of `tests/javascript`.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use p2c2r_testnet::{Node, Testnet};
use p2c2r_tests::javascript;
use serde_json::Value;

#[test]
fn a_javascript_client_meets_finds_and_hears_nodes_over_tcp() {
    let Some(client) = javascript::client() else { return };
    let mut testnet = Testnet::formed(2).unwrap();
    let (met, met_at) = whereabouts(testnet.node(0), "/tcp/");
    let (wanted, wanted_at) = whereabouts(testnet.node(1), "/tcp/");
    let address = format!("{met_at}/p2p/{met}");

    let seen = javascript::run(&client, "tcp_client.js", &[&address, &wanted]);

    assert_eq!(seen["node"], met, "the handshake proves who it is: {seen}");
    assert_eq!((&seen["over"], &seen["protocol"]), (&address.into(), &"/p2c2r/1".into()));
    assert_eq!(seen["agent"], format!("p2c2r-node/{}", env!("CARGO_PKG_VERSION")));
    let contains = |list: &Value, text: &str| list.as_array().unwrap().iter().any(|item| item == text);
    for protocol in ["/p2c2r/kad/1", "/p2c2r/task/1", "/p2c2r/blob/2", "/ipfs/ping/1.0.0"] {
        assert!(contains(&seen["protocols"], protocol), "{protocol} is missing: {seen}");
    }
    assert!(contains(&seen["listens"], &met_at), "{seen}");
    assert!(seen["roundTripMs"].is_number(), "{seen}");
    assert_eq!(seen["found"]["id"], wanted);
    let mut found = seen["found"]["addresses"].as_array().unwrap().iter().filter_map(Value::as_str);
    // With or without the id at its end.
    assert!(found.any(|address| address.starts_with(&wanted_at)), "Kademlia knows where it is: {seen}");
    let from = seen["heartbeat"]["from"].as_str().unwrap();
    assert!(from == met || from == wanted, "a heartbeat of one of the two: {seen}");
    assert_eq!(seen["heartbeat"]["software"], seen["agent"]);
    assert_eq!(seen["alteredRefused"], true, "the client's check of signatures is none");
}

/// A node's id, and where it listens over this transport.
fn whereabouts(node: &Node, transport: &str) -> (String, String) {
    let status = node.ask(&["status", "--json"]).unwrap();
    let mut addresses = status["listening"].as_array().unwrap().iter().filter_map(Value::as_str);
    let address = addresses.find(|address| address.contains(transport)).unwrap();
    (status["node"].as_str().unwrap().to_owned(), address.to_owned())
}
