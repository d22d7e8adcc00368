//! Ends a loop on another thread with the demo that it belongs to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Tells a loop to stop when nobody waits for it any more.
#[derive(Default)]
pub struct StopWithMe(Arc<AtomicBool>);

impl StopWithMe {
    /// Becomes true when this is gone.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for StopWithMe {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
