//! What a contributor computes: scenes, BVH, exact path-tracing kernels, film, pictures.

pub mod scene;
