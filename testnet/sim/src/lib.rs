//! Swarms in virtual time.
//!
//! A scenario says what there is to do and who does it. In its world run the scheduler and the frame machine that the
//! node runs, and other policies beside them, against the same peers with the same moods: [`experiment`] puts them side
//! by side with the bound. With faults ([`fault`]), what must never happen ([`invariant`]) is checked after every event.
//!
//! Nothing here knows the time of day or the system's randomness: the same scenario and seed give the same bytes.

pub mod experiment;
pub mod fault;
pub mod fault_run;
pub mod invariant;
pub mod metrics;
pub mod plot;
pub mod policy;
mod random;
pub mod report;
pub mod scenario;
pub mod sim;
mod world;
