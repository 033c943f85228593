//! The making of a snapshot beside the appends: from the previous one and closed segments only.

use super::{BatchNo, LogError};

/// What makes a snapshot. See [`Log::snapshot_task`](super::Log::snapshot_task).
#[derive(Debug)]
pub struct SnapshotTask {}

/// A snapshot that is durable.
#[derive(Debug)]
pub struct SnapshotDone {
    /// The last batch that is in it.
    pub last: BatchNo,
    /// Its size.
    pub bytes: u64,
}

impl SnapshotTask {
    /// Makes the snapshot. It takes long, and the disk's time; call it where nobody waits.
    ///
    /// # Errors
    /// The disk failed, or what the snapshot is made from is damaged. All is as if it had not been tried.
    pub fn run(self) -> Result<SnapshotDone, LogError> {
        Err(LogError::Poisoned)
    }
}
