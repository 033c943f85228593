//! The durable log: segments and snapshots in a folder.
//!
//! Records go to the newest segment. One that is full is closed, and the next one begins. A snapshot takes the place of
//! closed segments. What a failed write or sync leaves in the newest segment is never looked at again: another one begins
//! where it was durable last.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BatchNo, DiskError, EachBatch, Expected, Log, LogEnd, LogError, LogId, OpenError, Policy,
    Recovered, Snapshot, SnapshotDone, SnapshotTask,
    names::{self, Listing},
    record::{Kind, RecordHeader},
    recovery::{self, ClosedSegment, Contents, NewestSegment, StoredSnapshot},
    replay::Replayed,
    segment::{Previous, RECORDS_BEGIN, SegmentHeader, SegmentReader},
    segment_writer::SegmentWriter,
    snapshot_file,
    snapshot_task::{SnapshotRunning, Sources, UntilDropped},
};
use crate::{
    limits::BATCH_EFFECTS_BYTES_MAX,
    state::disk::{Disk, FileId},
};

/// A log in a folder. There must be no other one in the same folder at the same time.
#[derive(Debug)]
pub struct FileLog {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// The folder as it was when it was opened.
    folder_id: FileId,
    id: LogId,
    policy: Policy,
    snapshot: Option<StoredSnapshot>,
    /// All after the snapshot, in order, and before `newest`.
    closed: Vec<ClosedSegment>,
    /// None only while it is being replaced.
    newest: Option<SegmentWriter>,
    appended: BatchNo,
    durable: BatchNo,
    /// Where the record of `durable` ends in the newest segment.
    durable_end: u64,
    /// The greatest that a batch brought.
    now_ms: u64,
    poisoned: bool,
    running: SnapshotRunning,
    /// The last closed segment when a snapshot was tried.
    tried: BatchNo,
}

impl FileLog {
    /// Opens the log `id` in `folder`, which is made if it is missing, cuts a torn end, and reads what is there. A log without an
    /// identity gets this one. `end` is where it ended at the last stop, if that was in order.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        id: LogId,
        end: Option<LogEnd>,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(disk, folder, Policy::default(), id, end)
    }

    /// [`FileLog::open`] with other sizes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        folder: &Path,
        policy: Policy,
        id: LogId,
        end: Option<LogEnd>,
    ) -> Result<(Self, Recovered), OpenError> {
        make_folder(&*disk, folder)?;
        let folder_id = disk
            .id_of(folder)
            .map_err(DiskError::because(folder, "found"))?;
        let mut states = Replayed::default();
        let expected = Expected { id: Some(id), end };
        let contents = recovery::read(&*disk, folder, &expected, &mut states)?;
        // The names that were read must not be lost by a power failure that comes now.
        disk.sync_folder(folder)
            .map_err(DiskError::because(folder, "synced"))?;
        let newest = match &contents.newest {
            Some(found) => resume(&*disk, folder, found)?,
            None => SegmentWriter::create(&*disk, folder, id, VERY_FIRST)?,
        };
        let recovered = contents.recovered(states);
        let Contents {
            snapshot, closed, ..
        } = contents;
        let mut log = Self {
            disk,
            folder: folder.to_owned(),
            folder_id,
            id,
            policy,
            snapshot,
            closed,
            durable_end: newest.end(),
            newest: Some(newest),
            appended: recovered.last,
            durable: recovered.last,
            now_ms: recovered.now_ms,
            poisoned: false,
            running: SnapshotRunning::default(),
            tried: BatchNo(0),
        };
        if log.newest().header().id.is_none() {
            // From here on its files bear one.
            log.begin_segment()?;
        }
        log.remove_superfluous()?;
        Ok((log, recovered))
    }

    /// The number by which this log is told from others.
    pub fn id(&self) -> LogId {
        self.id
    }

    fn check(&self, expected: BatchNo, effects: &[u8]) -> Result<(), LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        let next = self.appended.next();
        if next != expected {
            return Err(LogError::OutOfOrder {
                expected: next,
                found: expected,
            });
        }
        if effects.len() > BATCH_EFFECTS_BYTES_MAX {
            return Err(LogError::TooLarge {
                bytes: effects.len(),
                max: BATCH_EFFECTS_BYTES_MAX,
            });
        }
        Ok(())
    }

    /// Notes a failure of the disk: of what is not durable nothing is known from here on.
    fn poison(&mut self, failed: DiskError) -> LogError {
        self.poisoned = true;
        failed.into()
    }

    fn try_append(&mut self, now_ms: u64, effects: &[u8]) -> Result<(), DiskError> {
        if self.newest().end() >= self.policy.segment_bytes {
            self.try_sync()?;
            self.begin_segment()?;
        }
        let record = RecordHeader {
            kind: Kind::Batch,
            length: effects.len() as u32,
            batch: self.appended.next(),
            now_ms,
            durable: self.durable,
        };
        let zeroed_ahead = self.policy.zeroed_ahead_bytes;
        let newest = self.newest.as_mut().expect("there is always one");
        let written = newest.append(&record, effects, zeroed_ahead);
        if written.is_err() {
            // What was appended before may have been answered, where not every batch is synced. It need not be lost with
            // this one; and if it is, that is not known to be durable.
            let _ = self.try_sync();
        }
        written
    }

    fn try_sync(&mut self) -> Result<(), DiskError> {
        if self.durable < self.appended {
            self.newest().sync()?;
            self.durable = self.appended;
            self.durable_end = self.newest().end();
        }
        Ok(())
    }

    /// What a snapshot of the closed segments is made from, of so many runs at most.
    pub(super) fn sources(&self, runs_max: usize) -> Sources {
        Sources {
            disk: self.disk.clone(),
            folder: self.folder.clone(),
            policy: Policy {
                snapshot_runs_max: runs_max,
                ..self.policy
            },
            id: self.id,
            snapshot: self.snapshot.map(|stored| stored.last),
            closed: self.closed.clone(),
            now_ms: None,
        }
    }

    /// See [`SnapshotRunning::begin`].
    pub(super) fn begin_snapshot(&self) -> Option<UntilDropped> {
        self.running.begin()
    }

    /// Closes the newest segment.
    pub(super) fn close_newest(&mut self) -> Result<(), LogError> {
        self.try_sync()
            .and_then(|()| self.begin_segment())
            .map_err(|failed| self.poison(failed))
    }

    /// Nothing that is there knows of a later time than `now_ms`.
    pub(super) fn forget_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    fn newest(&self) -> &SegmentWriter {
        self.newest.as_ref().expect("there is always one")
    }

    /// Closes the newest segment behind what is durable and begins another one there.
    ///
    /// Until the new one's name is durable, a power loss leaves the old one as the newest, which is as well: nothing was
    /// added to the new one. From then on the old one ends where the new one says.
    fn begin_segment(&mut self) -> Result<(), DiskError> {
        let old = self.newest().header();
        let first = self.durable.next();
        // One that holds nothing durable is replaced by another of its name, which goes on from where that one did.
        let closed = (old.first < first).then_some(ClosedSegment {
            first: old.first,
            last: self.durable,
            end: self.durable_end,
        });
        let previous = match closed {
            Some(closed) => Some(Previous {
                first: closed.first,
                end: closed.end,
            }),
            None => old.previous,
        };
        let header = SegmentHeader {
            first,
            previous,
            id: Some(self.id),
        };
        let begun = SegmentWriter::create(&*self.disk, &self.folder, self.id, header)?;
        let before = self.newest.replace(begun);
        if let Some(closed) = closed {
            self.closed.push(closed);
            if let Some(before) = before {
                before.note_successor(first, closed.end, self.now_ms);
            }
        }
        self.appended = self.durable;
        self.durable_end = RECORDS_BEGIN;
        Ok(())
    }

    /// Whether all that the next start would read is in the folder that was opened.
    fn look_at_folder(&self) -> Result<(), LogError> {
        let not_the_same = |path: PathBuf, what: String| LogError::NotTheSame { path, what };
        match self.disk.id_of(&self.folder) {
            Ok(found) if found.is_same(&self.folder_id) => {}
            Ok(_) => {
                let what = "another is in its place".to_owned();
                return Err(not_the_same(self.folder.clone(), what));
            }
            Err(cause) => return Err(not_the_same(self.folder.clone(), cause.to_string())),
        }
        let listing = Listing::of(&*self.disk, &self.folder)?;
        let closed = self
            .closed
            .iter()
            .find(|closed| !listing.segments.contains(&closed.first));
        let snapshot = self
            .snapshot
            .filter(|stored| !listing.snapshots.contains(&stored.last));
        let missing = closed
            .map(|closed| names::segment(closed.first))
            .or(snapshot.map(|stored| names::snapshot(stored.last)));
        match missing {
            Some(name) => Err(not_the_same(
                self.folder.join(name),
                "it is missing".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Removes what the snapshot stands for, and what a crash left unfinished. All of it is tried.
    fn remove_superfluous(&self) -> Result<(), OpenError> {
        let listing = Listing::of(&*self.disk, &self.folder)?;
        let mut superfluous = match self.running.is() {
            true => Vec::new(),
            false => listing.unfinished,
        };
        let last = self.snapshot.map_or(BatchNo(0), |stored| stored.last);
        let segments = listing.segments.into_iter().filter(|first| *first <= last);
        superfluous.extend(segments.map(|first| self.folder.join(names::segment(first))));
        let snapshots = listing.snapshots.into_iter().filter(|older| *older < last);
        superfluous.extend(snapshots.map(|older| self.folder.join(names::snapshot(older))));
        let mut failed = None;
        for path in superfluous {
            if let Err(cause) = self.disk.remove(&path) {
                failed = Some(DiskError::because(&path, "removed")(cause));
            }
        }
        failed.map_or(Ok(()), |failed| Err(failed.into()))
    }
}

const VERY_FIRST: SegmentHeader = SegmentHeader {
    first: BatchNo(1),
    previous: None,
    id: None,
};

/// Makes a folder that is there after a power loss too.
pub(super) fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), DiskError> {
    disk.create_folder(folder)
        .map_err(DiskError::because(folder, "made"))?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => disk
            .sync_folder(parent)
            .map_err(DiskError::because(parent, "synced")),
        _ => Ok(()),
    }
}

fn resume(
    disk: &dyn Disk,
    folder: &Path,
    found: &NewestSegment,
) -> Result<SegmentWriter, DiskError> {
    SegmentWriter::resume(
        disk,
        folder,
        found.header,
        found.unsure,
        found.end,
        found.cut.is_some(),
    )
}

impl Log for FileLog {
    fn append(&mut self, expected: BatchNo, now_ms: u64, effects: &[u8]) -> Result<(), LogError> {
        self.check(expected, effects)?;
        self.try_append(now_ms, effects)
            .map_err(|failed| self.poison(failed))?;
        self.appended = expected;
        self.now_ms = self.now_ms.max(now_ms);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        self.try_sync().map_err(|failed| self.poison(failed))
    }

    fn appended(&self) -> BatchNo {
        self.appended
    }

    fn durable(&self) -> BatchNo {
        self.durable
    }

    fn end(&self) -> Option<LogEnd> {
        Some(LogEnd {
            batch: self.durable.0,
            segment: self.newest().header().first.0,
            byte: self.durable_end,
        })
    }

    fn look(&self, thoroughly: bool) -> Result<(), LogError> {
        self.newest().look(&*self.disk, thoroughly)?;
        if thoroughly {
            self.look_at_folder()?;
        }
        Ok(())
    }

    fn read_tail(&self, after: BatchNo, each: &mut EachBatch<'_>) -> Result<(), LogError> {
        let begin = self.snapshot.map_or(BatchNo(0), |stored| stored.last);
        if after < begin {
            return Err(LogError::TailGone { after, begin });
        }
        let newest = ClosedSegment {
            first: self.newest().header().first,
            last: self.durable,
            end: self.durable_end,
        };
        let segments = self.closed.iter().chain([&newest]);
        for segment in segments.filter(|segment| segment.last > after) {
            let mut reader = SegmentReader::open(&*self.disk, &self.folder, segment.first)?;
            reader.end_at(segment.end);
            reader.read_closed(
                segment.last,
                &mut |header, effects, _| match header.batch > after {
                    true => each(recovery::batch(header, effects)),
                    false => Ok(()),
                },
            )?;
        }
        Ok(())
    }

    fn load_snapshot(&self) -> Result<Option<Snapshot>, LogError> {
        let Some(stored) = self.snapshot else {
            return Ok(None);
        };
        let (snapshot, _) = snapshot_file::load(&*self.disk, &self.folder, stored.last)?;
        Ok(Some(snapshot))
    }

    fn snapshot_task(&mut self) -> Option<SnapshotTask> {
        let last = self.closed.last()?.last;
        let closed_bytes: u64 = self.closed.iter().map(|closed| closed.end).sum();
        let snapshot_bytes = self.snapshot.map_or(0, |stored| stored.bytes);
        let due_bytes = self.policy.snapshot_due_bytes.max(snapshot_bytes / 2);
        if closed_bytes < due_bytes || last <= self.tried {
            return None;
        }
        let running = self.running.begin()?;
        self.tried = last;
        let sources = self.sources(self.policy.snapshot_runs_max);
        Some(SnapshotTask::new(sources, running))
    }

    fn snapshot_done(&mut self, done: SnapshotDone) -> Result<(), LogError> {
        self.snapshot = Some(StoredSnapshot {
            last: done.last,
            bytes: done.bytes,
        });
        self.closed.retain(|closed| closed.first > done.last);
        drop(done);
        Ok(self.remove_superfluous()?)
    }

    fn recover_after_failure(&mut self) -> Result<Recovered, LogError> {
        self.poisoned = true;
        self.begin_segment()?;
        let snapshot = self.snapshot.map(|stored| stored.last);
        let recovered = recovery::rebuild(&*self.disk, &self.folder, snapshot, &self.closed)?;
        debug_assert_eq!(
            recovered.last, self.durable,
            "all durable batches are closed"
        );
        self.poisoned = false;
        Ok(recovered)
    }
}
