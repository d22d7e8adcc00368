//! How much memory this machine has for scenes.

use std::{fs, num::NonZeroU64};

use p2c2r_render::limit::MAX_PREPARED_BYTES;

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
