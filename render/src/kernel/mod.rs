//! The path tracer, twice: as a Rust kernel and as a compute kernel in WGSL, function by function under the same names.

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
