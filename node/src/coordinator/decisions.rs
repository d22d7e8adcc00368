//! What decides, and where its decisions are written down.

use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    path::Path,
};

use p2c2r_scheduler::{
    Scheduler,
    decision::{DecisionLog, file},
};
use tracing::warn;

/// Largest log, bytes: peers have a say in how much there is to decide.
const MAX_LOG_BYTES: usize = 1 << 30;

/// The scheduler, and the log of what it and its frames decide, if there is to be one.
pub struct Decisions {
    /// Plans and predicts.
    pub scheduler: Scheduler,
    /// Hears of it.
    pub log: Option<DecisionLog>,
}

impl Decisions {
    /// Nobody writes them down.
    pub fn unlogged(scheduler: Scheduler) -> Self {
        Self { scheduler, log: None }
    }

    /// They are written to a file, which begins anew. One that cannot be written any more, or is full, ends the log, not
    /// the work.
    pub fn logged(scheduler: Scheduler, path: &Path) -> io::Result<Self> {
        let opened = File::options().create(true).write(true).truncate(false).open(path)?;
        opened.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another node writes to it"),
            TryLockError::Error(error) => error,
        })?;
        opened.set_len(0)?;
        let (mut file, mut left_bytes) = (Some(opened), MAX_LOG_BYTES);
        let name = path.display().to_string();
        let (scheduler, said) = scheduler.overhear();
        let sink = move |entry| {
            let Some(out) = &mut file else { return };
            let mut bytes = Vec::new();
            let written = file::write(&entry, &mut bytes).and_then(|()| {
                left_bytes = left_bytes
                    .checked_sub(bytes.len())
                    .ok_or_else(|| io::Error::other(format!("it has {} MiB already", MAX_LOG_BYTES >> 20)))?;
                Ok(out.write_all(&bytes)?)
            });
            if let Err(error) = written {
                warn!(%error, file = name, "decisions are not written down any more");
                file = None;
            }
        };
        Ok(Self { scheduler, log: Some(DecisionLog::new(said, Box::new(sink))) })
    }
}
