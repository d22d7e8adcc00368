//! The log as a file: a sequence of CBOR items (RFC 8742), so that what was written before a crash can be read.

use std::io::{self, BufRead, Write};

use super::Entry;

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It ends in the middle of an entry.
    #[error("entry {0} is cut off; those before it are whole")]
    CutOff(usize),
    /// What was to be written.
    #[error("a decision cannot be written as CBOR: {0}")]
    Encoding(String),
    /// What is in it.
    #[error("entry {entry} is no decision: {reason}")]
    Entry {
        /// Which, from 1.
        entry: usize,
        /// Why.
        reason: String,
    },
}

/// Adds an entry.
pub fn write(entry: &Entry, out: &mut impl Write) -> Result<(), LogError> {
    ciborium::into_writer(entry, out).map_err(|error| match error {
        ciborium::ser::Error::Io(error) => LogError::Io(error),
        ciborium::ser::Error::Value(reason) => LogError::Encoding(reason),
    })
}

/// The entries of a file; after the first that cannot be read there are no more.
pub fn read(mut from: impl BufRead) -> impl Iterator<Item = Result<Entry, LogError>> {
    let (mut entry, mut ended) = (0, false);
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        match from.fill_buf() {
            Ok([]) => return None,
            Ok(_) => {}
            Err(error) => {
                ended = true;
                return Some(Err(error.into()));
            }
        }
        entry += 1;
        let read = ciborium::from_reader(&mut from);
        ended = read.is_err();
        Some(read.map_err(|error| unread(entry, error)))
    })
}

fn unread(entry: usize, error: ciborium::de::Error<io::Error>) -> LogError {
    use ciborium::de::Error;
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => LogError::CutOff(entry),
        Error::Io(error) => LogError::Io(error),
        Error::Syntax(at) => LogError::Entry { entry, reason: format!("no CBOR at its byte {at}") },
        Error::Semantic(_, reason) => LogError::Entry { entry, reason },
        Error::RecursionLimitExceeded => LogError::Entry { entry, reason: "it is nested too deep".into() },
    }
}
