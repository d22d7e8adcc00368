//! The report of a frame from those of its passes.

use p2c2r_render::film::Film;

use crate::report::{BytesReport, FailureReport, FrameReport, PeerReport};

/// Whether other nodes rendered any of it.
pub fn had_help(report: &FrameReport) -> bool {
    report.peers.iter().any(|peer| !peer.own_device && peer.tiles > 0)
}

/// One report of two: times and work added up, shares weighted with the passes' rays.
pub fn merged(earlier: FrameReport, later: FrameReport) -> FrameReport {
    let (before, more) = (earlier.rays as f64, later.rays as f64);
    let weight = if before + more > 0.0 { more / (before + more) } else { 0.5 };
    let frame_ms = earlier.frame_ms + later.frame_ms;
    let bound_ms = earlier.bound_ms + later.bound_ms;
    let rays = earlier.rays.saturating_add(later.rays);
    FrameReport {
        frame_ms,
        gather_ms: earlier.gather_ms + later.gather_ms,
        bound_ms,
        bound_ratio: if bound_ms > 0.0 { frame_ms / bound_ms } else { 0.0 },
        rays,
        mrays_per_s: rays as f64 / frame_ms.max(1e-3) / 1e3,
        tiles: earlier.tiles.into_iter().chain(later.tiles).collect(),
        peers: peers(earlier.peers, later.peers, weight, frame_ms),
        bytes: bytes(&earlier.bytes, &later.bytes),
        failures: FailureReport {
            rejected: earlier.failures.rejected + later.failures.rejected,
            peers_lost: earlier.failures.peers_lost + later.failures.peers_lost,
            invalid: earlier.failures.invalid + later.failures.invalid,
            hedges: earlier.failures.hedges + later.failures.hedges,
            attempts: earlier.failures.attempts + later.failures.attempts,
            visible: earlier.failures.visible + later.failures.visible,
        },
        ..later
    }
}

fn peers(
    mut earlier: Vec<PeerReport>,
    later: Vec<PeerReport>,
    weight: f64,
    frame_ms: f64,
) -> Vec<PeerReport> {
    for peer in &mut earlier {
        peer.share *= 1.0 - weight;
    }
    for mut peer in later {
        peer.share *= weight;
        match earlier.iter_mut().find(|known| known.node == peer.node) {
            None => earlier.push(peer),
            Some(known) => {
                known.tiles += peer.tiles;
                known.share += peer.share;
                known.busy_ms += peer.busy_ms;
                known.round_trip_ms = peer.round_trip_ms;
                // Counted since the session began.
                known.scene_bytes = known.scene_bytes.max(peer.scene_bytes);
            }
        }
    }
    for peer in &mut earlier {
        peer.utilisation = peer.busy_ms / frame_ms.max(1e-3);
    }
    earlier.sort_by(|a, b| b.share.total_cmp(&a.share));
    earlier
}

fn bytes(earlier: &BytesReport, later: &BytesReport) -> BytesReport {
    let (requests, request_count) =
        (earlier.requests + later.requests, earlier.request_count + later.request_count);
    BytesReport {
        // Counted since the sessions began.
        scene: earlier.scene.max(later.scene),
        requests,
        request_count,
        per_request: if request_count > 0 { requests as f64 / request_count as f64 } else { 0.0 },
        results: earlier.results + later.results,
    }
}

/// What came of all passes together.
pub fn conclude(report: &mut FrameReport, film: &Film, samples: &[u32], asked: u32) {
    report.samples_per_pixel = asked;
    report.least_samples_per_pixel = samples.iter().copied().min().unwrap_or(0);
    report.missing = film.missing().iter().map(|rect| [rect.x, rect.y, rect.width, rect.height]).collect();
    let is_complete = report.least_samples_per_pixel >= asked;
    if is_complete { "complete" } else { "partial" }.clone_into(&mut report.end);
}
