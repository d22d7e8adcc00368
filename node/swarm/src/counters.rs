//! What the swarm has counted since its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters twice: as they are counted, and as they are shown.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the swarm has counted since its start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
        #[non_exhaustive]
        pub struct SwarmCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters while they count; shared by all tasks of the swarm.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// The counters as they are now.
            pub(crate) fn snapshot(&self) -> SwarmCounters {
                SwarmCounters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections that came up, in and out.
    connections,
    /// Dials that failed.
    dials_failed,
    /// Heartbeats that were new and valid.
    heartbeats_accepted,
    /// Heartbeats that were dropped without blame: replays, skewed clocks, too many at once.
    heartbeats_ignored,
    /// Heartbeats that no honest node passes on.
    heartbeats_rejected,
    /// Peers blocked for what they passed on.
    peers_blocked,
    /// Work sessions opened to others.
    sessions_opened,
    /// Work sessions accepted from others.
    sessions_accepted,
    /// Work sessions turned away because too many were open.
    sessions_refused,
    /// Bytes of packages sent to others.
    blob_bytes_sent,
    /// Bytes of packages fetched from others, chunks that came twice included.
    blob_bytes_received,
    /// Of these, chunks that came twice.
    blob_bytes_repeated,
    /// Peers that sent wrong chunks, and are asked for no more.
    blob_sources_shunned,
}

impl Counters {
    /// One more.
    pub(crate) fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    /// So many more.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
