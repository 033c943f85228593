//! Tells the torn end of the newest segment, which never was durable, from damage.
//!
//! A power loss leaves of what was not synced any sectors, and of the others zeros or nothing. So an end is torn if
//! some of the record that should stand there is unwritten, and nothing says that it once was durable: each later record
//! tells what was when it was written.

use super::{
    BatchNo, DiskError,
    record::{FIRST_BYTE, Flaw, HEADER_BYTES, RecordHeader, RecordPosition},
    sectors::{self, SECTOR_BYTES},
    segment,
    window::Window,
};

/// What stands where a record should begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was ever written there.
    Clean,
    /// Something was, up to this byte, but never all of it.
    Torn { to: u64 },
    /// It was written whole, and is damaged since.
    Damaged(Flaw),
}

const PIECE_BYTES: u64 = 256 * SECTOR_BYTES;

/// Judges what stands from `place` to the end of the file, where the record of batch `next` should be and no
/// whole one is. `header` is that record's, if at least that is whole.
pub(super) fn judge(
    window: &mut Window,
    place: RecordPosition,
    next: BatchNo,
    header: Option<&RecordHeader>,
    flaw: Flaw,
) -> Result<End, DiskError> {
    let extent_end = match header {
        Some(header) => header.end(place.at),
        None => sectors::end_of(place.at, HEADER_BYTES as u64),
    };
    let Some(last_written) = last_written(window, place.at)? else {
        return Ok(End::Clean);
    };
    if let Some((at, later)) = later_witness(window, place, next, last_written)? {
        let found = format!(
            "{}; the record at byte {at} was written when batch {} was durable",
            flaw.found, later.durable
        );
        return Ok(End::Damaged(Flaw::new(flaw.expected, found)));
    }
    let ends_early = last_written + 1 < extent_end;
    if ends_early || has_unwritten_sector(window, place.at, extent_end)? {
        return Ok(End::Torn {
            to: last_written + 1,
        });
    }
    let found = format!("{}, though all of it was written", flaw.found);
    Ok(End::Damaged(Flaw::new(flaw.expected, found)))
}

/// The last byte from `at` on that is not zero.
fn last_written(window: &mut Window, at: u64) -> Result<Option<u64>, DiskError> {
    let mut last = None;
    each_piece(window, at, u64::MAX, |begin, piece| {
        let found = piece.iter().rposition(|byte| *byte != 0);
        last = found.map(|found| begin + found as u64).or(last);
    })?;
    Ok(last)
}

/// A later record that was written when batch `next` was durable already.
fn later_witness(
    window: &mut Window,
    place: RecordPosition,
    next: BatchNo,
    last_written: u64,
) -> Result<Option<(u64, RecordHeader)>, DiskError> {
    let mut begins = Vec::new();
    let mut content = Vec::new();
    let mut from = place.at + 1;
    while from <= last_written {
        let to = (from + PIECE_BYTES).min(last_written + 1);
        let piece = window.bytes(from, to - from)?;
        begins.clear();
        let found = piece
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == FIRST_BYTE);
        begins.extend(found.map(|(offset, _)| from + offset as u64));
        for at in begins.iter().copied().filter(|at| !sectors::is_mark(*at)) {
            let place = RecordPosition { at, ..place };
            let limit = window.length();
            if let Ok(header) = segment::read_header(window, place, limit, &mut content)?
                && header.durable >= next
            {
                return Ok(Some((at, header)));
            }
        }
        from = to;
    }
    Ok(None)
}

/// Whether any sector's part of `at..end` is all zeros.
fn has_unwritten_sector(window: &mut Window, at: u64, end: u64) -> Result<bool, DiskError> {
    let mut found = false;
    each_piece(window, at, end, |mut begin, mut piece| {
        while !piece.is_empty() {
            let room = (SECTOR_BYTES - begin % SECTOR_BYTES) as usize;
            let (part, rest) = piece.split_at(room.min(piece.len()));
            found |= part.iter().all(|byte| *byte == 0);
            begin += part.len() as u64;
            piece = rest;
        }
    })?;
    Ok(found)
}

/// Hands what stands in `at..end` to `look`, in pieces that end where sectors do.
fn each_piece(
    window: &mut Window,
    mut at: u64,
    end: u64,
    mut look: impl FnMut(u64, &[u8]),
) -> Result<(), DiskError> {
    let end = end.min(window.length());
    while at < end {
        let to = (at / SECTOR_BYTES * SECTOR_BYTES + PIECE_BYTES).min(end);
        let piece = window.bytes(at, to - at)?;
        look(at, piece);
        at = to;
    }
    Ok(())
}
