//! `OpenEXR` pictures: the first layer that has red, green and blue.

use std::io::Cursor;

use exr::{
    meta::MetaData,
    prelude::{ReadChannels, ReadLayers, Vec2, read},
};

use super::{EnvironmentMap, check_size};
use crate::limit::MAX_ENVIRONMENT_FILE_CHANNELS;

const MAGIC: [u8; 4] = [0x76, 0x2f, 0x31, 0x01];

/// Whether the bytes start like an `OpenEXR` picture.
pub(super) fn is_exr(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Reads the picture; its headers are judged first.
pub(super) fn decode(bytes: &[u8]) -> Result<EnvironmentMap, String> {
    let damaged = |error: exr::error::Error| format!("the picture cannot be read: {error}");
    let headers = MetaData::read_from_buffered(Cursor::new(bytes), false).map_err(damaged)?.headers;
    check_count("layers", headers.len())?;
    for header in &headers {
        check_size(header.layer_size.width() as u64, header.layer_size.height() as u64)?;
        check_count("channels", header.channels.list.len())?;
    }
    let create = |size: Vec2<usize>, _: &_| (size.width(), vec![[0.0_f32; 3]; size.area()]);
    let set = |(width, texels): &mut (usize, Vec<[f32; 3]>),
               at: Vec2<usize>,
               (red, green, blue): (f32, f32, f32)| {
        if let Some(texel) = texels.get_mut(at.y() * *width + at.x()) {
            *texel = [red, green, blue];
        }
    };
    let image = read()
        .no_deep_data()
        .largest_resolution_level()
        .rgb_channels(create, set)
        .first_valid_layer()
        .all_attributes()
        .non_parallel()
        .from_buffered(Cursor::new(bytes))
        .map_err(damaged)?;
    let (width, height) =
        check_size(image.layer_data.size.width() as u64, image.layer_data.size.height() as u64)?;
    let (_, radiance) = image.layer_data.channel_data.pixels;
    Ok(EnvironmentMap { width, height, radiance })
}

fn check_count(what: &str, count: usize) -> Result<(), String> {
    if count as u64 <= MAX_ENVIRONMENT_FILE_CHANNELS {
        return Ok(());
    }
    Err(format!("it has {count} {what}, and at most {MAX_ENVIRONMENT_FILE_CHANNELS} are allowed"))
}
