//! The single worker: it owns all lanes and queues and decides what runs next.

mod agenda;
mod builtins;
mod clients;
#[allow(
    clippy::module_inception,
    reason = "it is what the folder is named after"
)]
mod coordinator;
mod durable;
mod host_error;
mod lane;
mod list;
mod peer;
mod routing;
mod schedule;
mod serving;
mod sessions;
mod turn;
mod types;
mod versions;

#[cfg(test)]
pub(crate) mod tests;

pub use clients::{KeptFor, Outlet};
pub use coordinator::{Coordinator, Settings};
pub use durable::{Commits, Decision};
pub use peer::{Peer, peer_network};
pub use sessions::{SessionKey, Untrue, forget_untrue};

/// What decides who runs next, by itself: for the micro benchmarks, and for nothing else.
#[doc(hidden)]
pub mod parts {
    pub use super::schedule::Schedule;
}
