//! A contributor and a coordinator that asks for more than it should.

use std::collections::BTreeSet;

use p2c2r_protocol::{
    id::{Epoch, NodeId},
    limit::MAX_CREDIT,
    task::ContributorMessage,
    tile::SceneTime,
};
use p2c2r_render::{
    backend::BackendChoice,
    limit::MAX_PREPARED_BYTES,
    scene::generate::{SceneKind, generate},
};
use p2c2r_swarm::{ContributorEvent, CoordinatorLink, local_pair};

use super::*;
use crate::scene_library::Package;

/// Moments that are asked for.
const MOMENTS: u64 = 3000;
/// Of these at once: an honest outbox never holds more.
const AT_ONCE: u64 = 50;

async fn contributor(library: Arc<SceneLibrary>) -> Contributor {
    let config = ContributorConfig {
        device: DeviceConfig {
            backend: BackendChoice::Cpu,
            threads: Some(1),
            scene_memory_bytes: MAX_PREPARED_BYTES,
        },
        kernel_cache: None,
        key: SecretKey::from_seed([5; 32]),
        max_scene_bytes: 1 << 30,
    };
    Contributor::start(config, library, None).await.unwrap().0
}

/// A session that has been greeted.
async fn session(contributor: &Contributor) -> CoordinatorLink {
    let (mut link, far) = local_pair(NodeId::from_public_key([9; 32]));
    contributor.attach(far, false).await;
    let hello = CoordinatorMessage::Hello { epoch: Epoch(1), software: "test".into() };
    link.outbox.send(hello).await.unwrap();
    let welcome = heard(&mut link).await;
    assert!(matches!(welcome, ContributorMessage::Welcome { credit: 1..=MAX_CREDIT, .. }), "{welcome:?}");
    link
}

async fn heard(link: &mut CoordinatorLink) -> ContributorMessage {
    match link.inbox.recv().await.unwrap() {
        ContributorEvent::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_coordinator_that_asks_for_thousands_of_moments_is_answered_and_costs_two_of_them() {
    let library = Arc::new(SceneLibrary::in_memory(MAX_PREPARED_BYTES));
    let package = Package::of(generate(SceneKind::Cornell, 1, None).into());
    let there = library.prepare(&package, SceneTime::START).unwrap();
    let contributor = contributor(Arc::clone(&library)).await;
    let mut link = session(&contributor).await;
    let size_bytes = package.size_bytes();
    let mut ready = 0;
    for first in (0..MOMENTS).step_by(AT_ONCE as usize) {
        let mut asked = BTreeSet::new();
        for us in first..first + AT_ONCE {
            let scene = SceneMoment { hash: package.hash, time: SceneTime::from_us(us).unwrap() };
            asked.insert(scene);
            link.outbox.send(CoordinatorMessage::Prepare { scene, size_bytes }).await.unwrap();
        }
        while !asked.is_empty() {
            let (answered, is_ready) = match heard(&mut link).await {
                ContributorMessage::Ready { scene, fetched_bytes: 0, .. } => (scene, true),
                ContributorMessage::Refused { scene, reason: RejectReason::Busy } => (scene, false),
                other => panic!("{other:?}"),
            };
            assert!(asked.remove(&answered), "each is answered once: {answered}");
            ready += u64::from(is_ready);
        }
    }
    assert!(ready >= MOMENTS / AT_ONCE, "the first of each lot is not too much: {ready}");
    assert_eq!(library.resident_hashes(), [package.hash]);
    // Here, in the library, and what the session keeps of it: nothing was built anew.
    drop(contributor);
    assert!(Arc::strong_count(&there.prepared) <= 2 + 2, "{}", Arc::strong_count(&there.prepared));
}

#[tokio::test]
async fn a_moment_of_an_unknown_package_is_refused_without_a_network() {
    let contributor = contributor(Arc::new(SceneLibrary::in_memory(MAX_PREPARED_BYTES))).await;
    let mut link = session(&contributor).await;
    let package = Package::of(generate(SceneKind::Cornell, 1, None).into());
    let scene = SceneMoment { hash: package.hash, time: SceneTime::from_us(7).unwrap() };
    link.outbox.send(CoordinatorMessage::Prepare { scene, size_bytes: 1 }).await.unwrap();
    let refused = ContributorMessage::Refused { scene, reason: RejectReason::SceneFailed };
    assert_eq!(heard(&mut link).await, refused);
}
