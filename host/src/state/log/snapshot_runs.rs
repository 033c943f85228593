//! The changes of closed segments, put in order piece by piece: each piece that fits into memory becomes a run, a file that
//! lasts while the snapshot is made.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Batch, BatchNo, DiskError, OpenError, Policy,
    changes::Changes,
    names,
    replay::bad_effects,
    segment::Span,
    segment_writer::create_unfinished,
    snapshot_file::{SnapshotHeader, SnapshotReader, SnapshotWriter},
};
use crate::{
    limits::RUN_WINDOW_BYTES,
    state::{
        disk::Disk,
        effects::{self, Effect, StateId},
    },
};

/// Runs, oldest first. Dropped, their files are gone.
pub(super) struct Runs {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    policy: Policy,
    changes: Changes,
    files: Vec<PathBuf>,
    next_state: StateId,
    last: BatchNo,
    now_ms: u64,
}

impl Runs {
    /// Without a run as yet.
    pub(super) fn new(disk: Arc<dyn Disk>, folder: &Path, policy: Policy) -> Self {
        Self {
            disk,
            folder: folder.to_owned(),
            policy,
            changes: Changes::default(),
            files: Vec::new(),
            next_state: StateId(0),
            last: BatchNo(0),
            now_ms: 0,
        }
    }

    /// Whether they are as many as are merged at once.
    pub(super) fn are_many(&self) -> bool {
        self.files.len() >= self.policy.snapshot_runs_max
    }

    /// The header of a snapshot of what was added, and of what was before.
    pub(super) fn header(&self, before: Option<SnapshotHeader>) -> SnapshotHeader {
        let before = before.unwrap_or(SnapshotHeader {
            last: BatchNo(0),
            now_ms: 0,
            next_state: StateId(0),
            id: None,
        });
        SnapshotHeader {
            last: self.last.max(before.last),
            now_ms: self.now_ms.max(before.now_ms),
            next_state: self.next_state.max(before.next_state),
            id: None,
        }
    }

    /// Adds a batch.
    pub(super) fn add(&mut self, batch: Batch<'_>, span: Span<'_>) -> Result<(), OpenError> {
        for effect in effects::read(batch.effects) {
            let effect = effect.map_err(|cause| bad_effects(cause, batch.no, span))?;
            if let Effect::Declare(state, _) = &effect {
                let next = StateId(state.0.saturating_add(1));
                self.next_state = self.next_state.max(next);
            }
            self.changes
                .add(&effect)
                .map_err(DiskError::because(span.file, "read"))?;
            if self.changes.memory() >= self.policy.snapshot_piece_bytes {
                self.end_run()?;
            }
        }
        self.last = batch.no;
        self.now_ms = self.now_ms.max(batch.now_ms);
        Ok(())
    }

    /// Opens all of them. Nothing is added any more.
    pub(super) fn open(&mut self) -> Result<Vec<SnapshotReader>, OpenError> {
        if !self.changes.is_empty() {
            self.end_run()?;
        }
        self.changes = Changes::default();
        let files = self.files.iter();
        files
            .map(|file| SnapshotReader::open_file(&*self.disk, file, BatchNo(0), RUN_WINDOW_BYTES))
            .collect()
    }

    fn end_run(&mut self) -> Result<(), DiskError> {
        let path = self.folder.join(names::run(self.files.len()));
        let file = create_unfinished(&*self.disk, &path)?;
        self.files.push(path.clone());
        let header = SnapshotHeader {
            last: BatchNo(0),
            now_ms: 0,
            next_state: StateId(u32::MAX),
            id: None,
        };
        let mut run = SnapshotWriter::unsynced(file, path, &header);
        self.changes.write(&mut run)?;
        run.finish()?;
        self.changes.clear();
        Ok(())
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        for file in &self.files {
            // What is left of them is found at the next start, should this fail.
            let _ = self.disk.remove(file);
        }
    }
}
