//! The log: what makes the states outlive the process. Every batch of effects is one record, in order; a snapshot stands for
//! all records up to a batch.
//!
//! [`Log`] is the seam. Behind it stand [`FileLog`], files in a folder of its own, and [`MemoryLog`], which ends with the
//! process. A replicated log would be a third.

mod changes;
mod error;
mod file_header;
mod file_log;
mod id;
mod inspection;
mod memory_log;
mod names;
mod policy;
mod record;
mod recovered;
mod recovery;
mod replay;
mod rewind;
mod sectors;
mod segment;
mod segment_writer;
mod snapshot_file;
mod snapshot_merge;
mod snapshot_runs;
mod snapshot_task;
#[cfg(test)]
mod tests;
mod torn_tail;
mod window;

use std::fmt;

pub use error::{Damage, DiskError, LogError, OpenError};
pub use file_log::FileLog;
pub use id::{Expected, LogEnd, LogId};
pub use inspection::{Inspection, Partial};
pub use memory_log::MemoryLog;
pub use policy::Policy;
pub use recovered::{Cut, Recovered, RecoveredState, RecoveryReport, Snapshot};
pub use snapshot_task::{SnapshotDone, SnapshotTask};

/// The number of a batch: from 1, without a gap. 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNo(pub u64);

impl BatchNo {
    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for BatchNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Its place in the order of all batches.
    pub no: BatchNo,
    /// The host's time when it was appended.
    pub now_ms: u64,
    /// See [`effects`](super::effects).
    pub effects: &'a [u8],
}

/// What is done with each batch that is read. An error ends the reading.
pub type EachBatch<'a> = dyn FnMut(Batch<'_>) -> Result<(), LogError> + 'a;

/// Batches in their order, and how they become durable.
///
/// After an append or a sync failed because of the disk, each further one fails with [`LogError::Poisoned`] until
/// [`Log::recover_after_failure`] succeeded. An append that was wrong in itself (out of order, too large) changes nothing.
pub trait Log: Send {
    /// Adds one batch, which is not durable yet.
    ///
    /// # Errors
    /// `expected` is not the number after the last one; it is too large; the disk failed.
    fn append(&mut self, expected: BatchNo, now_ms: u64, effects: &[u8]) -> Result<(), LogError>;

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// The disk failed. Then nothing is known of what was appended after [`Log::durable`].
    fn sync(&mut self) -> Result<(), LogError>;

    /// The last batch that was appended.
    fn appended(&self) -> BatchNo;

    /// The last batch that is durable.
    fn durable(&self) -> BatchNo;

    /// Reads the durable batches after `after`.
    ///
    /// # Errors
    /// A snapshot has taken the place of some of them; they cannot be read; `each` failed.
    fn read_tail(&self, after: BatchNo, each: &mut EachBatch<'_>) -> Result<(), LogError>;

    /// Where the log ends on the disk; none of a log that has no place there.
    fn end(&self) -> Option<LogEnd> {
        None
    }

    /// Whether what is written goes where a reader of the log would look for it. Asked before each batch is said to be durable, so
    /// that it costs next to nothing; `thoroughly` it is asked now and then.
    ///
    /// # Errors
    /// A file was moved, removed or replaced.
    fn look(&self, thoroughly: bool) -> Result<(), LogError> {
        let _ = thoroughly;
        Ok(())
    }

    /// The last snapshot, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    fn load_snapshot(&self) -> Result<Option<Snapshot>, LogError>;

    /// What makes and stores a snapshot on another thread, from what is stored already; if one is due and none is
    /// under way. A task that is dropped, or fails, makes the next one due once more batches have come.
    fn snapshot_task(&mut self) -> Option<SnapshotTask>;

    /// Removes what the snapshot stands for from now on.
    ///
    /// # Errors
    /// Something cannot be removed. It is tried again with the next snapshot; nothing else suffers.
    fn snapshot_done(&mut self, done: SnapshotDone) -> Result<(), LogError>;

    /// Forgets what was appended and is not durable, and reads what is.
    ///
    /// # Errors
    /// The disk still fails. It may be tried again as often as one likes.
    fn recover_after_failure(&mut self) -> Result<Recovered, LogError>;
}
