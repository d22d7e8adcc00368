//! Pictures at the pace of a game: a base picture of every frame, and light from elsewhere that is older than it.
//!
//! The base ([`base`]) is what the frame's own rays find without following light: it takes a few milliseconds on one
//! core. Path-traced light of an earlier moment ([`layer`]) is carried over to the present camera ([`reproject`]) and
//! both make the picture that is shown ([`compose`]).

pub mod base;
pub mod compose;
pub mod layer;
pub mod reproject;

#[cfg(test)]
mod planes;
