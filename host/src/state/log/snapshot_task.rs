//! The making of a snapshot beside the appends: from the previous one and closed segments only, which nobody changes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    BatchNo, Damage, DiskError, LogError, LogId, OpenError, Policy, names, recovery,
    recovery::ClosedSegment,
    segment::SegmentReader,
    segment_writer::create_unfinished,
    snapshot_file::{SnapshotHeader, SnapshotReader, SnapshotWriter},
    snapshot_merge::{Merge, MergeError},
    snapshot_runs::Runs,
};
use crate::state::{disk::Disk, effects::StateId};

/// What a snapshot is made from.
#[derive(Debug)]
pub(super) struct Sources {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub policy: Policy,
    pub id: LogId,
    pub snapshot: Option<BatchNo>,
    /// All that follow the snapshot, up to the last batch of the new one; at least one, unless it is to have another time.
    pub closed: Vec<ClosedSegment>,
    /// The time that the new one is to have, instead of the greatest that these know.
    pub now_ms: Option<u64>,
}

/// Says whether a snapshot is being made. There is at most one at a time.
#[derive(Debug, Default)]
pub(super) struct SnapshotRunning(Arc<AtomicBool>);

impl SnapshotRunning {
    /// None if one is under way; else one is until what is returned is dropped.
    pub(super) fn begin(&self) -> Option<UntilDropped> {
        let was = self.0.swap(true, Ordering::AcqRel);
        (!was).then(|| UntilDropped(self.0.clone()))
    }

    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
pub(super) struct UntilDropped(Arc<AtomicBool>);

impl Drop for UntilDropped {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What makes a snapshot. See [`Log::snapshot_task`](super::Log::snapshot_task).
#[derive(Debug)]
pub struct SnapshotTask {
    sources: Sources,
    running: UntilDropped,
}

/// A snapshot that is durable.
#[derive(Debug)]
pub struct SnapshotDone {
    /// The last batch that is in it.
    pub last: BatchNo,
    /// The snapshot's size, in bytes.
    pub bytes: u64,
    _running: UntilDropped,
}

impl SnapshotTask {
    pub(super) fn new(sources: Sources, running: UntilDropped) -> Self {
        Self { sources, running }
    }

    /// Makes the snapshot. It takes long, and the disk's time; call it where nobody waits. The memory that it needs
    /// does not grow with the states, nor with the segments, but for a batch that is large itself.
    ///
    /// # Errors
    /// The disk failed, there was no memory for it, or what the snapshot is made from is damaged. All is as if it had not been tried.
    pub fn run(self) -> Result<SnapshotDone, LogError> {
        let (last, bytes) = self.sources.make()?;
        Ok(SnapshotDone {
            last,
            bytes,
            _running: self.running,
        })
    }
}

impl Sources {
    fn make(&self) -> Result<(BatchNo, u64), OpenError> {
        let mut runs = self.runs()?;
        let before = self.snapshot;
        let before = before.map(|last| SnapshotReader::open(&*self.disk, &self.folder, last));
        let before = before.transpose()?;
        let mut header = SnapshotHeader {
            id: Some(self.id),
            ..runs.header(before.as_ref().map(SnapshotReader::header))
        };
        header.now_ms = self.now_ms.unwrap_or(header.now_ms);
        let merge = Merge::new(before, runs.open()?)?;
        let last = header.last;
        let path = self.folder.join(names::snapshot(last));
        let unfinished = self.folder.join(names::unfinished(&names::snapshot(last)));
        let written = self.write(merge, &header, &unfinished);
        if written.is_err() {
            // What is left of it is found at the next start, should this fail too.
            let _ = self.disk.remove(&unfinished);
        }
        let bytes = written?;
        self.disk
            .rename(&unfinished, &path)
            .map_err(DiskError::because(&unfinished, "renamed"))?;
        self.disk
            .sync_folder(&self.folder)
            .map_err(DiskError::because(&self.folder, "synced"))?;
        Ok((last, bytes))
    }

    /// What the closed segments change, or those of them that are merged at once.
    fn runs(&self) -> Result<Runs, OpenError> {
        let mut runs = Runs::new(Arc::clone(&self.disk), &self.folder, self.policy);
        for closed in &self.closed {
            let mut reader = SegmentReader::open(&*self.disk, &self.folder, closed.first)?;
            reader.end_at(closed.end);
            reader.read_closed(closed.last, &mut |header, effects, span| {
                runs.add(recovery::batch(header, effects), span)
            })?;
            if runs.are_many() {
                break;
            }
        }
        Ok(runs)
    }

    fn write(
        &self,
        merge: Merge,
        header: &SnapshotHeader,
        path: &std::path::Path,
    ) -> Result<u64, OpenError> {
        let file = create_unfinished(&*self.disk, path)?;
        let mut writer = SnapshotWriter::new(file, path.to_owned(), header);
        merge.write(&mut writer).map_err(|error| match error {
            MergeError::Unknown(id) => self.unknown(id),
            MergeError::Open(error) => error,
        })?;
        Ok(writer.finish()?)
    }

    fn unknown(&self, id: StateId) -> OpenError {
        let first = self
            .closed
            .first()
            .map_or(BatchNo(0), |closed| closed.first);
        OpenError::from(Damage {
            file: self.folder.join(names::segment(first)),
            byte: 0,
            batch: None,
            expected: "effects on states that were declared".to_owned(),
            found: format!("some on state {id} here or in what follows"),
        })
    }
}
