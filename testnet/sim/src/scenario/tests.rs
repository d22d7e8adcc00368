//! Which files are scenarios.

use super::*;

const SMALL: &str = "name = \"small\"\n[work]\nframes = 10\nwork_ms = 100.0\n[[peer]]\nname = \"a\"\nlatency_ms = 1\nspeed = 1.0\n";

#[test]
fn what_is_left_out_has_its_default() {
    let scenario = Scenario::parse(SMALL).unwrap();
    assert_eq!(scenario.seed, 1);
    assert_eq!(scenario.work.kinds, [(WorkKind::RayTracing, 1.0)].into());
    assert_eq!((scenario.work.depth, scenario.work.warm_up, scenario.work.local), (1, 0, None));
    let peer = &scenario.peers[0];
    assert_eq!((peer.count, peer.slots, peer.failure.base, peer.noise.tail_factor), (1, 1, 0.0, 1.0));
}
