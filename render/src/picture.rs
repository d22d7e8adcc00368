//! Writes finished pictures: PNG to look at, EXR to work with.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use exr::prelude::{Image, SpecificChannels, Vec2, WritableImage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    film::Film,
    frame::{Features, Frame, FrameError},
    tone::ToneMapping,
};

/// Why a picture cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A name that does not say in which format to write.
    #[error("{}: name the picture with .png or .exr at the end", .0.display())]
    Format(PathBuf),
    /// A directory of that name.
    #[error("{} is a directory; name a file to write the picture to", .0.display())]
    IsDirectory(PathBuf),
    /// A file of that name.
    #[error("{} exists; choose another name or allow it to be overwritten (--force)", .0.display())]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The picture.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An encoder refused.
    #[error("cannot encode {path}: {reason}", path = path.display())]
    Encode {
        /// The picture.
        path: PathBuf,
        /// What the encoder said.
        reason: String,
    },
    /// A frame whose planes do not fit it.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// How fine the codes of a PNG are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PngBits {
    /// 8 bits for each channel: what screens show.
    #[default]
    #[serde(rename = "8")]
    Eight,
    /// 16 bits for each channel: for grading after the tone curve.
    #[serde(rename = "16")]
    Sixteen,
}

impl fmt::Display for PngBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eight => "8",
            Self::Sixteen => "16",
        })
    }
}

/// A number of bits that PNG is not written with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of bits for a PNG; choose 8 or 16")]
pub struct PngBitsError(String);

impl FromStr for PngBits {
    type Err = PngBitsError;

    fn from_str(text: &str) -> Result<Self, PngBitsError> {
        match text {
            "8" => Ok(Self::Eight),
            "16" => Ok(Self::Sixteen),
            _ => Err(PngBitsError(text.to_owned())),
        }
    }
}

/// How a picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PictureOptions {
    /// From radiance to the codes of a PNG; an EXR keeps the radiance.
    pub tone: ToneMapping,
    /// How fine the codes of a PNG are.
    pub png_bits: PngBits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PictureFormat {
    Png,
    Exr,
}

impl PictureFormat {
    fn of(path: &Path) -> Result<Self, PictureError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("png") => Ok(Self::Png),
            Some("exr") => Ok(Self::Exr),
            _ => Err(PictureError::Format(path.to_owned())),
        }
    }
}

/// Whether a picture of that name keeps linear radiance and the frame's features: an EXR does, a PNG is made to be
/// looked at.
pub fn is_layered(path: &Path) -> bool {
    matches!(PictureFormat::of(path), Ok(PictureFormat::Exr))
}

/// Whether a picture could be written to `path`: asked before rendering, so that no work is lost for a wrong name.
pub fn check_target(path: &Path, overwrite: bool) -> Result<(), PictureError> {
    PictureFormat::of(path)?;
    if path.is_dir() {
        return Err(PictureError::IsDirectory(path.to_owned()));
    }
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(PictureError::Exists(path.to_owned()));
    }
    let beside = partial_path(path);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&beside)
        .and_then(|_| fs::remove_file(&beside))
        .map_err(|source| PictureError::Write { path: path.to_owned(), source })
}

/// Writes the frame after the ending of `path`: as PNG (sRGB, see [`PictureOptions`]), or as EXR (`f32`) with the
/// linear radiance and, where the frame has features, layers of albedo, normal and depth. The picture is written
/// beside (`….partial`) and renamed: at no time is there half a picture at `path`. A picture that is there already is
/// replaced; [`check_target`] is where that is asked.
pub fn write(path: &Path, frame: &Frame, options: &PictureOptions) -> Result<(), PictureError> {
    let format = PictureFormat::of(path)?;
    frame.check()?;
    let beside = partial_path(path);
    let written = write_file(&beside, path, format, frame, options).and_then(|()| {
        fs::rename(&beside, path).map_err(|source| PictureError::Write { path: path.to_owned(), source })
    });
    if written.is_err() {
        // The error that is reported is the first one; a file that was never made cannot be removed.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Writes the film as [`write()`] does, with everything as it is by default.
pub fn write_film(path: &Path, film: &Film) -> Result<(), PictureError> {
    write(path, &Frame::from(film), &PictureOptions::default())
}

fn partial_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn write_file(
    beside: &Path,
    path: &Path,
    format: PictureFormat,
    frame: &Frame,
    options: &PictureOptions,
) -> Result<(), PictureError> {
    let refused = |source| PictureError::Write { path: path.to_owned(), source };
    let failed = |reason: String| PictureError::Encode { path: path.to_owned(), reason };
    let mut file = BufWriter::new(File::create(beside).map_err(refused)?);
    match format {
        PictureFormat::Png => write_png(&mut file, frame, options).map_err(|error| match error {
            png::EncodingError::IoError(source) => refused(source),
            other => failed(other.to_string()),
        })?,
        PictureFormat::Exr => write_exr(&mut file, frame).map_err(|error| match error {
            exr::error::Error::Io(source) => refused(source),
            other => failed(other.to_string()),
        })?,
    }
    file.flush().map_err(refused)?;
    file.get_ref().sync_all().map_err(refused)
}

fn write_png(out: impl Write, frame: &Frame, options: &PictureOptions) -> Result<(), png::EncodingError> {
    let PictureOptions { tone, png_bits } = options;
    let mut encoder = png::Encoder::new(out, frame.size.width_px(), frame.size.height_px());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let pixels = frame.radiance.par_iter();
    let bytes = match png_bits {
        PngBits::Eight => {
            encoder.set_depth(png::BitDepth::Eight);
            pixels.map(|pixel| tone.to_srgb8(*pixel)).collect::<Vec<_>>().into_flattened()
        }
        PngBits::Sixteen => {
            encoder.set_depth(png::BitDepth::Sixteen);
            let codes: Vec<_> = pixels.map(|pixel| tone.to_srgb16(*pixel).map(u16::to_be_bytes)).collect();
            codes.into_flattened().into_flattened()
        }
    };
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()
}

/// The frame as the bytes of a PNG: those that [`write()`] would write.
pub fn encode_png(frame: &Frame, options: &PictureOptions) -> Result<Vec<u8>, PictureError> {
    frame.check()?;
    let mut bytes = Vec::new();
    let failed =
        |error: png::EncodingError| PictureError::Encode { path: PathBuf::new(), reason: error.to_string() };
    write_png(&mut bytes, frame, options).map_err(failed)?;
    Ok(bytes)
}

fn write_exr(out: impl Write + io::Seek, frame: &Frame) -> exr::error::UnitResult {
    match &frame.features {
        None => write_exr_radiance(out, frame),
        Some(features) => write_exr_layers(out, frame, features),
    }
}

fn write_exr_radiance(out: impl Write + io::Seek, frame: &Frame) -> exr::error::UnitResult {
    let (width, height) = (frame.size.width_px() as usize, frame.size.height_px() as usize);
    let channels = SpecificChannels::rgb(|at: Vec2<usize>| {
        let [red, green, blue] = frame.radiance[at.1 * width + at.0];
        (red, green, blue)
    });
    Image::from_channels((width, height), channels).write().non_parallel().to_buffered(out)
}

/// The features stand in the same part of the file as the radiance, as channels of the names `layer.channel`: that is
/// how viewers of `OpenEXR` files know layers.
fn write_exr_layers(
    out: impl Write + io::Seek,
    frame: &Frame,
    features: &Features,
) -> exr::error::UnitResult {
    let (width, height) = (frame.size.width_px() as usize, frame.size.height_px() as usize);
    let channels = SpecificChannels::build()
        .with_channel("R")
        .with_channel("G")
        .with_channel("B")
        .with_channel("albedo.R")
        .with_channel("albedo.G")
        .with_channel("albedo.B")
        .with_channel("normal.X")
        .with_channel("normal.Y")
        .with_channel("normal.Z")
        .with_channel("depth.Z")
        .with_pixel_fn(|at: Vec2<usize>| {
            let index = at.1 * width + at.0;
            let [red, green, blue] = frame.radiance[index];
            let ([ar, ag, ab], [x, y, z]) = (features.albedo[index], features.normal[index]);
            (red, green, blue, ar, ag, ab, x, y, z, features.depth[index])
        });
    Image::from_channels((width, height), channels).write().non_parallel().to_buffered(out)
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::tile::FrameSize;

    use super::*;
    use crate::tone::ToneCurve;

    fn gradient(width: u32, height: u32) -> Film {
        let size = FrameSize::new(width, height).unwrap();
        let mut film = Film::new(size);
        let pixels: Vec<[f32; 3]> =
            (0..size.pixels()).map(|index| [index as f32 * 0.01, 0.25, 1.0 / (1.0 + index as f32)]).collect();
        film.insert(size.full(), &pixels).unwrap();
        film
    }

    fn with_features(width: u32, height: u32) -> Frame {
        let mut frame = Frame::from(&gradient(width, height));
        let pixels = frame.radiance.len();
        let plane = |scale: f32| (0..pixels).map(|index| index as f32 * scale).collect::<Vec<_>>();
        frame.features = Some(Features {
            albedo: plane(0.001).into_iter().map(|a| [a, 1.0 - a, 0.5]).collect(),
            normal: plane(0.01).into_iter().map(|a| [a - 0.4, -a, 0.1 * a]).collect(),
            depth: plane(3.7),
        });
        frame
    }

    /// The named channel of an EXR, whatever else the file holds.
    fn exr_channel(path: &Path, name: &str) -> Vec<f32> {
        let image = exr::prelude::read_first_flat_layer_from_file(path).unwrap();
        let channels = image.layer_data.channel_data.list;
        let named = channels.iter().find(|channel| channel.name.to_string() == name).unwrap();
        named.sample_data.values_as_f32().collect()
    }

    #[test]
    fn exr_keeps_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.exr");
        let film = gradient(13, 7);
        write_film(&path, &film).unwrap();
        let read = exr::prelude::read_first_rgba_layer_from_file(
            &path,
            |size, _| vec![[0.0_f32; 3]; size.width() * size.height()],
            |pixels, at, (red, green, blue, _alpha): (f32, f32, f32, f32)| {
                pixels[at.1 * 13 + at.0] = [red, green, blue];
            },
        )
        .unwrap();
        assert_eq!(read.layer_data.channel_data.pixels, film.pixels());
    }

    #[test]
    fn exr_holds_the_features_as_layers_of_the_same_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.exr");
        let frame = with_features(13, 7);
        write(&path, &frame, &PictureOptions::default()).unwrap();
        let features = frame.features.unwrap();
        assert_eq!(exr_channel(&path, "depth.Z"), features.depth);
        let layers = [
            (["R", "G", "B"], frame.radiance),
            (["albedo.R", "albedo.G", "albedo.B"], features.albedo),
            (["normal.X", "normal.Y", "normal.Z"], features.normal),
        ];
        for (names, pixels) in layers {
            for (place, name) in names.into_iter().enumerate() {
                let expected: Vec<f32> = pixels.iter().map(|pixel| pixel[place]).collect();
                assert_eq!(exr_channel(&path, name), expected, "{name}");
            }
        }
    }

    #[test]
    fn png_has_the_toned_pixels_and_the_same_bytes_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.png"), folder.path().join("b.PNG"));
        let film = gradient(13, 7);
        write_film(&first, &film).unwrap();
        write_film(&second, &film).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let read = image::open(&first).unwrap().into_rgb8();
        assert_eq!((read.width(), read.height()), (13, 7));
        for (pixel, read) in film.pixels().iter().zip(read.pixels()) {
            assert_eq!(ToneMapping::default().to_srgb8(*pixel), read.0);
        }
    }

    #[test]
    fn png_of_sixteen_bits_has_the_toned_pixels_and_says_that_it_is_srgb() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let frame = with_features(13, 7);
        let tone = ToneMapping { curve: ToneCurve::Aces, exposure_stops: -1.5 };
        write(&path, &frame, &PictureOptions { tone, png_bits: PngBits::Sixteen }).unwrap();
        assert!(fs::read(&path).unwrap().windows(4).any(|bytes| bytes == b"sRGB"));
        let image::DynamicImage::ImageRgb16(read) = image::open(&path).unwrap() else {
            panic!("not 16 bits of RGB");
        };
        assert_eq!((read.width(), read.height()), (13, 7));
        for (pixel, read) in frame.radiance.iter().zip(read.pixels()) {
            assert_eq!(tone.to_srgb16(*pixel), read.0);
        }
    }

    #[test]
    fn a_frame_that_does_not_fit_is_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.exr");
        let mut frame = with_features(4, 4);
        frame.radiance.pop();
        assert!(matches!(write(&path, &frame, &PictureOptions::default()), Err(PictureError::Frame(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn b44_targets_are_refused_before_any_work() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken.png");
        fs::write(&taken, b"mine").unwrap();
        assert!(matches!(check_target(&taken, false), Err(PictureError::Exists(_))));
        check_target(&taken, true).unwrap();
        assert_eq!(fs::read(&taken).unwrap(), b"mine");
        fs::create_dir(folder.path().join("folder.png")).unwrap();
        assert!(matches!(
            check_target(&folder.path().join("folder.png"), true),
            Err(PictureError::IsDirectory(_))
        ));
        assert!(matches!(check_target(&folder.path().join("a.jpg"), false), Err(PictureError::Format(_))));
        assert!(matches!(check_target(Path::new(""), false), Err(PictureError::Format(_))));
        let nowhere = folder.path().join("missing").join("a.png");
        assert!(matches!(check_target(&nowhere, false), Err(PictureError::Write { .. })));
        assert!(matches!(write_film(&nowhere, &gradient(2, 2)), Err(PictureError::Write { .. })));
        check_target(&folder.path().join("new.exr"), false).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["folder.png", "taken.png"], "nothing is left behind");
    }

    #[test]
    fn a_failed_write_leaves_the_old_picture_and_no_partial_one() {
        let folder = tempfile::tempdir().unwrap();
        // A directory cannot be replaced by a file: the rename fails after everything was written.
        let path = folder.path().join("taken.png");
        fs::create_dir(&path).unwrap();
        assert!(write_film(&path, &gradient(4, 4)).is_err());
        assert!(path.is_dir() && !partial_path(&path).exists());
    }
}
