//! The path tracer, twice: as a Rust kernel for several paths at once and as a compute kernel in WGSL for one. Each WGSL
//! file says whose twin it is; functions that are twins bear the same names.

pub mod cpu;
mod direct;
pub mod first_hit;
pub mod gpu;
pub mod path;
pub mod self_test;
pub mod spirv;
pub mod sum;
mod surface;
pub mod wave;
