//! Radiance pictures (`.hdr`): a text header, then rows of mantissas with shared exponents, mostly run-length encoded.

use super::{EnvironmentMap, check_size, rgbe};

/// Longest header that is read, bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Narrowest and widest row that can be encoded channel by channel.
const CHANNEL_ROW: std::ops::RangeInclusive<usize> = 8..=0x7fff;

/// Whether the bytes start like a Radiance picture.
pub(super) fn is_hdr(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#?")
}

/// What the header says.
struct Header {
    width: u32,
    height: u32,
    /// Rows from the bottom.
    is_upside_down: bool,
    /// Columns from the right.
    is_mirrored: bool,
    /// The file's values are radiances times this.
    exposure: f32,
}

/// Reads the picture. Memory grows with the rows that are really there.
pub(super) fn decode(bytes: &[u8]) -> Result<EnvironmentMap, String> {
    let mut rest = bytes;
    let header = read_header(&mut rest)?;
    let mut row = vec![[0_u8; 4]; header.width as usize];
    let mut radiance = Vec::new();
    for number in 0..header.height {
        read_row(&mut rest, &mut row)
            .map_err(|problem| format!("row {number} of {}: {problem}", header.height))?;
        if header.is_mirrored {
            row.reverse();
        }
        radiance.extend(
            row.iter().map(|texel| rgbe::decode_foreign(*texel).map(|value| value / header.exposure)),
        );
    }
    if header.is_upside_down {
        radiance = radiance.rchunks_exact(row.len()).flatten().copied().collect();
    }
    Ok(EnvironmentMap { width: header.width, height: header.height, radiance })
}

/// Takes the next line off the front.
fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let end = rest.iter().take(MAX_HEADER_BYTES).position(|byte| *byte == b'\n');
    let (line, after) = end
        .and_then(|end| Some((rest.get(..end)?, rest.get(end + 1..)?)))
        .ok_or("its header is truncated or too long")?;
    *rest = after;
    Ok(line.trim_ascii())
}

fn read_header(rest: &mut &[u8]) -> Result<Header, String> {
    let whole = rest.len();
    let mut exposure = 1.0_f32;
    loop {
        let text = line(rest)?;
        if whole - rest.len() > MAX_HEADER_BYTES {
            return Err("its header is too long".into());
        }
        if text.is_empty() {
            break;
        }
        if let Some(format) = text.strip_prefix(b"FORMAT=") {
            if format.trim_ascii() != b"32-bit_rle_rgbe" {
                return Err("its colours are not red, green and blue; convert it to 32-bit_rle_rgbe".into());
            }
        } else if let Some(factor) = text.strip_prefix(b"EXPOSURE=") {
            // Several exposures multiply.
            exposure *= number::<f32>(Some(factor.trim_ascii())).unwrap_or(f32::NAN);
        }
    }
    if !(exposure.is_finite() && exposure >= f32::MIN_POSITIVE) {
        return Err("its exposure is not a positive number".into());
    }
    read_resolution(line(rest)?, exposure)
}

/// The line `-Y height +X width`, whose signs say where the first row and column are.
fn read_resolution(text: &[u8], exposure: f32) -> Result<Header, String> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (vertical, height) = (words.next(), number::<u32>(words.next()));
    let (horizontal, width) = (words.next(), number::<u32>(words.next()));
    let is_upside_down = vertical == Some(b"+Y");
    let is_mirrored = horizontal == Some(b"-X");
    let is_upright = matches!(vertical, Some(b"-Y" | b"+Y")) && matches!(horizontal, Some(b"-X" | b"+X"));
    let (Some(height), Some(width), true) = (height, width, is_upright) else {
        return Err("its size is not given as \"-Y height +X width\"".into());
    };
    let (width, height) = check_size(u64::from(width), u64::from(height))?;
    Ok(Header { width, height, is_upside_down, is_mirrored, exposure })
}

fn number<T: std::str::FromStr>(word: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or("the file is truncated")?;
    *rest = after;
    Ok(*taken)
}

fn read_row(rest: &mut &[u8], row: &mut [[u8; 4]]) -> Result<(), String> {
    match **rest {
        [2, 2, high, low, ..] if high < 128 && CHANNEL_ROW.contains(&row.len()) => {
            if usize::from(u16::from_be_bytes([high, low])) != row.len() {
                return Err("it states another width than the header".into());
            }
            take::<4>(rest)?;
            (0..4).try_for_each(|channel| read_channel(rest, row, channel))
        }
        _ => read_texels(rest, row),
    }
}

/// One channel of a row: a count up to 128 and as many values, or a count above 128 and one value to repeat.
fn read_channel(rest: &mut &[u8], row: &mut [[u8; 4]], channel: usize) -> Result<(), String> {
    let mut filled = 0;
    while filled < row.len() {
        let [count] = take::<1>(rest)?;
        let is_run = count > 128;
        let length = usize::from(if is_run { count - 128 } else { count });
        let slots = row.get_mut(filled..filled + length).filter(|slots| !slots.is_empty());
        let slots = slots.ok_or("a run of its values is empty or leaves the row")?;
        let values = if is_run { 1 } else { length };
        let (values, after) = rest.split_at_checked(values).ok_or("the file is truncated")?;
        // A run has one value for all of its texels.
        for (texel, value) in slots.iter_mut().zip(values.iter().cycle()) {
            if let Some(slot) = texel.get_mut(channel) {
                *slot = *value;
            }
        }
        *rest = after;
        filled += length;
    }
    Ok(())
}

/// A row texel by texel; `1 1 1 n` repeats the texel before it n times, and directly after another repetition n
/// counts 256 times as much.
fn read_texels(rest: &mut &[u8], row: &mut [[u8; 4]]) -> Result<(), String> {
    let (mut filled, mut shift) = (0_usize, 0_u32);
    let mut last = None;
    while filled < row.len() {
        let texel = take::<4>(rest)?;
        let (value, length) = match (texel, last) {
            ([1, 1, 1, count], Some(last)) => {
                let length = usize::from(count).checked_shl(shift).unwrap_or(usize::MAX);
                shift = (shift + 8).min(24);
                (last, length)
            }
            ([1, 1, 1, _], None) => return Err("it starts with a repetition of nothing".into()),
            _ => {
                shift = 0;
                (texel, 1)
            }
        };
        let end = filled.saturating_add(length);
        row.get_mut(filled..end).ok_or("a run of its pixels leaves the row")?.fill(value);
        filled = end;
        last = Some(value);
    }
    Ok(())
}
