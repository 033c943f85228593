//! The durable log: segments and snapshots in a folder.

use std::{path::Path, sync::Arc};

use super::{
    BatchNo, EachBatch, Log, LogError, OpenError, Policy, Recovered, Snapshot, SnapshotDone,
    SnapshotTask,
};
use crate::state::disk::Disk;

/// A log in a folder. There must be no other one in the same folder at the same time.
#[derive(Debug)]
pub struct FileLog {}

impl FileLog {
    /// Opens the log in `folder`, which is made if it is missing, cuts a torn end, and reads what is there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(disk, folder, Policy::default())
    }

    /// [`FileLog::open`] with other sizes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(
        _disk: Arc<dyn Disk>,
        folder: &Path,
        _policy: Policy,
    ) -> Result<(Self, Recovered), OpenError> {
        Err(OpenError::Foreign {
            file: folder.to_owned(),
        })
    }
}

impl Log for FileLog {
    fn append(
        &mut self,
        _expected: BatchNo,
        _now_ms: u64,
        _effects: &[u8],
    ) -> Result<(), LogError> {
        Err(LogError::Poisoned)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        Err(LogError::Poisoned)
    }

    fn appended(&self) -> BatchNo {
        BatchNo(0)
    }

    fn durable(&self) -> BatchNo {
        BatchNo(0)
    }

    fn read_tail(&self, _after: BatchNo, _each: &mut EachBatch<'_>) -> Result<(), LogError> {
        Err(LogError::Poisoned)
    }

    fn load_snapshot(&self) -> Result<Option<Snapshot>, LogError> {
        Ok(None)
    }

    fn snapshot_task(&mut self) -> Option<SnapshotTask> {
        None
    }

    fn snapshot_done(&mut self, _done: SnapshotDone) -> Result<(), LogError> {
        Ok(())
    }

    fn recover_after_failure(&mut self) -> Result<Recovered, LogError> {
        Err(LogError::Poisoned)
    }
}
