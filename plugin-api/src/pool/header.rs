//! The header of a pool's books: what is read and written with every grant.

use super::ranges::Span;
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
    const VERSION: u8 = 3;
    /// Without the grants.
    const VERSION_2: u8 = 2;
    /// Without the range.
    const VERSION_1: u8 = 1;

    const FIELDS: usize = 9;
    const BYTES: usize = 1 + 8 * Self::FIELDS;

    /// Writes the header, and the page of the latest grants behind it, into `record`.
    pub(super) fn encode(self, page: &[u8], record: &mut Vec<u8>) {
        // No range at all is none that there could be.
        let [start, end] = self.lowest.map_or([1, 0], |span| [span.start, span.end]);
        let fields: [u64; Self::FIELDS] = [
            self.token,
            self.highest,
            self.len,
            self.free,
            self.draining,
            start,
            end,
            self.page_base,
            self.folded_to,
        ];
        record.clear();
        record.reserve(Self::BYTES + page.len());
        record.push(Self::VERSION);
        for field in fields {
            record.extend_from_slice(&field.to_be_bytes());
        }
        record.extend_from_slice(page);
    }

    /// The header, and the page of the latest grants.
    pub(super) fn decode(record: &[u8]) -> Option<(Self, Layout, &[u8])> {
        let (&version, fields) = record.split_first()?;
        let field = |index: usize| {
            let bytes = fields.get(8 * index..)?.first_chunk()?;
            Some(u64::from_be_bytes(*bytes))
        };
        let layout = match (version, fields.len()) {
            (Self::VERSION_1, 40) | (Self::VERSION_2, 56) => Layout::WithoutHolders,
            (Self::VERSION, 72..) => Layout::Present,
            _ => return None,
        };
        let lowest = match version {
            Self::VERSION_1 => None,
            _ => Span::new(field(5)?, field(6)?),
        };
        let (page_base, folded_to, page) = match layout {
            Layout::Present => (field(7)?, field(8)?, &record[Self::BYTES..]),
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
        let held = header.len.checked_sub(header.free)?;
        // Counted from 0, so that all numbers there are can be counted.
        let free_here = lowest.is_none_or(|span| span.end - span.start < header.free);
        (header.draining <= held && free_here).then_some((header, layout, page))
    }

    pub(super) fn unreadable(record: &[u8]) -> String {
        stored::unreadable(
            &HEADER,
            "the header of a pool, version 1, 2 or 3",
            stored::Bytes(record),
        )
    }
}
