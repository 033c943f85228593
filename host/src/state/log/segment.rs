//! One segment, read: a file header, then records without a gap.
//!
//! The header says with which batch the segment begins, and from which byte of which segment it goes on. Up to that byte the
//! earlier one must be whole. What stands beyond was never durable, and does not count: so a segment that failed is
//! left behind as it is.

use std::path::Path;

use super::{
    BatchNo, Damage, DiskError, LogId, OpenError,
    file_header::{self, FILE_HEADER_BYTES, SEGMENT_MAGIC, SUBJECT_BYTES},
    names,
    record::{self, Flaw, HEADER_BYTES, Kind, RecordHeader, RecordPosition, u64_at},
    sectors,
    window::{Window, make_room},
};
use crate::{limits::LOG_WINDOW_BYTES, state::disk::Disk};

/// Where the first record begins.
pub(super) const RECORDS_BEGIN: u64 = FILE_HEADER_BYTES as u64;

/// What a segment goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    /// The first batch of that segment.
    pub first: BatchNo,
    /// The byte at which it ends.
    pub end: u64,
}

/// What a segment's file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub first: BatchNo,
    /// The segment before this one; `None` for the very first of a log.
    pub previous: Option<Previous>,
    /// The log that it belongs to; none if a host has made it that gave its log no identity.
    pub id: Option<LogId>,
}

/// What is done with each record: its header, its effects, and where it stands.
type EachRecord<'a, E> = dyn FnMut(&RecordHeader, &[u8], Span<'_>) -> Result<(), E> + 'a;

impl SegmentHeader {
    /// As it stands in a file of the log `id`.
    pub(super) fn bytes(&self, id: LogId) -> [u8; FILE_HEADER_BYTES] {
        let mut subject = [0; SUBJECT_BYTES];
        // The other fields of the subject are zero, and so is what nothing precedes.
        subject[4..12].copy_from_slice(&self.first.0.to_le_bytes());
        if let Some(previous) = self.previous {
            subject[12..20].copy_from_slice(&previous.first.0.to_le_bytes());
            subject[20..28].copy_from_slice(&previous.end.to_le_bytes());
        }
        file_header::write(SEGMENT_MAGIC, &subject, Some(id))
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Self, OpenError> {
        let header = file_header::read(bytes, SEGMENT_MAGIC, path)?;
        let subject = header.subject;
        let previous = Previous {
            first: BatchNo(u64_at(subject, 12)),
            end: u64_at(subject, 20),
        };
        Ok(Self {
            first: BatchNo(u64_at(subject, 4)),
            previous: (previous.first != BatchNo(0)).then_some(previous),
            id: header.id,
        })
    }
}

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A whole record, and its effects.
    Record(RecordHeader, &'a [u8]),
    /// Nothing: this is where reading was to end.
    End,
    /// No whole record. If its header is whole, that.
    Flaw(Flaw, Option<RecordHeader>),
}

/// Reads a segment from its begin.
#[derive(Debug)]
pub(super) struct SegmentReader {
    window: Window,
    header: SegmentHeader,
    limit: u64,
    at: u64,
    content: Vec<u8>,
}

impl SegmentReader {
    /// Opens the segment that begins with `first`.
    pub(super) fn open(disk: &dyn Disk, folder: &Path, first: BatchNo) -> Result<Self, OpenError> {
        let path = folder.join(names::segment(first));
        let mut window = Window::open(disk, &path)?;
        let header = SegmentHeader::read(window.bytes(0, RECORDS_BEGIN)?, &path)?;
        if header.first != first {
            return Err(OpenError::from(Damage {
                file: path,
                byte: 0,
                batch: None,
                expected: format!("the segment that begins with batch {first}"),
                found: format!("the one that begins with batch {}", header.first),
            }));
        }
        Ok(Self {
            limit: window.length(),
            window,
            header,
            at: RECORDS_BEGIN,
            content: Vec::new(),
        })
    }

    /// Reads no further than `end`; what is not whole until there is a flaw.
    pub(super) fn end_at(&mut self, end: u64) {
        self.limit = end;
    }

    pub(super) fn header(&self) -> SegmentHeader {
        self.header
    }

    pub(super) fn path(&self) -> &Path {
        self.window.path()
    }

    /// Where the next record begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// For a look at what is no record.
    pub(super) fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    /// Reads the next record, and goes on behind it if it is whole.
    pub(super) fn next(&mut self) -> Result<Found<'_>, DiskError> {
        if self.at >= self.limit {
            return Ok(Found::End);
        }
        let place = RecordPosition {
            segment: self.header.first,
            at: self.at,
        };
        let header = match read_header(&mut self.window, place, self.limit, &mut self.content)? {
            Ok(header) => header,
            Err(flaw) => return Ok(Found::Flaw(flaw, None)),
        };
        let end = header.end(self.at);
        if let Err(flaw) = lift(
            &mut self.window,
            self.at,
            end,
            self.limit,
            &mut self.content,
        )? {
            return Ok(Found::Flaw(flaw, Some(header)));
        }
        match record::effects(&self.content) {
            Ok(effects) => {
                self.at = end;
                Ok(Found::Record(header, effects))
            }
            Err(flaw) => Ok(Found::Flaw(flaw, Some(header))),
        }
    }

    /// What is wrong at a byte of this segment.
    pub(super) fn damage(&self, byte: u64, batch: BatchNo, flaw: Flaw) -> OpenError {
        OpenError::from(Damage {
            file: self.path().to_owned(),
            byte,
            batch: Some(batch),
            expected: flaw.expected,
            found: flaw.found,
        })
    }

    /// Hands all batches up to `last` to `each`, with where they begin; they must be there, and end where reading is to end.
    pub(super) fn read_closed<E: From<OpenError>>(
        &mut self,
        last: BatchNo,
        each: &mut EachRecord<'_, E>,
    ) -> Result<(), E> {
        let path = self.path().to_owned();
        let mut next = self.header.first;
        loop {
            let at = self.at;
            let flaw = match self.next().map_err(OpenError::from)? {
                Found::Record(header, effects) => match follows(&header, next) {
                    Ok(()) if next <= last => {
                        let span = Span { file: &path, at };
                        each(&header, effects, span)?;
                        next = next.next();
                        continue;
                    }
                    Ok(()) => Flaw::new("the end of the segment", format!("batch {next}")),
                    Err(flaw) => flaw,
                },
                Found::End if next == last.next() => return Ok(()),
                Found::End => Flaw::new(format!("batch {next}"), "the end of the segment"),
                Found::Flaw(flaw, _) => flaw,
            };
            return Err(self.damage(at, next, flaw).into());
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub file: &'a Path,
    pub at: u64,
}

/// Whether a whole record is the one of batch `next`.
pub(super) fn follows(header: &RecordHeader, next: BatchNo) -> Result<(), Flaw> {
    let found = match header.kind {
        Kind::Batch if header.batch == next && header.durable < next => return Ok(()),
        Kind::Batch => format!(
            "batch {}, written when batch {} was durable",
            header.batch, header.durable
        ),
        Kind::End => format!("the mark that batch {} begins a segment", header.batch),
    };
    Err(Flaw::new(format!("batch {next}"), found))
}

/// Reads the header of a record at `place`, if there is a whole one.
pub(super) fn read_header(
    window: &mut Window,
    place: RecordPosition,
    limit: u64,
    content: &mut Vec<u8>,
) -> Result<Result<RecordHeader, Flaw>, DiskError> {
    let end = sectors::end_of(place.at, HEADER_BYTES as u64);
    if let Err(flaw) = lift(window, place.at, end, limit, content)? {
        return Ok(Err(flaw));
    }
    let bytes = content.first_chunk().expect("as much was lifted");
    Ok(RecordHeader::read(bytes, place))
}

/// Reads what stands from `at` to `end` into `content`, without its marks.
fn lift(
    window: &mut Window,
    at: u64,
    end: u64,
    limit: u64,
    content: &mut Vec<u8>,
) -> Result<Result<(), Flaw>, DiskError> {
    content.clear();
    let too_short = |found: u64| {
        let found = format!("the end of the segment at byte {found}");
        Ok(Err(Flaw::new(format!("a record up to byte {end}"), found)))
    };
    let limit = limit.min(window.length());
    if limit < end {
        return too_short(limit.max(at));
    }
    make_room(content, (end - at) as usize, window.path())?;
    // Piece by piece, so that a large record is in memory once.
    let mut from = at;
    while from < end {
        let length = (end - from).min(LOG_WINDOW_BYTES as u64);
        let laid = window.bytes(from, length)?;
        if (laid.len() as u64) < length {
            return too_short(from + laid.len() as u64);
        }
        if let Err((at, found)) = sectors::lift(content, from, laid) {
            let expected = format!("the mark of a sector at byte {at}");
            return Ok(Err(Flaw::new(expected, format!("{found:02x}"))));
        }
        from += length;
    }
    Ok(Ok(()))
}
