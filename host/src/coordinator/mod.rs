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
mod lane;
mod lane_queue;
mod list;
mod once;
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
mod storage;
mod type_faults;
mod types;
mod unrun;

#[cfg(test)]
pub(crate) mod tests;

pub use clients::{KeptFor, Outlet};
pub use commits::Commits;
pub use coordinator::{Coordinator, Settings};
pub use decisions::Decision;
pub use once::{SessionKey, Untrue, forget_untrue};
pub use peer::{Peer, peer_network};

/// What decides who runs next, by itself: for the micro benchmarks, and for nothing else.
#[doc(hidden)]
pub mod parts {
    pub use super::schedule::Schedule;
}
