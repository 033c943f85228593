//! What has to last: what keeps the state, the batches that gather effects until they are on the disk, what the host does while the
//! disk fails, and
//! what operators decided.

pub(in crate::coordinator) mod commits;
pub(in crate::coordinator) mod decisions;
pub(in crate::coordinator) mod persistence;
pub(in crate::coordinator) mod storage;

pub use commits::Commits;
pub use decisions::Decision;
