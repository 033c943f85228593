//! The books of a pool: which numbers it has, which of them are free, and which leave once they come back.
//!
//! It owns one header record and five range sets of its state's map, beside the record of [`footing`](super::footing).
//! Grants come out of one free range as long as it lasts, so that one stands in the header, which every grant reads and
//! writes anyway: a grant reads one entry and writes one.
//!
//! | set | numbers that |
//! |---|---|
//! | members | are in the pool, free or held |
//! | free | are members and not held, beside those of the header's range |
//! | draining | are held and leave the pool when they come back |
//! | configured | the configuration last named, also if they were removed by hand since |
//! | added | were added by hand |
//!
//! Invariants: free and draining are parts of members and have nothing in common; the header counts each of
//! the three. The header's range is below all others that are free and apart from them. What the configuration or a person takes away is never taken from its holder.

use super::{
    grant::{Grant, NoneFree, NotHeld, Token},
    ranges::{RangeSet, Span},
};
use crate::{
    context::{StateMap, unwinding},
    stored,
};

/// The greatest number that a pool admits: one less than `u64` has, so that a pool of all of them can be
/// counted in a `u64`.
pub(super) const NUMBER_MAX: u64 = u64::MAX - 1;

const HEADER: [u8; 1] = [0];
const MEMBERS: RangeSet = RangeSet::new(1);
const FREE: RangeSet = RangeSet::new(2);
const DRAINING: RangeSet = RangeSet::new(3);
const CONFIGURED: RangeSet = RangeSet::new(4);
const ADDED: RangeSet = RangeSet::new(5);
/// Keys that begin with this byte or a greater one belong to whoever has the stock.
pub(super) const PREFIX_OF_OTHERS: u8 = 16;

/// The books of one pool.
pub(super) struct Stock {
    pub(super) map: StateMap,
}

/// What is read and written with every grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the last grant.
    token: u64,
    /// The greatest number that ever was a member, or 0.
    highest: u64,
    pub(super) len: u64,
    pub(super) free: u64,
    draining: u64,
    /// The lowest free range, if it stands here and not among the others.
    lowest: Option<Span>,
}

impl Stock {
    pub(super) fn new(map: StateMap) -> Self {
        Self { map }
    }

    /// Reads the header, or opens empty books the first time.
    ///
    /// # Errors
    /// What is stored is no stock.
    pub(super) fn setup(&mut self) -> Result<(), String> {
        // The header has the lowest of all keys.
        match self.map.at_or_after(&[]) {
            None => self.set_header(Header::default()),
            Some((key, record)) => {
                Some(record)
                    .filter(|_| key == HEADER)
                    .and_then(Header::decode)
                    .ok_or_else(|| Header::unreadable(record))?;
            }
        }
        Ok(())
    }

    /// Reads all books. Takes as long as there are ranges.
    ///
    /// # Errors
    /// One of them is none.
    pub(super) fn check(&mut self) -> Result<(), String> {
        for set in [MEMBERS, FREE, DRAINING, CONFIGURED, ADDED] {
            set.check(&mut self.map)?;
        }
        let (lowest, next) = (self.header().lowest, FREE.lowest(&mut self.map));
        match (lowest, next) {
            (Some(lowest), Some(next)) if !lowest.is_apart_from(next) => {
                let record = self.map.read(&HEADER).unwrap_or_default();
                Err(Header::unreadable(record))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn header(&mut self) -> Header {
        let record = self.map.read(&HEADER).unwrap_or_default();
        match Header::decode(record) {
            Some(header) => header,
            None if unwinding() => Header::default(),
            None => panic!("{}", Header::unreadable(record)),
        }
    }

    /// Takes the `count` lowest free numbers, or nothing.
    pub(super) fn take(&mut self, count: u64) -> Result<Grant, NoneFree> {
        let mut header = self.header();
        let refused = NoneFree {
            asked: count,
            free: header.free,
        };
        if count == 0 || count > header.free {
            return Err(refused);
        }
        let first = self.take_lowest(&mut header, count).ok_or(refused)?;
        let mut missing = count - first.len();
        let mut rest = Vec::new();
        while missing > 0 {
            let span = self.take_lowest(&mut header, missing).ok_or(refused)?;
            missing -= span.len();
            rest.push(span);
        }
        header.free -= count;
        header.token += 1;
        self.set_header(header);
        Ok(Grant::new(Token(header.token), header.free, first, rest))
    }

    /// Takes the lowest free range, or its lowest `count` numbers if it has more. `count` is not 0.
    fn take_lowest(&mut self, header: &mut Header, count: u64) -> Option<Span> {
        let lowest = header.lowest.or_else(|| FREE.take_lowest(&mut self.map));
        assert!(
            lowest.is_some() || unwinding(),
            "the header counts what is free"
        );
        let (taken, rest) = lowest?.split_at(count);
        header.lowest = rest;
        Some(taken)
    }

    /// Adds to what is free.
    fn free(&mut self, header: &mut Header, span: Span) {
        header.free += span.len();
        match header.lowest {
            // What was granted last comes back.
            Some(lowest) if span.end + 1 == lowest.start => {
                header.lowest = Some(Span {
                    start: span.start,
                    end: lowest.end,
                });
            }
            Some(lowest) if lowest.is_apart_from(span) => FREE.insert(&mut self.map, span),
            _ => {
                self.put_down(header);
                FREE.insert(&mut self.map, span);
            }
        }
    }

    /// Puts the header's range among the others.
    fn put_down(&mut self, header: &mut Header) {
        if let Some(lowest) = header.lowest.take() {
            FREE.insert(&mut self.map, lowest);
        }
    }

    /// Gives back all numbers of `spans`, which are in rising order, or none. Returns those that left the pool
    /// with it.
    pub(super) fn release(&mut self, spans: &[Span]) -> Result<Vec<Span>, NotHeld> {
        for pair in spans.windows(2) {
            if pair[1].start <= pair[0].end {
                return Err(NotHeld {
                    number: pair[1].start,
                });
            }
        }
        let mut header = self.header();
        for span in spans {
            if let Some(number) = self.lowest_not_held(&header, *span) {
                return Err(NotHeld { number });
            }
        }
        let mut gone = Vec::new();
        for &span in spans {
            let leaving = match header.draining {
                0 => Vec::new(),
                _ => DRAINING.overlap(&mut self.map, span),
            };
            for &part in &leaving {
                DRAINING.remove(&mut self.map, part);
                MEMBERS.remove(&mut self.map, part);
                header.draining -= part.len();
                header.len -= part.len();
            }
            for part in span.minus(&leaving) {
                self.free(&mut header, part);
            }
            gone.extend(leaving);
        }
        self.set_header(header);
        Ok(gone)
    }

    fn lowest_not_held(&mut self, header: &Header, span: Span) -> Option<u64> {
        let missing = MEMBERS.lowest_missing(&mut self.map, span);
        let lowest = header.lowest.and_then(|lowest| lowest.overlap(span));
        let free = match lowest {
            Some(common) => Some(common.start),
            None => FREE.lowest_present(&mut self.map, span),
        };
        missing.into_iter().chain(free).min()
    }

    pub(super) fn is_member(&mut self, number: u64) -> bool {
        MEMBERS.contains(&mut self.map, number)
    }

    pub(super) fn is_held(&mut self, number: u64) -> bool {
        let header = self.header();
        self.lowest_not_held(&header, Span::one(number)).is_none()
    }

    /// The first number that was never a member and is greater than all that were, if `count` more fit.
    pub(super) fn unused(&mut self, count: u64) -> Option<u64> {
        let first = self.header().highest + 1;
        let last = first.checked_add(count)?.checked_sub(1)?;
        (last <= NUMBER_MAX).then_some(first)
    }

    /// Adds what is not a member yet by hand; what is draining stays.
    pub(super) fn add(&mut self, span: Span) {
        ADDED.insert(&mut self.map, span);
        self.admit(span);
    }

    /// Takes members out, wherever they came from. Returns those that were free and are gone at once.
    pub(super) fn remove(&mut self, span: Span) -> Vec<Span> {
        ADDED.remove(&mut self.map, span);
        self.drain(span)
    }

    /// What the configuration last named.
    pub(super) fn configured(&mut self) -> Vec<Span> {
        CONFIGURED.spans(&mut self.map)
    }

    pub(super) fn is_configured(&mut self, number: u64) -> bool {
        CONFIGURED.contains(&mut self.map, number)
    }

    /// The configuration now names `span`, none of which it named before.
    pub(super) fn configure(&mut self, span: Span) {
        CONFIGURED.insert(&mut self.map, span);
        self.admit(span);
    }

    /// The configuration names `span` no longer. What was added by hand stays. Returns what is gone at once.
    pub(super) fn deconfigure(&mut self, span: Span) -> Vec<Span> {
        CONFIGURED.remove(&mut self.map, span);
        let by_hand = ADDED.overlap(&mut self.map, span);
        let mut gone = Vec::new();
        for part in span.minus(&by_hand) {
            gone.extend(self.drain(part));
        }
        gone
    }

    fn admit(&mut self, span: Span) {
        let mut header = self.header();
        for part in DRAINING.overlap(&mut self.map, span) {
            header.draining -= part.len();
        }
        DRAINING.remove(&mut self.map, span);
        let known = MEMBERS.overlap(&mut self.map, span);
        for part in span.minus(&known) {
            self.free(&mut header, part);
            header.len += part.len();
        }
        MEMBERS.insert(&mut self.map, span);
        header.highest = header.highest.max(span.end);
        self.set_header(header);
    }

    fn drain(&mut self, span: Span) -> Vec<Span> {
        let mut header = self.header();
        self.put_down(&mut header);
        let gone = FREE.overlap(&mut self.map, span);
        for &part in &gone {
            FREE.remove(&mut self.map, part);
            MEMBERS.remove(&mut self.map, part);
            header.free -= part.len();
            header.len -= part.len();
        }
        for held in MEMBERS.overlap(&mut self.map, span) {
            let already = DRAINING.overlap(&mut self.map, held);
            for part in held.minus(&already) {
                DRAINING.insert(&mut self.map, part);
                header.draining += part.len();
            }
        }
        self.set_header(header);
        gone
    }

    fn set_header(&mut self, header: Header) {
        self.map.write(&HEADER, &header.encode());
    }
}

impl Header {
    /// Of this layout. Another one gets another first byte.
    const VERSION: u8 = 2;
    /// Without the range.
    const VERSION_1: u8 = 1;

    fn encode(self) -> [u8; 57] {
        // No range at all is none that there could be.
        let [start, end] = self.lowest.map_or([1, 0], |span| [span.start, span.end]);
        let fields = [
            self.token,
            self.highest,
            self.len,
            self.free,
            self.draining,
            start,
            end,
        ];
        let mut record = [Self::VERSION; 57];
        for (bytes, field) in record[1..].chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&field.to_be_bytes());
        }
        record
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (&version, fields) = record.split_first()?;
        let field = |index: usize| {
            let bytes = fields.get(8 * index..)?.first_chunk()?;
            Some(u64::from_be_bytes(*bytes))
        };
        let lowest = match (version, fields.len()) {
            (Self::VERSION_1, 40) => None,
            (Self::VERSION, 56) => Span::new(field(5)?, field(6)?),
            _ => return None,
        };
        let header = Self {
            token: field(0)?,
            highest: field(1)?,
            len: field(2)?,
            free: field(3)?,
            draining: field(4)?,
            lowest,
        };
        let held = header.len.checked_sub(header.free)?;
        let free_here = lowest.map_or(0, |span| span.end - span.start);
        (header.draining <= held && free_here <= header.free).then_some(header)
    }

    fn unreadable(record: &[u8]) -> String {
        stored::unreadable(
            &HEADER,
            "the header of a pool, version 1 or 2",
            stored::Bytes(record),
        )
    }
}
