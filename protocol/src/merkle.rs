//! The Merkle tree over a tile's 8x8 blocks of encoded pixels. A contributor signs its root, so that one block and
//! its path are enough to show what was signed for any pixel.
//!
//! Leaves are `BLAKE3("p2c2r/block/v1" derived key; column, row, width, pixels row by row)`, inner nodes
//! `BLAKE3("p2c2r/node/v1" derived key; left, right)`; an odd node at the end of a level moves up unchanged. Leaf and
//! node hashes have keys of their own, so that neither can pass for the other.

use std::{ops::Range, sync::LazyLock};

use crate::{
    id::TileRoot,
    limit::{MAX_FRAME_EDGE_PX, MAX_TILE_BYTES, MERKLE_BLOCK_EDGE_PX},
};

/// Domain key of leaves.
static LEAF_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key("p2c2r/block/v1", b""));
/// Domain key of inner nodes.
static NODE_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key("p2c2r/node/v1", b""));

/// Why pixels have no root, or a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleError {
    /// No tile has this shape.
    #[error(
        "a tile of {width}x{height} pixels of {bytes_per_pixel} bytes is empty or over {MAX_TILE_BYTES} bytes"
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

/// A tile's shape: what is in which block. Both edges 1 to [`MAX_FRAME_EDGE_PX`], at most [`MAX_TILE_BYTES`] in all.
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
    /// Hashes of the neighbours on the way up, from the leaf's to the root's child.
    pub path: Vec<[u8; 32]>,
}

/// The root over a tile's encoded pixels (rows from the top, pixels from the left).
pub fn tile_root(
    pixels: &[u8],
    width: u32,
    height: u32,
    bytes_per_pixel: u32,
) -> Result<TileRoot, MerkleError> {
    let shape = TileShape::new(width, height, bytes_per_pixel)?;
    let mut level = shape.leaves(pixels)?;
    while level.len() > 1 {
        level = parents(&level);
    }
    // invariant: a shape has at least one block.
    Ok(TileRoot(level[0]))
}

/// The proof of one block of a tile.
pub fn prove(shape: TileShape, pixels: &[u8], column: u32, row: u32) -> Result<BlockProof, MerkleError> {
    let leaf = shape.leaf_index(column, row)?;
    let mut level = shape.leaves(pixels)?;
    let mut path = Vec::new();
    let mut index = leaf;
    while level.len() > 1 {
        path.extend(level.get(index ^ 1));
        level = parents(&level);
        index /= 2;
    }
    let mut block = Vec::with_capacity(shape.block_bytes(column, row));
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
    let mut block = shape.leaf_prefix(proof.column, proof.row).to_vec();
    block.extend_from_slice(&proof.pixels);
    let mut hash = leaf_hash(&block);
    let mut siblings = proof.path.iter();
    let mut level_len = shape.blocks();
    while level_len > 1 {
        // The last node of an odd level has no sibling and moves up unchanged.
        if index ^ 1 < level_len {
            let sibling = siblings.next().ok_or(MerkleError::Path)?;
            hash = if index % 2 == 0 { inner(&hash, sibling) } else { inner(sibling, &hash) };
        }
        index /= 2;
        level_len = level_len.div_ceil(2);
    }
    if siblings.next().is_none() && hash == root.0 { Ok(()) } else { Err(MerkleError::Path) }
}

impl TileShape {
    /// The shape of a tile of `width` x `height` pixels.
    pub fn new(width: u32, height: u32, bytes_per_pixel: u32) -> Result<Self, MerkleError> {
        let edges = 1..=MAX_FRAME_EDGE_PX;
        // The edges are checked first: their product with any pixel size fits into 64 bits.
        let fits = edges.contains(&width) && edges.contains(&height) && {
            let bytes = u64::from(width) * u64::from(height) * u64::from(bytes_per_pixel);
            (1..=u64::from(MAX_TILE_BYTES)).contains(&bytes)
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

    /// What a leaf says before its pixels: where the block is, and how wide (at the border it is narrower).
    fn leaf_prefix(self, column: u32, row: u32) -> [u8; 9] {
        let mut prefix = [0; 9];
        prefix[..4].copy_from_slice(&column.to_le_bytes());
        prefix[4..8].copy_from_slice(&row.to_le_bytes());
        prefix[8] = Self::span(column, self.width).len() as u8;
        prefix
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

    fn leaves(self, pixels: &[u8]) -> Result<Vec<[u8; 32]>, MerkleError> {
        if pixels.len() != self.bytes() {
            return Err(MerkleError::Length { found: pixels.len(), expected: self.bytes() });
        }
        let mut leaves = Vec::with_capacity(self.blocks());
        // One buffer for all blocks: a hash over one slice is several times faster than one fed row by row.
        let mut block = Vec::with_capacity(9 + self.block_bytes(0, 0));
        for row in 0..self.rows() {
            for column in 0..self.columns() {
                block.clear();
                block.extend_from_slice(&self.leaf_prefix(column, row));
                self.append_block(pixels, column, row, &mut block);
                leaves.push(leaf_hash(&block));
            }
        }
        Ok(leaves)
    }
}

fn parents(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let (pairs, odd) = level.as_chunks::<2>();
    pairs.iter().map(|[left, right]| inner(left, right)).chain(odd.iter().copied()).collect()
}

fn leaf_hash(block: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&LEAF_KEY, block).as_bytes()
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

    fn pattern(shape: TileShape) -> Vec<u8> {
        (0..shape.bytes()).map(|index| (index % 253) as u8).collect()
    }

    #[test]
    fn root_is_stable() {
        let shape = TileShape::new(21, 13, 12).unwrap();
        let root = tile_root(&pattern(shape), 21, 13, 12).unwrap();
        assert_eq!(
            root.short(),
            "e9767f1ddf4e",
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
    fn b6_shapes_beyond_every_tile_are_refused() {
        for (width, height, bytes_per_pixel) in [
            (u32::MAX, u32::MAX, u32::MAX),
            (MAX_FRAME_EDGE_PX, MAX_FRAME_EDGE_PX, 12),
            (1, MAX_FRAME_EDGE_PX + 1, 12),
            (1, 1, 0),
            (1, 1, MAX_TILE_BYTES + 1),
        ] {
            let refused = MerkleError::Shape { width, height, bytes_per_pixel };
            assert_eq!(TileShape::new(width, height, bytes_per_pixel), Err(refused));
        }
        assert_eq!(TileShape::new(1, 1, MAX_TILE_BYTES).unwrap().bytes(), MAX_TILE_BYTES as usize);
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
