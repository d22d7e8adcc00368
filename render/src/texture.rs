//! Pictures on surfaces, filtered by hand so that every device gets the same bits. `kernel/gpu/texture.wgsl` is the
//! twin of the functions that the kernels call.

use std::sync::LazyLock;

use crate::scene::{Filter, Image, Scene, Texture, TextureUse, Wrap};

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

/// What a code of 255 is multiplied by to become 1.
const CODE_SHARE: f32 = 1.0 / 255.0;

/// What the channels of a picture stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// sRGB colour and linear opacity.
    Color,
    /// Linear numbers.
    Data,
}

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

/// An index brought into the picture: at most one step outside.
#[inline(always)]
fn inside(index: i32, last: i32, wrap: Wrap) -> u32 {
    let around = matches!(wrap, Wrap::Repeat);
    let inside = if index < 0 {
        if around { last } else { 0 }
    } else if index > last {
        if around { 0 } else { last }
    } else {
        index
    };
    inside as u32
}

/// The two neighbours of a position and how far it is from the first.
#[inline(always)]
fn neighbours(coordinate: f32, wrap: Wrap, edge: u32) -> (u32, u32, f32) {
    let position = wrapped(coordinate, wrap) * edge as f32 - 0.5;
    let first = position.floor();
    let last = edge.cast_signed() - 1;
    (inside(first as i32, last, wrap), inside(first as i32 + 1, last, wrap), position - first)
}

/// The pixel that a position lies in.
#[inline(always)]
fn nearest(coordinate: f32, wrap: Wrap, edge: u32) -> u32 {
    let position = wrapped(coordinate, wrap) * edge as f32;
    inside(position.floor() as i32, edge.cast_signed() - 1, wrap)
}

#[inline(always)]
fn texel(image: &Image, content: Content, x: u32, y: u32) -> [f32; 4] {
    let [red, green, blue, alpha] = image.texels[(y * image.width + x) as usize];
    let table = &*SRGB_TO_LINEAR;
    let channel = |code: u8| match content {
        Content::Color => table[code as usize],
        Content::Data => f32::from(code) * CODE_SHARE,
    };
    [channel(red), channel(green), channel(blue), f32::from(alpha) * CODE_SHARE]
}

#[inline(always)]
fn blend(a: [f32; 4], b: [f32; 4], share: f32) -> [f32; 4] {
    std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * share)
}

#[inline(always)]
fn sample(texture: &Texture, image: &Image, content: Content, uv: [f32; 2]) -> [f32; 4] {
    let [wrap_x, wrap_y] = texture.wrap;
    if texture.filter == Filter::Nearest {
        let (x, y) = (nearest(uv[0], wrap_x, image.width), nearest(uv[1], wrap_y, image.height));
        return texel(image, content, x, y);
    }
    let (x0, x1, along) = neighbours(uv[0], wrap_x, image.width);
    let (y0, y1, down) = neighbours(uv[1], wrap_y, image.height);
    let above = blend(texel(image, content, x0, y0), texel(image, content, x1, y0), along);
    let below = blend(texel(image, content, x0, y1), texel(image, content, x1, y1), along);
    blend(above, below, down)
}

/// What a material sees of a texture at the texture coordinates of a point, one pair of each set.
#[inline(always)]
pub fn lookup(scene: &Scene, used: &TextureUse, content: Content, uvs: &[[f32; 2]; 2]) -> [f32; 4] {
    let [u, v] = uvs[used.uv_set as usize & 1];
    let row = |[a, b, moved]: [f32; 3]| a * u + b * v + moved;
    let texture = &scene.textures[used.texture as usize];
    let uv = [row(used.transform[0]), row(used.transform[1])];
    sample(texture, &scene.images[texture.image as usize], content, uv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image { width: 2, height: 2, texels: vec![[0, 0, 0, 255], [255; 4], [255; 4], [0, 0, 0, 255]] }
    }

    fn texture(wrap: Wrap, filter: Filter) -> Texture {
        Texture { image: 0, wrap: [wrap; 2], filter }
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

    #[test]
    fn far_coordinates_stay_inside() {
        let image = image();
        for coordinate in [-1e30_f32, 1e30, 123_456.78, -0.000_001, f32::MAX] {
            for wrap in [Wrap::Repeat, Wrap::Mirror, Wrap::Clamp] {
                for filter in [Filter::Linear, Filter::Nearest] {
                    let seen = sample(&texture(wrap, filter), &image, Content::Color, [coordinate; 2]);
                    assert!((0.0..=1.0).contains(&seen[0]));
                }
            }
        }
    }

    #[test]
    fn centers_of_texels_are_exact_and_wrapping_reaches_across() {
        let image = image();
        for wrap in [Wrap::Repeat, Wrap::Mirror, Wrap::Clamp] {
            let texture = texture(wrap, Filter::Linear);
            assert_eq!(sample(&texture, &image, Content::Color, [0.25, 0.25])[0], 0.0);
            assert_eq!(sample(&texture, &image, Content::Color, [0.75, 0.25])[0], 1.0);
        }
        let at = |wrap, uv| sample(&texture(wrap, Filter::Linear), &image, Content::Color, uv)[0];
        assert_eq!(at(Wrap::Repeat, [0.0, 0.25]), 0.5);
        assert_eq!(at(Wrap::Clamp, [0.0, 0.25]), 0.0);
        assert_eq!(at(Wrap::Mirror, [1.25, 0.25]), 1.0);
        assert_eq!(at(Wrap::Repeat, [-0.25, 0.25]), 1.0);
    }

    #[test]
    fn nearest_takes_one_texel_and_data_is_linear() {
        let image = Image { width: 2, height: 1, texels: vec![[51, 0, 0, 102], [255; 4]] };
        let texture = texture(Wrap::Repeat, Filter::Nearest);
        let [red, _, _, alpha] = sample(&texture, &image, Content::Data, [0.49, 0.9]);
        assert!((red - 0.2).abs() < 1e-6 && (alpha - 0.4).abs() < 1e-6);
        assert_eq!(sample(&texture, &image, Content::Data, [0.51, 0.1])[0], 1.0);
        assert_eq!(sample(&texture, &image, Content::Data, [1.0, 1.0])[0], red);
    }
}
