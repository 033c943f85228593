//! The header of a pool's books: what is read and written with every grant.

use super::{
    ranges::Span,
    record::{Damaged, VARINT_BYTES_MAX, take_varint, write_varint},
};
use crate::stored;

/// Its key in the state's map, the lowest of all.
pub(super) const HEADER: [u8; 1] = [0];

/// Counts, the lowest free range, and where the page of the latest grants begins. That page stands behind it, in the same
/// entry: it is the part of a record that [`Header::decode`] leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the last grant.
    pub(super) token: u64,
    /// The greatest number that ever was a member, or 0.
    pub(super) highest: u64,
    pub(super) len: u64,
    pub(super) free: u64,
    pub(super) draining: u64,
    /// The lowest free range, if it stands here and not among the others.
    pub(super) lowest: Option<Span>,
    /// What the page of the latest grants is written relative to, see [`Records`](super::record::Records).
    pub(super) page_base: u64,
    /// Pages with lower keys have been looked at, to forget their holders.
    pub(super) folded_to: u64,
}

/// Of what layout a header was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Present,
    /// From before the holders of grants were kept.
    WithoutHolders,
}

/// The layout of the books, as the description of a state tells it.
pub(crate) const BOOKS_VERSION: u32 = Header::VERSION as u32;

impl Header {
    /// Of this layout. Another one gets another first byte.
    const VERSION: u8 = 4;
    /// With fields of eight bytes each.
    const VERSION_3: u8 = 3;
    /// Without the grants.
    const VERSION_2: u8 = 2;
    /// Without the range.
    const VERSION_1: u8 = 1;

    const FIELDS: usize = 9;
    /// The token stands in eight bytes behind the version in every layout: the host reads it there when an operator drops a
    /// state.
    const TOKEN_END: usize = 9;

    /// Writes the header, and the page of the latest grants behind it, into `record`. Every grant writes it to the disk, so
    /// what is mostly near to another field is written as the difference from it, which wraps.
    pub(super) fn encode(self, page: &[u8], record: &mut Vec<u8>) {
        // No range at all is none that there could be.
        let [start, end] = self.lowest.map_or([1, 0], |span| [span.start, span.end]);
        let fields: [u64; Self::FIELDS - 1] = [
            self.token.wrapping_sub(self.page_base),
            self.page_base.wrapping_sub(self.folded_to),
            self.highest,
            self.highest.wrapping_sub(self.len),
            self.free,
            self.draining,
            start,
            self.highest.wrapping_sub(end),
        ];
        let mut bytes = [Self::VERSION; Self::TOKEN_END + VARINT_BYTES_MAX * (Self::FIELDS - 1)];
        bytes[1..Self::TOKEN_END].copy_from_slice(&self.token.to_be_bytes());
        let mut length = Self::TOKEN_END;
        for field in fields {
            length += write_varint(&mut bytes[length..], field);
        }
        record.clear();
        record.extend_from_slice(&bytes[..length]);
        record.extend_from_slice(page);
    }

    /// The header, and the page of the latest grants.
    pub(super) fn decode(record: &[u8]) -> Option<(Self, Layout, &[u8])> {
        let (&version, fields) = record.split_first()?;
        let (header, layout, page) = match version {
            Self::VERSION => {
                let (header, page) = Self::decode_fields(fields).ok()?;
                (header, Layout::Present, page)
            }
            _ => Self::decode_fixed(version, fields)?,
        };
        let held = header.len.checked_sub(header.free)?;
        // Counted from 0, so that all numbers there are can be counted.
        let lowest = header.lowest;
        let free_here = lowest.is_none_or(|span| span.end - span.start < header.free);
        (header.draining <= held && free_here).then_some((header, layout, page))
    }

    fn decode_fields(fields: &[u8]) -> Result<(Self, &[u8]), Damaged> {
        let (token, mut bytes) = fields.split_first_chunk().ok_or(Damaged)?;
        let mut field = || take_varint(&mut bytes);
        let token = u64::from_be_bytes(*token);
        let page_base = token.wrapping_sub(field()?);
        let folded_to = page_base.wrapping_sub(field()?);
        let highest = field()?;
        let header = Self {
            token,
            highest,
            len: highest.wrapping_sub(field()?),
            free: field()?,
            draining: field()?,
            lowest: Span::new(field()?, highest.wrapping_sub(field()?)),
            page_base,
            folded_to,
        };
        Ok((header, bytes))
    }

    /// What earlier versions of plugin-api wrote.
    fn decode_fixed(version: u8, fields: &[u8]) -> Option<(Self, Layout, &[u8])> {
        let layout = match (version, fields.len()) {
            (Self::VERSION_1, 40) | (Self::VERSION_2, 56) => Layout::WithoutHolders,
            (Self::VERSION_3, 72..) => Layout::Present,
            _ => return None,
        };
        let field = |index: usize| {
            let bytes = fields.get(8 * index..)?.first_chunk()?;
            Some(u64::from_be_bytes(*bytes))
        };
        let lowest = match version {
            Self::VERSION_1 => None,
            _ => Span::new(field(5)?, field(6)?),
        };
        let (page_base, folded_to, page) = match layout {
            Layout::Present => (field(7)?, field(8)?, &fields[8 * Self::FIELDS..]),
            Layout::WithoutHolders => (0, 0, &[][..]),
        };
        let header = Self {
            token: field(0)?,
            highest: field(1)?,
            len: field(2)?,
            free: field(3)?,
            draining: field(4)?,
            lowest,
            page_base,
            folded_to,
        };
        Some((header, layout, page))
    }

    pub(super) fn unreadable(record: &[u8]) -> String {
        stored::unreadable(
            &HEADER,
            "the header of a pool, version 1 to 4",
            stored::Bytes(record),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(lowest: Option<Span>) -> Header {
        Header {
            token: 70_000,
            highest: 9_000_000_000,
            len: 8_999_999_990,
            free: 8_999_000_000,
            draining: 12,
            lowest,
            page_base: 69_990,
            folded_to: 3,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_by_this_version_and_by_the_one_before() {
        let lowest = Span::new(70_001, 8_000_000_000);
        for header in [header(lowest), header(None), Header::default()] {
            let [start, end] = header.lowest.map_or([1, 0], |span| [span.start, span.end]);
            let fields = [
                header.token,
                header.highest,
                header.len,
                header.free,
                header.draining,
                start,
                end,
                header.page_base,
                header.folded_to,
            ];
            let fields: Vec<u8> = fields
                .iter()
                .flat_map(|field| field.to_be_bytes())
                .collect();
            let before = [&[Header::VERSION_3][..], &fields, b"page"].concat();
            let mut now = Vec::new();
            header.encode(b"page", &mut now);
            for record in [&before, &now] {
                let read = Header::decode(record);
                assert_eq!(read, Some((header, Layout::Present, &b"page"[..])));
                // A host reads it there.
                assert_eq!(record[1..9], header.token.to_be_bytes());
            }
            assert!(now.len() <= 4 + 35, "{} bytes", now.len());
            for cut in 0..now.len() - 4 {
                assert_eq!(Header::decode(&now[..cut]), None, "{cut} bytes");
            }
        }
    }
}
