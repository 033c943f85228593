//! The first 64 bytes of a segment and of a snapshot.
//!
//! ```text
//! 0   8  magic, by what the file is
//! 8   4  format
//! 12  48 what the file is of
//! 60  4  CRC-32 of these 60 bytes
//! ```
//! Every later format keeps the magic, the format's place and the checksum's, so that a host of today can say what it is.

use std::path::Path;

use super::{Damage, OpenError, record::u32_at};

/// How long it is.
pub(super) const FILE_HEADER_BYTES: usize = 64;

/// What the file is of.
pub(super) const SUBJECT_BYTES: usize = 48;

/// The format that this host writes, and the newest one that it reads.
pub(super) const FORMAT: u32 = 1;

/// The ends of lines tell if somebody copied the file as text.
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"rmlog\r\n\x1a";
/// See [`SEGMENT_MAGIC`].
pub(super) const SNAPSHOT_MAGIC: [u8; 8] = *b"rmsnap\r\n";

/// A header as it stands in the file.
pub(super) fn write(magic: [u8; 8], subject: &[u8; SUBJECT_BYTES]) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..60].copy_from_slice(subject);
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What the file is of. `bytes` are as many as there are, up to the length of a header.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    magic: [u8; 8],
    file: &Path,
) -> Result<&'a [u8], OpenError> {
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
    Ok(&bytes[12..60])
}
