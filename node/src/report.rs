//! What a frame cost and who rendered it: `--report`, `--json`, and the table on the terminal.

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_render::denoise::Denoiser;
use serde::{Deserialize, Serialize};

/// The form's name and version; a reader checks it first.
pub const SCHEMA: &str = "p2c2r.report/1";

/// A finished frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrameReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// `complete`, or `partial` when pixels are missing or have fewer samples than asked for: those of the tiles
    /// without a peer.
    pub end: String,
    /// Number of the frame in its sequence; nothing of a picture that is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// The scene.
    pub scene: SceneReport,
    /// Width and height, pixels.
    pub size_px: [u32; 2],
    /// Samples per pixel, as asked for.
    pub samples_per_pixel: u32,
    /// Samples of the pixel that has the fewest; 0 when pixels are missing.
    pub least_samples_per_pixel: u32,
    /// Path segments at most.
    pub max_depth: u32,
    /// Seed of the random numbers.
    pub seed: u32,
    /// BLAKE3 of the frame's pixels (binary32 RGB, little endian, rows from the top): equal frames have equal hashes.
    pub film_blake3: String,
    /// From the first offer to the last accepted tile, ms.
    pub frame_ms: f64,
    /// Finding peers and giving them the scene, ms.
    pub gather_ms: f64,
    /// The bound: what the peers whose tiles are in the film would have needed at the speeds that they had in this
    /// frame, if the work could be divided at will and nothing ever waited (DESIGN.md section 7), ms.
    pub bound_ms: f64,
    /// `frame_ms / bound_ms`.
    pub bound_ratio: f64,
    /// Rays traced for accepted tiles.
    pub rays: u64,
    /// Million rays per second over the frame.
    pub mrays_per_s: f64,
    /// Who rendered what.
    pub tiles: Vec<TileReport>,
    /// What each peer did.
    pub peers: Vec<PeerReport>,
    /// What crossed the network.
    pub bytes: BytesReport,
    /// What went wrong on the way.
    pub failures: FailureReport,
    /// Rectangles (x, y, width, height) without pixels.
    pub missing: Vec<[u32; 4]>,
    /// What the scene loader passed over, and what the picture had to do without.
    pub warnings: Vec<String>,
    /// What was made of the film; nothing until the picture is written.
    #[serde(default)]
    pub picture: Option<PictureReport>,
    /// How the animation is split among the peers; nothing of a single picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitReport>,
    /// What the stages of the sequence took so far; nothing of a frame that did not pass through stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineReport>,
}

/// A sequence whose frames pass through stages at different peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineReport {
    /// Frames whose pictures are there.
    pub frames: u32,
    /// From the first offer to now, ms.
    pub elapsed_ms: f64,
    /// What the busiest peer did until now, ms: it could not have been sooner.
    pub bound_ms: f64,
    /// `bound_ms / elapsed_ms`: how close the pace comes to that of its slowest stage.
    pub throughput_share: f64,
    /// Frames that were begun anew.
    pub restarts: u32,
    /// What each peer did for each stage.
    pub stages: Vec<StageReport>,
}

/// What a peer did for a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// `geometry`, `lighting` or `post`.
    pub stage: String,
    /// Node id.
    pub peer: String,
    /// Of how many frames.
    pub frames: u32,
    /// Time that it took, as it says, ms.
    pub busy_ms: f64,
    /// Time that was expected, ms.
    pub predicted_ms: f64,
}

/// How an animation is split among the peers, and why so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitReport {
    /// `spatial`, `temporal`, `nested` or `pipeline`.
    pub strategy: String,
    /// Whether it was taken for its forecast, not asked for.
    pub is_chosen: bool,
    /// Frames that the forecasts are for.
    pub frames: u32,
    /// Of these, from the first, frames that are not cut.
    #[serde(default)]
    pub whole_frames: u32,
    /// What each way was expected to take.
    pub forecasts: Vec<ForecastReport>,
}

/// What a way to split is expected to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastReport {
    /// Which.
    pub strategy: String,
    /// From now to the last picture, ms.
    pub makespan_ms: f64,
    /// Of the frames, from the first, those that would not be cut.
    #[serde(default)]
    pub whole_frames: u32,
}

impl SplitReport {
    /// A line about it.
    pub fn line(&self) -> String {
        let forecasts: Vec<String> = self
            .forecasts
            .iter()
            .map(|forecast| format!("{} {:.1} s", forecast.strategy, forecast.makespan_ms / 1e3))
            .collect();
        let why = if self.is_chosen { "is expected to be done first" } else { "was asked for" };
        let (whole, cut) = (self.whole_frames, self.frames.saturating_sub(self.whole_frames));
        let parts = if whole > 0 && cut > 0 { format!(" ({whole} whole, {cut} cut)") } else { String::new() };
        format!(
            "split: {}{parts} {why}; expected for {} frames: {}",
            self.strategy,
            self.frames,
            forecasts.join(", ")
        )
    }
}

/// How the picture was made of the film, whose pixels (`film_blake3`) are the same whatever is done here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PictureReport {
    /// The denoiser that was at work, or `off`.
    pub denoiser: String,
    /// Rendering albedo, normals and depth, ms; 0 if the picture needed none.
    pub features_ms: f64,
    /// Denoising, ms.
    pub denoise_ms: f64,
    /// Tone curve, encoding, writing, ms.
    #[serde(default)]
    pub write_ms: f64,
}

impl Default for PictureReport {
    fn default() -> Self {
        Self { denoiser: Denoiser::Off.name().to_owned(), features_ms: 0.0, denoise_ms: 0.0, write_ms: 0.0 }
    }
}

/// The scene of a frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SceneReport {
    /// File name.
    pub name: String,
    /// BLAKE3 of the package.
    pub hash: String,
    /// The moment of its animations, microseconds from their start; 0 of a scene that does not move.
    #[serde(default)]
    pub time_us: u64,
    /// Size of the package, bytes.
    pub bytes: u64,
    /// Triangles.
    pub triangles: u64,
}

/// One tile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TileReport {
    /// x, y, width, height in pixels.
    pub rect: [u32; 4],
    /// First of its samples of each pixel.
    pub first_sample: u32,
    /// Samples of each pixel.
    pub samples: u32,
    /// Whose pixels are in the film; nothing if none are.
    pub peer: Option<String>,
    /// Predicted time, ms.
    pub predicted_ms: f64,
    /// From offer to verified result, ms.
    pub actual_ms: Option<f64>,
    /// Copies offered in all.
    pub attempts: u32,
    /// Pixels that were rendered anew and found equal; 0 for the coordinator's own device.
    pub probes: u32,
}

/// One peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerReport {
    /// Node id.
    pub node: String,
    /// Whether it is the coordinator's own device.
    pub own_device: bool,
    /// Tiles of its in the film.
    pub tiles: u32,
    /// Share of the frame's estimated cost, 0 to 1.
    pub share: f64,
    /// Time that it rendered, as it says, ms.
    pub busy_ms: f64,
    /// `busy_ms / frame_ms`.
    pub utilisation: f64,
    /// Round trip, ms.
    pub round_trip_ms: f32,
    /// Scene bytes that it fetched for this frame.
    pub scene_bytes: u64,
}

/// What crossed the network for one frame.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BytesReport {
    /// Scene packages, all peers together.
    pub scene: u64,
    /// Tile requests to other nodes, with framing.
    pub requests: u64,
    /// Tile requests to other nodes, number.
    pub request_count: u64,
    /// Bytes of one request, mean.
    pub per_request: f64,
    /// Results from other nodes, with framing.
    pub results: u64,
}

/// What went wrong and was made good.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FailureReport {
    /// Offers turned down.
    pub rejected: u32,
    /// Peers lost with work in hand.
    pub peers_lost: u32,
    /// Results that were not believed.
    pub invalid: u32,
    /// Second copies of late tiles.
    pub hedges: u32,
    /// Attempts that came to nothing, copies included.
    #[serde(default)]
    pub attempts: u32,
    /// Of these, those that left their tile with no copy under way.
    #[serde(default)]
    pub visible: u32,
}

impl FrameReport {
    /// A table of who did what.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_header(["peer", "tiles", "share", "busy ms", "use", "trip ms", "scene bytes"]);
        for peer in &self.peers {
            let name = if peer.own_device {
                format!("{} (this node)", short(&peer.node))
            } else {
                short(&peer.node)
            };
            table.add_row([
                name,
                peer.tiles.to_string(),
                format!("{:.0} %", peer.share * 100.0),
                format!("{:.0}", peer.busy_ms),
                format!("{:.0} %", peer.utilisation * 100.0),
                format!("{:.1}", peer.round_trip_ms),
                peer.scene_bytes.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// Two lines of figures.
    pub fn summary(&self) -> String {
        let [width, height] = self.size_px;
        let failures = &self.failures;
        format!(
            "{width}x{height}, {} spp, {} triangles: {:.0} ms (bound {:.0} ms, ratio {:.2}), {:.2} Mrays/s\n\
             {} tiles, {} hedged, {} rejected, {} invalid, {}; {} scene bytes, {:.0} bytes a request, {} result bytes",
            self.samples_per_pixel,
            self.scene.triangles,
            self.frame_ms,
            self.bound_ms,
            self.bound_ratio,
            self.mrays_per_s,
            self.tiles.len(),
            failures.hedges,
            failures.rejected,
            failures.invalid,
            counted(failures.peers_lost, "peer lost", "peers lost"),
            self.bytes.scene,
            self.bytes.per_request,
            self.bytes.results,
        )
    }
}

fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// BLAKE3 of a frame's pixels as little-endian binary32.
pub fn film_hash(pixels: &[[f32; 3]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for row in pixels.chunks(4096) {
        let bytes: Vec<u8> = row.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize().to_string()
}

/// The end of a node id: enough to tell the nodes of a swarm apart.
fn short(node: &str) -> String {
    node.get(node.len().saturating_sub(8)..).unwrap_or(node).to_owned()
}
