//! What a contributor computes: scenes, BVH, exact path-tracing kernels, film, pictures.

#![allow(
    clippy::inline_always,
    reason = "a path is made of a few dozen tiny functions; not calling them is what makes the kernel fast"
)]
#![allow(clippy::float_cmp, reason = "this crate promises equal bits, not close numbers")]

pub mod albedo;
pub mod backend;
pub mod bsdf;
pub mod bvh;
pub mod compress;
pub mod cost;
pub mod denoise;
pub mod encode;
pub mod environment;
mod exponent;
pub mod film;
pub mod frame;
pub mod gbuffer;
pub mod kernel;
pub mod light;
pub mod limit;
pub mod math;
pub mod picture;
mod prefetch;
pub mod prepared;
mod projection;
pub mod ray;
pub mod real;
pub mod realtime;
pub mod sample;
pub mod sample_film;
pub mod scene;
mod shared_exponent;
pub mod simd;
pub mod texture;
pub mod tone;
