//! `swarm-key`: a key for a private swarm.

use anyhow::Context;
use p2c2r_protocol::swarm_key::SwarmKey;

use crate::exit::Exit;

/// Prints a new key.
pub fn swarm_key() -> anyhow::Result<Exit> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    println!("{}", SwarmKey::from_random(bytes).to_text());
    Ok(Exit::Done)
}
