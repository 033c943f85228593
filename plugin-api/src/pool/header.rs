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

    /// Writes the header, and the page of the latest grants behind it, into `record`. Every grant writes it to the disk, so
    /// what is mostly near to another field is written as the difference from it, which wraps.
    pub(super) fn encode(self, page: &[u8], record: &mut Vec<u8>) {
        // No range at all is none that there could be.
        let [start, end] = self.lowest.map_or([1, 0], |span| [span.start, span.end]);
        let fields: [u64; Self::FIELDS] = [
            self.token,
            self.token.wrapping_sub(self.page_base),
            self.page_base.wrapping_sub(self.folded_to),
            self.highest,
            self.highest.wrapping_sub(self.len),
            self.free,
            self.draining,
            start,
            self.highest.wrapping_sub(end),
        ];
        let mut bytes = [Self::VERSION; 1 + VARINT_BYTES_MAX * Self::FIELDS];
        let mut length = 1;
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

    fn decode_fields(mut bytes: &[u8]) -> Result<(Self, &[u8]), Damaged> {
        let mut field = || take_varint(&mut bytes);
        let token = field()?;
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
