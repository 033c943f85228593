//! One grant as it stands in the books, and the packed form of several: the value of a page of the [ledger](super::ledger).
//!
//! This form is frozen: hosts and later versions of plugin-api read it. Each record begins with a byte of [`flag`]s. A
//! grant that follows the one before it, by its token and its numbers, costs that byte and the difference of the two holders'
//! numbers. Numbers are LEB128 varints; a difference that may be negative is zigzag-encoded, and wraps.

use super::ranges::Span;
use crate::context::{Call, Holder};

/// The bits of a record's first byte. A bit that is not named here belongs to a later version.
mod flag {
    /// What kind of holder: 0 for one that is not kept, else [`CONNECTION`] or [`SESSION`].
    pub(super) const HOLDER: u8 = 0b11;
    pub(super) const CONNECTION: u8 = 1;
    pub(super) const SESSION: u8 = 2;
    /// Its token is the next one, and its numbers are one range that follows that of the record before, as long as that.
    pub(super) const FOLLOWS: u8 = 1 << 2;
    /// It ends at a time.
    pub(super) const END: u8 = 1 << 3;
    /// It ends with its holder.
    pub(super) const WITH_HOLDER: u8 = 1 << 4;
    /// It belongs to an account.
    pub(super) const ACCOUNT: u8 = 1 << 5;
    /// It was called back, and cannot be renewed.
    pub(super) const RECALLED: u8 = 1 << 6;
    pub(super) const UNKNOWN: u8 = 1 << 7;
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) token: u64,
    /// The lowest of its ranges.
    pub(super) first: Span,
    /// The others, rising and apart.
    pub(super) rest: Vec<Span>,
    /// `None`: it is not kept any more.
    pub(super) holder: Option<Holder>,
    pub(super) terms: Terms,
}

/// When a grant ends, and whose it is beside its holder's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// On the host's clock, in milliseconds since 1970.
    pub(super) end_ms: Option<u64>,
    pub(super) with_holder: bool,
    pub(super) account: Option<u64>,
    pub(super) recalled: bool,
}

/// Bytes that are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

impl Record {
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        std::iter::once(self.first).chain(self.rest.iter().copied())
    }

    /// Whether the request of `call` comes from its holder, as far as that is kept.
    pub(super) fn belongs_to(&self, call: &Call) -> bool {
        self.holder.is_some_and(|holder| call.is_from(holder))
    }

    /// Whether all of `part` is granted by it.
    pub(super) fn covers(&self, part: Span) -> bool {
        let below = self.rest.partition_point(|span| span.start <= part.start);
        let span = match below {
            0 => self.first,
            _ => self.rest[below - 1],
        };
        span.start <= part.start && part.end <= span.end
    }

    /// Takes the numbers of `parts` out, which are rising and apart; `None` if nothing is left.
    pub(super) fn without(self, parts: &[Span]) -> Option<Self> {
        let left = |span: Span| span.minus(parts);
        let mut spans = self.spans().flat_map(left);
        let first = spans.next()?;
        let rest = spans.collect();
        Some(Self {
            first,
            rest,
            ..self
        })
    }
}

/// The lowest number of `parts`, which are rising and apart, that a grant has which does not satisfy `may_end`.
pub(super) fn first_that_may_not(
    records: &[Record],
    parts: &[Span],
    may_end: impl Fn(&Record) -> bool,
) -> Option<u64> {
    let others = records.iter().filter(|record| !may_end(record));
    let first_of = |record: &Record| record.spans().find_map(|span| span.first_in(parts));
    others.filter_map(first_of).min()
}

/// What a record is written relative to: the one before it in its page.
#[derive(Clone, Copy, Debug)]
struct Before {
    token: u64,
    /// The number behind its last one.
    next: u64,
    /// How many numbers its last range has, less one.
    longer: u64,
    /// The number of its holder.
    holder: u64,
}

impl Before {
    /// What the first record of a page is written relative to. `base` is at most its token.
    fn first(base: u64) -> Self {
        Self {
            token: base.wrapping_sub(1),
            next: 0,
            longer: 0,
            holder: 0,
        }
    }

    fn is_followed_by(&self, record: &Record) -> bool {
        let span = record.first;
        record.rest.is_empty()
            && record.token == self.token.wrapping_add(1)
            && span.start == self.next
            && span.end - span.start == self.longer
    }

    fn pass(&mut self, record: &Record) {
        let last = record.rest.last().unwrap_or(&record.first);
        self.token = record.token;
        self.next = last.end.wrapping_add(1);
        self.longer = last.end - last.start;
        if let Some(holder) = record.holder {
            self.holder = number_of(holder);
        }
    }
}

/// Reads the records of a page, by rising token. After an error comes nothing more.
#[derive(Debug)]
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    before: Before,
}

impl<'a> Records<'a> {
    /// `base` is the number that the page was begun with.
    pub(super) fn new(base: u64, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            before: Before::first(base),
        }
    }

    fn read(&mut self) -> Result<Record, Damaged> {
        let flags = self.byte()?;
        if flags & flag::UNKNOWN != 0 {
            return Err(Damaged);
        }
        let (token, first, rest) = if flags & flag::FOLLOWS != 0 {
            let start = self.before.next;
            let first = span(start, self.before.longer)?;
            (self.before.token.wrapping_add(1), first, Vec::new())
        } else {
            let later = self.varint()?;
            let token = self.before.token.wrapping_add(1).checked_add(later);
            let start = self.before.next.wrapping_add(unzigzag(self.varint()?));
            let first = span(start, self.varint()?)?;
            (token.ok_or(Damaged)?, first, self.rest(first)?)
        };
        let kind = flags & flag::HOLDER;
        let holder = match kind {
            0 => None,
            flag::CONNECTION | flag::SESSION => {
                let number = self.before.holder.wrapping_add(unzigzag(self.varint()?));
                Some(match kind {
                    flag::CONNECTION => Holder::Connection(number),
                    _ => Holder::Session(number),
                })
            }
            _ => return Err(Damaged),
        };
        let mut optional = |bit| (flags & bit != 0).then(|| self.varint()).transpose();
        let terms = Terms {
            end_ms: optional(flag::END)?,
            account: optional(flag::ACCOUNT)?,
            with_holder: flags & flag::WITH_HOLDER != 0,
            recalled: flags & flag::RECALLED != 0,
        };
        let record = Record {
            token,
            first,
            rest,
            holder,
            terms,
        };
        self.before.pass(&record);
        Ok(record)
    }

    fn rest(&mut self, first: Span) -> Result<Vec<Span>, Damaged> {
        let count = self.varint()?;
        let mut rest = Vec::new();
        let mut end = first.end;
        for _ in 0..count {
            // One number at least lies between two ranges.
            let gap = self.varint()?.checked_add(2).ok_or(Damaged)?;
            let next = span(end.checked_add(gap).ok_or(Damaged)?, self.varint()?)?;
            end = next.end;
            rest.push(next);
        }
        Ok(rest)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Damaged)?;
        self.bytes = rest;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        take_varint(&mut self.bytes)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.bytes = &[];
        }
        Some(record)
    }
}

/// Where a page ends: what its next record is written relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    base: u64,
    before: Before,
    /// The lowest number of the page, if it is known that all numbers of it are one range.
    start: Option<u64>,
}

impl End {
    /// The numbers of the page, if it is known that they are one range.
    pub(super) fn in_order(self) -> Option<Span> {
        let end = self.before.next.wrapping_sub(1);
        self.start.map(|start| Span { start, end })
    }
}

/// Adds a record to a page that was begun with `base`; its token is greater than all that are there. `end` is the end of this
/// page, if it is known: else the page is read through. Returns the end of the page with the record.
///
/// # Errors
/// What stands there cannot be read.
pub(super) fn append(
    page: &mut Vec<u8>,
    base: u64,
    end: Option<End>,
    record: &Record,
) -> Result<End, Damaged> {
    let (mut before, start) = match end {
        Some(end) if end.base == base => {
            let next = end.before.next;
            (end.before, end.start.filter(|_| record.first.start == next))
        }
        _ if page.is_empty() => (Before::first(base), Some(record.first.start)),
        _ => {
            let mut records = Records::new(base, page);
            for record in records.by_ref() {
                record?;
            }
            (records.before, None)
        }
    };
    push(page, &mut before, record);
    let start = start.filter(|_| record.rest.is_empty());
    Ok(End {
        base,
        before,
        start,
    })
}

/// Writes all records of a page anew.
pub(super) fn write_all(page: &mut Vec<u8>, base: u64, records: &[Record]) {
    page.clear();
    let mut before = Before::first(base);
    for record in records {
        push(page, &mut before, record);
    }
}

fn push(out: &mut Vec<u8>, before: &mut Before, record: &Record) {
    let Terms {
        end_ms,
        with_holder,
        account,
        recalled,
    } = record.terms;
    let kind = match record.holder {
        None => 0,
        Some(Holder::Connection(_)) => flag::CONNECTION,
        Some(Holder::Session(_)) => flag::SESSION,
    };
    let follows = before.is_followed_by(record);
    let bits = [
        (follows, flag::FOLLOWS),
        (end_ms.is_some(), flag::END),
        (with_holder, flag::WITH_HOLDER),
        (account.is_some(), flag::ACCOUNT),
        (recalled, flag::RECALLED),
    ];
    let set = bits.into_iter().filter(|(is_set, _)| *is_set);
    out.push(set.fold(kind, |flags, (_, bit)| flags | bit));
    if !follows {
        let later = record.token.wrapping_sub(before.token.wrapping_add(1));
        put_varint(out, later);
        put_varint(out, zigzag(record.first.start.wrapping_sub(before.next)));
        put_varint(out, record.first.end - record.first.start);
        put_varint(out, record.rest.len() as u64);
        let mut end = record.first.end;
        for span in &record.rest {
            put_varint(out, span.start - end - 2);
            put_varint(out, span.end - span.start);
            end = span.end;
        }
    }
    if let Some(holder) = record.holder {
        put_varint(out, zigzag(number_of(holder).wrapping_sub(before.holder)));
    }
    for number in [end_ms, account].into_iter().flatten() {
        put_varint(out, number);
    }
    before.pass(record);
}

fn number_of(holder: Holder) -> u64 {
    match holder {
        Holder::Connection(number) | Holder::Session(number) => number,
    }
}

fn span(start: u64, longer: u64) -> Result<Span, Damaged> {
    let end = start.checked_add(longer).ok_or(Damaged)?;
    Ok(Span { start, end })
}

/// A difference that wraps, so that small ones of both signs are small numbers.
fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Bytes of the longest number.
pub(super) const VARINT_BYTES_MAX: usize = 10;

/// Adds a number, least significant seven bits first.
pub(super) fn put_varint(out: &mut Vec<u8>, number: u64) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let length = write_varint(&mut bytes, number);
    out.extend_from_slice(&bytes[..length]);
}

/// Writes a number where there is room for the longest one. Returns how many bytes it has.
pub(super) fn write_varint(out: &mut [u8], mut number: u64) -> usize {
    let mut length = 0;
    while number >= 0x80 {
        out[length] = number as u8 | 0x80;
        number >>= 7;
        length += 1;
    }
    out[length] = number as u8;
    length + 1
}

/// Takes a number off the front.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Damaged)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Damaged);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

#[cfg(test)]
mod tests;
