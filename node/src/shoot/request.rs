//! What a request asks for: its pictures, one by one, and whether all of them could be made and written.

use std::path::PathBuf;

use p2c2r_protocol::tile::SceneTime;
use p2c2r_render::picture::check_target;

use super::{job_log::JobLog, strategy};
use crate::{
    control::{PreviewTarget, RenderRequest, SplitChoice},
    develop,
    sequence::numbered,
};

/// One picture of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// Number of the frame; nothing of a picture that is in no sequence.
    pub frame: Option<u32>,
    /// The scene's moment.
    pub time: SceneTime,
    /// Picture to write.
    pub output: PathBuf,
    /// File that shows the passes.
    pub preview: Option<PathBuf>,
    /// Whether it is the first of the request.
    pub is_first: bool,
}

impl RenderRequest {
    /// How many pictures it asks for.
    pub fn pictures(&self) -> u32 {
        self.frames.map_or(1, |sequence| sequence.frames.count())
    }

    /// A picture of it, counted from 0; nothing beyond the last.
    pub(super) fn shot(&self, index: u32) -> anyhow::Result<Option<Shot>> {
        let picture = match self.frames {
            None if index == 0 => Some((None, SceneTime::START, self.output.clone())),
            None => None,
            Some(sequence) => match sequence.frames.numbers().nth(index as usize) {
                None => None,
                Some(frame) => Some((Some(frame), sequence.time_of(frame)?, numbered(&self.output, frame))),
            },
        };
        Ok(picture.map(|(frame, time, output)| Shot {
            frame,
            time,
            preview: self.preview.as_ref().map(|preview| match preview {
                PreviewTarget::Picture => output.clone(),
                PreviewTarget::File(path) => path.clone(),
            }),
            output,
            is_first: index == 0,
        }))
    }
}

/// Whether all pictures could be made and written.
pub(super) fn check(request: &RenderRequest) -> anyhow::Result<()> {
    if let Some(sequence) = &request.frames {
        sequence.check()?;
    }
    develop::check(&request.develop)?;
    if request.split != SplitChoice::Auto && request.split != SplitChoice::Spatial {
        check_split(request)?;
    }
    if let Some(PreviewTarget::File(preview)) = &request.preview {
        check_target(preview, request.force)?;
    }
    check_outputs(request)
}

/// Whether the request is one that can be split as it says.
fn check_split(request: &RenderRequest) -> anyhow::Result<()> {
    let split = format!("{:?}", request.split).to_lowercase();
    if request.split == SplitChoice::Pipeline {
        strategy::check_pipeline(request)?;
    }
    anyhow::ensure!(request.frames.is_some(), "--split {split} is for an animation: say which --frames");
    anyhow::ensure!(
        request.preview.is_none() && request.deadline_ms.is_none(),
        "--split {split} renders frames in one piece: leave --progressive and --deadline-ms out"
    );
    Ok(())
}

/// The pictures of a job that was begun before and are not finished.
pub(super) fn unfinished(log: &JobLog, request: &RenderRequest) -> anyhow::Result<Vec<u32>> {
    let mut unfinished = Vec::new();
    for index in 0..request.pictures() {
        let Some(shot) = request.shot(index)? else { continue };
        if !shot.frame.is_some_and(|frame| log.is_finished(frame, &shot.output)) {
            unfinished.push(index);
        }
    }
    Ok(unfinished)
}

/// Whether all pictures could be written.
pub fn check_outputs(request: &RenderRequest) -> anyhow::Result<()> {
    for index in 0..request.pictures() {
        if let Some(shot) = request.shot(index)? {
            check_target(&shot.output, request.force || request.resume)?;
        }
    }
    Ok(())
}
