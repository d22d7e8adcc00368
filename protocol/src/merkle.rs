//! The Merkle tree over a tile's 8x8 blocks of encoded pixels. A contributor signs its root, so that one block and
//! its path are enough to show what was signed for any pixel.
//!
//! The tree is BLAKE3's own: the blocks lie one behind the other, row of blocks by row of blocks, each padded with
//! zeros to one chunk of 1 KiB, and the root is the keyed hash of all of it. So a whole tile is hashed at the full
//! speed of BLAKE3, many blocks at once, and a single block is proved by the chaining values beside its path. The
//! key is derived from the tile's shape: the same bytes in another shape have another root.

use std::ops::Range;

use blake3::{
    CHUNK_LEN, Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

use crate::{
    id::TileRoot,
    limit::{MAX_FRAME_EDGE_PX, MAX_TILE_BYTES, MERKLE_BLOCK_EDGE_PX},
    tile::{PixelEncoding, TileRect},
};

/// What the keys of tile trees are derived under.
const KEY_CONTEXT: &str = "p2c2r/tile/v1";
/// Most bytes of a pixel: a block of such pixels fills its chunk.
const MAX_BYTES_PER_PIXEL: u32 = CHUNK_LEN as u32 / (MERKLE_BLOCK_EDGE_PX * MERKLE_BLOCK_EDGE_PX);
/// Most words of a pixel that is longer than that.
const MAX_WORDS_PER_PIXEL: u32 = 2;
/// Blocks that are laid out and hashed together: more than any machine hashes at once.
const BATCH_BLOCKS: usize = 64;

/// Why pixels have no root, or a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleError {
    /// No tile has this shape.
    #[error(
        "a tile of {width}x{height} pixels of {bytes_per_pixel} bytes is empty, over {MAX_TILE_BYTES} bytes, or of pixels over {MAX_BYTES_PER_PIXEL} bytes"
    )]
    Shape {
        /// Offered width, pixels.
        width: u32,
        /// Offered height, pixels.
        height: u32,
        /// Offered bytes of a pixel.
        bytes_per_pixel: u32,
    },
    /// The pixels are not as many bytes as their shape has.
    #[error("{found} bytes of pixels, {expected} expected")]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes that the tile or block has.
        expected: usize,
    },
    /// The tile has no such block.
    #[error("the tile has no block in column {column}, row {row}")]
    Block {
        /// Column of the block, counted in blocks.
        column: u32,
        /// Row of the block, counted in blocks.
        row: u32,
    },
    /// Block and path do not lead to the root.
    #[error("the block and its path do not lead to the tile's root")]
    Path,
}

/// A tile's shape: what is in which block. Both edges 1 to [`MAX_FRAME_EDGE_PX`], the width twice as
/// much for encodings whose pixels are two words; at most [`MAX_TILE_BYTES`] in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileShape {
    width: u32,
    height: u32,
    bytes_per_pixel: u32,
}

/// One block of a tile, and what it takes to get from it to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// Column of the block, counted in blocks.
    pub column: u32,
    /// Row of the block, counted in blocks.
    pub row: u32,
    /// The block's encoded pixels, row by row.
    pub pixels: Vec<u8>,
    /// BLAKE3 chaining values of the neighbours on the way up, from the block's to the root's child.
    pub path: Vec<[u8; 32]>,
}

/// The root over a tile's pixels in their encoding.
pub fn encoded_root(pixels: &[u8], rect: TileRect, encoding: PixelEncoding) -> Result<TileRoot, MerkleError> {
    let words = encoding.words_per_pixel();
    tile_root(pixels, rect.width.saturating_mul(words), rect.height, encoding.bytes_per_pixel() / words)
}

/// The root over a tile's encoded pixels (rows from the top, pixels from the left).
pub fn tile_root(
    pixels: &[u8],
    width: u32,
    height: u32,
    bytes_per_pixel: u32,
) -> Result<TileRoot, MerkleError> {
    let shape = TileShape::new(width, height, bytes_per_pixel)?;
    shape.check_length(pixels)?;
    let mut hasher = Hasher::new_keyed(&shape.key());
    let mut batch = Vec::with_capacity(BATCH_BLOCKS.min(shape.blocks()) * CHUNK_LEN);
    for row in 0..shape.rows() {
        for column in 0..shape.columns() {
            shape.append_chunk(pixels, column, row, &mut batch);
            if batch.len() == BATCH_BLOCKS * CHUNK_LEN {
                hasher.update(&batch);
                batch.clear();
            }
        }
    }
    hasher.update(&batch);
    Ok(TileRoot(*hasher.finalize().as_bytes()))
}

/// The proof of one block of a tile.
pub fn prove(shape: TileShape, pixels: &[u8], column: u32, row: u32) -> Result<BlockProof, MerkleError> {
    let mut index = shape.leaf_index(column, row)?;
    shape.check_length(pixels)?;
    let key = shape.key();
    let mut level = shape.leaves(&key, pixels);
    let mut path = Vec::new();
    while level.len() > 1 {
        path.extend(level.get(index ^ 1));
        level = parents(&key, &level);
        index /= 2;
    }
    let mut block = Vec::with_capacity(CHUNK_LEN);
    shape.append_block(pixels, column, row, &mut block);
    Ok(BlockProof { column, row, pixels: block, path })
}

/// Whether a block is the one that the root was made of.
pub fn verify_path(shape: TileShape, root: TileRoot, proof: &BlockProof) -> Result<(), MerkleError> {
    let mut index = shape.leaf_index(proof.column, proof.row)?;
    let expected = shape.block_bytes(proof.column, proof.row);
    if proof.pixels.len() != expected {
        return Err(MerkleError::Length { found: proof.pixels.len(), expected });
    }
    let key = shape.key();
    let mut chunk = proof.pixels.clone();
    chunk.resize(CHUNK_LEN, 0);
    let mut level_len = shape.blocks();
    if level_len == 1 {
        let is_root = proof.path.is_empty() && *blake3::keyed_hash(&key, &chunk).as_bytes() == root.0;
        return if is_root { Ok(()) } else { Err(MerkleError::Path) };
    }
    let mut value = chunk_value(&key, index, &chunk);
    let mut siblings = proof.path.iter();
    while level_len > 2 {
        // The last node of an odd level has no sibling and moves up unchanged.
        if index ^ 1 < level_len {
            let (left, right) = ordered(index, value, *siblings.next().ok_or(MerkleError::Path)?);
            value = merge_subtrees_non_root(&left, &right, Mode::KeyedHash(&key));
        }
        index /= 2;
        level_len = level_len.div_ceil(2);
    }
    let (left, right) = ordered(index, value, *siblings.next().ok_or(MerkleError::Path)?);
    let top = merge_subtrees_root(&left, &right, Mode::KeyedHash(&key));
    if siblings.next().is_none() && *top.as_bytes() == root.0 { Ok(()) } else { Err(MerkleError::Path) }
}

impl TileShape {
    /// The shape of a tile of `width` x `height` pixels.
    pub fn new(width: u32, height: u32, bytes_per_pixel: u32) -> Result<Self, MerkleError> {
        let (widths, heights) = (1..=MAX_FRAME_EDGE_PX * MAX_WORDS_PER_PIXEL, 1..=MAX_FRAME_EDGE_PX);
        // The edges are checked first: their product with any pixel size fits into 64 bits.
        let fits = widths.contains(&width) && heights.contains(&height) && {
            let bytes = u64::from(width) * u64::from(height) * u64::from(bytes_per_pixel);
            (1..=u64::from(MAX_TILE_BYTES)).contains(&bytes) && bytes_per_pixel <= MAX_BYTES_PER_PIXEL
        };
        let shape = Self { width, height, bytes_per_pixel };
        if fits { Ok(shape) } else { Err(MerkleError::Shape { width, height, bytes_per_pixel }) }
    }

    /// Bytes of the tile.
    pub const fn bytes(self) -> usize {
        self.width as usize * self.height as usize * self.bytes_per_pixel as usize
    }

    /// Blocks in a row of blocks.
    pub const fn columns(self) -> u32 {
        self.width.div_ceil(MERKLE_BLOCK_EDGE_PX)
    }

    /// Rows of blocks.
    pub const fn rows(self) -> u32 {
        self.height.div_ceil(MERKLE_BLOCK_EDGE_PX)
    }

    const fn blocks(self) -> usize {
        self.columns() as usize * self.rows() as usize
    }

    fn leaf_index(self, column: u32, row: u32) -> Result<usize, MerkleError> {
        if column < self.columns() && row < self.rows() {
            Ok(row as usize * self.columns() as usize + column as usize)
        } else {
            Err(MerkleError::Block { column, row })
        }
    }

    /// The pixels of a block along one edge of the tile: fewer at the border.
    fn span(block: u32, edge_px: u32) -> Range<u32> {
        let start = block * MERKLE_BLOCK_EDGE_PX;
        start..(start + MERKLE_BLOCK_EDGE_PX).min(edge_px)
    }

    fn block_bytes(self, column: u32, row: u32) -> usize {
        let (x, y) = (Self::span(column, self.width), Self::span(row, self.height));
        x.len() * y.len() * self.bytes_per_pixel as usize
    }

    /// Of the tree: what it is a tree over.
    fn key(self) -> [u8; 32] {
        let mut shape = [0; 12];
        for (field, value) in
            shape.as_chunks_mut::<4>().0.iter_mut().zip([self.width, self.height, self.bytes_per_pixel])
        {
            *field = value.to_le_bytes();
        }
        blake3::derive_key(KEY_CONTEXT, &shape)
    }

    fn check_length(self, pixels: &[u8]) -> Result<(), MerkleError> {
        let (found, expected) = (pixels.len(), self.bytes());
        if found == expected { Ok(()) } else { Err(MerkleError::Length { found, expected }) }
    }

    /// Appends a block's rows. `pixels` has the tile's length.
    fn append_block(self, pixels: &[u8], column: u32, row: u32, out: &mut Vec<u8>) {
        let pixel = self.bytes_per_pixel as usize;
        let x = Self::span(column, self.width);
        for y in Self::span(row, self.height) {
            let line = y as usize * self.width as usize;
            out.extend_from_slice(
                &pixels[(line + x.start as usize) * pixel..(line + x.end as usize) * pixel],
            );
        }
    }

    /// Appends a block, padded to a chunk.
    fn append_chunk(self, pixels: &[u8], column: u32, row: u32, out: &mut Vec<u8>) {
        let end = out.len() + CHUNK_LEN;
        self.append_block(pixels, column, row, out);
        out.resize(end, 0);
    }

    fn leaves(self, key: &[u8; 32], pixels: &[u8]) -> Vec<ChainingValue> {
        let mut leaves = Vec::with_capacity(self.blocks());
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        for row in 0..self.rows() {
            for column in 0..self.columns() {
                chunk.clear();
                self.append_chunk(pixels, column, row, &mut chunk);
                leaves.push(chunk_value(key, leaves.len(), &chunk));
            }
        }
        leaves
    }
}

fn chunk_value(key: &[u8; 32], index: usize, chunk: &[u8]) -> ChainingValue {
    let offset = index as u64 * CHUNK_LEN as u64;
    Hasher::new_keyed(key).set_input_offset(offset).update(chunk).finalize_non_root()
}

fn parents(key: &[u8; 32], level: &[ChainingValue]) -> Vec<ChainingValue> {
    let (pairs, odd) = level.as_chunks::<2>();
    let merged = pairs.iter().map(|[left, right]| merge_subtrees_non_root(left, right, Mode::KeyedHash(key)));
    merged.chain(odd.iter().copied()).collect()
}

/// A node and its sibling, the left one first.
fn ordered(index: usize, value: ChainingValue, sibling: ChainingValue) -> (ChainingValue, ChainingValue) {
    if index.is_multiple_of(2) { (value, sibling) } else { (sibling, value) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(shape: TileShape) -> Vec<u8> {
        (0..shape.bytes()).map(|index| (index % 253) as u8).collect()
    }

    #[test]
    fn root_is_stable() {
        let shape = TileShape::new(21, 13, 12).unwrap();
        let root = tile_root(&pattern(shape), 21, 13, 12).unwrap();
        assert_eq!(
            root.short(),
            "8709538b0359",
            "contributors sign this root: a change of it is a change of the protocol"
        );
    }

    #[test]
    fn b9_wrong_size_has_no_root() {
        assert_eq!(tile_root(&[0; 11], 1, 1, 12), Err(MerkleError::Length { found: 11, expected: 12 }));
        assert!(matches!(tile_root(&[], 0, 5, 12), Err(MerkleError::Shape { .. })));
        assert!(tile_root(&[0; 12], 1, 1, 12).is_ok());
    }

    #[test]
    fn every_encoding_of_the_widest_row_has_a_root() {
        let row = TileRect { x: 0, y: 0, width: MAX_FRAME_EDGE_PX, height: 1 };
        for encoding in [PixelEncoding::RgbF32, PixelEncoding::RgbSum, PixelEncoding::Rgb9E5] {
            let bytes = vec![0; (row.width * encoding.bytes_per_pixel()) as usize];
            assert!(encoded_root(&bytes, row, encoding).is_ok(), "{encoding:?}");
            assert!(encoded_root(&bytes[1..], row, encoding).is_err(), "{encoding:?}");
        }
        let wide = TileRect { width: u32::MAX, ..row };
        assert!(encoded_root(&[], wide, PixelEncoding::RgbSum).is_err());
    }

    #[test]
    fn b6_shapes_beyond_every_tile_are_refused() {
        for (width, height, bytes_per_pixel) in [
            (u32::MAX, u32::MAX, u32::MAX),
            (MAX_FRAME_EDGE_PX, MAX_FRAME_EDGE_PX, 12),
            (1, MAX_FRAME_EDGE_PX + 1, 12),
            (2 * MAX_FRAME_EDGE_PX + 1, 1, 12),
            (1, 1, 0),
            (1, 1, MAX_BYTES_PER_PIXEL + 1),
        ] {
            let refused = MerkleError::Shape { width, height, bytes_per_pixel };
            assert_eq!(TileShape::new(width, height, bytes_per_pixel), Err(refused));
        }
        assert_eq!(TileShape::new(8, 8, MAX_BYTES_PER_PIXEL).unwrap().bytes(), CHUNK_LEN);
    }

    #[test]
    fn block_outside_the_tile_has_no_proof() {
        let shape = TileShape::new(16, 9, 12).unwrap();
        let pixels = pattern(shape);
        assert_eq!(prove(shape, &pixels, 2, 0), Err(MerkleError::Block { column: 2, row: 0 }));
        assert_eq!(prove(shape, &pixels, 0, 2), Err(MerkleError::Block { column: 0, row: 2 }));
        assert!(matches!(prove(shape, &pixels[1..], 0, 0), Err(MerkleError::Length { .. })));
    }

    #[test]
    fn proof_of_one_block_proves_nothing_else() {
        let shape = TileShape::new(21, 13, 12).unwrap();
        let pixels = pattern(shape);
        let root = tile_root(&pixels, 21, 13, 12).unwrap();
        let proof = prove(shape, &pixels, 1, 0).unwrap();
        assert_eq!(verify_path(shape, root, &proof), Ok(()));
        let moved = BlockProof { column: 0, ..proof.clone() };
        assert_eq!(verify_path(shape, root, &moved), Err(MerkleError::Path));
        let outside = BlockProof { column: 3, ..proof.clone() };
        assert_eq!(verify_path(shape, root, &outside), Err(MerkleError::Block { column: 3, row: 0 }));
        let shorter = BlockProof { pixels: proof.pixels[1..].to_vec(), ..proof.clone() };
        assert!(matches!(verify_path(shape, root, &shorter), Err(MerkleError::Length { .. })));
        let mut longer = proof.clone();
        longer.path.push([0; 32]);
        assert_eq!(verify_path(shape, root, &longer), Err(MerkleError::Path));
        let mut cut = proof.clone();
        cut.path.pop();
        assert_eq!(verify_path(shape, root, &cut), Err(MerkleError::Path));
        let mut altered = proof;
        altered.path[0][31] ^= 1;
        assert_eq!(verify_path(shape, root, &altered), Err(MerkleError::Path));
    }

    proptest! {
        #[test]
        fn every_byte_counts(width in 1_u32..40, height in 1_u32..40, at: prop::sample::Index, flip in 1_u8..) {
            let mut pixels = pattern(TileShape::new(width, height, 12).unwrap());
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

        #[test]
        fn every_block_is_proved_by_its_path(
            width in 1_u32..60, height in 1_u32..60, pixel in 1_u32..13, at: prop::sample::Index, flip in 1_u8..,
        ) {
            let shape = TileShape::new(width, height, pixel).unwrap();
            let pixels = pattern(shape);
            let root = tile_root(&pixels, width, height, pixel).unwrap();
            for row in 0..shape.rows() {
                for column in 0..shape.columns() {
                    let mut proof = prove(shape, &pixels, column, row).unwrap();
                    prop_assert_eq!(verify_path(shape, root, &proof), Ok(()));
                    let at = at.index(proof.pixels.len());
                    proof.pixels[at] ^= flip;
                    prop_assert_eq!(verify_path(shape, root, &proof), Err(MerkleError::Path));
                }
            }
        }
    }
}
