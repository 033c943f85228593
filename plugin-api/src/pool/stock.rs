//! The books of a pool: which numbers it has, which of them are free, which leave once they come back, and who holds the
//! others by which grant.
//!
//! It owns one header record, six range sets and the [ledger](super::ledger) of its state's map, beside the record of
//! [`digest`](super::digest). Grants come out of one free range as long as it lasts, so that one stands in the header, which
//! every grant reads and writes anyway; and so does the page of the latest grants. So a grant reads one entry and
//! writes one, and one of sixteen writes its full page beside it.
//!
//! | set | numbers that |
//! |---|---|
//! | members | are in the pool, free or held |
//! | free | are members and not held, beside those of the header's range |
//! | draining | are held and leave the pool when they come back |
//! | configured | the configuration last named, also if they were removed by hand since |
//! | added | were added by hand |
//! | unnamed | are held, and were granted before the holders of grants were kept |
//!
//! Invariants: free and draining are parts of members and have nothing in common; the header counts each of
//! the three. The header's range is below all others that are free and apart from them. A member is free, unnamed, or
//! granted by one grant of the ledger or of the header's page. What the configuration or a person takes away is never taken from its holder.

use super::{
    grant::{Grant, NoneFree, Token},
    header::{HEADER, Header, Layout},
    ledger,
    ranges::{RangeSet, Span},
    record::{self, Damaged, Record, Records, Terms},
};
use crate::{
    context::{StateMap, unwinding},
    limits::GRANT_HOLDERS_KEPT,
};

mod release;

/// The greatest number that a pool admits: one less than `u64` has, so that a pool of all of them can be
/// counted in a `u64`.
pub(super) const NUMBER_MAX: u64 = u64::MAX - 1;

const MEMBERS: RangeSet = RangeSet::new(1);
const FREE: RangeSet = RangeSet::new(2);
const DRAINING: RangeSet = RangeSet::new(3);
const CONFIGURED: RangeSet = RangeSet::new(4);
const ADDED: RangeSet = RangeSet::new(5);
const UNNAMED: RangeSet = RangeSet::new(9);
/// Keys that begin with this byte or a greater one belong to whoever has the stock.
pub(super) const PREFIX_OF_OTHERS: u8 = 16;

/// The page of the latest grants is put among the others when it is longer. It is read and written with every grant.
const PAGE_BYTES_MAX: usize = 256;
/// Once so many grants are old enough, their pages are looked at, to forget their holders: together, for a run of them is
/// written once.
const GRANTS_TO_FOLD: u64 = 8 * ledger::GRANTS_PER_PAGE as u64;
/// Pages that are looked at then. More than are put down in between, so that none is left behind.
const FOLDED_AT_ONCE: usize = 16;

/// The books of one pool.
pub(super) struct Stock {
    pub(super) map: StateMap,
    /// The page of the latest grants, as it was read with the header.
    page: Vec<u8>,
    /// Where that page ends, if it is what was written last: each grant goes on there.
    page_end: Option<record::End>,
    /// The header's record as it was written last.
    record: Vec<u8>,
    /// What stands in that record, until it is read: then it is about to be another one.
    written: Option<Header>,
    /// Of so many grants, the latest, the holders are kept in any case.
    holders_kept: u64,
}

impl Stock {
    pub(super) fn new(map: StateMap) -> Self {
        Self {
            map,
            page: Vec::new(),
            page_end: None,
            record: Vec::new(),
            written: None,
            holders_kept: GRANT_HOLDERS_KEPT,
        }
    }

    /// Reads the header, or opens empty books the first time. Books of an older layout become those of this one.
    ///
    /// # Errors
    /// What is stored is no stock.
    pub(super) fn setup(&mut self) -> Result<(), String> {
        // The header has the lowest of all keys.
        let layout = match self.map.at_or_after(&[]) {
            None => {
                self.set_header(Header::default());
                return Ok(());
            }
            Some((key, record)) => {
                Some(record)
                    .filter(|_| key == HEADER)
                    .and_then(Header::decode)
                    .ok_or_else(|| Header::unreadable(record))?
                    .1
            }
        };
        if layout == Layout::WithoutHolders {
            let header = self.header();
            for span in MEMBERS.spans(&mut self.map) {
                let mut free = FREE.overlap(&mut self.map, span);
                free.extend(header.lowest.and_then(|lowest| lowest.overlap(span)));
                free.sort_unstable_by_key(|span| span.start);
                for held in span.minus(&free) {
                    UNNAMED.insert(&mut self.map, held);
                }
            }
            self.set_header(header);
        }
        Ok(())
    }

    /// Reads all books. Takes as long as there are ranges and pages.
    ///
    /// # Errors
    /// One of them is none.
    pub(super) fn check(&mut self) -> Result<(), String> {
        for set in [MEMBERS, FREE, DRAINING, CONFIGURED, ADDED, UNNAMED] {
            set.check(&mut self.map)?;
        }
        let header = self.header();
        let wrong = |stock: &mut Self| {
            let record = stock.map.read(&HEADER).unwrap_or_default();
            Err(Header::unreadable(record))
        };
        let next = FREE.lowest(&mut self.map);
        if let (Some(lowest), Some(next)) = (header.lowest, next)
            && !lowest.is_apart_from(next)
        {
            return wrong(self);
        }
        let latest: Result<Vec<_>, _> = Records::new(header.page_base, &self.page).collect();
        let Ok(latest) = latest else {
            return wrong(self);
        };
        let latest = latest.iter().flat_map(Record::spans).map(Span::len);
        let unnamed = UNNAMED.spans(&mut self.map);
        let unnamed = unnamed.into_iter().map(Span::len);
        let granted = ledger::check(&mut self.map)?;
        match granted + latest.chain(unnamed).sum::<u64>() == header.len - header.free {
            true => Ok(()),
            false => wrong(self),
        }
    }

    /// Reads the header, and the page of the latest grants with it.
    pub(super) fn header(&mut self) -> Header {
        let record = self.map.read(&HEADER).unwrap_or_default();
        // It is another one after a job that did not count; and one that did not come to write it may have left its page
        // otherwise.
        if let Some(written) = self.written.take()
            && self.record == record
        {
            return written;
        }
        match Header::decode(record) {
            Some((header, _, page)) => {
                self.page.clear();
                self.page.extend_from_slice(page);
                self.page_end = None;
                header
            }
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
            members: header.len - header.draining,
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
        let record = Record {
            token: header.token,
            first,
            rest,
            holder: Some(self.map.call().holder()),
            terms: Terms::default(),
        };
        self.note(&mut header, &record);
        self.set_header(header);
        Ok(Grant::new(
            Token(header.token),
            header.free,
            first,
            record.rest,
        ))
    }

    /// Adds a grant to the page of the latest ones.
    fn note(&mut self, header: &mut Header, record: &Record) {
        // Tokens rise by one, so the page is full with the last that it has room for, also where grants of it are gone.
        let is_full = record.token - header.page_base >= ledger::GRANTS_PER_PAGE as u64;
        if is_full && !self.page.is_empty() {
            self.put_page_down(header);
        }
        if self.page.is_empty() {
            header.page_base = record.token;
        }
        let end = self.page_end.take();
        let noted = record::append(&mut self.page, header.page_base, end, record);
        self.page_end = self.expect_readable(noted);
        self.bound_page(header);
    }

    /// Puts the page of the latest grants among the others if it is too long for the header.
    fn bound_page(&mut self, header: &mut Header) {
        if self.page.len() > PAGE_BYTES_MAX {
            self.put_page_down(header);
        }
    }

    /// Puts the page of the latest grants among the others, and forgets the holders of old ones that were taken in order.
    fn put_page_down(&mut self, header: &mut Header) {
        let in_order = self.page_end.and_then(record::End::in_order);
        let added = ledger::add(&mut self.map, header.page_base, &self.page, in_order);
        self.expect_readable(added);
        self.page.clear();
        self.page_end = None;
        let below = header.token.saturating_sub(self.holders_kept);
        if below.saturating_sub(header.folded_to) >= GRANTS_TO_FOLD {
            let to = ledger::fold(&mut self.map, header.folded_to, below, FOLDED_AT_ONCE);
            header.folded_to = to;
        }
    }

    /// The grants of the header's page.
    fn latest(&mut self, header: &Header) -> Vec<Record> {
        let read: Result<Vec<_>, _> = Records::new(header.page_base, &self.page).collect();
        self.expect_readable(read).unwrap_or_default()
    }

    fn expect_readable<T>(&mut self, read: Result<T, Damaged>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(Damaged) if unwinding() => None,
            // A job that finds the books otherwise than they were written must not go on.
            Err(Damaged) => {
                let record = self.map.read(&HEADER).unwrap_or_default();
                panic!("{}", Header::unreadable(record))
            }
        }
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

    pub(super) fn is_held(&mut self, number: u64) -> bool {
        let header = self.header();
        let latest = self.latest(&header);
        self.locate(&latest, number).is_some()
    }

    pub(super) fn is_member(&mut self, number: u64) -> bool {
        MEMBERS.contains(&mut self.map, number)
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

    /// Writes the header, and the page of the latest grants with it.
    fn set_header(&mut self, header: Header) {
        header.encode(&self.page, &mut self.record);
        self.written = Some(header);
        self.map.write(&HEADER, &self.record);
    }
}

#[cfg(test)]
mod tests;
