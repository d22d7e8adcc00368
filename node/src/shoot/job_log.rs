//! Which frames of a job are finished, in the node's store: a job that was cut off, by whatever, goes on from there.
//!
//! A frame is noted once its picture stands where it belongs, and the note is on disk before anybody is told of the
//! frame. A note counts only while the picture is still the one that was written.

use std::{
    fs::File,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use p2c2r_protocol::id::SceneHash;
use p2c2r_scheduler::history::{Store, StoreError};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    control::{RenderRequest, SplitChoice},
    store::SledStore,
};

/// Jobs that are remembered; of more, those that began first are forgotten.
const MAX_JOBS: usize = 64;
/// Digits of a frame's number in a key: keys sort as numbers do.
const FRAME_DIGITS: usize = 8;

/// The frames of one job.
#[derive(Debug, Clone)]
pub struct JobLog {
    store: SledStore,
    /// Its key, in front of those of its frames.
    key: String,
}

/// What is kept of a job.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    unix_ms: u64,
}

/// What is kept of a frame.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Finished {
    /// BLAKE3 of the picture's file.
    picture: String,
}

/// Why a job cannot be noted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobLogError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The request has no form that could be named.
    #[error("the job cannot be named: {0}")]
    Name(#[from] serde_json::Error),
    /// The picture cannot be read again.
    #[error("the picture {path} cannot be read again: {source}")]
    Picture {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl JobLog {
    /// The log of a request for a scene, and whether the job was begun before.
    pub fn open(
        store: &SledStore,
        request: &RenderRequest,
        scene: SceneHash,
    ) -> Result<(Self, bool), JobLogError> {
        let log = Self { store: store.clone(), key: format!("job/{}", name(request, scene)?) };
        let is_known = log.store.get(log.key.as_bytes())?.is_some();
        Ok((log, is_known))
    }

    /// Begins the job anew: what was finished before counts no more.
    pub fn begin(&self) -> Result<(), JobLogError> {
        self.forget_oldest()?;
        remove_job(&self.store, &self.key)?;
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
        self.store.put(self.key.as_bytes(), &serde_json::to_vec(&Begun { unix_ms })?)?;
        Ok(self.store.sync()?)
    }

    /// Whether the frame's picture is the one that was finished. Blocks while it is read.
    pub fn is_finished(&self, frame: u32, picture: &Path) -> bool {
        let noted = self.store.get(self.frame_key(frame).as_bytes()).ok().flatten();
        let noted: Option<Finished> = noted.and_then(|record| serde_json::from_slice(&record).ok());
        noted.is_some_and(|noted| file_hash(picture).is_ok_and(|hash| hash == noted.picture))
    }

    /// Notes that the frame's picture is finished. Blocks until that is on disk.
    pub fn finish(&self, frame: u32, picture: &Path) -> Result<(), JobLogError> {
        let unread = |source| JobLogError::Picture { path: picture.display().to_string(), source };
        // The picture first: a note of one that a power cut took would be worth nothing.
        File::open(picture).and_then(|file| file.sync_all()).map_err(unread)?;
        let finished = Finished { picture: file_hash(picture).map_err(unread)? };
        self.store.put(self.frame_key(frame).as_bytes(), &serde_json::to_vec(&finished)?)?;
        Ok(self.store.sync()?)
    }

    fn frame_key(&self, frame: u32) -> String {
        format!("{}/{frame:0FRAME_DIGITS$}", self.key)
    }

    fn forget_oldest(&self) -> Result<(), JobLogError> {
        let mut jobs: Vec<(u64, String)> = Vec::new();
        for (key, record) in self.store.scan(b"job/")? {
            let Ok(key) = String::from_utf8(key) else { continue };
            if key.matches('/').count() == 1 {
                let begun: Option<Begun> = serde_json::from_slice(&record).ok();
                jobs.push((begun.map_or(0, |begun| begun.unix_ms), key));
            }
        }
        jobs.sort();
        let surplus = (jobs.len() + 1).saturating_sub(MAX_JOBS);
        for (_, key) in jobs.into_iter().take(surplus) {
            remove_job(&self.store, &key)?;
        }
        Ok(())
    }
}

fn remove_job(store: &SledStore, key: &str) -> Result<(), StoreError> {
    store.remove(key.as_bytes())?;
    for (frame, _) in store.scan(format!("{key}/").as_bytes())? {
        store.remove(&frame)?;
    }
    Ok(())
}

/// A name of all that makes the job's pictures what they are, and of where they go: not which frames were asked for this
/// time, nor how they come about.
fn name(request: &RenderRequest, scene: SceneHash) -> Result<String, serde_json::Error> {
    let rate = request.frames.map(|sequence| sequence.rate);
    let same = RenderRequest {
        frames: None,
        force: false,
        wait_peers: None,
        preview: None,
        split: SplitChoice::Auto,
        resume: false,
        ..request.clone()
    };
    let words = serde_json::to_vec(&(same, rate, scene.to_string()))?;
    Ok(blake3::hash(&words).to_hex().chars().take(32).collect())
}

fn file_hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_string())
}

/// Tells that a frame could not be noted: the frame itself is there.
pub fn warn_unnoted(frame: u32, error: &JobLogError) {
    warn!(frame, %error, "a finished frame could not be noted; --resume would render it again");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use p2c2r_protocol::tile::FrameSize;

    use super::*;
    use crate::{develop::DevelopSettings, sequence::FrameSequence};

    fn request(frames: &str, seed: u32) -> RenderRequest {
        RenderRequest {
            scene: "/a.glb".into(),
            output: "/a.png".into(),
            frames: Some(FrameSequence { frames: frames.parse().unwrap(), rate: "24".parse().unwrap() }),
            force: false,
            size: FrameSize::new(8, 8).unwrap(),
            samples_per_pixel: 1,
            max_depth: 1,
            seed,
            clamp: 0.0,
            environment: None,
            lens_radius: 0.0,
            focus_distance: 0.0,
            camera: "auto".into(),
            deadline_ms: None,
            wait_peers: None,
            develop: DevelopSettings::default(),
            preview: None,
            split: SplitChoice::Auto,
            resume: false,
        }
    }

    #[test]
    fn a_frame_counts_while_its_picture_is_the_one_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(&folder.path().join("store")).unwrap();
        let picture = folder.path().join("a.0001.png");
        let scene = SceneHash([1; 32]);
        let (log, is_known) = JobLog::open(&store, &request("0..=9", 1), scene).unwrap();
        assert!(!is_known);
        log.begin().unwrap();
        fs::write(&picture, b"picture").unwrap();
        assert!(!log.is_finished(1, &picture), "it is there, but nobody finished it");
        log.finish(1, &picture).unwrap();
        // Other frames of the same job, however they are split.
        let more = RenderRequest { split: SplitChoice::Temporal, resume: true, ..request("0..=99", 1) };
        let (again, is_known) = JobLog::open(&store, &more, scene).unwrap();
        assert!(is_known && again.is_finished(1, &picture) && !again.is_finished(2, &picture));
        fs::write(&picture, b"another").unwrap();
        assert!(!again.is_finished(1, &picture));
        fs::write(&picture, b"picture").unwrap();
        again.begin().unwrap();
        assert!(!again.is_finished(1, &picture), "the job was begun anew");
    }

    #[test]
    fn other_pictures_are_another_job() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(&folder.path().join("store")).unwrap();
        let (log, _) = JobLog::open(&store, &request("0", 1), SceneHash([1; 32])).unwrap();
        log.begin().unwrap();
        assert!(!JobLog::open(&store, &request("0", 2), SceneHash([1; 32])).unwrap().1);
        assert!(!JobLog::open(&store, &request("0", 1), SceneHash([2; 32])).unwrap().1);
    }

    #[test]
    fn of_many_jobs_the_last_ones_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(&folder.path().join("store")).unwrap();
        for seed in 0..MAX_JOBS as u32 + 9 {
            let (log, _) = JobLog::open(&store, &request("0", seed), SceneHash([1; 32])).unwrap();
            log.begin().unwrap();
        }
        assert_eq!(store.scan(b"job/").unwrap().len(), MAX_JOBS);
    }
}
