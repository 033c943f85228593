//! Reads what a folder holds: the newest snapshot, then the segments after it, of which each must go on where
//! the one before ends. Changes nothing.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use super::{
    Batch, BatchNo, Cut, Damage, Expected, LogEnd, LogId, OpenError, Recovered,
    names::{self, Listing},
    record::{Flaw, Kind, RecordHeader, RecordPosition},
    replay::Replayed,
    segment::{self, Found, Previous, RECORDS_BEGIN, SegmentHeader, SegmentReader, Span},
    snapshot_file::{self, SnapshotReader},
    torn_tail::{self, End},
};
use crate::state::disk::Disk;

/// A segment that nothing is added to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClosedSegment {
    pub first: BatchNo,
    pub last: BatchNo,
    /// What stands beyond was never durable.
    pub end: u64,
}

/// The newest segment, to which the log goes on writing.
#[derive(Clone, Debug)]
pub(super) struct NewestSegment {
    pub header: SegmentHeader,
    /// Where the last whole record ends.
    pub end: u64,
    /// From here on the records may have been read from the system's memory, and not be on the disk.
    pub unsure: u64,
    pub cut: Option<Cut>,
}

/// A snapshot that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredSnapshot {
    pub last: BatchNo,
    pub bytes: u64,
}

/// What the states are built from.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub snapshot: Option<StoredSnapshot>,
    pub closed: Vec<ClosedSegment>,
    /// None if the folder holds nothing at all.
    pub newest: Option<NewestSegment>,
}

impl Contents {
    /// What was read, and how.
    pub(super) fn recovered(&self, states: Replayed) -> Recovered {
        let last = states.last();
        let snapshot = self.snapshot.map(|stored| stored.last);
        let mut recovered = states.into_recovered(snapshot);
        if let Some(newest) = &self.newest {
            recovered.report.cut.clone_from(&newest.cut);
            recovered.report.end = Some(LogEnd {
                batch: last.0,
                segment: newest.header.first.0,
                byte: newest.end,
            });
        }
        recovered
    }
}

/// The identity that the newest of the files bears, if there is one, and if it bears one.
pub(super) fn identity(disk: &dyn Disk, folder: &Path) -> Result<Option<Option<LogId>>, OpenError> {
    let listing = Listing::to_read(disk, folder)?;
    if let Some(first) = listing.segments.last() {
        let reader = SegmentReader::open(disk, folder, *first)?;
        return Ok(Some(reader.header().id));
    }
    let last = listing.snapshots.last();
    let reader = last.map(|last| SnapshotReader::open(disk, folder, *last));
    Ok(reader.transpose()?.map(|reader| reader.header().id))
}

/// Reads all that is in the folder into `states`. After an error, those are as of the last batch before it.
pub(super) fn read(
    disk: &dyn Disk,
    folder: &Path,
    expected: &Expected,
    states: &mut Replayed,
) -> Result<Contents, OpenError> {
    let listing = Listing::to_read(disk, folder)?;
    let mut contents = Contents::default();
    if let Some(last) = listing.snapshots.last().copied() {
        let id = SnapshotReader::open(disk, folder, last)?.header().id;
        expected.check_id(id, || folder.join(names::snapshot(last)))?;
        let (snapshot, bytes) = snapshot_file::load(disk, folder, last)?;
        contents.snapshot = Some(StoredSnapshot { last, bytes });
        *states = Replayed::new(snapshot);
    }
    let mut segments = open_segments(disk, folder, &listing)?;
    for segment in &segments {
        expected.check_id(segment.header().id, || segment.path().to_owned())?;
    }
    let Some(newest) = segments.pop() else {
        return Ok(contents);
    };
    let ends = segments.iter().skip(1).chain([&newest]).map(end_before);
    let ends: Vec<_> = ends.collect();
    for (mut reader, (last, end)) in segments.into_iter().zip(ends) {
        reader.end_at(end);
        reader.read_closed(last, &mut |header, effects, span| {
            states.apply_read(batch(header, effects), span)
        })?;
        let first = reader.header().first;
        contents.closed.push(ClosedSegment { first, last, end });
    }
    let newest = read_newest(newest, folder, states)?;
    expected.check_end(&newest, folder, states.last())?;
    contents.newest = Some(newest);
    Ok(contents)
}

impl Expected {
    fn check_id(
        &self,
        found: Option<LogId>,
        file: impl FnOnce() -> PathBuf,
    ) -> Result<(), OpenError> {
        match (self.id, found) {
            (Some(expected), Some(found)) if expected != found => Err(OpenError::AnotherLog {
                file: file(),
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Behind the mark of a clean stop there is no torn end: a log that is shorter has lost what it had.
    fn check_end(
        &self,
        newest: &NewestSegment,
        folder: &Path,
        last: BatchNo,
    ) -> Result<(), OpenError> {
        let Some(end) = self.end.filter(|end| last < end.last()) else {
            return Ok(());
        };
        Err(OpenError::from(Damage {
            file: folder.join(names::segment(newest.header.first)),
            byte: newest.end,
            batch: Some(last.next()),
            expected: format!(
                "a log up to batch {}, at which its host stopped in order, at byte {} of {}",
                end.batch,
                end.byte,
                names::segment(BatchNo(end.segment))
            ),
            found: format!("no whole record after batch {last}"),
        }))
    }
}

/// Builds the states from what is known to be durable: `segments` are all that follow `snapshot`.
pub(super) fn rebuild(
    disk: &dyn Disk,
    folder: &Path,
    snapshot: Option<BatchNo>,
    segments: &[ClosedSegment],
) -> Result<Recovered, OpenError> {
    let mut states = Replayed::default();
    if let Some(last) = snapshot {
        states = Replayed::new(snapshot_file::load(disk, folder, last)?.0);
    }
    for closed in segments {
        let mut reader = SegmentReader::open(disk, folder, closed.first)?;
        reader.end_at(closed.end);
        reader.read_closed(closed.last, &mut |header, effects, span| {
            states.apply_read(batch(header, effects), span)
        })?;
    }
    Ok(states.into_recovered(snapshot))
}

/// What a record holds.
pub(super) fn batch<'a>(header: &RecordHeader, effects: &'a [u8]) -> Batch<'a> {
    Batch {
        no: header.batch,
        now_ms: header.now_ms,
        effects,
    }
}

/// Opens the segments after the snapshot and sees that none is missing between.
fn open_segments(
    disk: &dyn Disk,
    folder: &Path,
    listing: &Listing,
) -> Result<Vec<SegmentReader>, OpenError> {
    let after = listing.snapshots.last().copied();
    let begin = after.unwrap_or_default().next();
    let needed = listing.segments.iter().filter(|first| **first >= begin);
    let needed: Vec<_> = needed.copied().collect();
    let missing = |missing, witness| {
        Err(OpenError::Missing {
            folder: folder.to_owned(),
            missing,
            witness,
        })
    };
    match (needed.first(), after) {
        (Some(first), _) if *first == begin => {}
        (None, None) => return Ok(Vec::new()),
        (Some(first), None) => {
            return missing(
                format!(
                    "a snapshot of batch {}, or the segments up to it",
                    first.0 - 1
                ),
                names::segment(*first),
            );
        }
        // A snapshot is made of closed segments, so there always is one after it.
        (_, Some(last)) => return missing(names::segment(begin), names::snapshot(last)),
    }
    let mut opened: Vec<SegmentReader> = Vec::with_capacity(needed.len());
    for first in needed {
        let reader = SegmentReader::open(disk, folder, first)?;
        let previous = reader.header().previous;
        if let Some(before) = opened.last() {
            let before = before.header().first;
            match previous {
                Some(previous) if previous.first == before => {}
                Some(previous) if previous.first > before => {
                    return missing(names::segment(previous.first), names::segment(first));
                }
                _ => {
                    let expected =
                        format!("a segment that goes on from {}", names::segment(before));
                    let found = previous.map_or_else(
                        || "one that goes on from nothing".to_owned(),
                        |previous| {
                            format!("one that goes on from {}", names::segment(previous.first))
                        },
                    );
                    return Err(reader.damage(0, first, Flaw::new(expected, found)));
                }
            }
        } else if previous.is_none() != (first == BatchNo(1)) {
            let flaw = Flaw::new("a segment that goes on from another one", "the very first");
            return Err(reader.damage(0, first, flaw));
        }
        opened.push(reader);
    }
    Ok(opened)
}

/// The last batch of the segment before `reader`'s, and where that one ends.
fn end_before(reader: &SegmentReader) -> (BatchNo, u64) {
    let header = reader.header();
    let previous = header.previous.unwrap_or(Previous {
        first: BatchNo(0),
        end: RECORDS_BEGIN,
    });
    (BatchNo(header.first.0 - 1), previous.end)
}

fn read_newest(
    mut reader: SegmentReader,
    folder: &Path,
    states: &mut Replayed,
) -> Result<NewestSegment, OpenError> {
    let path = reader.path().to_owned();
    let header = reader.header();
    let mut next = header.first;
    let mut unsure = Unsure::default();
    let cut = loop {
        let at = reader.at();
        match reader.next()? {
            Found::Record(record, _) if record.kind == Kind::End => {
                return Err(OpenError::Missing {
                    folder: folder.to_owned(),
                    missing: names::segment(record.batch),
                    witness: names::segment(header.first),
                });
            }
            Found::Record(record, effects) => {
                if let Err(flaw) = segment::follows(&record, next) {
                    return Err(reader.damage(at, next, flaw));
                }
                let span = Span { file: &path, at };
                states.apply_read(batch(&record, effects), span)?;
                unsure.saw(&record, at);
                next = next.next();
            }
            Found::End => break None,
            Found::Flaw(flaw, record) => {
                break judge(&mut reader, at, next, record, flaw)?;
            }
        }
    };
    let end = reader.at();
    Ok(NewestSegment {
        header,
        end,
        unsure: unsure.begin(end),
        cut,
    })
}

fn judge(
    reader: &mut SegmentReader,
    at: u64,
    next: BatchNo,
    record: Option<RecordHeader>,
    flaw: Flaw,
) -> Result<Option<Cut>, OpenError> {
    // A whole header of another batch is no trace of the one that should be here.
    if let Some(Err(flaw)) = record.as_ref().map(|record| segment::follows(record, next)) {
        return Err(reader.damage(at, next, flaw));
    }
    let place = RecordPosition {
        segment: reader.header().first,
        at,
    };
    match torn_tail::judge(reader.window(), place, next, record.as_ref(), flaw)? {
        End::Clean => Ok(None),
        End::Torn { to } => Ok(Some(Cut {
            file: reader.path().to_owned(),
            byte: at,
            bytes: to - at,
            batch: next,
        })),
        End::Damaged(flaw) => Err(reader.damage(at, next, flaw)),
    }
}

/// Where the records begin that no later record says were durable.
#[derive(Debug, Default)]
struct Unsure(VecDeque<(BatchNo, u64)>);

impl Unsure {
    fn saw(&mut self, record: &RecordHeader, at: u64) {
        while self
            .0
            .front()
            .is_some_and(|(batch, _)| *batch <= record.durable)
        {
            self.0.pop_front();
        }
        self.0.push_back((record.batch, at));
    }

    fn begin(&self, end: u64) -> u64 {
        self.0.front().map_or(end, |(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_unsure_until_a_later_one_says_that_they_are_durable() {
        let record = |batch, durable| RecordHeader {
            kind: Kind::Batch,
            length: 0,
            batch: BatchNo(batch),
            now_ms: 0,
            durable: BatchNo(durable),
        };
        let mut unsure = Unsure::default();
        assert_eq!(unsure.begin(64), 64);
        unsure.saw(&record(1, 0), 64);
        unsure.saw(&record(2, 0), 100);
        assert_eq!(unsure.begin(200), 64);
        unsure.saw(&record(3, 1), 150);
        assert_eq!(unsure.begin(200), 100);
        unsure.saw(&record(4, 3), 180);
        assert_eq!(unsure.begin(200), 180);
    }
}
