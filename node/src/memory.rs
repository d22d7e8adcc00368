//! How much memory this machine has for scenes, and giving back what is free.
#![allow(unsafe_code, reason = "only glibc itself can give its free memory back to the system")]

use std::{fs, num::NonZeroU64, time::Duration};

use p2c2r_render::limit::MAX_PREPARED_BYTES;

use crate::contributor::Contributor;

/// The device has been measured by then.
const FIRST_TIDYING: Duration = Duration::from_secs(5);
/// Between later ones.
const TIDYING_INTERVAL: Duration = Duration::from_mins(1);

/// Linux tells here what it has.
const MEMORY_FILE: &str = "/proc/meminfo";
/// What a control group (a container) may have at most: a number of bytes, or the word `max`.
const GROUP_FILE: &str = "/sys/fs/cgroup/memory.max";

/// What scenes get, bytes: what the owner says, else half of what the machine or the container has. Where the system
/// does not tell, the renderer's own limit.
pub fn for_scenes_bytes(asked_mib: Option<NonZeroU64>) -> u64 {
    if let Some(mib) = asked_mib {
        return mib.get().saturating_mul(1 << 20);
    }
    let machine = fs::read_to_string(MEMORY_FILE).ok().and_then(|text| total_bytes(&text));
    let group = fs::read_to_string(GROUP_FILE).ok().and_then(|text| text.trim().parse::<u64>().ok());
    machine.into_iter().chain(group).min().map_or(MAX_PREPARED_BYTES, |bytes| bytes / 2)
}

/// Gives free memory back whenever there is no work: what measuring the device or a large scene took would stay with the process
/// for ever, for glibc keeps as much as it once saw being freed at once.
pub async fn tidy(contributor: Contributor) {
    let mut wait = FIRST_TIDYING;
    loop {
        tokio::time::sleep(wait).await;
        let load = contributor.load();
        if load.running == 0 && load.queued == 0 {
            give_back();
        }
        wait = TIDYING_INTERVAL;
    }
}

fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time from any thread, and touches only memory that nobody holds.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The line `MemTotal:  16384 kB` of [`MEMORY_FILE`].
fn total_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_and_anything_else_is_passed_over() {
        assert_eq!(total_bytes("MemTotal:       16384 kB\nMemFree:  1 kB\n"), Some(16 << 20));
        for odd in ["", "MemTotal: many kB", "MemTotal: 5", "MemTotal: 99999999999999999999 kB"] {
            assert_eq!(total_bytes(odd), None, "{odd}");
        }
        assert!(for_scenes_bytes(None) > 0);
        assert_eq!(for_scenes_bytes(NonZeroU64::new(3)), 3 << 20);
    }
}
