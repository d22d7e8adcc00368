//! The p2c2r node.
fn main() {}
