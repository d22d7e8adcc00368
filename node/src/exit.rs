//! The exit codes that scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is done.
    Done,
    /// An error; one sentence about it is on stderr.
    Failed,
    /// The command finished, but pixels are missing; the report says which.
    Partial,
    /// Stopped by the user before it was done.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Partial => Self::from(3),
            Exit::Interrupted => Self::from(130),
        }
    }
}
