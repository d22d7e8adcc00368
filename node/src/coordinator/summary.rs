//! Turns a finished run into its report.

use std::{collections::BTreeMap, time::Instant};

use p2c2r_protocol::{id::NodeId, tile::TileRect};
use p2c2r_scheduler::{
    bound::{Capacity, smallest_time_ms},
    frame::{FrameEnd, FrameSummary, TileSummary},
};

use super::{
    Canvas, JobSpec,
    job::Run,
    sessions::{Session, TrafficNow},
};
use crate::report::{
    BytesReport, FailureReport, FrameReport, PeerReport, SCHEMA, SceneReport, TileReport, film_hash,
};

/// What a report is about, besides the run itself.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// What was asked for.
    pub spec: &'a JobSpec,
    /// The coordinator's node.
    pub own: NodeId,
    /// Its sessions.
    pub sessions: &'a BTreeMap<NodeId, Session>,
    /// Their counters before.
    pub traffic_before: &'a BTreeMap<NodeId, TrafficNow>,
}

/// The report of a run, or of one of its frames: its index, and when it was begun.
pub fn report(
    about: &About<'_>,
    run: &Run,
    canvas: Option<&Canvas>,
    frame: Option<(u32, Instant)>,
    now: Instant,
) -> FrameReport {
    let About { spec, sessions, traffic_before, .. } = *about;
    let index = frame.map(|(index, _)| index);
    let summary = run.frame.summary_of(index);
    let since = frame.map_or(run.started, |(_, since)| since);
    let frame_ms = now.saturating_duration_since(since).as_secs_f64() * 1e3;
    let parts = parts(&summary, run);
    let rays = parts.values().map(|part| part.rays).sum::<u64>();
    let bound_ms = bound_ms(&parts, rays, sessions);
    let missing = match &run.end {
        Some(FrameEnd::Partial { missing }) => missing.iter().map(|rect| corners(*rect)).collect(),
        _ => Vec::new(),
    };
    let (number, moment, _) = spec.shot(index.unwrap_or(0));
    FrameReport {
        schema: SCHEMA.to_owned(),
        end: if missing.is_empty() { "complete" } else { "partial" }.to_owned(),
        frame: index.map(|_| number),
        scene: SceneReport {
            name: spec.scene_name.clone(),
            hash: spec.scene.package.hash.to_string(),
            time_us: moment.time.us(),
            bytes: spec.scene.package.size_bytes(),
            triangles: spec.scene.prepared.triangle_count() as u64,
        },
        size_px: [spec.size.width_px(), spec.size.height_px()],
        samples_per_pixel: spec.sampling.samples,
        least_samples_per_pixel: if missing.is_empty() { spec.sampling.samples } else { 0 },
        max_depth: spec.sampling.max_depth,
        seed: spec.sampling.seed,
        film_blake3: match canvas {
            Some(Canvas::Radiance(film)) => film_hash(film.pixels()),
            // Of the film that the passes are merged into, when they are.
            Some(Canvas::Sums(_)) | None => String::new(),
        },
        frame_ms,
        gather_ms: run.gathered.as_secs_f64() * 1e3,
        bound_ms,
        bound_ratio: if bound_ms > 0.0 { frame_ms / bound_ms } else { 0.0 },
        rays,
        mrays_per_s: rays as f64 / frame_ms.max(1e-3) / 1e3,
        tiles: summary.tiles.iter().map(|tile| tile_report(spec, run, tile)).collect(),
        peers: peer_reports(about, &summary, &parts, frame_ms),
        bytes: bytes_report(sessions, traffic_before),
        failures: FailureReport {
            rejected: summary.rejected,
            peers_lost: run.peers_lost,
            invalid: summary.invalid,
            hedges: summary.hedges,
        },
        missing,
        warnings: spec.scene.warnings.to_vec(),
        picture: None,
        split: None,
    }
}

fn corners(rect: TileRect) -> [u32; 4] {
    [rect.x, rect.y, rect.width, rect.height]
}

fn tile_report(spec: &JobSpec, run: &Run, tile: &TileSummary) -> TileReport {
    TileReport {
        rect: corners(tile.rect),
        first_sample: spec.sampling.first_sample,
        samples: spec.sampling.samples,
        peer: tile.peer.map(|peer| peer.to_string()),
        predicted_ms: tile.predicted_ms,
        actual_ms: tile.actual_ms,
        attempts: tile.attempts,
        probes: run.accepted.get(&tile.index).map_or(0, |accepted| accepted.probes),
    }
}

/// What a peer did for the tiles in the film.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    rays: u64,
    busy_ms: f64,
}

fn parts(summary: &FrameSummary, run: &Run) -> BTreeMap<NodeId, Part> {
    let mut parts = BTreeMap::<NodeId, Part>::new();
    for tile in &summary.tiles {
        if let (Some(peer), Some(accepted)) = (tile.peer, run.accepted.get(&tile.index)) {
            let part = parts.entry(peer).or_default();
            part.rays += accepted.counters.rays;
            part.busy_ms += f64::from(accepted.counters.execution_ms);
        }
    }
    parts
}

/// The bound for the peers whose tiles are in the film, at the speeds that they had in this very frame.
fn bound_ms(parts: &BTreeMap<NodeId, Part>, rays: u64, sessions: &BTreeMap<NodeId, Session>) -> f64 {
    let capacities: Vec<Capacity> = parts
        .iter()
        .filter(|(_, part)| part.busy_ms > 0.0)
        .map(|(peer, part)| {
            let round_trip_ms =
                sessions.get(peer).filter(|session| !session.own).map(|far| far.round_trip_ms);
            Capacity {
                speed: part.rays as f64 / part.busy_ms,
                overhead_ms: f64::from(round_trip_ms.unwrap_or_default()),
            }
        })
        .collect();
    smallest_time_ms(&capacities, rays as f64).unwrap_or(0.0)
}

fn peer_reports(
    about: &About<'_>,
    summary: &FrameSummary,
    parts: &BTreeMap<NodeId, Part>,
    frame_ms: f64,
) -> Vec<PeerReport> {
    let mut peers: Vec<PeerReport> = summary
        .peers
        .iter()
        .map(|peer| {
            let session = about.sessions.get(&peer.peer);
            let before = about.traffic_before.get(&peer.peer).copied().unwrap_or_default();
            let busy_ms = parts.get(&peer.peer).map_or(0.0, |part| part.busy_ms);
            PeerReport {
                node: peer.peer.to_string(),
                own_device: peer.peer == about.own,
                tiles: peer.tiles,
                share: peer.cost_share,
                busy_ms,
                utilisation: busy_ms / frame_ms.max(1e-3),
                round_trip_ms: session.map_or(0.0, |session| session.round_trip_ms),
                scene_bytes: session.map_or(0, |session| {
                    session.traffic_now().fetched_bytes.saturating_sub(before.fetched_bytes)
                }),
            }
        })
        .collect();
    peers.sort_by(|a, b| b.share.total_cmp(&a.share));
    peers
}

fn bytes_report(sessions: &BTreeMap<NodeId, Session>, before: &BTreeMap<NodeId, TrafficNow>) -> BytesReport {
    let mut bytes = BytesReport::default();
    for (peer, session) in sessions.iter().filter(|(_, session)| !session.own) {
        let (then, now) = (before.get(peer).copied().unwrap_or_default(), session.traffic_now());
        bytes.scene += now.fetched_bytes.saturating_sub(then.fetched_bytes);
        bytes.requests += now.request_bytes.saturating_sub(then.request_bytes);
        bytes.request_count += now.offers.saturating_sub(then.offers);
        bytes.results += now.received_bytes.saturating_sub(then.received_bytes);
    }
    bytes.per_request =
        if bytes.request_count > 0 { bytes.requests as f64 / bytes.request_count as f64 } else { 0.0 };
    bytes
}
