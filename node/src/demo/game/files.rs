//! What the game looked and sounded like, as files.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use p2c2r_game::{
    limit::{BLOCK_SAMPLES, FRAMES_PER_S, PICTURE_PX, SAMPLE_RATE},
    picture::compose,
};
use p2c2r_render::tone::{ToneMapping, ToneTable};

use super::KEEP_EVERY;
use crate::{
    demo::{animation, sheet::enlarged},
    game::play::Played,
};

/// Edge of the square that a pixel is shown as.
const ENLARGED: u32 = 3;

pub(super) fn write_pictures(folder: &Path, played: &Played) -> anyhow::Result<PathBuf> {
    let path = folder.join("demo-game.png");
    let tone = ToneTable::new(ToneMapping::default());
    let pictures: Vec<Vec<u8>> = played
        .pictures
        .iter()
        .map(|picture| {
            let shown = compose(&picture.base, picture.light.as_deref(), &tone);
            enlarged(&shown, PICTURE_PX.0, ENLARGED)
        })
        .collect();
    anyhow::ensure!(!pictures.is_empty(), "no base picture has come");
    let size_px = (PICTURE_PX.0 * ENLARGED, PICTURE_PX.1 * ENLARGED);
    animation::write(
        &path,
        size_px,
        (FRAMES_PER_S / KEEP_EVERY) as u16,
        pictures.iter().map(|shown| (1, shown.as_slice())),
    )?;
    Ok(path)
}

/// All blocks in a WAV file of 16-bit stereo; where one did not come, silence.
pub(super) fn write_sound(folder: &Path, played: &Played) -> anyhow::Result<PathBuf> {
    let path = folder.join("demo-game.wav");
    let silence = vec![0; BLOCK_SAMPLES * 4];
    let frames = 1..=played.frames.len() as u32;
    let samples: Vec<u8> =
        frames.flat_map(|frame| played.sound.get(&frame).unwrap_or(&silence).iter().copied()).collect();
    let size = u32::try_from(samples.len())?;
    // The 44 bytes that every WAV file of plain samples begins with (RIFF, Microsoft and IBM 1991): the crate for it has
    // had no release since 2023.
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt ");
    for (value, bytes) in [(16, 4), (1, 2), (2, 2), (SAMPLE_RATE, 4), (SAMPLE_RATE * 4, 4), (4, 2), (16, 2)] {
        file.extend(value.to_le_bytes().into_iter().take(bytes));
    }
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(samples);
    std::fs::File::create(&path)
        .and_then(|mut out| out.write_all(&file))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
