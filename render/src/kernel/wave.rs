//! Many paths at once: rays of a wave are traced together, then their hits are shaded together.

use fearless_simd::{Level, Simd, f32x8};

use super::{
    direct::Candidate,
    first_hit::FirstHit,
    path::{Path, PathTracer, Struck},
    sum::RadianceSum,
    surface::Opacity,
};
use crate::{
    bvh::{
        Hit,
        walk::{Rays, Stack},
    },
    light::FAR,
    math::Vec3,
    ray::Ray,
    real::{MAX_LANES, always},
    simd::with_level,
};

/// Paths of a wave: few enough that all they carry stays in the nearest caches.
const WAVE: usize = 512;

/// A sample of a pixel, and where its radiance is added.
#[derive(Debug, Clone, Copy)]
struct Start {
    x: u32,
    y: u32,
    sample: u32,
    pixel: usize,
}

/// Room for a wave. Made once per thread.
pub struct Wave {
    level: Level,
    stack: Stack,
    starts: Vec<Start>,
    paths: Vec<Path>,
    /// Those that go on, as indices of paths.
    active: Vec<u32>,
    /// Those whose rays have hit something.
    struck: Vec<Struck>,
    closest: Batch,
    shadow: Batch,
    /// Of each shadow ray: its path, and what arrives if nothing is in the way.
    direct: Vec<(u32, Vec3)>,
    rays: u64,
}

/// Rays to trace.
#[derive(Default)]
struct Batch {
    rays: Vec<Ray>,
    hits: Vec<Hit>,
    keys: Vec<u32>,
}

impl Batch {
    #[inline(always)]
    fn clear(&mut self) {
        self.rays.clear();
        self.hits.clear();
        self.keys.clear();
    }

    #[inline(always)]
    fn push(&mut self, ray: Ray, reach: f32, key: u32) {
        self.rays.push(ray);
        self.hits.push(Hit::nothing(reach));
        self.keys.push(key);
    }
}

impl Default for Wave {
    fn default() -> Self {
        Self::new(Level::new())
    }
}

impl Wave {
    /// With the instructions of a level.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            stack: Stack::default(),
            starts: Vec::with_capacity(WAVE),
            paths: Vec::with_capacity(WAVE),
            active: Vec::with_capacity(WAVE),
            struck: Vec::with_capacity(WAVE),
            closest: Batch::default(),
            shadow: Batch::default(),
            direct: Vec::with_capacity(WAVE),
            rays: 0,
        }
    }

    /// Radiance of pixels, the view's samples added up, and the rays that it took. `None` when `stopped` said so: it
    /// is asked once a wave.
    pub fn pixels(
        &mut self,
        tracer: &PathTracer<'_>,
        pixels: &[(u32, u32)],
        stopped: impl Fn() -> bool,
    ) -> Option<(Vec<RadianceSum>, u64)> {
        let sampling = tracer.sampling();
        let mut sums = vec![RadianceSum::default(); pixels.len()];
        self.rays = 0;
        for sample in 0..sampling.samples {
            for (pixel, (x, y)) in pixels.iter().enumerate() {
                self.starts.push(Start {
                    x: *x,
                    y: *y,
                    sample: sampling.first_sample.wrapping_add(sample),
                    pixel,
                });
                if self.starts.len() == WAVE {
                    if stopped() {
                        self.starts.clear();
                        return None;
                    }
                    self.trace(tracer, &mut sums);
                }
            }
        }
        self.trace(tracer, &mut sums);
        Some((sums, self.rays))
    }

    /// Rays that single paths take.
    pub fn path_rays(&mut self, tracer: &PathTracer<'_>, paths: &[(u32, u32, u32)]) -> u64 {
        self.rays = 0;
        let starts = paths.iter().map(|(x, y, sample)| Start { x: *x, y: *y, sample: *sample, pixel: 0 });
        self.starts.extend(starts);
        self.trace(tracer, &mut []);
        self.rays
    }

    /// What the first rays of single paths meet: those of the paths that [`Self::pixels`] follows for the same
    /// samples.
    pub fn first_hits(&mut self, tracer: &PathTracer<'_>, paths: &[(u32, u32, u32)]) -> Vec<FirstHit> {
        let mut hits = Vec::with_capacity(paths.len());
        self.meet(tracer, paths.iter().map(|(x, y, sample)| tracer.begin(*x, *y, *sample)), &mut hits);
        hits
    }

    /// What the middles of pixels show, added to `hits`. Neighbours in the list had better be neighbours in the
    /// picture.
    pub fn centre_hits(
        &mut self,
        tracer: &PathTracer<'_>,
        pixels: impl Iterator<Item = (u32, u32)>,
        hits: &mut Vec<FirstHit>,
    ) {
        self.meet(tracer, pixels.map(|(x, y)| tracer.begin_at_centre(x, y)), hits);
    }

    fn meet(&mut self, tracer: &PathTracer<'_>, paths: impl Iterator<Item = Path>, hits: &mut Vec<FirstHit>) {
        self.paths.clear();
        self.paths.extend(paths);
        self.active.clear();
        self.active.extend(0..self.paths.len() as u32);
        with_level!(self.level, simd => {
            self.find_hits(simd, tracer, true);
            self.look(simd, tracer, hits);
        });
    }

    /// What is seen where rays have hit, or left the scene.
    #[inline(always)]
    fn look<S: Simd>(&mut self, simd: S, tracer: &PathTracer<'_>, hits: &mut Vec<FirstHit>) {
        self.struck.clear();
        for (path, hit) in self.closest.hits.iter().enumerate().filter(|(_, hit)| hit.is_some()) {
            self.struck.push(Struck { path: path as u32, hit: *hit });
        }
        let first = hits.len();
        hits.extend(self.paths.iter().map(FirstHit::missed));
        for at in (0..self.struck.len()).step_by(MAX_LANES) {
            self.announce(tracer, at);
            let struck = &self.struck[at..self.struck.len().min(at + MAX_LANES)];
            tracer.look::<f32x8<S>>(simd, struck, &self.paths, &mut hits[first..]);
        }
    }

    fn trace(&mut self, tracer: &PathTracer<'_>, sums: &mut [RadianceSum]) {
        with_level!(self.level, simd => self.trace_with(simd, tracer));
        for (start, path) in self.starts.drain(..).zip(&self.paths) {
            if let Some(sum) = sums.get_mut(start.pixel) {
                sum.add(path.radiance);
            }
        }
    }

    #[inline(always)]
    fn trace_with<S: Simd>(&mut self, simd: S, tracer: &PathTracer<'_>) {
        self.paths.clear();
        self.paths.extend(self.starts.iter().map(|start| tracer.begin(start.x, start.y, start.sample)));
        self.active.clear();
        self.active.extend(0..self.paths.len() as u32);
        let mut coherent = true;
        while !self.active.is_empty() {
            self.find_hits(simd, tracer, coherent);
            self.shade(simd, tracer);
            self.light(simd, tracer);
            coherent = false;
        }
    }

    #[inline(always)]
    fn find_hits<S: Simd>(&mut self, simd: S, tracer: &PathTracer<'_>, coherent: bool) {
        self.closest.clear();
        for index in &self.active {
            let path = &self.paths[*index as usize];
            self.closest.push(path.ray, FAR, tracer.see_through_key(path));
        }
        self.rays += self.closest.rays.len() as u64;
        let Batch { rays, hits, keys } = &mut self.closest;
        let filter = Opacity { prepared: tracer.scene(), keys };
        let rays = Rays { rays, hits, coherent };
        tracer.scene().forest().closest(simd, rays, &filter, &mut self.stack);
    }

    #[inline(always)]
    fn shade<S: Simd>(&mut self, simd: S, tracer: &PathTracer<'_>) {
        self.shadow.clear();
        self.direct.clear();
        self.struck.clear();
        for (path, hit) in self.active.iter().zip(&self.closest.hits) {
            if hit.is_some() {
                self.struck.push(Struck { path: *path, hit: *hit });
            } else {
                tracer.leave(&mut self.paths[*path as usize]);
            }
        }
        self.active.clear();
        for at in (0..self.struck.len()).step_by(MAX_LANES) {
            self.announce(tracer, at);
            let struck = &self.struck[at..self.struck.len().min(at + MAX_LANES)];
            let (shadow, direct) = (&mut self.shadow, &mut self.direct);
            let mut goes_on = tracer.step::<f32x8<S>>(
                simd,
                struck,
                &mut self.paths,
                always!(|path: u32, candidate: Candidate| {
                    shadow.push(candidate.ray, candidate.reach, candidate.key);
                    direct.push((path, candidate.radiance));
                }),
            );
            while goes_on != 0 {
                self.active.push(struck[goes_on.trailing_zeros() as usize].path);
                goes_on &= goes_on - 1;
            }
        }
    }

    /// Asks for the memory that shading will want next, and after that.
    #[inline(always)]
    fn announce(&self, tracer: &PathTracer<'_>, at: usize) {
        for Struck { hit, .. } in self.struck.iter().skip(at + 2 * MAX_LANES).take(MAX_LANES) {
            tracer.scene().announce_triangle(hit);
        }
        for Struck { hit, .. } in self.struck.iter().skip(at + MAX_LANES).take(MAX_LANES) {
            tracer.scene().announce_attributes(hit);
        }
    }

    #[inline(always)]
    fn light<S: Simd>(&mut self, simd: S, tracer: &PathTracer<'_>) {
        self.rays += self.shadow.rays.len() as u64;
        let Batch { rays, hits, keys } = &mut self.shadow;
        let filter = Opacity { prepared: tracer.scene(), keys };
        let rays = Rays { rays, hits, coherent: false };
        tracer.scene().forest().any(simd, rays, &filter, &mut self.stack);
        for ((index, radiance), hit) in self.direct.iter().zip(&self.shadow.hits) {
            if !hit.is_some() {
                let path = &mut self.paths[*index as usize];
                path.radiance = path.radiance + *radiance;
            }
        }
    }
}
