//! What a frame shows without light being followed: one ray through the middle of each pixel, and a cheap light.

use p2c2r_protocol::tile::{Camera, FrameSize, GeometryError, Sampling, TileRect};

use crate::{
    kernel::{first_hit::FirstHit, path::PathTracer, wave::Wave},
    math::{Vec3, dot},
    prepared::PreparedScene,
};

/// Edge of the squares of pixels whose rays go through the trees together: such a square is a packet.
const SQUARE_PX: u32 = 4;
/// Squares that are traced before they are shaded, so that all they carry stays in the nearest caches.
const SQUARES_AT_ONCE: usize = 32;
/// Parts of the cheap light: from everywhere, from above, and from the camera.
const FROM_EVERYWHERE: f32 = 0.4;
const FROM_ABOVE: f32 = 0.3;
const FROM_CAMERA: f32 = 0.3;

/// Least part of the albedo that light is multiplied by, and that radiance is divided by to get the light: below it,
/// noise would grow faster than texture disappears. As in the denoiser.
const ALBEDO_FLOOR: f32 = 0.03;

/// What light is multiplied by where it meets a surface of that albedo.
pub(super) fn texture(albedo: [f32; 3]) -> [f32; 3] {
    albedo.map(|albedo| ALBEDO_FLOOR + (1.0 - ALBEDO_FLOOR) * albedo.clamp(0.0, 1.0))
}

/// From where a frame is seen, and how large it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaseView {
    /// Its size.
    pub size: FrameSize,
    /// From where; its lens is taken for a pinhole.
    pub camera: Camera,
}

impl BaseView {
    /// Whether the frame and the part of it are within the limits.
    pub fn check(&self, rect: TileRect) -> Result<(), GeometryError> {
        rect.check(self.size)?;
        self.camera.check()
    }

    /// For rays that nothing about is random.
    fn tracer<'a>(&self, scene: &'a PreparedScene) -> PathTracer<'a> {
        let sampling = Sampling { first_sample: 0, samples: 1, max_depth: 1, seed: 0, clamp: 0.0 };
        PathTracer::new(scene, self.size, sampling, &self.camera)
    }
}

/// Light in place of the light that is not known: no shadows, so that nothing is invisible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AmbientLight {
    /// What a white surface that faces the camera and the sky would radiate.
    pub level: [f32; 3],
}

impl Default for AmbientLight {
    fn default() -> Self {
        Self { level: [0.2; 3] }
    }
}

impl AmbientLight {
    /// What a white surface radiates that faces `normal` and is seen along `direction`.
    pub fn on(&self, normal: Vec3, direction: Vec3) -> [f32; 3] {
        let above = 0.5 + 0.5 * normal.y;
        let ahead = (-dot(normal, direction)).clamp(0.0, 1.0);
        let share = FROM_EVERYWHERE + FROM_ABOVE * above + FROM_CAMERA * ahead;
        self.level.map(|level| level * share)
    }
}

/// What the middle of a pixel shows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BasePixel {
    /// Linear radiance: what the surface gives off, and what it reflects of the ambient light; beyond the scene, that of
    /// its surroundings.
    pub radiance: [f32; 3],
    /// Share of the light that the surface reflects, 0 to 1 each; black where nothing was hit.
    pub albedo: [f32; 3],
    /// The part of the radiance that does not depend on light from elsewhere.
    pub emission: [f32; 3],
    /// Unit normal in world space, towards the camera; the zero vector where nothing was hit.
    pub normal: [f32; 3],
    /// In world space; where nothing was hit, the direction of the ray.
    pub position: [f32; 3],
    /// Along the ray, world units; 0 where nothing was hit.
    pub distance: f32,
}

impl BasePixel {
    /// Whether a surface is seen.
    pub fn is_surface(&self) -> bool {
        self.distance > 0.0
    }
}

/// The base picture of a frame, or of a rectangle of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The frame.
    pub view: BaseView,
    /// The part of it.
    pub rect: TileRect,
    /// The part's pixels, rows from the top.
    pub pixels: Vec<BasePixel>,
}

impl Base {
    /// Radiance of each pixel, rows from the top.
    pub fn radiance(&self) -> impl Iterator<Item = [f32; 3]> {
        self.pixels.iter().map(|pixel| pixel.radiance)
    }
}

/// Renders base pictures on the calling thread alone. Made once per thread: it keeps its memory.
#[derive(Default)]
pub struct BasePass {
    wave: Wave,
    places: Vec<(u32, u32)>,
    hits: Vec<FirstHit>,
}

impl BasePass {
    /// With no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the pixels of a rectangle show, the same bits on every machine. 320x180 pixels of a large scene take a few
    /// milliseconds.
    pub fn render(
        &mut self,
        scene: &PreparedScene,
        view: &BaseView,
        rect: TileRect,
        light: &AmbientLight,
    ) -> Result<Base, GeometryError> {
        self.render_into(scene, view, rect, light, Vec::new())
    }

    /// As [`Self::render`], into the memory of an earlier picture.
    pub fn render_into(
        &mut self,
        scene: &PreparedScene,
        view: &BaseView,
        rect: TileRect,
        light: &AmbientLight,
        mut pixels: Vec<BasePixel>,
    ) -> Result<Base, GeometryError> {
        view.check(rect)?;
        let tracer = view.tracer(scene);
        // invariant: a frame size is limited to 2^27 pixels.
        pixels.resize(rect.pixels() as usize, BasePixel::default());
        let mut squares = squares(rect).peekable();
        while squares.peek().is_some() {
            self.places.clear();
            self.places.extend(squares.by_ref().take(SQUARES_AT_ONCE).flat_map(pixels_of));
            self.hits.clear();
            self.wave.centre_hits(&tracer, self.places.iter().copied(), &mut self.hits);
            for ((x, y), hit) in self.places.iter().zip(&self.hits) {
                let index = (y - rect.y) as usize * rect.width as usize + (x - rect.x) as usize;
                pixels[index] = pixel(&tracer, light, hit);
            }
        }
        Ok(Base { view: *view, rect, pixels })
    }
}

/// The squares of a rectangle, row by row; those at its right and lower edge may be smaller.
fn squares(rect: TileRect) -> impl Iterator<Item = TileRect> {
    let steps = |length: u32| (0..length).step_by(SQUARE_PX as usize);
    steps(rect.height).flat_map(move |y| {
        steps(rect.width).map(move |x| TileRect {
            x: rect.x + x,
            y: rect.y + y,
            width: SQUARE_PX.min(rect.width - x),
            height: SQUARE_PX.min(rect.height - y),
        })
    })
}

fn pixels_of(rect: TileRect) -> impl Iterator<Item = (u32, u32)> {
    (rect.y..rect.y + rect.height).flat_map(move |y| (rect.x..rect.x + rect.width).map(move |x| (x, y)))
}

fn pixel(tracer: &PathTracer<'_>, light: &AmbientLight, hit: &FirstHit) -> BasePixel {
    let Some(surface) = hit.surface else {
        let outside = tracer.surroundings(hit.direction).to_array();
        let position = hit.direction.to_array();
        return BasePixel { radiance: outside, emission: outside, position, ..BasePixel::default() };
    };
    let (albedo, emission) = (surface.base_color.to_array(), surface.emission.to_array());
    let arriving = light.on(surface.normal, hit.direction);
    BasePixel {
        radiance: std::array::from_fn(|channel| emission[channel] + albedo[channel] * arriving[channel]),
        albedo,
        emission,
        normal: surface.normal.to_array(),
        position: surface.position.to_array(),
        distance: surface.distance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::camera,
        limit::SceneLimits,
        scene::{
            generate::{SceneKind, generate},
            gltf::parse_package,
        },
    };

    fn cornell() -> PreparedScene {
        let package = generate(SceneKind::Cornell, 1, None);
        PreparedScene::build(parse_package(&package, &SceneLimits::default()).unwrap().scene)
    }

    fn view(scene: &PreparedScene, width: u32, height: u32) -> BaseView {
        let size = FrameSize::new(width, height).unwrap();
        BaseView { size, camera: camera(&scene.scene().cameras[0], size) }
    }

    #[test]
    fn a_rectangle_has_the_bits_that_it_has_in_the_whole_frame() {
        let scene = cornell();
        let view = view(&scene, 53, 31);
        let (mut pass, light) = (BasePass::new(), AmbientLight::default());
        let whole = pass.render(&scene, &view, view.size.full(), &light).unwrap();
        let rect = TileRect { x: 7, y: 5, width: 21, height: 18 };
        let part = pass.render_into(&scene, &view, rect, &light, whole.pixels.clone()).unwrap();
        assert_eq!(part.pixels.len(), 21 * 18);
        for (index, pixel) in part.pixels.iter().enumerate() {
            let (x, y) = (7 + index % 21, 5 + index / 21);
            assert_eq!(*pixel, whole.pixels[y * 53 + x]);
        }
    }

    #[test]
    fn surfaces_lie_where_their_pixels_are_and_beyond_them_there_is_the_sky() {
        let scene = cornell();
        let view = view(&scene, 40, 30);
        let film = crate::projection::Projection::new(&view.camera, view.size);
        let base = BasePass::new().render(&scene, &view, view.size.full(), &AmbientLight::default()).unwrap();
        for (index, pixel) in base.pixels.iter().enumerate() {
            if !pixel.is_surface() {
                assert_eq!((pixel.radiance, pixel.normal), (pixel.emission, [0.0; 3]));
                continue;
            }
            let [x, y] = film.place_of_point(pixel.position.into()).unwrap();
            let (column, row) = ((index % 40) as f32 + 0.5, (index / 40) as f32 + 0.5);
            assert!((x - column).abs() < 1e-3 && (y - row).abs() < 1e-3, "{x} {y} {column} {row}");
            let length = dot(pixel.normal.into(), pixel.normal.into());
            assert!((length - 1.0).abs() < 1e-4);
        }
        assert!(base.pixels.iter().any(BasePixel::is_surface));
    }

    #[test]
    fn nothing_that_reflects_is_black_and_lamps_are_brighter_than_what_they_light() {
        let scene = cornell();
        let view = view(&scene, 40, 30);
        let base = BasePass::new().render(&scene, &view, view.size.full(), &AmbientLight::default()).unwrap();
        let surfaces = || base.pixels.iter().filter(|pixel| pixel.is_surface());
        for pixel in surfaces() {
            for channel in 0..3 {
                let light = (pixel.radiance[channel] - pixel.emission[channel]) / 0.2;
                assert!(light <= pixel.albedo[channel] * 1.001 && light >= pixel.albedo[channel] * 0.4);
            }
        }
        assert!(surfaces().any(|pixel| pixel.emission[0] > 1.0), "the lamp is seen");
    }

    #[test]
    fn rectangles_outside_the_frame_are_refused() {
        let scene = cornell();
        let view = view(&scene, 8, 8);
        for rect in
            [TileRect { x: 0, y: 0, width: 9, height: 1 }, TileRect { x: 0, y: 0, width: 0, height: 0 }]
        {
            assert!(BasePass::new().render(&scene, &view, rect, &AmbientLight::default()).is_err());
        }
    }
}
