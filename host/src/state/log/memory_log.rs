//! A log that ends with the process.

use super::{BatchNo, EachBatch, Log, LogError, Recovered, Snapshot, SnapshotDone, SnapshotTask};

/// Keeps its batches in memory. Nothing of it fails.
#[derive(Debug, Default)]
pub struct MemoryLog {
    durable: BatchNo,
    batches: Vec<(u64, Box<[u8]>)>,
}

impl Log for MemoryLog {
    fn append(&mut self, expected: BatchNo, now_ms: u64, effects: &[u8]) -> Result<(), LogError> {
        let next = self.appended().next();
        if next != expected {
            return Err(LogError::OutOfOrder {
                expected: next,
                found: expected,
            });
        }
        self.batches.push((now_ms, effects.into()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.durable = self.appended();
        Ok(())
    }

    fn appended(&self) -> BatchNo {
        BatchNo(self.batches.len() as u64)
    }

    fn durable(&self) -> BatchNo {
        self.durable
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
