//! The single worker: it owns all lanes and queues and decides what runs next.

mod arriving;
mod builtins;
mod claims;
mod clients;
mod commits;
#[allow(
    clippy::module_inception,
    reason = "it is what the folder is named after"
)]
mod coordinator;
mod decisions;
mod faults;
mod history;
mod host_error;
mod job;
mod lane;
mod lane_code;
mod lane_queue;
mod lane_thread;
mod list;
mod once;
mod opener;
mod peer;
mod plugin_commands;
mod plugin_events;
mod plugin_removal;
mod plugin_report;
mod plugin_slot;
mod plugins;
mod quarantine;
mod repeated;
mod running;
mod schedule;
mod signal;
mod storage;
mod type_faults;
mod types;
mod unrun;
mod window_size;

#[cfg(test)]
pub(crate) mod tests;

pub use clients::{KeptFor, Outlet};
pub use commits::Commits;
pub use coordinator::{Coordinator, Settings};
pub use decisions::Decision;
pub(crate) use job::Asked;
pub use job::ClientSlot;
pub(crate) use lane_code::{LaneCode, OpenLane, Output, Verdict};
pub use once::{SessionKey, Untrue, forget_untrue};
pub use opener::{Opened, Opener};
pub use peer::{Peer, peer_network};
pub use signal::Signal;

/// What a job passes through, each part by itself: for the micro benchmarks, and for nothing else.
#[doc(hidden)]
pub mod parts {
    pub use super::{
        job::{Asked, ClientSlot, Job, TypeId},
        lane_code::{LaneCode, OpenLane, Output, Verdict},
        lane_thread::{Fetched, Handed, LaneThread},
        schedule::{LaneId, Schedule},
    };
}
