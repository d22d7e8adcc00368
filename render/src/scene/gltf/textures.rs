//! Textures: each picture that a material uses is decoded once.

use std::{collections::HashMap, io::Cursor};

use image::{ImageFormat, ImageReader, Limits};

use super::{accessor::Source, document::element, warnings::Warnings};
use crate::{
    limit::{MAX_TEXTURES, SceneLimits},
    scene::{
        Filter, Image, Texture, Wrap,
        error::{SceneError, printable},
    },
};

/// Bytes that a decoder may need beyond four for each pixel.
const DECODER_OVERHEAD_BYTES: u64 = 16 << 20;

/// The textures read so far.
#[derive(Debug, Default)]
pub(super) struct Textures {
    read: Vec<Texture>,
    images: Vec<Image>,
    by_texture: HashMap<Texture, u32>,
    /// The scene's index of each picture of the document.
    by_image: HashMap<u32, u32>,
    pixels: u64,
}

impl Textures {
    /// The index (in the scene) of the document's texture `index`; `None` when it has no picture that can be read
    /// without extensions.
    pub(super) fn index_of(
        &mut self,
        source: Source<'_>,
        index: u32,
        place: &str,
        limits: &SceneLimits,
        warnings: &mut Warnings,
    ) -> Result<Option<u32>, SceneError> {
        let texture = element(&source.document.textures, index, "texture", || place.to_owned())?;
        let here = format!("texture {index}");
        let (wrap, filter) = match texture.sampler {
            None => ([Wrap::Repeat; 2], Filter::Linear),
            Some(sampler) => {
                let sampler = element(&source.document.samplers, sampler, "sampler", || here.clone())?;
                let wrap = [wrap_of(sampler.wrap_s, &here)?, wrap_of(sampler.wrap_t, &here)?];
                (wrap, filter_of(sampler.mag_filter, &here)?)
            }
        };
        let Some(image) = texture.source else {
            warnings
                .add(format!("{here}: its picture is in a format that needs an extension and is ignored"));
            return Ok(None);
        };
        let texture = Texture { image: self.image(source, image, limits)?, wrap, filter };
        if let Some(known) = self.by_texture.get(&texture) {
            return Ok(Some(*known));
        }
        SceneError::check_limit("textures", self.read.len() as u64 + 1, MAX_TEXTURES)?;
        let known = self.read.len() as u32;
        self.read.push(texture);
        self.by_texture.insert(texture, known);
        Ok(Some(known))
    }

    /// All textures and their pictures, in the order of their indices.
    pub(super) fn into_parts(self) -> (Vec<Texture>, Vec<Image>) {
        (self.read, self.images)
    }

    fn image(&mut self, source: Source<'_>, index: u32, limits: &SceneLimits) -> Result<u32, SceneError> {
        if let Some(known) = self.by_image.get(&index) {
            return Ok(*known);
        }
        let decoded = self.decode(source, index, limits)?;
        let known = self.images.len() as u32;
        self.images.push(decoded);
        self.by_image.insert(index, known);
        Ok(known)
    }

    fn decode(&mut self, source: Source<'_>, index: u32, limits: &SceneLimits) -> Result<Image, SceneError> {
        let place = format!("image {index}");
        let image = element(&source.document.images, index, "image", || place.clone())?;
        let view = image.buffer_view.filter(|_| image.uri.is_none()).ok_or_else(|| {
            SceneError::at(&*place, "its picture lies outside the file; pack the scene into one GLB first")
        })?;
        let bytes = source.view(view, &place)?;
        let (width, height) = read_size(bytes, &place)?;
        let edge = u64::from(width.max(height));
        SceneError::check_limit("a texture with an edge of pixels", edge, u64::from(limits.texture_edge_px))?;
        let pixels = u64::from(width) * u64::from(height);
        SceneError::check_limit("texture pixels", self.pixels.saturating_add(pixels), limits.texture_pixels)?;
        let picture = decode_picture(bytes, pixels, &place)?;
        self.pixels += pixels;
        let texels = picture.into_raw().as_chunks::<4>().0.to_vec();
        if width == 0 || height == 0 || texels.len() as u64 != pixels {
            return Err(SceneError::at(place, "the picture has no pixels"));
        }
        Ok(Image { width, height, texels })
    }
}

/// Pixels of a picture by its header; `None` where the loader will refuse it.
pub(super) fn picture_pixels(source: Source<'_>, index: u32, limits: &SceneLimits) -> Option<u64> {
    let view = source.document.images.get(index as usize)?.buffer_view?;
    let (width, height) = read_size(source.view(view, "").ok()?, "").ok()?;
    let pixels = u64::from(width) * u64::from(height);
    (width.max(height) <= limits.texture_edge_px && pixels <= limits.texture_pixels).then_some(pixels)
}

/// The two formats of glTF 2.0, told apart by their first bytes.
pub(in crate::scene) fn picture_format(bytes: &[u8]) -> Option<ImageFormat> {
    image::guess_format(bytes).ok().filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg))
}

fn reader<'a>(bytes: &'a [u8], place: &str) -> Result<ImageReader<Cursor<&'a [u8]>>, SceneError> {
    let format =
        picture_format(bytes).ok_or_else(|| SceneError::at(place, "the picture is neither PNG nor JPEG"))?;
    Ok(ImageReader::with_format(Cursor::new(bytes), format))
}

fn damaged(place: &str, error: &image::ImageError) -> SceneError {
    let reason = printable(error.to_string().trim_end());
    SceneError::at(place, format!("the picture is damaged: {reason}"))
}

fn read_size(bytes: &[u8], place: &str) -> Result<(u32, u32), SceneError> {
    reader(bytes, place)?.into_dimensions().map_err(|error| damaged(place, &error))
}

fn decode_picture(bytes: &[u8], pixels: u64, place: &str) -> Result<image::RgbaImage, SceneError> {
    let mut reader = reader(bytes, place)?;
    let mut limits = Limits::no_limits();
    // Up to 16 bits for each of four channels before it becomes 8.
    limits.max_alloc = Some(pixels.saturating_mul(8).saturating_add(DECODER_OVERHEAD_BYTES));
    reader.limits(limits);
    reader.decode().map(image::DynamicImage::into_rgba8).map_err(|error| damaged(place, &error))
}

/// Wrapping modes of the glTF 2.0 specification, section 5.26.
fn wrap_of(code: Option<u32>, place: &str) -> Result<Wrap, SceneError> {
    match code {
        None | Some(10497) => Ok(Wrap::Repeat),
        Some(33071) => Ok(Wrap::Clamp),
        Some(33648) => Ok(Wrap::Mirror),
        Some(other) => {
            Err(SceneError::at(place, format!("its sampler has the unknown wrapping mode {other}")))
        }
    }
}

/// Magnification filters, section 5.26. There are no other sizes of the picture to choose from.
fn filter_of(code: Option<u32>, place: &str) -> Result<Filter, SceneError> {
    match code {
        None | Some(9729) => Ok(Filter::Linear),
        Some(9728) => Ok(Filter::Nearest),
        Some(other) => Err(SceneError::at(place, format!("its sampler has the unknown filter {other}"))),
    }
}
