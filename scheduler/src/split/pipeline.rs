//! Which peer does which stage of every frame, so that the slowest peer has least to do: that one sets the pace.

use p2c2r_protocol::{id::NodeId, stage::Stage};

/// Peers that are thought of for each stage: the fastest ones at it.
const SHORT_LIST: usize = 6;

/// How long a peer is expected to take for each stage of a frame, ms, handing over included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StagePeer {
    /// Who.
    pub peer: NodeId,
    /// In the order of [`Stage::ALL`].
    pub stage_ms: [f64; 3],
}

impl StagePeer {
    /// For one stage, ms.
    pub fn ms(&self, stage: Stage) -> f64 {
        self.stage_ms[stage as usize]
    }
}

/// Who does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    /// The features; nobody if pictures need none.
    pub geometry: Option<NodeId>,
    /// The film.
    pub lighting: NodeId,
    /// The picture.
    pub post: NodeId,
}

impl Crew {
    /// Who does a stage.
    pub fn at(&self, stage: Stage) -> Option<NodeId> {
        match stage {
            Stage::Geometry => self.geometry,
            Stage::Lighting => Some(self.lighting),
            Stage::Post => Some(self.post),
        }
    }

    /// Whether a peer has a part in it.
    pub fn has(&self, peer: NodeId) -> bool {
        Stage::ALL.into_iter().any(|stage| self.at(stage) == Some(peer))
    }
}

/// A crew and what is expected of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assignment {
    /// Who does what.
    pub crew: Crew,
    /// What its busiest peer has to do for each frame, ms: frames follow each other so fast.
    pub pace_ms: f64,
    /// From a frame's start to its picture, ms.
    pub latency_ms: f64,
    /// How unevenly the work is spread: the squares of what each peer has to do, ms².
    unevenness: f64,
}

impl Assignment {
    /// When the last of so many frames is expected, ms.
    pub fn makespan_ms(&self, frames: u32) -> f64 {
        self.latency_ms + f64::from(frames.saturating_sub(1)) * self.pace_ms
    }
}

/// The crew whose busiest peer has least to do, of those the one with the shortest way through, of those the one in which
/// the others have least to do; nothing without peers.
pub fn assign(peers: &[StagePeer], needs_geometry: bool) -> Option<Assignment> {
    let short_list = |stage: Stage| -> Vec<StagePeer> {
        let sane = |peer: &&StagePeer| peer.ms(stage).is_finite() && peer.ms(stage) >= 0.0;
        let mut list: Vec<StagePeer> = peers.iter().filter(sane).copied().collect();
        list.sort_by(|a, b| a.ms(stage).total_cmp(&b.ms(stage)).then(a.peer.cmp(&b.peer)));
        list.truncate(SHORT_LIST);
        list
    };
    let geometry: Vec<Option<StagePeer>> =
        if needs_geometry { short_list(Stage::Geometry).into_iter().map(Some).collect() } else { vec![None] };
    let (lighting, post) = (short_list(Stage::Lighting), short_list(Stage::Post));
    let mut best: Option<Assignment> = None;
    for geometry in &geometry {
        for lighting in &lighting {
            for post in &post {
                let assignment = assigned(geometry.as_ref(), lighting, post);
                let is_better = best.is_none_or(|best| {
                    let key = |of: &Assignment| (of.pace_ms, of.latency_ms, of.unevenness);
                    key(&assignment).partial_cmp(&key(&best)) == Some(std::cmp::Ordering::Less)
                });
                if is_better {
                    best = Some(assignment);
                }
            }
        }
    }
    best
}

fn assigned(geometry: Option<&StagePeer>, lighting: &StagePeer, post: &StagePeer) -> Assignment {
    let parts = [
        geometry.map(|peer| (peer.peer, peer.ms(Stage::Geometry))),
        Some((lighting.peer, lighting.ms(Stage::Lighting))),
        Some((post.peer, post.ms(Stage::Post))),
    ];
    let load_ms = |peer: NodeId| -> f64 {
        parts.iter().flatten().filter(|(at, _)| *at == peer).map(|(_, ms)| ms).sum()
    };
    let pace_ms = parts.iter().flatten().map(|(peer, _)| load_ms(*peer)).fold(0.0, f64::max);
    let geometry_ms = geometry.map_or(0.0, |peer| peer.ms(Stage::Geometry));
    // Geometry and lighting are done side by side, unless one peer does both.
    let before_ms = if geometry.is_some_and(|peer| peer.peer == lighting.peer) {
        geometry_ms + lighting.ms(Stage::Lighting)
    } else {
        geometry_ms.max(lighting.ms(Stage::Lighting))
    };
    Assignment {
        crew: Crew { geometry: geometry.map(|peer| peer.peer), lighting: lighting.peer, post: post.peer },
        pace_ms,
        latency_ms: before_ms + post.ms(Stage::Post),
        // Each part weighs as much as all that its peer has to do.
        unevenness: parts.iter().flatten().map(|(peer, ms)| ms * load_ms(*peer)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(index: u8, stage_ms: [f64; 3]) -> StagePeer {
        StagePeer { peer: NodeId::from_public_key([index; 32]), stage_ms }
    }

    #[test]
    fn the_fastest_does_the_longest_stage() {
        let peers = [peer(0, [10.0, 400.0, 40.0]), peer(1, [5.0, 100.0, 20.0]), peer(2, [10.0, 400.0, 40.0])];
        let best = assign(&peers, true).unwrap();
        assert_eq!(best.crew.lighting, peers[1].peer);
        assert!(!(best.crew.post == best.crew.lighting || best.crew.geometry == Some(best.crew.lighting)));
        assert!((best.pace_ms - 100.0).abs() < 1e-9 && (best.latency_ms - 140.0).abs() < 1e-9);
        assert!((best.makespan_ms(20) - (140.0 + 1900.0)).abs() < 1e-9);
    }

    #[test]
    fn one_peer_does_it_all_and_a_picture_without_features_has_no_geometry() {
        let alone = assign(&[peer(0, [10.0, 100.0, 20.0])], true).unwrap();
        assert!((alone.pace_ms - 130.0).abs() < 1e-9 && (alone.latency_ms - 130.0).abs() < 1e-9);
        let plain = assign(&[peer(0, [10.0, 100.0, 20.0])], false).unwrap();
        assert_eq!((plain.crew.geometry, plain.pace_ms), (None, 120.0));
        assert_eq!(assign(&[], true), None);
        assert_eq!(assign(&[peer(0, [f64::NAN, 1.0, 1.0])], true), None);
    }

    proptest! {
        #[test]
        fn nobody_in_reach_would_be_faster(
            times in prop::collection::vec(prop::array::uniform3(1.0_f64..100.0), 1..6),
        ) {
            let peers: Vec<StagePeer> =
                times.iter().enumerate().map(|(index, ms)| peer(index as u8, *ms)).collect();
            let best = assign(&peers, true).unwrap();
            for geometry in &peers {
                for lighting in &peers {
                    for post in &peers {
                        prop_assert!(best.pace_ms <= assigned(Some(geometry), lighting, post).pace_ms + 1e-9);
                    }
                }
            }
        }
    }
}
