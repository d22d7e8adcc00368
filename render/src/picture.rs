//! Writes finished pictures: PNG to look at, EXR to work with.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use exr::prelude::{Image, SpecificChannels, WritableImage};

use crate::{film::Film, tone::to_srgb8};

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

/// Writes the film, as PNG (8 bits, sRGB, tone curve of [`crate::tone`]) or EXR (linear `f32`) after the ending of
/// `path`. The picture is written beside (`….partial`) and renamed: at no time is there half a picture at `path`.
/// A picture that is there already is replaced; [`check_target`] is where that is asked.
pub fn write(path: &Path, film: &Film) -> Result<(), PictureError> {
    let format = PictureFormat::of(path)?;
    let beside = partial_path(path);
    let written = write_file(&beside, path, format, film).and_then(|()| {
        fs::rename(&beside, path).map_err(|source| PictureError::Write { path: path.to_owned(), source })
    });
    if written.is_err() {
        // The error that is reported is the first one; a file that was never made cannot be removed.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn partial_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn write_file(beside: &Path, path: &Path, format: PictureFormat, film: &Film) -> Result<(), PictureError> {
    let refused = |source| PictureError::Write { path: path.to_owned(), source };
    let failed = |reason: String| PictureError::Encode { path: path.to_owned(), reason };
    let mut file = BufWriter::new(File::create(beside).map_err(refused)?);
    match format {
        PictureFormat::Png => write_png(&mut file, film).map_err(|error| match error {
            png::EncodingError::IoError(source) => refused(source),
            other => failed(other.to_string()),
        })?,
        PictureFormat::Exr => write_exr(&mut file, film).map_err(|error| match error {
            exr::error::Error::Io(source) => refused(source),
            other => failed(other.to_string()),
        })?,
    }
    file.flush().map_err(refused)?;
    file.get_ref().sync_all().map_err(refused)
}

fn write_png(out: impl Write, film: &Film) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(out, film.size().width_px(), film.size().height_px());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let mut writer = encoder.write_header()?;
    let bytes: Vec<u8> = film.pixels().iter().flat_map(|pixel| to_srgb8(*pixel)).collect();
    writer.write_image_data(&bytes)?;
    writer.finish()
}

fn write_exr(out: impl Write + io::Seek, film: &Film) -> exr::error::UnitResult {
    let (width, height) = (film.size().width_px() as usize, film.size().height_px() as usize);
    let channels = SpecificChannels::rgb(|at: exr::math::Vec2<usize>| {
        let [red, green, blue] = film.pixels()[at.1 * width + at.0];
        (red, green, blue)
    });
    Image::from_channels((width, height), channels).write().non_parallel().to_buffered(out)
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::tile::FrameSize;

    use super::*;

    fn gradient(width: u32, height: u32) -> Film {
        let size = FrameSize::new(width, height).unwrap();
        let mut film = Film::new(size);
        let pixels: Vec<[f32; 3]> =
            (0..size.pixels()).map(|index| [index as f32 * 0.01, 0.25, 1.0 / (1.0 + index as f32)]).collect();
        film.insert(size.full(), &pixels).unwrap();
        film
    }

    #[test]
    fn exr_keeps_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.exr");
        let film = gradient(13, 7);
        write(&path, &film).unwrap();
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
    fn png_has_the_toned_pixels_and_the_same_bytes_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.png"), folder.path().join("b.PNG"));
        let film = gradient(13, 7);
        write(&first, &film).unwrap();
        write(&second, &film).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let read = image::open(&first).unwrap().into_rgb8();
        assert_eq!((read.width(), read.height()), (13, 7));
        for (pixel, read) in film.pixels().iter().zip(read.pixels()) {
            assert_eq!(to_srgb8(*pixel), read.0);
        }
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
        assert!(matches!(write(&nowhere, &gradient(2, 2)), Err(PictureError::Write { .. })));
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
        assert!(write(&path, &gradient(4, 4)).is_err());
        assert!(path.is_dir() && !partial_path(&path).exists());
    }
}
