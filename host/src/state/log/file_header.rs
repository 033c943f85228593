//! The first 64 bytes of a segment and of a snapshot.
//!
//! ```text
//! 0   8  magic, by what the file is
//! 8   4  format
//! 12  28 what the file is of
//! 40  16 the log's identity, from format 2 on
//! 56  4  zero
//! 60  4  CRC-32 of these 60 bytes
//! ```
//! Every later format keeps the magic, the format's place and the checksum's, so that a host of today can say what it is.

use std::path::Path;

use super::{Damage, LogId, OpenError, record::u32_at};

/// The length of a file's header, in bytes.
pub(super) const FILE_HEADER_BYTES: usize = 64;

/// The length of the part that says what the file is of, in bytes.
pub(super) const SUBJECT_BYTES: usize = 28;

/// The format that this host writes, and the newest one that it reads.
pub(super) const FORMAT: u32 = 2;

/// The first format whose files bear the identity of their log.
const FORMAT_WITH_ID: u32 = 2;

const ID_AT: usize = 12 + SUBJECT_BYTES;

/// The ends of lines tell if somebody copied the file as text.
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"rmlog\r\n\x1a";
/// See [`SEGMENT_MAGIC`].
pub(super) const SNAPSHOT_MAGIC: [u8; 8] = *b"rmsnap\r\n";

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileHeader<'a> {
    pub subject: &'a [u8],
    /// None in a file of a host that gave none.
    pub id: Option<LogId>,
}

/// A header as it stands in the file. A file that is no part of a log has no identity.
pub(super) fn write(
    magic: [u8; 8],
    subject: &[u8; SUBJECT_BYTES],
    id: Option<LogId>,
) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(&magic);
    bytes[12..ID_AT].copy_from_slice(subject);
    match id {
        Some(id) => set_id(&mut bytes, id),
        None => seal(&mut bytes, FORMAT_WITH_ID - 1),
    }
    bytes
}

/// Makes a header that was read one of the log `id`.
pub(super) fn set_id(bytes: &mut [u8; FILE_HEADER_BYTES], id: LogId) {
    bytes[ID_AT..ID_AT + 16].copy_from_slice(&id.bytes());
    seal(bytes, FORMAT);
}

fn seal(bytes: &mut [u8; FILE_HEADER_BYTES], format: u32) {
    bytes[8..12].copy_from_slice(&format.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads a header. `bytes` are as many as there are, up to the length of one.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    magic: [u8; 8],
    file: &Path,
) -> Result<FileHeader<'a>, OpenError> {
    let damaged = |byte, expected, found| {
        Err(OpenError::from(Damage {
            file: file.to_owned(),
            byte,
            batch: None,
            expected,
            found,
        }))
    };
    if bytes.len() < FILE_HEADER_BYTES {
        let expected = format!("a file header of {FILE_HEADER_BYTES} bytes");
        return damaged(0, expected, format!("{} bytes", bytes.len()));
    }
    if bytes[..8] != magic {
        let expected = format!("the file header {magic:02x?}");
        return damaged(0, expected, format!("{:02x?}", &bytes[..8]));
    }
    let checksum = crc32fast::hash(&bytes[..60]);
    let stored = u32_at(bytes, 60);
    if stored != checksum {
        let expected = format!("a file header with the checksum {stored:08x}");
        return damaged(0, expected, format!("{checksum:08x}"));
    }
    let format = u32_at(bytes, 8);
    if format > FORMAT {
        return Err(OpenError::NewerFormat {
            file: file.to_owned(),
            found: format,
            supported: FORMAT,
        });
    }
    if format == 0 {
        return damaged(
            8,
            format!("a format from 1 to {FORMAT}"),
            format.to_string(),
        );
    }
    let id = bytes[ID_AT..].first_chunk().copied().map(LogId::of);
    Ok(FileHeader {
        subject: &bytes[12..ID_AT],
        id: id.filter(|_| format >= FORMAT_WITH_ID),
    })
}
