//! Sessions over in-memory streams: both pumps, and peers that break the rules.
