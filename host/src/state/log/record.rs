//! One record of a segment: a batch, or the mark that the segment has ended.
//!
//! ```text
//! 0   4  magic, by kind
//! 4   4  length of the effects
//! 8   8  batch; of an end: the one that the next segment begins with
//! 16  8  the host's time in milliseconds
//! 24  8  the last batch that was durable when this was written
//! 32  4  CRC-32 of these 32 bytes, the segment's first batch, and the record's position
//! 36     effects
//!     4  CRC-32 of the effects, continued from the one above
//!     1  0xA6
//! ```
//! Numbers are little-endian. The marks of `sectors` are not counted here.
//!
//! The header has a checksum of its own, so that a length can be trusted before the effects are read. The position in it keeps a
//! record of another place, or one that was stored as a value, from being taken for one of this place. The last byte tells
//! a written end from an unwritten one. CRC-32 finds every change within 32 neighbouring bits.

use super::{BatchNo, sectors};

pub(super) const HEADER_BYTES: usize = 36;
const TAIL_BYTES: usize = 5;

/// Several bits are set, so that no flip of one makes it zero.
const LAST_BYTE: u8 = 0xa6;

/// The first byte of every record.
pub(super) const FIRST_BYTE: u8 = 0xb5;

const BATCH: [u8; 4] = [FIRST_BYTE, b'r', b'm', b'B'];
const END: [u8; 4] = [FIRST_BYTE, b'r', b'm', b'E'];

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The effects of a batch.
    Batch,
    /// The next segment is there, and holds what follows.
    End,
}

/// What stands before the effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub kind: Kind,
    pub length: u32,
    pub batch: BatchNo,
    pub now_ms: u64,
    pub durable: BatchNo,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordPosition {
    /// The first batch of the segment.
    pub segment: BatchNo,
    /// The byte of the file at which it begins.
    pub at: u64,
}

/// What is wrong with some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub expected: String,
    pub found: String,
}

impl Flaw {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl RecordHeader {
    /// Where the record ends.
    pub(super) fn end(&self, at: u64) -> u64 {
        sectors::end_of(at, self.content_bytes())
    }

    /// The bytes of the whole record, without marks.
    fn content_bytes(&self) -> u64 {
        u64::from(self.length) + (HEADER_BYTES + TAIL_BYTES) as u64
    }

    fn bytes(&self, place: RecordPosition) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(match self.kind {
            Kind::Batch => &BATCH,
            Kind::End => &END,
        });
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.batch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.now_ms.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.0.to_le_bytes());
        let checksum = header_checksum(&bytes, place);
        bytes[32..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header that stands at `place`.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES], place: RecordPosition) -> Result<Self, Flaw> {
        let kind = match [bytes[0], bytes[1], bytes[2], bytes[3]] {
            BATCH => Kind::Batch,
            END => Kind::End,
            other => {
                let expected = format!("a record, which begins with {BATCH:02x?}");
                return Err(Flaw::new(expected, format!("{other:02x?}")));
            }
        };
        let checksum = header_checksum(bytes, place);
        let stored = u32_at(bytes, 32);
        if stored != checksum {
            return Err(Flaw::new(
                format!("a record whose header has the checksum {stored:08x}"),
                format!("{checksum:08x}"),
            ));
        }
        Ok(Self {
            kind,
            length: u32_at(bytes, 4),
            batch: BatchNo(u64_at(bytes, 8)),
            now_ms: u64_at(bytes, 16),
            durable: BatchNo(u64_at(bytes, 24)),
        })
    }
}

/// Adds a record as it stands in the file. Returns where it ends.
pub(super) fn lay(
    out: &mut Vec<u8>,
    place: RecordPosition,
    header: &RecordHeader,
    effects: &[u8],
) -> u64 {
    debug_assert_eq!(header.length as usize, effects.len());
    out.reserve((header.end(place.at) - place.at) as usize);
    let bytes = header.bytes(place);
    let mut tail = [LAST_BYTE; TAIL_BYTES];
    tail[..4].copy_from_slice(&effects_checksum(u32_at(&bytes, 32), effects).to_le_bytes());
    let at = sectors::lay(out, place.at, &bytes);
    let at = sectors::lay(out, at, effects);
    sectors::lay(out, at, &tail)
}

/// The effects of a whole record, whose header has been read from it.
pub(super) fn effects(record: &[u8]) -> Result<&[u8], Flaw> {
    let (header, rest) = record.split_at(HEADER_BYTES);
    let (effects, tail) = rest.split_at(rest.len() - TAIL_BYTES);
    let checksum = effects_checksum(u32_at(header, 32), effects);
    let stored = u32_at(tail, 0);
    if stored != checksum {
        return Err(Flaw::new(
            format!("a record whose effects have the checksum {stored:08x}"),
            format!("{checksum:08x}"),
        ));
    }
    if tail[4] != LAST_BYTE {
        return Err(Flaw::new(
            format!("a record that ends with {LAST_BYTE:02x}"),
            format!("{:02x}", tail[4]),
        ));
    }
    Ok(effects)
}

fn header_checksum(bytes: &[u8; HEADER_BYTES], place: RecordPosition) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..32]);
    hasher.update(&place.segment.0.to_le_bytes());
    hasher.update(&place.at.to_le_bytes());
    hasher.finalize()
}

fn effects_checksum(header: u32, effects: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(header);
    hasher.update(effects);
    hasher.finalize()
}

/// The number that stands at `at`, which is within `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// See [`u32_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
