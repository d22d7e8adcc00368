//! Turns a finished run into its report.

use std::{collections::BTreeMap, time::Instant};

use p2c2r_protocol::{
    id::NodeId,
    stage::Plane,
    tile::{PixelEncoding, TileRect},
};
use p2c2r_scheduler::{
    bound::{Capacity, smallest_time_ms},
    frame::{FrameEnd, FrameSummary, TileSummary},
};

use super::{
    Canvas, JobSpec,
    job::Run,
    pipeline::{FrameBook, PipelineRun},
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
        scene: SceneReport { time_us: moment.time.us(), ..scene_report(spec) },
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
            attempts: summary.failures,
            visible: summary.visible_failures,
        },
        missing,
        warnings: spec.scene.warnings.iter().cloned().chain(rounding(spec, run)).collect(),
        picture: None,
        split: None,
        pipeline: None,
    }
}

/// Says that the pixels are not those that a single machine would give.
fn rounding(spec: &JobSpec, run: &Run) -> Option<String> {
    let is_rounded = run.encoding == PixelEncoding::Rgb9E5 && spec.encoding != run.encoding;
    let note =
        "the lines are slow for this deadline: pixels travelled in 4 bytes, rounded to nine bits a channel";
    is_rounded.then(|| note.to_owned())
}

/// The report of a frame that passed through stages.
pub fn pipeline_report(
    about: &About<'_>,
    pipe: &PipelineRun,
    index: u32,
    book: &FrameBook,
    now: Instant,
) -> FrameReport {
    let spec = about.spec;
    let (number, moment, _) = spec.shot(index);
    let since = book.since.unwrap_or(pipe.started);
    let frame_ms = now.saturating_duration_since(since).as_secs_f64() * 1e3;
    let busy_ms: f64 = book.stages.iter().map(|stage| stage.busy_ms).sum();
    let peers = book.stages.iter().map(|stage| PeerReport {
        node: stage.peer.clone(),
        own_device: stage.peer == about.own.to_string(),
        tiles: 1,
        share: stage.busy_ms / busy_ms.max(1e-9),
        busy_ms: stage.busy_ms,
        utilisation: stage.busy_ms / frame_ms.max(1e-3),
        round_trip_ms: 0.0,
        scene_bytes: 0,
    });
    let film = book.planes.get(&Plane::Film).map(ToString::to_string);
    FrameReport {
        end: "complete".to_owned(),
        frame: Some(number),
        scene: SceneReport { time_us: moment.time.us(), ..scene_report(spec) },
        least_samples_per_pixel: spec.sampling.samples,
        film_blake3: film.unwrap_or_default(),
        frame_ms,
        gather_ms: pipe.gathered.as_secs_f64() * 1e3,
        bound_ms: busy_ms,
        bound_ratio: frame_ms / busy_ms.max(1e-9),
        rays: book.rays,
        mrays_per_s: book.rays as f64 / frame_ms.max(1e-3) / 1e3,
        peers: peers.collect(),
        bytes: bytes_report(about.sessions, about.traffic_before),
        pipeline: Some(pipe.report(now)),
        ..sequence_report(spec, pipe, now)
    }
}

/// The report of a whole sequence whose frames passed through stages.
pub fn sequence_report(spec: &JobSpec, pipe: &PipelineRun, now: Instant) -> FrameReport {
    let report = pipe.report(now);
    FrameReport {
        schema: SCHEMA.to_owned(),
        end: "complete".to_owned(),
        frame: None,
        scene: scene_report(spec),
        size_px: [spec.size.width_px(), spec.size.height_px()],
        samples_per_pixel: spec.sampling.samples,
        least_samples_per_pixel: spec.sampling.samples,
        max_depth: spec.sampling.max_depth,
        seed: spec.sampling.seed,
        film_blake3: String::new(),
        frame_ms: report.elapsed_ms,
        gather_ms: pipe.gathered.as_secs_f64() * 1e3,
        bound_ms: report.bound_ms,
        bound_ratio: report.elapsed_ms / report.bound_ms.max(1e-9),
        rays: 0,
        mrays_per_s: 0.0,
        tiles: Vec::new(),
        peers: Vec::new(),
        bytes: BytesReport::default(),
        failures: FailureReport {
            peers_lost: pipe.peers_lost,
            invalid: pipe.invalid,
            ..FailureReport::default()
        },
        missing: Vec::new(),
        warnings: spec.scene.warnings.to_vec(),
        picture: None,
        split: None,
        pipeline: Some(report),
    }
}

fn scene_report(spec: &JobSpec) -> SceneReport {
    SceneReport {
        name: spec.scene_name.clone(),
        hash: spec.scene.package.hash.to_string(),
        time_us: spec.scene.time.us(),
        bytes: spec.scene.package.size_bytes(),
        triangles: spec.scene.prepared.triangle_count() as u64,
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
