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
use crate::{config::Throttle, scene_library::Package};

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
            throttle: Throttle::default(),
        },
        kernel_cache: None,
        key: SecretKey::from_seed([5; 32]),
        declined: Vec::new(),
        max_scene_bytes: 1 << 30,
    };
    Contributor::start(config, NewContributor::default(), library, None).await.unwrap().0
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

/// A triangle that slides along for a second.
fn sliding_triangle() -> Package {
    let json = br#"{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"mesh":0}],
        "meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],
        "animations":[{"channels":[{"sampler":0,"target":{"node":0,"path":"translation"}}],
                       "samplers":[{"input":1,"output":2}]}],
        "accessors":[
            {"bufferView":0,"componentType":5126,"count":3,"type":"VEC3","min":[0,0,0],"max":[1,1,0]},
            {"bufferView":0,"byteOffset":8,"componentType":5126,"count":2,"type":"SCALAR","min":[0],"max":[1]},
            {"bufferView":0,"byteOffset":12,"componentType":5126,"count":2,"type":"VEC3"}],
        "bufferViews":[{"buffer":0,"byteLength":36}],"buffers":[{"byteLength":36}]}"#;
    // (0, 0, 0), (1, 0, 0), (0, 1, 0); the moments 0 and 1 and the two places are part of these numbers.
    let numbers = [0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let mut text = json.to_vec();
    text.resize(text.len().next_multiple_of(4), b' ');
    let mut file = Vec::new();
    for word in [0x4654_6C67, 2, 28 + text.len() as u32 + 36, text.len() as u32, 0x4E4F_534A] {
        file.extend(word.to_le_bytes());
    }
    file.extend(text);
    file.extend([36_u32, 0x004E_4942].into_iter().flat_map(u32::to_le_bytes));
    file.extend(numbers.into_iter().flat_map(f32::to_le_bytes));
    Package::of(file.into())
}

#[tokio::test]
async fn a_coordinator_that_asks_for_thousands_of_moments_is_answered_and_costs_few_of_them() {
    let library = Arc::new(SceneLibrary::in_memory(MAX_PREPARED_BYTES));
    let package = sliding_triangle();
    assert!(library.prepare(&package, SceneTime::START).unwrap().moves);
    let contributor = contributor(Arc::clone(&library)).await;
    let mut link = session(&contributor).await;
    let size_bytes = package.size_bytes();
    let moment = |us| SceneMoment { hash: package.hash, time: SceneTime::from_us(us).unwrap() };
    let mut ready = 0;
    for first in (0..MOMENTS).step_by(AT_ONCE as usize) {
        let mut asked: BTreeSet<SceneMoment> = (first..first + AT_ONCE).map(moment).collect();
        for scene in asked.clone() {
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
    // Those in the library and those of the session; hardly ever the same ones.
    let there = (0..MOMENTS).filter(|us| library.resident(&moment(*us)).is_some()).count();
    assert!((1..=4).contains(&there), "{there}");
    assert_eq!(library.resident_hashes(), [package.hash]);
}

#[tokio::test]
async fn moments_that_are_held_count_as_memory() {
    let package = sliding_triangle();
    let at = |us| SceneTime::from_us(us).unwrap();
    let ample = SceneLibrary::in_memory(MAX_PREPARED_BYTES);
    let one = ample.prepare(&package, at(0)).unwrap().prepared.memory_bytes() as u64;
    let library = Arc::new(SceneLibrary::in_memory(20 * one));
    let mut held: Vec<_> = (0..30).map(|us| library.prepare(&package, at(us)).unwrap()).collect();
    let source = scene::SceneSource::new(Arc::clone(&library), None, MAX_PREPARED_BYTES);
    let next = SceneMoment { hash: package.hash, time: at(100) };
    let prepare = || source.prepare(NodeId::from_public_key([9; 32]), next, package.size_bytes());
    assert_eq!(prepare().await.err(), Some(RejectReason::Busy));
    held.truncate(10);
    assert!(prepare().await.is_ok());
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
