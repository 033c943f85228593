//! A disk in memory that forgets and fails as told, and random numbers that a seed decides: for tests and the simulator.

#![allow(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "its users read it"
)]

mod disk;
mod fault;
mod random;

pub use disk::SimDisk;
pub use fault::{Failure, Fault, Operation};
pub use random::{Random, Replay, seeds};
