//! A page in headless Chromium joins a swarm of real nodes over WebRTC. Skips, loudly, without the feature `webrtc`, without
//! Chromium, and without Node.js and the packages of `tests/javascript`, which bundle the page.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::process::Command;

use p2c2r_testnet::{Node, NodeOptions, Testnet};
use p2c2r_tests::javascript::{self, skip};
use serde_json::Value;

/// Set to 1 where Chromium has been installed: what is missing then is a failure, not a skip.
const REQUIRED: &str = "P2C2R_REQUIRE_BROWSER";
const LISTEN: [&str; 2] = ["--listen", "/ip4/127.0.0.1/udp/0/webrtc-direct"];

#[test]
fn a_page_in_a_browser_joins_over_webrtc_and_finds_the_same_node_after_a_restart() {
    let Some((client, chromium)) = browser() else { return };
    let mut testnet = Testnet::new().unwrap();
    let options = |ticket: Option<String>| NodeOptions {
        arguments: LISTEN
            .map(str::to_owned)
            .into_iter()
            .chain(ticket.into_iter().flat_map(|ticket| ["--join".to_owned(), ticket]))
            .collect(),
        ..NodeOptions::default()
    };
    testnet.start(&options(None)).unwrap();
    let ticket = testnet.node(0).ticket().unwrap();
    testnet.start(&options(Some(ticket))).unwrap();
    testnet.wait_until_formed(2).unwrap();
    let (met, address) = at_the_door(testnet.node(0));
    let (wanted, wanted_at) = at_the_door(testnet.node(1));

    let seen = javascript::run(&client, "browser_client.js", &[&address, &wanted, &chromium]);
    assert_eq!(seen["node"], met, "the handshake proves who it is: {seen}");
    assert!(seen["over"].as_str().unwrap().contains("/webrtc-direct/certhash/"), "{seen}");
    assert!(seen["protocol"] == "/p2c2r/1" && seen["roundTripMs"].is_number(), "{seen}");
    assert_eq!(seen["found"]["id"], wanted, "Kademlia knows it");
    let mut found = seen["found"]["addresses"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert!(found.any(|address| wanted_at.starts_with(address) || address.starts_with(&wanted_at)), "{seen}");
    let from = seen["heartbeat"]["from"].as_str().unwrap();
    assert!(from == met || from == wanted, "a heartbeat of one of the two: {seen}");
    assert_eq!(seen["heartbeat"]["software"], seen["agent"]);
    assert_eq!(seen["alteredRefused"], true, "the page's check of signatures is none");

    // The address, certificate included, is what a page keeps; the node takes up its port and its certificate again.
    testnet.node(0).stop().unwrap();
    testnet.restart(0, &options(None)).unwrap();
    assert_eq!(at_the_door(testnet.node(0)), (met.clone(), address.clone()));
    testnet.wait_until_formed(2).unwrap();
    let again = javascript::run(&client, "browser_client.js", &[&address, &wanted, &chromium]);
    assert_eq!((&again["node"], &again["alteredRefused"]), (&met.into(), &true.into()), "{again}");
}

#[test]
fn a_ticket_has_one_address_for_browsers_and_it_is_the_last() {
    if !cfg!(feature = "webrtc") {
        skip(REQUIRED, "this build has no feature `webrtc`");
        return;
    }
    let mut testnet = Testnet::new().unwrap();
    let arguments = LISTEN.iter().chain(&LISTEN).map(|&argument| argument.to_owned()).collect();
    testnet.start(&NodeOptions { arguments, ..NodeOptions::default() }).unwrap();
    let ticket: p2c2r_protocol::ticket::Ticket = testnet.node(0).ticket().unwrap().parse().unwrap();
    let for_browsers: Vec<bool> =
        ticket.addresses.iter().map(|address| address.contains("/webrtc-direct/certhash/")).collect();
    assert_eq!(for_browsers, [false, false, true], "{ticket:?}");
}

/// The client's folder and the browser, if everything is there that the test needs.
fn browser() -> Option<(std::path::PathBuf, String)> {
    if !cfg!(feature = "webrtc") {
        skip(REQUIRED, "this build has no feature `webrtc`");
        return None;
    }
    let starts =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let Some(chromium) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(starts) else {
        skip(REQUIRED, "no Chromium");
        return None;
    };
    Some((javascript::client()?, chromium.to_owned()))
}

/// A node's id, and the address that it has for browsers.
fn at_the_door(node: &Node) -> (String, String) {
    let status = node.ask(&["status", "--json"]).unwrap();
    let mut addresses = status["listening"].as_array().unwrap().iter().filter_map(Value::as_str);
    let address = addresses.find(|address| address.contains("/webrtc-direct/certhash/")).unwrap();
    let id = status["node"].as_str().unwrap().to_owned();
    (id.clone(), format!("{address}/p2p/{id}"))
}
