//! The asking side of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{MAX_LINE_BYTES, Reply, Request};
use crate::data_dir::control_socket;

/// Why the running node could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No node listens.
    #[error("no node is running with data directory {}; start one with `p2c2r-node run`", .0.display())]
    NotRunning(PathBuf),
    /// The connection broke.
    #[error("the connection to the running node broke: {0}")]
    Broken(#[from] io::Error),
    /// The node ended before it answered.
    #[error("the running node stopped before it had answered")]
    Ended,
    /// The node answered something that this version does not understand.
    #[error(
        "the running node answered in a form that this version does not understand ({0}); restart it with this version"
    )]
    Unknown(#[from] serde_json::Error),
    /// The node said what went wrong.
    #[error("{0}")]
    Refused(String),
}

/// A connection on which one thing was asked.
pub struct Client {
    lines: BufReader<OwnedReadHalf>,
    /// Kept open: closing it would cancel the job.
    _out: OwnedWriteHalf,
}

/// Connects to the node of a data directory; `None` when none is running there.
async fn connect(root: &Path) -> Result<Option<UnixStream>, ClientError> {
    match UnixStream::connect(control_socket(root)).await {
        Ok(stream) => Ok(Some(stream)),
        // A socket file without a listener is what a killed node leaves behind.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Client {
    /// Asks the node of a data directory; `None` when none is running there.
    pub async fn ask_if_running(root: &Path, request: &Request) -> Result<Option<Self>, ClientError> {
        let Some(stream) = connect(root).await? else { return Ok(None) };
        let (lines, mut out) = stream.into_split();
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        out.write_all(&line).await?;
        Ok(Some(Self { lines: BufReader::new(lines), _out: out }))
    }

    /// Asks the node of a data directory.
    pub async fn ask(root: &Path, request: &Request) -> Result<Self, ClientError> {
        Self::ask_if_running(root, request).await?.ok_or_else(|| ClientError::NotRunning(root.to_owned()))
    }

    /// The next answer; an error that the node reports becomes one here.
    pub async fn reply(&mut self) -> Result<Reply, ClientError> {
        let mut line = String::new();
        let read = (&mut self.lines).take(MAX_LINE_BYTES).read_line(&mut line).await?;
        if read == 0 {
            return Err(ClientError::Ended);
        }
        match serde_json::from_str(&line)? {
            Reply::Error { message } => Err(ClientError::Refused(message)),
            reply => Ok(reply),
        }
    }
}
