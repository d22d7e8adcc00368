//! How far a job is: a bar on a terminal, plain lines elsewhere, always on stderr.

use std::{
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

/// Between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Other jobs come first.
    #[default]
    Waiting,
    /// Reading the scene and building its BVH.
    Loading,
    /// Finding peers and giving them the scene.
    Gathering,
    /// Tiles are out.
    Rendering,
    /// The picture is being written.
    Writing,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Tiles in the film.
    pub tiles_done: u32,
    /// Tiles in all.
    pub tiles_total: u32,
    /// Share of the estimated work that is done, 0 to 1.
    pub done_share: f64,
    /// Contributors at work or ready, this node's own device included.
    pub peers: u32,
    /// Million rays per second since the first offer.
    pub mrays_per_s: f64,
    /// Expected time to the end, ms.
    pub eta_ms: Option<f64>,
    /// The scene's way to the other peers.
    #[serde(default)]
    pub delivery: SceneDelivery,
}

/// How far a scene is on its way to the peers that were asked to have it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SceneDelivery {
    /// Peers that have it.
    pub there: u32,
    /// Peers that it is on its way to.
    pub on_the_way: u32,
    /// Share of it that has come to these, 0 to 1, in the mean.
    pub share: f64,
}

/// Shows progress.
pub struct ProgressView {
    bar: Option<ProgressBar>,
    quiet: bool,
    last_line: Option<(Instant, Phase)>,
    phase: Arc<Mutex<Phase>>,
    /// Stands before what is shown.
    label: String,
}

impl ProgressView {
    /// A bar if stderr is a terminal, else lines; nothing when quiet.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(10));
            // invariant: the template is a constant; a test renders it.
            if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/dim} {msg}") {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar
        });
        Self { bar, quiet, last_line: None, phase: Arc::default(), label: String::new() }
    }

    /// What the job was doing when it was last shown; goes on telling while the view is lent out.
    pub fn phase(&self) -> impl Fn() -> Phase + use<> {
        let phase = Arc::clone(&self.phase);
        move || *phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on it is about something else, which this says.
    pub fn begin(&mut self, label: &str) {
        label.clone_into(&mut self.label);
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Waiting;
    }

    /// Shows the newest state.
    pub fn show(&mut self, progress: &Progress) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = progress.phase;
        if let Some(bar) = &self.bar {
            bar.set_position((progress.done_share.clamp(0.0, 1.0) * 1000.0) as u64);
            bar.set_message(self.label.clone() + &describe(progress));
            return;
        }
        let now = Instant::now();
        // One of many may be through before there is anything to say of it.
        let is_one_of_many = !self.label.is_empty();
        let due = self.last_line.is_none_or(|(at, phase)| {
            (phase != progress.phase && !is_one_of_many) || now - at >= LINE_INTERVAL
        });
        if due && !self.quiet {
            self.last_line = Some((now, progress.phase));
            eprintln!("{}{}", self.label, describe(progress));
        }
    }

    /// A line that stays, above the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if !self.quiet => eprintln!("{line}"),
            None => {}
        }
    }

    /// Lets something print while the bar is out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(progress: &Progress) -> String {
    match progress.phase {
        Phase::Waiting => "waiting for earlier jobs".into(),
        Phase::Loading => "loading the scene".into(),
        Phase::Gathering => {
            format!("gathering peers: {} ready{}", progress.peers, delivered(&progress.delivery))
        }
        Phase::Writing => "writing the picture".into(),
        Phase::Rendering => {
            let eta =
                progress.eta_ms.map_or_else(String::new, |eta_ms| format!(", {} left", duration(eta_ms)));
            format!(
                "{:.0} %, {}/{} tiles on {} peers, {:.2} Mrays/s{eta}{}",
                progress.done_share * 100.0,
                progress.tiles_done,
                progress.tiles_total,
                progress.peers,
                progress.mrays_per_s,
                delivered(&progress.delivery),
            )
        }
    }
}

/// Said for as long as somebody waits for the scene.
fn delivered(delivery: &SceneDelivery) -> String {
    if delivery.on_the_way == 0 {
        return String::new();
    }
    format!(
        "; {} of {} peers have the scene, {:.0} % on the way",
        delivery.there,
        delivery.there + delivery.on_the_way,
        delivery.share * 100.0,
    )
}

fn duration(ms: f64) -> String {
    let seconds = (ms / 1000.0).max(0.0);
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_line_names_tiles_peers_speed_and_rest() {
        let progress = Progress {
            phase: Phase::Rendering,
            tiles_done: 3,
            tiles_total: 8,
            done_share: 0.375,
            peers: 4,
            mrays_per_s: 12.5,
            eta_ms: Some(2500.0),
            delivery: SceneDelivery::default(),
        };
        assert_eq!(describe(&progress), "38 %, 3/8 tiles on 4 peers, 12.50 Mrays/s, 2.5 s left");
        let delivery = SceneDelivery { there: 3, on_the_way: 5, share: 0.62 };
        let gathering = Progress { phase: Phase::Gathering, peers: 4, delivery, ..progress };
        assert_eq!(
            describe(&gathering),
            "gathering peers: 4 ready; 3 of 8 peers have the scene, 62 % on the way"
        );
    }

    #[test]
    fn bar_template_is_valid() {
        assert!(ProgressStyle::with_template("{bar:30.cyan/dim} {msg}").is_ok());
    }
}
