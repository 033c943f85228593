//! What the jobbers read and change. The host owns it, so it outlives every version of every plugin.

mod access;
mod committer;
pub mod disk;
pub mod effects;
mod leaf;
pub mod log;
mod map;
#[cfg(any(test, feature = "simulation"))]
pub mod sim_disk;
mod store;
pub mod tokens;
mod transaction;

pub use access::{Access, CallFacts, Committed, LaneHost, SharedAccess};
pub use committer::{Committer, Durability, FolderGuard, Kept};
pub use log::{BatchNo, Recovered};
pub use map::StateMap;
pub use store::{LentState, Store};
pub use transaction::TooMuch;
