//! Pictures one after the other in one file: an animated PNG, which browsers play.

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::Context;

/// Writes pictures of one size, three codes a pixel, as an animation that is played over and over at so many pictures a
/// second.
pub fn write<'a>(
    path: &Path,
    (width_px, height_px): (u32, u32),
    pictures_per_s: u16,
    pictures: impl ExactSizeIterator<Item = &'a [u8]>,
) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), width_px, height_px);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(u32::try_from(pictures.len())?, 0)?;
    encoder.set_frame_delay(1, pictures_per_s)?;
    let mut writer = encoder.write_header()?;
    for picture in pictures {
        writer.write_image_data(picture)?;
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("animation.png");
        let pictures: Vec<Vec<u8>> = (0..3).map(|shade| vec![shade * 50; 4 * 2 * 3]).collect();
        write(&path, (4, 2), 30, pictures.iter().map(Vec::as_slice)).unwrap();
        let file = std::io::BufReader::new(File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let control = *reader.info().animation_control().unwrap();
        assert_eq!((control.num_frames, control.num_plays), (3, 0));
        for picture in &pictures {
            let mut pixels = vec![0; 4 * 2 * 3];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(&pixels, picture);
        }
    }
}
