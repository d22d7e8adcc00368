//! Computes a share of the answers again, on a thread that is in nobody's way.

use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use p2c2r_game::{executor::Executor, frame_loop::Check, level::Level};

use super::link::Arrival;

/// Answers that wait to be checked: of more, some are not.
const MAX_WAITING: usize = 16;

/// Starts the thread; it ends when the returned end is dropped.
pub fn start(level: Arc<Level>, arrivals: SyncSender<Arrival>) -> std::io::Result<SyncSender<Check>> {
    let (checks, waiting) = sync_channel::<Check>(MAX_WAITING);
    thread::Builder::new().name("checks".into()).spawn(move || {
        let mut executor = Executor::new(level);
        for check in waiting {
            let again =
                executor.run(check.request.kind, check.request.tick, check.request.ticks, &check.snapshot);
            let is_right = again.is_ok_and(|output| output == check.output);
            if arrivals.send(Arrival::Checked { check, is_right }).is_err() {
                return;
            }
        }
    })?;
    Ok(checks)
}
