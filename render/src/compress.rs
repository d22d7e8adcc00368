//! Encoded pixels in fewer bytes, for lines that are slower than this is (some 200 MB/s). Nothing is lost.
//!
//! The bytes of each word are taken apart first: those that hold exponents are alike and shrink to little, those at the ends
//! of mantissas are noise and stay as they are. A noisy film shrinks by a quarter, a smooth one by much more.

use p2c2r_protocol::tile::PixelEncoding;

/// The fastest of the ordinary levels: higher ones gain hardly anything on noise.
const LEVEL: i32 = 1;

/// Bytes of the words that an encoding consists of.
const fn word_bytes(encoding: PixelEncoding) -> usize {
    match encoding {
        PixelEncoding::RgbF32 | PixelEncoding::Rgb9E5 => 4,
        PixelEncoding::RgbSum => 8,
    }
}

/// The pixels compressed; nothing if that makes them no smaller.
pub fn compress(pixels: &[u8], encoding: PixelEncoding) -> Option<Vec<u8>> {
    let width = word_bytes(encoding);
    let mut planes = Vec::with_capacity(pixels.len());
    for plane in 0..width {
        planes.extend(pixels.iter().skip(plane).step_by(width));
    }
    let compressed = zstd::bulk::compress(&planes, LEVEL).ok()?;
    (compressed.len() < pixels.len()).then_some(compressed)
}

/// The pixels, which are so many bytes; nothing if these are others. The bytes come from a peer: no more room is made than for
/// what was asked for.
pub fn decompress(compressed: &[u8], encoding: PixelEncoding, length: usize) -> Option<Vec<u8>> {
    let width = word_bytes(encoding);
    let planes = zstd::bulk::decompress(compressed, length).ok().filter(|planes| planes.len() == length)?;
    let mut pixels = vec![0; length];
    let mut rest = planes.as_slice();
    for plane in 0..width {
        // The first planes have one more where the words do not come out even.
        let (bytes, after) = rest.split_at(length.saturating_sub(plane).div_ceil(width));
        for (pixel, byte) in pixels.iter_mut().skip(plane).step_by(width).zip(bytes) {
            *pixel = *byte;
        }
        rest = after;
    }
    Some(pixels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENCODINGS: [PixelEncoding; 3] =
        [PixelEncoding::RgbF32, PixelEncoding::RgbSum, PixelEncoding::Rgb9E5];

    #[test]
    fn noise_around_a_grey_shrinks_by_a_fifth_and_the_same_bytes_come_back() {
        let mut draws = fastrand::Rng::with_seed(3);
        let words: Vec<f32> = (0..30_000).map(|_| 0.3 + 0.2 * draws.f32()).collect();
        let pixels: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let compressed = compress(&pixels, PixelEncoding::RgbF32).unwrap();
        assert!(compressed.len() * 5 < pixels.len() * 4, "{} of {}", compressed.len(), pixels.len());
        assert_eq!(decompress(&compressed, PixelEncoding::RgbF32, pixels.len()).unwrap(), pixels);
    }

    #[test]
    fn b3_a_small_message_that_would_become_a_huge_one_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], LEVEL).unwrap();
        assert!(bomb.len() < 10_000);
        assert_eq!(decompress(&bomb, PixelEncoding::RgbF32, 1200), None);
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(
            bytes in prop::collection::vec(0_u8..4, 0..600),
            encoding in prop::sample::select(ENCODINGS.to_vec())
        ) {
            if let Some(compressed) = compress(&bytes, encoding) {
                prop_assert_eq!(decompress(&compressed, encoding, bytes.len()), Some(bytes.clone()));
                prop_assert_eq!(decompress(&compressed, encoding, bytes.len() + 1), None);
            }
        }

        #[test]
        fn b1_any_bytes_give_pixels_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0_usize..900) {
            for encoding in ENCODINGS {
                if let Some(pixels) = decompress(&bytes, encoding, length) {
                    prop_assert_eq!(pixels.len(), length);
                }
            }
        }
    }
}
