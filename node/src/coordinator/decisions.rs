//! What decides, and where its decisions are written down.

use std::{fs::File, io::Write, path::Path};

use p2c2r_scheduler::{
    Scheduler,
    decision::{DecisionLog, file},
};
use tracing::warn;

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

    /// They are added to a file. One that cannot be written any more ends the log, not the work.
    pub fn logged(scheduler: Scheduler, path: &Path) -> std::io::Result<Self> {
        let mut file = Some(File::options().create(true).append(true).open(path)?);
        let name = path.display().to_string();
        let (scheduler, said) = scheduler.overhear();
        let sink = move |entry| {
            let Some(out) = &mut file else { return };
            // In one piece: what a crash leaves ends with a whole entry, or with a part of one that is easily told.
            let mut bytes = Vec::new();
            let written = file::write(&entry, &mut bytes).and_then(|()| Ok(out.write_all(&bytes)?));
            if let Err(error) = written {
                warn!(%error, file = name, "decisions are not written down any more");
                file = None;
            }
        };
        Ok(Self { scheduler, log: Some(DecisionLog::new(said, Box::new(sink))) })
    }
}
