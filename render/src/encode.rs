//! A tile's pixels as they travel.

use p2c2r_protocol::tile::{FrameSize, PixelEncoding, TileRect};

use crate::{
    backend::TilePixels, film::FilmError, frame::Features, kernel::sum::RadianceSum, shared_exponent,
};

/// A tile's pixels as they came; rows from the top.
#[derive(Debug, Clone, PartialEq)]
pub enum TileData {
    /// Mean radiance ([`PixelEncoding::RgbF32`], [`PixelEncoding::Rgb9E5`]).
    Radiance(Vec<[f32; 3]>),
    /// Radiance of the samples, added up ([`PixelEncoding::RgbSum`]).
    Sums(Vec<RadianceSum>),
}

/// A rendered tile in the form asked for.
pub fn encode_tile(tile: &TilePixels, encoding: PixelEncoding) -> Vec<u8> {
    match encoding {
        PixelEncoding::RgbF32 => encode_radiance(&tile.radiance()),
        PixelEncoding::Rgb9E5 => {
            tile.radiance().into_iter().flat_map(|pixel| shared_exponent::pack(pixel).to_le_bytes()).collect()
        }
        // In memory as on the wire: one copy instead of one operation per channel.
        PixelEncoding::RgbSum if cfg!(target_endian = "little") => bytemuck::cast_slice(&tile.sums).to_vec(),
        PixelEncoding::RgbSum => tile.sums.iter().flat_map(|sum| sum.0).flat_map(u64::to_le_bytes).collect(),
    }
}

fn encode_radiance(pixels: &[[f32; 3]]) -> Vec<u8> {
    if cfg!(target_endian = "little") {
        return bytemuck::cast_slice(pixels).to_vec();
    }
    pixels.as_flattened().iter().flat_map(|channel| channel.to_le_bytes()).collect()
}

/// A tile's pixels from what travelled, each of so many samples. The bytes come from a peer: their length is checked
/// first, then that every channel is a radiance, or a sum that so many samples can have.
pub fn decode_tile(
    bytes: &[u8],
    rect: TileRect,
    encoding: PixelEncoding,
    samples: u32,
) -> Result<TileData, FilmError> {
    let expected = rect.pixels().saturating_mul(u64::from(encoding.bytes_per_pixel()));
    let found = bytes.len() as u64;
    if expected != found {
        return Err(FilmError::EncodedLength { expected, found });
    }
    match encoding {
        PixelEncoding::RgbF32 => {
            let words = bytes.as_chunks::<4>().0.as_chunks::<3>().0;
            let pixels: Vec<[f32; 3]> = words.iter().map(|pixel| pixel.map(f32::from_le_bytes)).collect();
            let is_radiance = |channel: &f32| channel.is_finite() && *channel >= 0.0;
            refuse(pixels.iter().position(|pixel| !pixel.iter().all(is_radiance)))?;
            Ok(TileData::Radiance(pixels))
        }
        PixelEncoding::Rgb9E5 => {
            let words = bytes.as_chunks::<4>().0;
            let pixels = words.iter().map(|word| shared_exponent::unpack(u32::from_le_bytes(*word)));
            Ok(TileData::Radiance(pixels.collect()))
        }
        PixelEncoding::RgbSum => {
            let words = bytes.as_chunks::<8>().0.as_chunks::<3>().0;
            let pixels: Vec<RadianceSum> =
                words.iter().map(|pixel| RadianceSum(pixel.map(u64::from_le_bytes))).collect();
            let most = RadianceSum::most(samples);
            refuse(pixels.iter().position(|pixel| pixel.0.iter().any(|channel| *channel > most)))?;
            Ok(TileData::Sums(pixels))
        }
    }
}

/// What is left of a pixel's mean radiance in an encoding: what a pixel that travelled so is compared with.
pub fn rounded(radiance: [f32; 3], encoding: PixelEncoding) -> [f32; 3] {
    match encoding {
        PixelEncoding::RgbF32 | PixelEncoding::RgbSum => radiance,
        PixelEncoding::Rgb9E5 => shared_exponent::unpack(shared_exponent::pack(radiance)),
    }
}

fn refuse(bad: Option<usize>) -> Result<(), FilmError> {
    bad.map_or(Ok(()), |pixel| Err(FilmError::Radiance { pixel: pixel as u64 }))
}

/// A frame's features, plane after plane (albedo, normal, depth), as little-endian binary32.
pub fn encode_features(features: &Features) -> Vec<u8> {
    let planes = [&features.albedo, &features.normal].into_iter().flat_map(|plane| plane.as_flattened());
    planes.chain(&features.depth).flat_map(|value| value.to_le_bytes()).collect()
}

/// Reads what [`encode_features`] wrote of a frame of this size; nothing if the length is another one, or a value is no
/// finite number.
pub fn decode_features(bytes: &[u8], size: FrameSize) -> Option<Features> {
    let pixels = usize::try_from(size.pixels()).ok()?;
    let values = floats(bytes, pixels.checked_mul(7)?)?;
    let (albedo, rest) = values.split_at(3 * pixels);
    let (normal, depth) = rest.split_at(3 * pixels);
    Some(Features { albedo: triples(albedo), normal: triples(normal), depth: depth.to_vec() })
}

fn floats(bytes: &[u8], count: usize) -> Option<Vec<f32>> {
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || values.len() != count {
        return None;
    }
    let floats: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    floats.iter().all(|value| value.is_finite()).then_some(floats)
}

fn triples(values: &[f32]) -> Vec<[f32; 3]> {
    values.as_chunks::<3>().0.to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(width: u32) -> TileRect {
        TileRect { x: 3, y: 5, width, height: 1 }
    }

    #[test]
    fn b05_pixels_that_are_no_radiance_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, -1.0] {
            let bytes = encode_radiance(&[[0.0; 3], [0.0, bad, 0.0]]);
            let refused = decode_tile(&bytes, row(2), PixelEncoding::RgbF32, 1);
            assert_eq!(refused, Err(FilmError::Radiance { pixel: 1 }));
        }
        for encoding in [PixelEncoding::RgbF32, PixelEncoding::RgbSum] {
            let bytes = 2 * encoding.bytes_per_pixel() as usize;
            assert!(decode_tile(&vec![0; bytes], row(2), encoding, 1).is_ok());
            assert!(decode_tile(&vec![0; bytes - 1], row(2), encoding, 1).is_err());
            let huge = TileRect { x: 0, y: 0, width: u32::MAX, height: u32::MAX };
            assert!(decode_tile(&vec![0; bytes], huge, encoding, 1).is_err());
        }
    }

    #[test]
    fn b05_sums_that_so_few_samples_cannot_have_are_refused() {
        let most = RadianceSum::most(3);
        let tile = |sum| TilePixels {
            sums: vec![RadianceSum([0, sum, 0])],
            samples_per_pixel: 3,
            rays: 0,
            device_ms: None,
        };
        let decoded = |sum, samples| {
            decode_tile(
                &encode_tile(&tile(sum), PixelEncoding::RgbSum),
                row(1),
                PixelEncoding::RgbSum,
                samples,
            )
        };
        assert_eq!(decoded(most, 3), Ok(TileData::Sums(vec![RadianceSum([0, most, 0])])));
        for (sum, samples) in [(most + 1, 3), (most, 2), (u64::MAX, 3)] {
            assert_eq!(decoded(sum, samples), Err(FilmError::Radiance { pixel: 0 }));
        }
    }

    #[test]
    fn the_wire_forms_are_little_endian_rgb() {
        let tile = TilePixels {
            sums: vec![RadianceSum([2 << 24, 4 << 24, 1 << 24])],
            samples_per_pixel: 2,
            rays: 0,
            device_ms: None,
        };
        let radiance = encode_tile(&tile, PixelEncoding::RgbF32);
        assert_eq!(radiance, [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0, 0x3f]);
        let sums = encode_tile(&tile, PixelEncoding::RgbSum);
        assert_eq!(sums, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn tiles_survive_the_wire(
            sums in prop::collection::vec(prop::array::uniform3(0..=RadianceSum::most(5)), 1..50),
        ) {
            let sums: Vec<RadianceSum> = sums.into_iter().map(RadianceSum).collect();
            let tile = TilePixels { sums, samples_per_pixel: 5, rays: 0, device_ms: None };
            let rect = row(tile.sums.len() as u32);
            let there_and_back = |encoding| decode_tile(&encode_tile(&tile, encoding), rect, encoding, 5).unwrap();
            prop_assert_eq!(there_and_back(PixelEncoding::RgbF32), TileData::Radiance(tile.radiance()));
            prop_assert_eq!(there_and_back(PixelEncoding::RgbSum), TileData::Sums(tile.sums.clone()));
        }
    }

    #[test]
    fn features_come_back_as_they_were_and_others_are_refused() {
        let size = FrameSize::new(3, 2).unwrap();
        let features = Features {
            albedo: (0..6_u8).map(|index| [f32::from(index), 0.5, 0.25]).collect(),
            normal: (0..6_u8).map(|index| [-1.0, f32::from(index), 1e-30]).collect(),
            depth: (0..6_u8).map(|index| f32::from(index) * 3.7).collect(),
        };
        let bytes = encode_features(&features);
        assert_eq!(decode_features(&bytes, size), Some(features));
        assert_eq!(decode_features(&bytes[..bytes.len() - 1], size), None);
        assert_eq!(decode_features(&bytes, FrameSize::new(2, 3).unwrap()).map(|it| it.depth.len()), Some(6));
        assert_eq!(decode_features(&bytes, FrameSize::new(2, 2).unwrap()), None);
        let mut poisoned = bytes.clone();
        poisoned[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(decode_features(&poisoned, size), None);
    }
}
