//! How a frame's pixels travel: in full, or, where a deadline is short and lines are slow, in a third of the bytes.

use p2c2r_protocol::tile::PixelEncoding;
use p2c2r_scheduler::PeerView;

/// Share of the deadline that pixels may spend on their way before they are sent in fewer bytes.
const MAX_TRAVEL_SHARE: f64 = 0.25;

/// The encoding for a frame of so many pixels. Only mean radiance with a deadline is ever rounded, and only if the pixels
/// of most of the other nodes would travel for too long on the lines as they were measured: what one peer makes of
/// its line decides nothing for the others.
pub fn choose(
    asked: PixelEncoding,
    deadline_ms: Option<u64>,
    pixels: u64,
    peers: &[PeerView],
) -> PixelEncoding {
    let Some(deadline_ms) = deadline_ms.filter(|_| asked == PixelEncoding::RgbF32) else { return asked };
    let others: Vec<&PeerView> = peers.iter().filter(|peer| !peer.is_self && peer.ready).collect();
    let bytes = pixels as f64 * f64::from(asked.bytes_per_pixel()) / (others.len() + 1) as f64;
    let is_slow = |peer: &&&PeerView| {
        let rate = f64::from(peer.bytes_per_ms);
        rate > 0.0 && bytes / rate > deadline_ms as f64 * MAX_TRAVEL_SHARE
    };
    let slow = others.iter().filter(is_slow).count();
    if slow * 2 > others.len() { PixelEncoding::Rgb9E5 } else { asked }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::id::NodeId;

    use super::*;

    /// Another node whose line brings so many bytes per ms.
    fn peer(index: u8, bytes_per_ms: f32) -> PeerView {
        PeerView { bytes_per_ms, ready: true, ..PeerView::unknown(NodeId::from_public_key([index; 32])) }
    }

    const FULL: PixelEncoding = PixelEncoding::RgbF32;

    #[test]
    fn pixels_are_rounded_only_for_a_deadline_that_slow_lines_would_miss() {
        // 1.2 MB, 0.4 MB of them from each: 320 ms at 10 Mbit/s.
        let slow = [peer(1, 1250.0), peer(2, 1250.0)];
        assert_eq!(choose(FULL, Some(1000), 100_000, &slow), PixelEncoding::Rgb9E5);
        assert_eq!(choose(FULL, Some(2000), 100_000, &slow), FULL);
        assert_eq!(choose(FULL, None, 100_000, &slow), FULL);
        assert_eq!(choose(PixelEncoding::RgbSum, Some(1000), 100_000, &slow), PixelEncoding::RgbSum);
    }

    #[test]
    fn lines_that_are_not_measured_are_not_slow_and_one_slow_line_decides_nothing() {
        assert_eq!(choose(FULL, Some(1), 100_000, &[peer(1, 0.0)]), FULL);
        assert_eq!(choose(FULL, Some(1), 100_000, &[]), FULL);
        let one_of_three = [peer(1, 1.0), peer(2, 1e6), peer(3, 1e6)];
        assert_eq!(choose(FULL, Some(1000), 100_000, &one_of_three), FULL);
    }
}
