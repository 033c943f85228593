//! Lanes: what runs one job after the other on one set of states, on the core thread or on a thread of its own.
//!
//! Who asked, who comes next and what becomes of an answer is the coordinator's. A lane knows the plugin's code, the states
//! that it was lent, and the job that it was handed.

mod batch_size;
mod code;
mod job;
mod opener;
mod runner;
mod signal;
mod thread;

pub use batch_size::BatchSize;
pub use code::{LaneCode, Misdeed, OpenLane, Outcome, Output, Verdict};
pub use job::{ClientSlot, InFlightId, Job, LaneId, RequestRef, TypeId, Waits};
pub use opener::{OpenFailed, Opened, OpenedLane, Opener, Opening, OpeningLane};
pub use runner::Runner;
pub use signal::Signal;
#[cfg(test)]
pub(crate) use thread::tests as thread_tests;
pub use thread::{Abandoned, Fetched, Finished, Handed, LaneThread, Remains};
