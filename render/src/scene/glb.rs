//! The GLB container of glTF 2.0: a header, a JSON chunk, and at most one binary chunk.
//!
//! glTF 2.0 specification, section 4.4 (GLB file format).

use super::error::SceneError;

const MAGIC: [u8; 4] = *b"glTF";
const VERSION: u32 = 2;
const CHUNK_JSON: u32 = 0x4E4F_534A;
const CHUNK_BIN: u32 = 0x004E_4942;
const HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;

/// The two chunks of a GLB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glb<'a> {
    /// The document.
    pub(crate) json: &'a [u8],
    /// The first buffer; empty when the file has none.
    pub(crate) binary: &'a [u8],
}

/// Whether the bytes start like a GLB.
pub(crate) fn is_glb(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Finds the chunks. Bytes after the length that the header states are ignored, as are unknown chunks.
pub(crate) fn split(bytes: &[u8]) -> Result<Glb<'_>, SceneError> {
    if !is_glb(bytes) {
        return Err(SceneError::NotGltf("the file does not start with the letters \"glTF\"".into()));
    }
    let version = read_u32(bytes, 4)?;
    if version != VERSION {
        return Err(SceneError::NotGltf(format!(
            "it is a GLB of version {version}, and only 2 is supported: convert it to glTF 2.0"
        )));
    }
    let length = read_u32(bytes, 8)? as usize;
    if length < HEADER_BYTES {
        return Err(SceneError::NotGltf(format!("its header states a length of {length} bytes")));
    }
    let whole = bytes.get(..length).ok_or_else(|| {
        SceneError::NotGltf(format!("the file is truncated: {} bytes of {length}", bytes.len()))
    })?;
    let (json, rest) = chunk(whole, HEADER_BYTES, CHUNK_JSON)?
        .ok_or_else(|| SceneError::NotGltf("its first chunk is not JSON".into()))?;
    let binary = match chunk(whole, rest, CHUNK_BIN)? {
        Some((binary, _)) => binary,
        None => &[],
    };
    Ok(Glb { json, binary })
}

/// The chunk that starts at `start` and where the next one does, if it is of the expected type.
fn chunk(whole: &[u8], start: usize, kind: u32) -> Result<Option<(&[u8], usize)>, SceneError> {
    if whole.len() <= start {
        return Ok(None);
    }
    let length = read_u32(whole, start)? as usize;
    let found = read_u32(whole, start + 4)?;
    let data = start + CHUNK_HEADER_BYTES;
    let end = data.saturating_add(length);
    let content = whole.get(data..end).ok_or_else(|| {
        SceneError::NotGltf(format!("the chunk at byte {start} claims {length} bytes and leaves the file"))
    })?;
    Ok((found == kind).then_some((content, end)))
}

fn read_u32(bytes: &[u8], at: usize) -> Result<u32, SceneError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map(|four| u32::from_le_bytes(*four))
        .ok_or_else(|| SceneError::NotGltf(format!("the file is truncated: only {} bytes", bytes.len())))
}

/// Writes a GLB: chunks padded to four bytes, JSON with spaces, binary with zeros. `None` when it would not fit in
/// the 32-bit length of the format.
pub(crate) fn join(json: &[u8], binary: &[u8]) -> Option<Vec<u8>> {
    let json_padded = json.len().checked_next_multiple_of(4)?;
    let binary_padded = binary.len().checked_next_multiple_of(4)?;
    let chunks = if binary.is_empty() { 1 } else { 2 };
    let total = HEADER_BYTES + chunks * CHUNK_HEADER_BYTES + json_padded + binary_padded;
    let total_u32 = u32::try_from(total).ok()?;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&total_u32.to_le_bytes());
    push_chunk(&mut out, CHUNK_JSON, json, json_padded, b' ');
    if !binary.is_empty() {
        push_chunk(&mut out, CHUNK_BIN, binary, binary_padded, 0);
    }
    Some(out)
}

fn push_chunk(out: &mut Vec<u8>, kind: u32, content: &[u8], padded: usize, filler: u8) {
    out.extend_from_slice(&(padded as u32).to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(content);
    out.resize(out.len() + padded - content.len(), filler);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_container_splits_into_its_padded_chunks() {
        let bytes = join(b"{\"a\":1}", &[1, 2, 3, 4, 5]).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let glb = split(&bytes).unwrap();
        assert_eq!(glb.json, b"{\"a\":1} ");
        assert_eq!(glb.binary, &[1, 2, 3, 4, 5, 0, 0, 0]);
        assert!(split(&join(b"{}", &[]).unwrap()).unwrap().binary.is_empty());
    }

    #[test]
    fn b31_every_truncation_is_an_error() {
        let bytes = join(b"{\"a\":1}", &[1, 2, 3, 4, 5]).unwrap();
        for length in 0..bytes.len() {
            assert!(split(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn b02_a_chunk_cannot_claim_more_than_the_file() {
        let mut bytes = join(b"{}  ", &[]).unwrap();
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(split(&bytes).unwrap_err().to_string().contains("leaves the file"));
        bytes[8..12].copy_from_slice(&4_u32.to_le_bytes());
        assert!(split(&bytes).is_err());
    }
}
