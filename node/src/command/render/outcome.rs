//! What is shown, printed and kept of each picture, and how the command ends.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use anyhow::Context;

use crate::{
    cli::{GlobalArgs, RenderArgs},
    exit::Exit,
    progress::{Progress, ProgressView},
    report::{FrameReport, SplitReport},
    sequence::{FrameRange, numbered},
};

/// How far the command is, to be read while the pictures are rendered.
#[derive(Default)]
pub struct Standing {
    /// Pictures that are written.
    taken: AtomicU32,
    /// Set to end after the picture in hand.
    stopping: AtomicBool,
}

impl Standing {
    /// Ends after the picture in hand.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Pictures that are written.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Takes the pictures as they are written.
pub struct Outcome<'a> {
    args: &'a RenderArgs,
    quiet: bool,
    view: ProgressView,
    standing: Arc<Standing>,
    has_partial: bool,
    /// What the picture before warned of.
    warned: Vec<String>,
    /// How it was split.
    said_split: Option<SplitReport>,
}

impl<'a> Outcome<'a> {
    /// Nothing yet.
    pub fn new(global: &GlobalArgs, args: &'a RenderArgs, view: ProgressView) -> Self {
        let mut outcome = Self {
            args,
            quiet: global.quiet,
            view,
            standing: Arc::default(),
            has_partial: false,
            warned: Vec::new(),
            said_split: None,
        };
        outcome.begin_picture();
        outcome
    }

    /// How far it is; goes on telling while the outcome is lent out.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// The view, for what else there is to say.
    pub fn view(&self) -> &ProgressView {
        &self.view
    }

    /// Frames are there from before; whether these are all.
    pub fn kept(&mut self, frames: u32) -> ControlFlow<()> {
        let taken = self.standing.taken.fetch_add(frames, Ordering::Relaxed) + frames;
        self.view.note(&format!("{frames} of {} frames are there from before and stay", pictures(self.args)));
        if taken >= pictures(self.args) {
            return ControlFlow::Break(());
        }
        self.begin_picture();
        ControlFlow::Continue(())
    }

    /// Shows how far the picture in hand is.
    pub fn progress(&mut self, progress: &Progress) {
        self.view.show(progress);
    }

    /// Shows what became of a picture, and keeps its report; whether that was the last one.
    pub fn picture(&mut self, report: &FrameReport) -> anyhow::Result<ControlFlow<()>> {
        let lines = self.lines(report);
        self.view.aside(|| -> anyhow::Result<()> {
            for line in lines {
                eprintln!("{line}");
            }
            if self.args.json {
                println!("{}", serde_json::to_string(report)?);
            }
            Ok(())
        })?;
        if let Some(path) = self.report_path(report.frame) {
            write_report(&path, report)
                .with_context(|| format!("cannot write the report {}", path.display()))?;
        }
        let taken = self.standing.taken.fetch_add(1, Ordering::Relaxed) + 1;
        if taken >= pictures(self.args) || self.standing.stopping.load(Ordering::Relaxed) {
            return Ok(ControlFlow::Break(()));
        }
        self.begin_picture();
        Ok(ControlFlow::Continue(()))
    }

    /// How the command ends after all pictures, or after those before it was asked to stop.
    pub fn exit(&self) -> Exit {
        if self.standing.taken() < pictures(self.args) {
            Exit::Interrupted
        } else if self.has_partial {
            Exit::Partial
        } else {
            Exit::Done
        }
    }

    fn begin_picture(&mut self) {
        if let Some(frames) = self.args.frames {
            let place = self.standing.taken() + 1;
            self.view.begin(&format!("frame {place} of {}: ", frames.count()));
        }
    }

    /// Alone there is nothing to split.
    fn is_news(&self, report: &FrameReport, split: &SplitReport) -> bool {
        self.said_split.as_ref() != Some(split) && (report.peers.len() > 1 || !split.is_chosen)
    }

    /// What a person is told: what the picture has to do without, even if quiet; else who rendered it.
    fn lines(&mut self, report: &FrameReport) -> Vec<String> {
        let output = picture_path(&self.args.output, report.frame);
        let mut lines = Vec::new();
        if !self.quiet {
            let news = report.warnings.iter().filter(|warning| !self.warned.contains(warning));
            lines.extend(news.map(|warning| format!("warning: {warning}")));
            if let Some(split) = report.split.as_ref().filter(|split| self.is_news(report, split)) {
                lines.push(split.line());
            }
            if let (Some(frame), Some(frames)) = (report.frame, self.args.frames) {
                lines.push(frame_line(report, self.standing.taken() + 1, frames, frame, &output));
            } else {
                lines.push(format!("{}\n{}", report.table(), report.summary()));
                lines.push(format!("wrote {}", output.display()));
            }
        }
        self.warned.clone_from(&report.warnings);
        self.said_split.clone_from(&report.split);
        if let Some(lack) = lack(report) {
            self.has_partial = true;
            lines.push(match report.frame {
                Some(frame) => format!("frame {frame} is partial: {lack}, see the report"),
                None => format!("the picture is partial: {lack}, see the report"),
            });
        }
        lines
    }

    fn report_path(&self, frame: Option<u32>) -> Option<PathBuf> {
        self.args.report.as_ref().map(|path| picture_path(path, frame))
    }
}

fn pictures(args: &RenderArgs) -> u32 {
    args.frames.map_or(1, FrameRange::count)
}

fn picture_path(path: &Path, frame: Option<u32>) -> PathBuf {
    frame.map_or_else(|| path.to_owned(), |frame| numbered(path, frame))
}

/// One frame of many in one line.
fn frame_line(report: &FrameReport, place: u32, frames: FrameRange, frame: u32, output: &Path) -> String {
    let helpers = report.peers.iter().filter(|peer| peer.tiles > 0).count();
    let parts = match &report.pipeline {
        Some(_) => "its stages".to_owned(),
        None => format!("{} tiles", report.tiles.len()),
    };
    format!(
        "frame {place} of {} (number {frame}): {:.0} ms, {parts} on {}, {:.2} Mrays/s; wrote {}",
        frames.count(),
        report.frame_ms,
        if helpers == 1 { "1 device".to_owned() } else { format!("{helpers} devices") },
        report.mrays_per_s,
        output.display(),
    )
}

/// What a partial picture lacks.
fn lack(report: &FrameReport) -> Option<String> {
    let (least, asked) = (report.least_samples_per_pixel, report.samples_per_pixel);
    if least >= asked {
        None
    } else if report.missing.is_empty() {
        Some(format!("pixels have {least} samples at least, not {asked}"))
    } else {
        Some(format!("{} rectangles are missing", report.missing.len()))
    }
}

/// Whether all reports could be written.
pub fn check_reports(args: &RenderArgs) -> anyhow::Result<()> {
    let Some(path) = &args.report else { return Ok(()) };
    match args.frames {
        None => check_report(path),
        Some(frames) => frames.numbers().try_for_each(|frame| check_report(&numbered(path, frame))),
    }
}

fn check_report(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        anyhow::bail!("{} is a directory; name a file to write the report to", path.display());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(PathBuf::from("."), Path::to_owned);
    if !folder.is_dir() {
        anyhow::bail!("the report's folder {} does not exist", folder.display());
    }
    Ok(())
}

/// Whole or not at all.
fn write_report(path: &Path, report: &FrameReport) -> io::Result<()> {
    let beside = path.with_extension("json.partial");
    std::fs::write(&beside, serde_json::to_vec_pretty(report)?)?;
    std::fs::rename(beside, path)
}
