//! What the jobbers read and change. The host owns it, so it outlives every version of every plugin.

mod access;
mod map;
mod store;
mod transaction;

pub use access::{Access, CallFacts, LaneHost, SharedAccess};
pub use map::StateMap;
pub use store::Store;
