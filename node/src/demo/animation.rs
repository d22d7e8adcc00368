//! Pictures one after the other in one file: an animated PNG, which browsers play.

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::Context;

/// Writes pictures of one size, three codes a pixel, as an animation that is played over and over. Each picture is shown for so
/// many turns, of which there are so many a second.
pub fn write<'a>(
    path: &Path,
    (width_px, height_px): (u32, u32),
    turns_per_s: u16,
    pictures: impl ExactSizeIterator<Item = (u16, &'a [u8])>,
) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), width_px, height_px);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(u32::try_from(pictures.len())?, 0)?;
    let mut writer = encoder.write_header()?;
    for (turns, picture) in pictures {
        writer.set_frame_delay(turns, turns_per_s)?;
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
        let shown =
            pictures.iter().enumerate().map(|(index, picture)| (index as u16 + 1, picture.as_slice()));
        write(&path, (4, 2), 30, shown).unwrap();
        let file = std::io::BufReader::new(File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let control = *reader.info().animation_control().unwrap();
        assert_eq!((control.num_frames, control.num_plays), (3, 0));
        for (picture, turns) in pictures.iter().zip(1..) {
            let mut pixels = vec![0; 4 * 2 * 3];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(&pixels, picture);
            let shown = reader.info().frame_control().unwrap();
            assert_eq!((shown.delay_num, shown.delay_den), (turns, 30));
        }
    }
}
