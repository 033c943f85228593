//! The making of a snapshot beside the appends: from the previous one and closed segments only, which nobody changes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    BatchNo, Damage, DiskError, LogError, OpenError,
    changes::{Changes, StateChanges},
    names, recovery,
    recovery::ClosedSegment,
    segment::SegmentReader,
    segment_writer::create_unfinished,
    snapshot_file::{Described, SnapshotHeader, SnapshotReader, SnapshotWriter},
};
use crate::state::{disk::Disk, effects::StateId};

/// What a snapshot is made from.
#[derive(Debug)]
pub(super) struct Sources {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub snapshot: Option<BatchNo>,
    /// All that follow the snapshot, up to the last batch of the new one; at least one.
    pub closed: Vec<ClosedSegment>,
}

/// Says whether a snapshot is being made. There is at most one at a time.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Arc<AtomicBool>);

impl UnderWay {
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
    under_way: UntilDropped,
}

/// A snapshot that is durable.
#[derive(Debug)]
pub struct SnapshotDone {
    /// The last batch that is in it.
    pub last: BatchNo,
    /// Its size.
    pub bytes: u64,
    _under_way: UntilDropped,
}

impl SnapshotTask {
    pub(super) fn new(sources: Sources, under_way: UntilDropped) -> Self {
        Self { sources, under_way }
    }

    /// Makes the snapshot. It takes long, and the disk's time; call it where nobody waits. Of memory it needs as much as
    /// the closed segments hold.
    ///
    /// # Errors
    /// The disk failed, or what the snapshot is made from is damaged. All is as if it had not been tried.
    pub fn run(self) -> Result<SnapshotDone, LogError> {
        let (last, bytes) = self.sources.make()?;
        Ok(SnapshotDone {
            last,
            bytes,
            _under_way: self.under_way,
        })
    }
}

impl Sources {
    fn make(&self) -> Result<(BatchNo, u64), OpenError> {
        let changes = self.changes()?;
        let last = changes.last();
        let path = self.folder.join(names::snapshot(last));
        let unfinished = self.folder.join(names::unfinished(&names::snapshot(last)));
        let written = self.write(&changes, &unfinished);
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

    /// What the closed segments change.
    fn changes(&self) -> Result<Changes, OpenError> {
        let bytes = self.closed.iter().map(|closed| closed.end).sum();
        let mut changes = Changes::with_capacity(bytes);
        for closed in &self.closed {
            let mut reader = SegmentReader::open(&*self.disk, &self.folder, closed.first)?;
            reader.end_at(closed.end);
            reader.read_closed(closed.last, &mut |header, effects, span| {
                changes.add(recovery::batch(header, effects), span)
            })?;
        }
        changes.sort();
        Ok(changes)
    }

    fn write(&self, changes: &Changes, path: &std::path::Path) -> Result<u64, OpenError> {
        let mut before = self
            .snapshot
            .map(|last| SnapshotReader::open(&*self.disk, &self.folder, last))
            .transpose()?;
        let mut header = SnapshotHeader {
            last: changes.last(),
            now_ms: changes.now_ms(),
            next_state: changes.next_state(),
        };
        if let Some(before) = &before {
            header.now_ms = header.now_ms.max(before.header().now_ms);
            header.next_state = header.next_state.max(before.header().next_state);
        }
        let file = create_unfinished(&*self.disk, path)?;
        let mut writer = SnapshotWriter::new(file, path.to_owned(), &header);
        let mut old = next_old(&mut before)?;
        let mut done = None;
        loop {
            let old_id = old.as_ref().map(|(id, _)| *id);
            let Some(id) = old_id.into_iter().chain(changes.next_id(done)).min() else {
                return Ok(writer.finish()?);
            };
            done = Some(id);
            let old_state = old.take_if(|(old, _)| *old == id);
            let had_old = old_state.is_some();
            let state = OldState {
                described: old_state.map(|(_, described)| described),
                entries: before.as_mut().filter(|_| had_old),
            };
            let is_known = merge(id, state, changes.of(id), &mut writer)?;
            if !is_known {
                return Err(self.unknown(id));
            }
            if had_old {
                old = next_old(&mut before)?;
            }
        }
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

fn next_old(
    before: &mut Option<SnapshotReader>,
) -> Result<Option<(StateId, Described)>, OpenError> {
    before.as_mut().map_or(Ok(None), SnapshotReader::next_state)
}

/// A state of the previous snapshot, if it has been in there.
struct OldState<'a> {
    described: Option<Described>,
    entries: Option<&'a mut SnapshotReader>,
}

impl OldState<'_> {
    fn next_entry(&mut self) -> Result<bool, OpenError> {
        self.entries
            .as_mut()
            .map_or(Ok(false), |entries| entries.next_entry())
    }

    /// The present entry, if there is one.
    fn entry(&self) -> Option<(&[u8], &[u8])> {
        let entries = self.entries.as_ref()?;
        Some((entries.key(), entries.value()))
    }
}

/// Writes one state: its old entries, if there are any, and what changed of them. Returns false if it never was declared.
fn merge(
    id: StateId,
    mut old: OldState<'_>,
    changes: StateChanges<'_>,
    writer: &mut SnapshotWriter,
) -> Result<bool, OpenError> {
    if changes.was_dropped {
        while old.next_entry()? {}
        old = OldState {
            described: None,
            entries: None,
        };
    }
    let mut new = changes.entries().peekable();
    let Some(described) = changes.described.as_ref().or(old.described.as_ref()) else {
        return Ok(new.peek().is_none());
    };
    writer.state(id, described)?;
    let mut has_old = old.next_entry()?;
    loop {
        let old_entry = has_old.then(|| old.entry()).flatten();
        match (old_entry, new.peek()) {
            (None, None) => return Ok(true),
            (Some((key, value)), next) if next.is_none_or(|(new_key, _)| key < *new_key) => {
                writer.entry(key, value)?;
                has_old = old.next_entry()?;
            }
            (old_entry, _) => {
                let replaces = old_entry.map(|(key, _)| key) == new.peek().map(|(key, _)| *key);
                if let Some((key, Some(value))) = new.next() {
                    writer.entry(key, value)?;
                }
                if replaces {
                    has_old = old.next_entry()?;
                }
            }
        }
    }
}
