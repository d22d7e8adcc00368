//! A picture that is drawn upon: frames, names, pictures beside each other.

use std::{fs::File, io::BufWriter, path::Path, sync::OnceLock};

use anyhow::Context;
use plotters::{
    backend::BitMapBackend,
    drawing::IntoDrawingArea,
    element::Text,
    style::{FontStyle, IntoFont, RGBColor, register_font},
};

/// The name under which texts ask for their font.
const FONT: &str = "sans-serif";
/// Height of texts, px.
const TEXT_PX: u32 = 15;

/// A colour, sRGB.
pub type Colour = [u8; 3];

/// Colours that can be told apart with any eyes (Okabe and Ito 2008), for peers in their order.
pub const COLOURS: [Colour; 6] = [
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xd5, 0x5e, 0x00],
    [0xf0, 0xe4, 0x42],
];
/// The ground, and what is written on it.
pub const GROUND: Colour = [24, 26, 30];
const INK: Colour = [225, 225, 225];

/// A picture, three codes a pixel, with each pixel as a square of so many: what suits two cores is hard to see.
pub fn enlarged(pixels: &[u8], width_px: u32, times: u32) -> Vec<u8> {
    let row =
        |row: &[u8]| -> Vec<u8> { row.chunks(3).flat_map(|pixel| pixel.repeat(times as usize)).collect() };
    let rows = pixels.chunks(width_px.max(1) as usize * 3);
    rows.flat_map(|pixels| row(pixels).repeat(times as usize)).collect()
}

/// A picture with 8 bits for each of red, green and blue.
pub struct Sheet {
    width_px: u32,
    height_px: u32,
    pixels: Vec<u8>,
}

impl Sheet {
    /// An empty one.
    pub fn new(width_px: u32, height_px: u32) -> Self {
        let pixels = GROUND.repeat(width_px as usize * height_px as usize);
        Self { width_px, height_px, pixels }
    }

    /// A picture, three codes a pixel, rows from the top.
    pub fn of_pixels(width_px: u32, height_px: u32, pixels: Vec<u8>) -> anyhow::Result<Self> {
        let expected = width_px as usize * height_px as usize * 3;
        anyhow::ensure!(pixels.len() == expected, "a picture of {width_px}x{height_px} has too few pixels");
        Ok(Self { width_px, height_px, pixels })
    }

    /// Reads a PNG of 8 bits a channel.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = std::io::BufReader::new(File::open(path)?);
        let mut reader = png::Decoder::new(file).read_info()?;
        let mut pixels = vec![0; reader.output_buffer_size().context("the picture is too large")?];
        let info = reader.next_frame(&mut pixels)?;
        anyhow::ensure!(info.color_type == png::ColorType::Rgb, "{} is no RGB picture", path.display());
        pixels.truncate(info.buffer_size());
        Ok(Self { width_px: info.width, height_px: info.height, pixels })
    }

    /// Its size, px.
    pub fn size_px(&self) -> (u32, u32) {
        (self.width_px, self.height_px)
    }

    fn set(&mut self, x: u32, y: u32, colour: Colour) {
        if x < self.width_px && y < self.height_px {
            let at = (y as usize * self.width_px as usize + x as usize) * 3;
            if let Some(pixel) = self.pixels.get_mut(at..at + 3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// Puts another one upon it.
    pub fn paste(&mut self, other: &Self, left: u32, top: u32) {
        for y in 0..other.height_px {
            for x in 0..other.width_px {
                let at = (y as usize * other.width_px as usize + x as usize) * 3;
                if let Some([red, green, blue]) = other.pixels.get(at..at + 3) {
                    self.set(left + x, top + y, [*red, *green, *blue]);
                }
            }
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, [left, top, width, height]: [u32; 4], colour: Colour) {
        for y in top..top.saturating_add(height).min(self.height_px) {
            for x in left..left.saturating_add(width).min(self.width_px) {
                self.set(x, y, colour);
            }
        }
    }

    /// Draws the edge of a rectangle, inside of it.
    pub fn frame(&mut self, [left, top, width, height]: [u32; 4], thick_px: u32, colour: Colour) {
        self.fill([left, top, width, thick_px], colour);
        self.fill([left, (top + height).saturating_sub(thick_px), width, thick_px], colour);
        self.fill([left, top, thick_px, height], colour);
        self.fill([(left + width).saturating_sub(thick_px), top, thick_px, height], colour);
    }

    /// Writes a line of text, its top left corner there.
    pub fn write(&mut self, left: u32, top: u32, text: &str) -> anyhow::Result<()> {
        static FONT_KNOWN: OnceLock<bool> = OnceLock::new();
        let register = || register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok();
        anyhow::ensure!(*FONT_KNOWN.get_or_init(register), "the font cannot be read");
        let [red, green, blue] = INK;
        let style = (FONT, TEXT_PX).into_font().color(&RGBColor(red, green, blue));
        let area =
            BitMapBackend::with_buffer(&mut self.pixels, (self.width_px, self.height_px)).into_drawing_area();
        let drawn = area.draw(&Text::new(text.to_owned(), (left.cast_signed(), top.cast_signed()), style));
        drawn.map_err(|error| anyhow::anyhow!("a text cannot be drawn: {error}"))
    }

    /// Saves it as a PNG.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width_px, self.height_px);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        Ok(writer.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_there_and_nothing_beside_the_sheet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        let mut sheet = Sheet::new(60, 40);
        sheet.frame([5, 5, 20, 10], 2, COLOURS[0]);
        sheet.fill([50, 30, 100, 100], COLOURS[1]);
        sheet.write(2, 20, "name").unwrap();
        let mut whole = Sheet::new(80, 40);
        whole.paste(&sheet, 20, 0);
        whole.save(&path).unwrap();
        let read = Sheet::read(&path).unwrap();
        assert_eq!(read.size_px(), (80, 40));
        let pixel = |x: usize, y: usize| read.pixels[(y * 80 + x) * 3..][..3].to_vec();
        assert_eq!(
            (pixel(25, 5), pixel(28, 8), pixel(75, 35)),
            (COLOURS[0].into(), GROUND.into(), COLOURS[1].into())
        );
        let written = (20..60).any(|x| (18..38).any(|y| pixel(x, y)[0] > 120));
        assert!(written, "no text");
    }
}
