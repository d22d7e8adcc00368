//! SIGINT and SIGTERM as one future.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// The two ways to ask the program to stop.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes the signals over from their default action. Call inside the runtime.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Does something with nodes of its own to its end, or until the program is asked to stop: they end with it.
pub async fn until_stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Exit> {
    let mut stop = StopSignals::listen()?;
    tokio::select! {
        outcome = work => outcome.map(|()| Exit::Done),
        () = stop.recv() => {
            eprintln!("interrupted; the nodes are stopped");
            Ok(Exit::Interrupted)
        }
    }
}
