//! The Merkle tree over a tile's 8x8 blocks of encoded pixels. A contributor signs its root, so that one block and
//! its path are enough to show what was signed for any pixel.
//!
//! Leaves are `BLAKE3("p2c2r/block/v1" derived key; column, row, width, pixels row by row)`, inner nodes
//! `BLAKE3("p2c2r/node/v1" derived key; left, right)`; an odd node at the end of a level moves up unchanged. Leaf and
//! node hashes have keys of their own, so that neither can pass for the other.

use std::sync::LazyLock;

use crate::{id::TileRoot, limit::MERKLE_BLOCK_EDGE_PX};

/// Domain key of leaves.
static LEAF_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key("p2c2r/block/v1", b""));
/// Domain key of inner nodes.
static NODE_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key("p2c2r/node/v1", b""));

/// Why pixels have no root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} bytes of pixels are not a tile of {expected} bytes")]
pub struct MerkleError {
    /// Bytes given.
    pub found: usize,
    /// Bytes that the tile has.
    pub expected: u64,
}

/// The root over a tile's encoded pixels (rows from the top, pixels from the left).
pub fn tile_root(
    pixels: &[u8],
    width: u32,
    height: u32,
    bytes_per_pixel: u32,
) -> Result<TileRoot, MerkleError> {
    let expected = u64::from(width) * u64::from(height) * u64::from(bytes_per_pixel);
    if expected == 0 || pixels.len() as u64 != expected {
        return Err(MerkleError { found: pixels.len(), expected });
    }
    let mut level = leaves(pixels, width, height, bytes_per_pixel as usize);
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => inner(left, right),
                odd => odd[0],
            })
            .collect();
    }
    Ok(TileRoot(level[0]))
}

fn leaves(pixels: &[u8], width: u32, height: u32, bytes_per_pixel: usize) -> Vec<[u8; 32]> {
    let edge = MERKLE_BLOCK_EDGE_PX;
    let stride = width as usize * bytes_per_pixel;
    let mut leaves = Vec::with_capacity((width.div_ceil(edge) * height.div_ceil(edge)) as usize);
    // One buffer for all blocks: a hash over one slice is several times faster than one fed row by row.
    let mut block = Vec::with_capacity(9 + (edge * edge) as usize * bytes_per_pixel);
    for row in (0..height).step_by(edge as usize) {
        for column in (0..width).step_by(edge as usize) {
            block.clear();
            block.extend_from_slice(&(column / edge).to_le_bytes());
            block.extend_from_slice(&(row / edge).to_le_bytes());
            // A block at the border is smaller: its shape belongs to what is signed.
            block.push((column + edge).min(width).abs_diff(column) as u8);
            let start = column as usize * bytes_per_pixel;
            let end = (column + edge).min(width) as usize * bytes_per_pixel;
            for y in row..(row + edge).min(height) {
                let line = y as usize * stride;
                block.extend_from_slice(&pixels[line + start..line + end]);
            }
            leaves.push(*blake3::keyed_hash(&LEAF_KEY, &block).as_bytes());
        }
    }
    leaves
}

fn inner(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    *blake3::keyed_hash(&NODE_KEY, &both).as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_size_has_no_root() {
        assert!(tile_root(&[0; 11], 1, 1, 12).is_err());
        assert!(tile_root(&[], 0, 5, 12).is_err());
        assert!(tile_root(&[0; 12], 1, 1, 12).is_ok());
    }

    proptest! {
        #[test]
        fn every_byte_counts(width in 1_u32..40, height in 1_u32..40, at: prop::sample::Index, flip in 1_u8..) {
            let mut pixels: Vec<u8> = (0..width * height * 12).map(|index| (index % 253) as u8).collect();
            let root = tile_root(&pixels, width, height, 12).unwrap();
            let at = at.index(pixels.len());
            pixels[at] ^= flip;
            prop_assert_ne!(tile_root(&pixels, width, height, 12).unwrap(), root);
        }

        #[test]
        fn same_bytes_in_another_shape_have_another_root(width in 1_u32..30, height in 1_u32..30) {
            prop_assume!(width != height);
            let pixels = vec![3; (width * height * 12) as usize];
            prop_assert_ne!(tile_root(&pixels, width, height, 12), tile_root(&pixels, height, width, 12));
        }
    }
}
