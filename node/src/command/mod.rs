//! What each command does.

pub mod query;
pub mod render;
pub mod run;
pub mod scene;
mod scene_info;
pub mod sim;
pub mod swarm_key;
