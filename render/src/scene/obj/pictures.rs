//! The pictures of materials: files beside the scene, taken in once each.

use std::{
    collections::HashMap,
    io::Cursor,
    path::{Path, PathBuf},
    rc::Rc,
};

use image::{DynamicImage, GrayImage, ImageFormat, ImageReader, Limits, RgbImage, imageops};
use serde_json::{Value, json};

use super::{inner_path, mtl::Map, notes::Notes, portable, read_named};
use crate::{
    limit::{MAX_TEXTURES, SceneLimits},
    scene::{
        error::{SceneError, printable},
        gltf::picture_format,
    },
};

/// Bytes that a decoder may need beyond those of its pixels.
const DECODER_OVERHEAD_BYTES: u64 = 16 << 20;
/// A normal map is told by looking at this many of its pixels, of which most must be unit vectors.
const SAMPLES: u32 = 4096;

/// What two maps are combined of: names of the metallic and the roughness picture.
type Pair = (Option<String>, Option<String>);

/// A file's bytes, and what they are.
type Picture = (Rc<Vec<u8>>, ImageFormat);

/// Everything that becomes an image or texture of the document.
pub(super) struct Pictures<'a> {
    folder: &'a Path,
    limits: &'a SceneLimits,
    bytes: u64,
    files: HashMap<PathBuf, Option<Rc<Vec<u8>>>>,
    images: Vec<Picture>,
    image_numbers: HashMap<PathBuf, usize>,
    /// Image, and whether it is clamped.
    textures: Vec<(usize, bool)>,
    combined: HashMap<Pair, usize>,
}

impl<'a> Pictures<'a> {
    pub(super) fn new(folder: &'a Path, limits: &'a SceneLimits) -> Self {
        Self {
            folder,
            limits,
            bytes: 0,
            files: HashMap::new(),
            images: Vec::new(),
            image_numbers: HashMap::new(),
            textures: Vec::new(),
            combined: HashMap::new(),
        }
    }

    /// The index of the texture of a map; `None`, with a note, when its picture is missing or in another format.
    pub(super) fn texture(&mut self, map: &Map, notes: &mut Notes) -> Result<Option<usize>, SceneError> {
        for option in &map.ignored {
            notes.add(format!("{}: the option {option} is ignored", map.place));
        }
        let Some((bytes, format)) = self.picture(map, notes)? else { return Ok(None) };
        let path = key(map);
        let known = self.image_numbers.get(&path).copied();
        let image = known.map_or_else(|| self.add_image(bytes, format), Ok)?;
        self.image_numbers.insert(path, image);
        self.add_texture(image, map.is_clamped).map(Some)
    }

    /// The index of a texture with roughness in green and metalness in blue, made of two grey pictures. A picture
    /// that is missing counts as white.
    pub(super) fn metallic_roughness(
        &mut self,
        metallic: Option<&Map>,
        roughness: Option<&Map>,
        notes: &mut Notes,
    ) -> Result<Option<usize>, SceneError> {
        let pair = (metallic.map(|map| map.name.clone()), roughness.map(|map| map.name.clone()));
        let is_clamped = metallic.or(roughness).is_some_and(|map| map.is_clamped);
        if let Some(image) = self.combined.get(&pair) {
            let image = *image;
            return self.add_texture(image, is_clamped).map(Some);
        }
        let mut grey = |map: Option<&Map>| -> Result<Option<GrayImage>, SceneError> {
            let Some(map) = map else { return Ok(None) };
            let Some((bytes, _)) = self.picture(map, notes)? else { return Ok(None) };
            self.decode(map, &bytes).map(|picture| Some(picture.into_luma8()))
        };
        let (metallic, roughness) = (grey(metallic)?, grey(roughness)?);
        let Some((width, height)) =
            [&metallic, &roughness].into_iter().flatten().map(GrayImage::dimensions).max()
        else {
            return Ok(None);
        };
        let sized = |picture: Option<GrayImage>| {
            picture.map(|picture| {
                if picture.dimensions() == (width, height) {
                    picture
                } else {
                    imageops::resize(&picture, width, height, imageops::FilterType::Triangle)
                }
            })
        };
        let (metallic, roughness) = (sized(metallic), sized(roughness));
        let channel = |picture: &Option<GrayImage>, x: u32, y: u32| {
            picture
                .as_ref()
                .and_then(|picture| picture.get_pixel_checked(x, y))
                .map_or(255, |pixel| pixel.0[0])
        };
        let joined = RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([255, channel(&roughness, x, y), channel(&metallic, x, y)])
        });
        let mut png = Vec::new();
        joined
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .map_err(|error| SceneError::at("a combined picture", error.to_string()))?;
        self.count(png.len())?;
        let image = self.add_image(Rc::new(png), ImageFormat::Png)?;
        self.combined.insert(pair, image);
        self.add_texture(image, is_clamped).map(Some)
    }

    /// Whether a picture holds normals: unit vectors, brought from -1..1 to 0..255, that point out of the surface.
    /// One that is missing counts as such, so that the note about it is the only one.
    pub(super) fn holds_normals(&mut self, map: &Map) -> Result<bool, SceneError> {
        let Some(bytes) = self.file(map)?.filter(|bytes| picture_format(bytes).is_some()) else {
            return Ok(true);
        };
        let picture = self.decode(map, &bytes)?.into_rgb8();
        let every = (picture.width() * picture.height() / SAMPLES).max(1) as usize;
        let (mut seen, mut normals) = (0_u32, 0_u32);
        for pixel in picture.pixels().step_by(every) {
            let [x, y, z] = pixel.0.map(|value| f32::from(value) / 127.5 - 1.0);
            seen += 1;
            normals += u32::from(z > 0.0 && (0.7..1.3).contains(&(x * x + y * y + z * z)));
        }
        Ok(normals * 10 > seen * 9)
    }

    /// The images and textures of the document; `put` takes in the bytes and gives the number of their buffer view.
    pub(super) fn into_gltf(
        self,
        mut put: impl FnMut(&[u8]) -> Result<usize, SceneError>,
    ) -> Result<[(&'static str, Vec<Value>); 3], SceneError> {
        let mut images = Vec::new();
        for (bytes, format) in &self.images {
            images.push(json!({ "bufferView": put(bytes)?, "mimeType": format.to_mime_type() }));
        }
        let textures: Vec<Value> = self
            .textures
            .iter()
            .map(|(image, is_clamped)| json!({ "source": image, "sampler": u8::from(*is_clamped) }))
            .collect();
        let samplers = if textures.is_empty() {
            Vec::new()
        } else {
            // Repeated and clamped, in the order of `textures`' second field.
            [10497, 33071].map(|wrap| json!({ "wrapS": wrap, "wrapT": wrap })).to_vec()
        };
        Ok([("images", images), ("textures", textures), ("samplers", samplers)])
    }

    /// A picture's bytes and format, with a note when there is none.
    fn picture(&mut self, map: &Map, notes: &mut Notes) -> Result<Option<Picture>, SceneError> {
        let Some(bytes) = self.file(map)? else {
            notes.add(format!("{}: the picture \"{}\" is missing", map.place, printable(&map.name)));
            return Ok(None);
        };
        let Some(format) = picture_format(&bytes) else {
            notes.add(format!(
                "{}: the picture \"{}\" is neither PNG nor JPEG and is ignored",
                map.place,
                printable(&map.name)
            ));
            return Ok(None);
        };
        Ok(Some((bytes, format)))
    }

    /// A file's bytes, read once.
    fn file(&mut self, map: &Map) -> Result<Option<Rc<Vec<u8>>>, SceneError> {
        let path = key(map);
        if let Some(known) = self.files.get(&path) {
            return Ok(known.clone());
        }
        SceneError::check_limit("pictures", self.files.len() as u64 + 1, MAX_TEXTURES)?;
        let left = self.limits.package_bytes.saturating_sub(self.bytes);
        let bytes = read_named(self.folder, &map.name, left, &map.place)?;
        self.count(bytes.as_ref().map_or(0, Vec::len))?;
        let bytes = bytes.map(Rc::new);
        self.files.insert(path, bytes.clone());
        Ok(bytes)
    }

    fn count(&mut self, bytes: usize) -> Result<(), SceneError> {
        self.bytes += bytes as u64;
        SceneError::check_limit("bytes", self.bytes, self.limits.package_bytes)
    }

    /// Decodes a picture whose size the limits allow.
    fn decode(&self, map: &Map, bytes: &[u8]) -> Result<DynamicImage, SceneError> {
        let damaged = |error: image::ImageError| {
            let problem = format!("the picture \"{}\" is damaged: {error}", printable(&map.name));
            SceneError::at(&*map.place, problem)
        };
        let reader = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let failed = |error: std::io::Error| damaged(error.into());
        let (width, height) = reader().map_err(failed)?.into_dimensions().map_err(damaged)?;
        let edge = u64::from(width.max(height));
        SceneError::check_limit(
            "a texture with an edge of pixels",
            edge,
            self.limits.texture_edge_px.into(),
        )?;
        let pixels = u64::from(width) * u64::from(height);
        SceneError::check_limit("texture pixels", pixels, self.limits.texture_pixels)?;
        let mut reader = reader().map_err(failed)?;
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(pixels.saturating_mul(8).saturating_add(DECODER_OVERHEAD_BYTES));
        reader.limits(limits);
        reader.decode().map_err(damaged)
    }

    fn add_image(&mut self, bytes: Rc<Vec<u8>>, format: ImageFormat) -> Result<usize, SceneError> {
        SceneError::check_limit("textures", self.images.len() as u64 + 1, MAX_TEXTURES)?;
        self.images.push((bytes, format));
        Ok(self.images.len() - 1)
    }

    fn add_texture(&mut self, image: usize, is_clamped: bool) -> Result<usize, SceneError> {
        if let Some(known) = self.textures.iter().position(|texture| *texture == (image, is_clamped)) {
            return Ok(known);
        }
        SceneError::check_limit("textures", self.textures.len() as u64 + 1, MAX_TEXTURES)?;
        self.textures.push((image, is_clamped));
        Ok(self.textures.len() - 1)
    }
}

/// What a map's picture is known by. A name that cannot be a path is refused where it is read.
fn key(map: &Map) -> PathBuf {
    inner_path(&portable(&map.name)).unwrap_or_else(|_| PathBuf::from(&map.name))
}
