//! Pictures on surfaces, filtered by hand so that every device gets the same bits. `kernel/gpu/texture.wgsl` is the
//! twin of the functions that the kernels call.

use std::sync::LazyLock;

use crate::{
    math::{Vec3, vec3},
    scene::{Texture, Wrap},
};

/// Linear values of the 256 sRGB codes (IEC 61966-2-1), rounded once from double precision; the GPU gets this table.
pub static SRGB_TO_LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|code| {
        let encoded = code as f64 / 255.0;
        // The table is made of `powf` of the platform, whose last bit may differ: rounding to binary32 hides it, and
        // a test pins every entry.
        let linear = if encoded <= 0.04045 { encoded / 12.92 } else { ((encoded + 0.055) / 1.055).powf(2.4) };
        linear as f32
    })
});

/// A coordinate brought into the picture, 0 to 1.
#[inline(always)]
fn wrapped(coordinate: f32, wrap: Wrap) -> f32 {
    match wrap {
        Wrap::Repeat => coordinate - coordinate.floor(),
        Wrap::Mirror => {
            let half = coordinate * 0.5;
            let turn = (half - half.floor()) * 2.0;
            if turn > 1.0 { 2.0 - turn } else { turn }
        }
        Wrap::Clamp => coordinate.clamp(0.0, 1.0),
    }
}

/// The two neighbours of a position and how far it is from the first.
#[inline(always)]
fn neighbours(coordinate: f32, wrap: Wrap, edge: u32) -> (u32, u32, f32) {
    let position = wrapped(coordinate, wrap) * edge as f32 - 0.5;
    let first = position.floor();
    let fraction = position - first;
    let first = first as i32;
    let last = edge.cast_signed() - 1;
    let inside = |index: i32| {
        if index < 0 {
            if matches!(wrap, Wrap::Repeat) { last } else { 0 }
        } else if index > last {
            if matches!(wrap, Wrap::Repeat) { 0 } else { last }
        } else {
            index
        }
    };
    (inside(first) as u32, inside(first + 1) as u32, fraction)
}

#[inline(always)]
fn texel(texture: &Texture, x: u32, y: u32) -> Vec3 {
    let [red, green, blue, _] = texture.texels[(y * texture.width + x) as usize];
    let table = &*SRGB_TO_LINEAR;
    vec3(table[red as usize], table[green as usize], table[blue as usize])
}

#[inline(always)]
fn blend(a: Vec3, b: Vec3, share: f32) -> Vec3 {
    a + (b - a) * share
}

/// The picture's colour at a texture coordinate, linear, filtered between the four nearest pixels.
#[inline(always)]
pub fn lookup(texture: &Texture, uv: [f32; 2]) -> Vec3 {
    let (x0, x1, along) = neighbours(uv[0], texture.wrap[0], texture.width);
    let (y0, y1, down) = neighbours(uv[1], texture.wrap[1], texture.height);
    let above = blend(texel(texture, x0, y0), texel(texture, x1, y0), along);
    let below = blend(texel(texture, x0, y1), texel(texture, x1, y1), along);
    blend(above, below, down)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(wrap: Wrap) -> Texture {
        Texture { width: 2, height: 1, texels: vec![[0, 0, 0, 255], [255, 255, 255, 255]], wrap: [wrap; 2] }
    }

    #[test]
    fn centers_are_their_pixels_and_between_is_blended() {
        for wrap in [Wrap::Repeat, Wrap::Mirror, Wrap::Clamp] {
            let picture = picture(wrap);
            assert_eq!(lookup(&picture, [0.25, 0.5]).x, 0.0);
            assert_eq!(lookup(&picture, [0.75, 0.5]).x, 1.0);
            assert_eq!(lookup(&picture, [0.5, 0.5]).x, 0.5);
        }
        assert_eq!(lookup(&picture(Wrap::Repeat), [1.25, 7.0]).x, 0.0);
        assert_eq!(lookup(&picture(Wrap::Mirror), [1.25, 0.5]).x, 1.0);
        assert_eq!(lookup(&picture(Wrap::Clamp), [9.0, 0.5]).x, 1.0);
        assert_eq!(
            lookup(&picture(Wrap::Repeat), [0.0, 0.5]).x,
            0.5,
            "left neighbour of the first pixel is the last"
        );
    }

    #[test]
    fn far_coordinates_stay_inside() {
        for coordinate in [-1e30_f32, 1e30, 123_456.78, -0.000_001] {
            for wrap in [Wrap::Repeat, Wrap::Mirror, Wrap::Clamp] {
                assert!((0.0..=1.0).contains(&lookup(&picture(wrap), [coordinate, coordinate]).x));
            }
        }
    }

    #[test]
    fn table_has_these_bits_everywhere() {
        let bits: Vec<u8> = SRGB_TO_LINEAR.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        let sum = bits.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(
            sum, 7_197_826_944_192_169_930,
            "a platform whose table differs cannot be of the exact class"
        );
    }
}
