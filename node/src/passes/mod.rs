//! A frame in passes: all of it at few samples first, then ever more. Each pass is a job of its own over a range of
//! the frame's samples; merged they are the very bits of the frame in one piece
//! (docs/decisions/003-fixed-point-sums.md).

mod merge;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use p2c2r_protocol::tile::{PixelEncoding, Sampling};
use p2c2r_render::{
    film::Film,
    frame::Frame,
    picture::{self, PictureError, PictureOptions},
    sample_film::SampleFilm,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};
use tracing::warn;

use crate::{
    coordinator::{Canvas, Coordinator, JobOutcome, JobSpec},
    node::job_id,
    progress::Progress,
    report::{FrameReport, film_hash},
};

/// The first of the passes of a progressive frame has this share of its samples.
const FIRST_PASS_SHARE: u32 = 8;

/// How a frame is cut into passes.
#[derive(Debug, Clone, PartialEq)]
pub struct PassPlan {
    /// Samples of the first pass; each of the others doubles what is there.
    pub first_samples: u32,
    /// Shows the picture so far after each pass.
    pub preview: Option<Preview>,
}

/// A picture that is written anew after each pass: as it is, without denoiser.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub options: PictureOptions,
}

impl PassPlan {
    /// For a picture to be watched: an eighth of the samples first.
    pub fn watched(samples: u32, preview: Preview) -> Self {
        Self { first_samples: samples.div_ceil(FIRST_PASS_SHARE), preview: Some(preview) }
    }

    /// For a frame that may run out of time: a single sample first, so that no pixel goes without.
    pub fn hurried() -> Self {
        Self { first_samples: 1, preview: None }
    }

    /// The samples of each pass: those of the first, then as many again as there are.
    fn ranges(&self, samples: u32) -> Vec<Range<u32>> {
        let mut ranges = Vec::new();
        let mut done = 0;
        while done < samples {
            let end = done.saturating_mul(2).max(self.first_samples.max(1)).min(samples);
            ranges.push(done..end);
            done = end;
        }
        ranges
    }
}

/// Renders a frame in passes, within its deadline over all of them. Dropping the future cancels it.
pub async fn render(
    coordinator: &Coordinator,
    spec: JobSpec,
    plan: &PassPlan,
    progress: Arc<watch::Sender<Progress>>,
) -> anyhow::Result<(Film, FrameReport)> {
    let mut passes = Passes { coordinator, spec, plan, progress, first_offer: None, writing: None };
    loop {
        if let Some(done) = passes.run().await? {
            return Ok(done);
        }
        // Each time somebody is not believed any more, so this ends.
        warn!("a forger was found after it had taken part in earlier passes: all samples are rendered again");
    }
}

struct Passes<'a> {
    coordinator: &'a Coordinator,
    spec: JobSpec,
    plan: &'a PassPlan,
    progress: Arc<watch::Sender<Progress>>,
    /// When the first tile of the first pass was offered.
    first_offer: Option<Instant>,
    /// The preview that is being written.
    writing: Option<JoinHandle<Result<(), PictureError>>>,
}

impl Passes<'_> {
    /// All passes, or as many as the deadline allows; nothing if a forger may have had a hand in an earlier one.
    async fn run(&mut self) -> anyhow::Result<Option<(Film, FrameReport)>> {
        let mut film = SampleFilm::new(self.spec.size);
        let mut total: Option<FrameReport> = None;
        for range in self.plan.ranges(self.spec.sampling.samples) {
            let remaining_ms = self.remaining_ms();
            if total.is_some() && remaining_ms == Some(0) {
                break;
            }
            let outcome = self.pass(&range, remaining_ms, total.is_none()).await?;
            let frame_ms = Duration::from_secs_f64(outcome.report.frame_ms.max(0.0) / 1e3);
            self.first_offer = self.first_offer.or_else(|| Instant::now().checked_sub(frame_ms));
            if outcome.report.failures.invalid > 0 && total.as_ref().is_some_and(merge::had_help) {
                return Ok(None);
            }
            film = self.expose(film, range, outcome.canvas).await?;
            total = Some(match total {
                None => outcome.report,
                Some(earlier) => merge::merged(earlier, outcome.report),
            });
        }
        let Some(mut report) = total else { anyhow::bail!("a frame without samples was asked for") };
        self.wait_for_preview().await?;
        let asked = self.spec.sampling.samples;
        Ok(Some(
            spawn_blocking(move || {
                let mean = film.mean();
                report.film_blake3 = film_hash(mean.pixels());
                merge::conclude(&mut report, &mean, film.samples(), asked);
                (mean, report)
            })
            .await?,
        ))
    }

    /// What is left of the deadline, ms, if there is one; it runs from the first offer.
    fn remaining_ms(&self) -> Option<u64> {
        let elapsed = self.first_offer.map_or(Duration::ZERO, |since| since.elapsed());
        self.spec.deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(elapsed.as_millis() as u64))
    }

    /// One pass, telling progress over all of them.
    async fn pass(
        &self,
        range: &Range<u32>,
        remaining_ms: Option<u64>,
        is_first: bool,
    ) -> anyhow::Result<JobOutcome> {
        let whole = self.spec.sampling;
        let samples = range.end - range.start;
        let spec = JobSpec {
            job: job_id()?,
            sampling: Sampling { first_sample: whole.first_sample + range.start, samples, ..whole },
            deadline_ms: remaining_ms,
            wait_peers: self.spec.wait_peers.filter(|_| is_first),
            encoding: PixelEncoding::RgbSum,
            ..self.spec.clone()
        };
        let (told, mut news) = watch::channel(Progress::default());
        let job = self.coordinator.render(spec, Arc::new(told));
        tokio::pin!(job);
        loop {
            tokio::select! {
                outcome = &mut job => return Ok(outcome?),
                Ok(()) = news.changed() => {
                    let pass = *news.borrow_and_update();
                    let done = f64::from(range.start) + pass.done_share * f64::from(samples);
                    let eta_ms = pass.eta_ms.filter(|_| range.end == whole.samples);
                    let done_share = done / f64::from(whole.samples);
                    self.progress.send_replace(Progress { done_share, eta_ms, ..pass });
                }
            }
        }
    }

    /// Merges a pass into the film, and shows the picture so far if it is watched.
    async fn expose(
        &mut self,
        mut film: SampleFilm,
        range: Range<u32>,
        canvas: Option<Canvas>,
    ) -> anyhow::Result<SampleFilm> {
        let Some(Canvas::Sums(sums)) = canvas else { anyhow::bail!("a pass came back without its sums") };
        let is_watched = self.plan.preview.is_some();
        let (film, so_far) = spawn_blocking(move || {
            let merged = film.merge(range, &sums).map(|()| is_watched.then(|| film.mean()));
            merged.map(|so_far| (film, so_far))
        })
        .await??;
        if let (Some(preview), Some(so_far)) = (self.plan.preview.clone(), so_far) {
            self.wait_for_preview().await?;
            self.writing = Some(spawn_blocking(move || write(&preview.path, so_far, &preview.options)));
        }
        Ok(film)
    }

    /// The pictures of two passes are never written at the same time.
    async fn wait_for_preview(&mut self) -> anyhow::Result<()> {
        match self.writing.take() {
            Some(writing) => Ok(writing.await??),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, film: Film, options: &PictureOptions) -> Result<(), PictureError> {
    picture::write(path, &Frame::from(film), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(first_samples: u32) -> PassPlan {
        PassPlan { first_samples, preview: None }
    }

    #[test]
    fn passes_double_what_is_there_and_leave_out_no_sample() {
        assert_eq!(plan(2).ranges(16), [0..2, 2..4, 4..8, 8..16]);
        assert_eq!(plan(1).ranges(6), [0..1, 1..2, 2..4, 4..6]);
        assert_eq!(plan(5).ranges(7), [0..5, 5..7]);
        for samples in [1, 2, 3, 7, 8, 9, 100, 1 << 20] {
            let preview = Preview { path: PathBuf::new(), options: PictureOptions::default() };
            for plan in [PassPlan::watched(samples, preview), PassPlan::hurried(), plan(0)] {
                let ranges = plan.ranges(samples);
                assert!(ranges.len() <= 21 && ranges[0].start == 0);
                assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert!(ranges.iter().all(|range| !range.is_empty()));
                assert_eq!(ranges.last().unwrap().end, samples);
            }
        }
    }
}
