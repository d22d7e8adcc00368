//! What is done with pictures that come from others.

use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    backend::BackendChoice,
    limit::MAX_PREPARED_BYTES,
    scene::generate::{SceneKind, generate},
};

use super::*;
use crate::{
    config::{DeviceConfig, Throttle},
    control::SplitChoice,
    develop::DevelopSettings,
    sequence::{FrameRate, FrameSequence},
};

#[tokio::test(flavor = "multi_thread")]
async fn b11_a_frame_that_comes_again_takes_the_place_of_the_forged_one_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let scene = folder.path().join("scene.glb");
    std::fs::write(&scene, generate(SceneKind::Cornell, 1, None)).unwrap();
    let device = DeviceConfig {
        backend: BackendChoice::Cpu,
        threads: Some(1),
        scene_memory_bytes: MAX_PREPARED_BYTES,
        throttle: Throttle::default(),
    };
    let node = Node::start_alone(device, None).await.unwrap();
    let request = RenderRequest {
        scene,
        output: folder.path().join("frame.png"),
        frames: Some(FrameSequence { frames: "0..=1".parse().unwrap(), rate: FrameRate::FILM }),
        force: false,
        size: FrameSize::new(16, 16).unwrap(),
        samples_per_pixel: 1,
        max_depth: 2,
        seed: 1,
        clamp: 0.0,
        environment: None,
        lens_radius: 0.0,
        focus_distance: 0.0,
        camera: "auto".into(),
        deadline_ms: None,
        wait_peers: None,
        develop: DevelopSettings::default(),
        preview: None,
        split: SplitChoice::Spatial,
        resume: false,
    };
    let (progress, _) = watch::channel(Progress::default());
    let mut shoot = Shoot::begin(&node, &request, Arc::new(progress)).await.unwrap();
    let report = shoot.next().await.unwrap().unwrap();
    let shot = shoot.wanted_shot(1).unwrap().unwrap();
    let write = |bytes: &'static [u8], force| {
        shoot.write_file(&shot, Bytes::from_static(bytes), report.clone(), force)
    };
    write(b"forged", false).await.unwrap();
    assert!(write(b"somebody's", false).await.is_err(), "what is there stays");
    write(b"true", true).await.unwrap();
    assert_eq!(std::fs::read(&shot.output).unwrap(), b"true");
    node.stop().await;
}
