//! Who was granted what: the pages of the grants, and where each held number is to be found in them.
//!
//! A page holds some grants whose tokens follow one another, packed as [records](super::record). Its key is a number not
//! above the first of its tokens, so that a token's page is found by one look. An index leads from a number to the page of
//! its grant: one entry for each range of numbers that a page holds, by the range's end. What is sold in order fills pages
//! whose numbers are one range each. Once such a page is old it becomes a *run*: that many grants of so many numbers each.
//! Then its holders are not known any more, and neighbouring runs become one, so that a hall that is sold in order costs
//! next to nothing.
//!
//! The ledger owns all keys that begin with its two prefixes.
//!
//! Invariants: pages have no token in common, and are not empty. The index names each granted number once, with its page.

use super::{
    ranges::Span,
    record::{self, Damaged, Record, Records, put_varint, take_varint, write_all},
};
use crate::{
    context::{StateMap, unwinding},
    stored,
};

mod run;

use run::Run;

const PAGES: u8 = 7;
const INDEX: u8 = 8;

/// The first byte of a page that holds records.
const RECORDS: u8 = 1;
/// The first byte of a run: how many grants, how many numbers each, less one, and the first number, as varints.
const RUN: u8 = 2;

/// Grants of a page that is full.
pub(super) const GRANTS_PER_PAGE: usize = 16;

/// What stands in one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Records(Vec<Record>),
    Run(Run),
}

impl Page {
    fn read(base: u64, value: &[u8]) -> Result<Self, Damaged> {
        match value.split_first() {
            Some((&RECORDS, bytes)) => {
                let records: Result<Vec<_>, _> = Records::new(base, bytes).collect();
                Ok(Self::Records(records?))
            }
            Some((&RUN, bytes)) => Ok(Self::Run(Run::read(base, bytes)?)),
            _ => Err(Damaged),
        }
    }

    /// The grant with this token.
    fn find(self, token: u64) -> Option<Record> {
        match self {
            Self::Records(records) => records.into_iter().find(|record| record.token == token),
            Self::Run(run) => {
                let at = token.checked_sub(run.token).filter(|at| *at < run.grants)?;
                Some(run.grant(at))
            }
        }
    }
}

/// The page that holds a number's grant, if it stands in one.
pub(super) fn page_of(map: &mut StateMap, number: u64) -> Option<(u64, Span)> {
    let (key, value) = map.at_or_after(&key(INDEX, number))?;
    if key.first() != Some(&INDEX) {
        return None;
    }
    match indexed(key, value) {
        Ok((span, base)) => (span.start <= number).then_some((base, span)),
        Err(Damaged) if unwinding() => None,
        Err(Damaged) => panic!("{}", unreadable(key, value)),
    }
}

/// The lowest number of `parts`, which are rising and apart, that a grant of a page has which does not satisfy `may_end`.
pub(super) fn first_that_may_not(
    map: &mut StateMap,
    base: u64,
    parts: &[Span],
    may_end: impl Fn(&Record) -> bool,
) -> Option<u64> {
    match page_at(map, base)? {
        Page::Records(records) => record::first_that_may_not(&records, parts, may_end),
        Page::Run(run) if may_end(&run.grant(0)) => None,
        Page::Run(run) => run.numbers().first_in(parts),
    }
}

/// The grant with this token, and its page.
pub(super) fn find(map: &mut StateMap, token: u64) -> Option<(u64, Record)> {
    let (found, value) = map.at_or_before(&key(PAGES, token))?;
    let base = base_of(found)?;
    let page = read_or_panic(found, value, base)?;
    Some((base, page.find(token)?))
}

/// Adds a page of records as they are written: their tokens are above those of all that are there. `in_order` are their
/// numbers, if it is known that they are one range.
///
/// # Errors
/// They cannot be read.
pub(super) fn add(
    map: &mut StateMap,
    base: u64,
    page: &[u8],
    in_order: Option<Span>,
) -> Result<(), Damaged> {
    let mut spans = Vec::new();
    match in_order {
        Some(span) => spans.push(span),
        None => {
            for record in Records::new(base, page) {
                for span in record?.spans() {
                    go_on_with(&mut spans, span);
                }
            }
        }
    }
    put_page(map, base, page);
    for range in ranges_of(spans) {
        put_index(map, range, base);
    }
    Ok(())
}

/// Takes numbers, each of which its index entry names, out of a page: `parts` are rising and apart.
pub(super) fn remove(map: &mut StateMap, base: u64, parts: &[Span]) {
    let Some(page) = page_at(map, base) else {
        return;
    };
    match page {
        Page::Records(records) => {
            let left = records
                .into_iter()
                .filter_map(|record| record.without(parts));
            put_records(map, base, &left.collect::<Vec<_>>());
            for &part in parts {
                unindex(map, part);
            }
        }
        Page::Run(run) => remove_from_run(map, run, parts),
    }
}

/// Splits a run around the grants that `parts` take numbers of.
fn remove_from_run(map: &mut StateMap, run: Run, parts: &[Span]) {
    map.remove(&key(PAGES, run.token));
    unindex(map, run.numbers());
    let at_of = |number: u64| (number - run.start) / (run.longer + 1);
    let mut from = 0;
    for &part in parts {
        let (first, last) = (at_of(part.start), at_of(part.end));
        // Two parts may take numbers of the same grant.
        if first >= from {
            put_run(map, run.part(from, first));
        }
        for at in [first, last] {
            if at >= from {
                let left = run.grant(at).without(parts);
                let base = run.token + at;
                put_records(map, base, left.as_slice());
                for span in left.iter().flat_map(Record::spans) {
                    put_index(map, span, base);
                }
            }
            from = from.max(at + 1);
        }
    }
    put_run(map, run.part(from, run.grants));
}

/// Makes one run of as many of the first `pages` pages at or above `base` as can be one, so that their holders are
/// forgotten. Pages with a token that is not below `below` stay. Returns where to go on.
pub(super) fn fold(map: &mut StateMap, base: u64, below: u64, pages: usize) -> u64 {
    let mut next = base;
    let mut gathered: Option<Run> = None;
    for _ in 0..pages {
        let Some((base, page)) = page_to_fold(map, next, below) else {
            break;
        };
        next = base + 1;
        let Some(run) = page else {
            continue;
        };
        map.remove(&key(PAGES, base));
        // It was granted in order, so one entry names all of it.
        let named = map.remove(&key(INDEX, run.numbers().end));
        assert!(named || unwinding(), "the index names each page of grants");
        gathered = match gathered {
            Some(before) if before.goes_on_as(run) => Some(before.longer_by(run)),
            before => {
                put_folded(map, before);
                Some(run)
            }
        };
    }
    put_folded(map, gathered);
    next
}

/// The first page at or above `from` whose tokens are all below `below`, and what it is as a run, if it is to be one.
fn page_to_fold(map: &mut StateMap, from: u64, below: u64) -> Option<(u64, Option<Run>)> {
    let (found, value) = map.at_or_after(&key(PAGES, from))?;
    let base = base_of(found).filter(|base| *base < below)?;
    let run = match value.split_first() {
        Some((&RECORDS, page)) => Run::of_full(base, page),
        // It is one already.
        Some((&RUN, _)) => Ok(None),
        _ => Err(Damaged),
    };
    let run = expect_readable(found, value, run)?;
    let is_old = run.is_none_or(|run| run.token + run.grants <= below);
    is_old.then_some((base, run))
}

/// Adds a run, or makes the one before it longer.
fn put_folded(map: &mut StateMap, run: Option<Run>) {
    let Some(run) = run else {
        return;
    };
    let before = map.at_or_before(&key(PAGES, run.token));
    let before = before.and_then(|(found, value)| {
        let page = read_or_panic(found, value, base_of(found)?)?;
        match page {
            Page::Run(before) if before.goes_on_as(run) => Some(before),
            _ => None,
        }
    });
    let run = match before {
        Some(before) => {
            unindex(map, before.numbers());
            before.longer_by(run)
        }
        None => run,
    };
    put_run(map, Some(run));
}

/// Reads all pages and the whole index. Returns how many numbers are granted.
///
/// # Errors
/// Names the first entry that cannot be read, or that another one does not know of.
pub(super) fn check(map: &mut StateMap) -> Result<u64, String> {
    let mut granted = 0;
    let mut from = key(PAGES, 0).to_vec();
    let mut token_before = 0;
    while let Some((found, value)) = map.at_or_after(&from) {
        let Some(base) = base_of(found) else {
            break;
        };
        let wrong = unreadable(found, value);
        from = [found, &[0]].concat();
        let ranges = match Page::read(base, value) {
            Ok(Page::Records(records)) if !records.is_empty() => {
                let first = records[0].token;
                let last = records[records.len() - 1].token;
                (first > token_before)
                    .then_some(())
                    .ok_or_else(|| wrong.clone())?;
                token_before = last;
                ranges_of(records.iter().flat_map(Record::spans).collect())
            }
            Ok(Page::Run(run)) if run.token > token_before => {
                token_before = run.token + run.grants - 1;
                vec![run.numbers()]
            }
            _ => return Err(wrong),
        };
        for range in ranges {
            match page_of(map, range.start) {
                Some((page, span)) if page == base && span.end >= range.end => {
                    granted += range.len();
                }
                _ => return Err(wrong),
            }
        }
    }
    if indexed_len(map)? == granted {
        Ok(granted)
    } else {
        Err("the index of its grants names numbers that no grant has".to_owned())
    }
}

fn indexed_len(map: &mut StateMap) -> Result<u64, String> {
    let mut len = 0;
    let mut from = key(INDEX, 0).to_vec();
    while let Some((found, value)) = map.at_or_after(&from) {
        if found.first() != Some(&INDEX) {
            break;
        }
        let (span, _) = indexed(found, value).map_err(|Damaged| unreadable(found, value))?;
        len += span.len();
        from = [found, &[0]].concat();
    }
    Ok(len)
}

fn page_at(map: &mut StateMap, base: u64) -> Option<Page> {
    let key = key(PAGES, base);
    let value = map.read(&key);
    match value {
        Some(value) => read_or_panic(&key, value, base),
        None if unwinding() => None,
        None => panic!("{}", stored::unreadable(&key, EXPECTED_PAGE, "not there")),
    }
}

fn read_or_panic(key: &[u8], value: &[u8], base: u64) -> Option<Page> {
    expect_readable(key, value, Page::read(base, value))
}

fn expect_readable<T>(key: &[u8], value: &[u8], read: Result<T, Damaged>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(Damaged) if unwinding() => None,
        // A job that finds the books otherwise than they were written must not go on.
        Err(Damaged) => panic!("{}", unreadable(key, value)),
    }
}

fn put_records(map: &mut StateMap, base: u64, records: &[Record]) {
    if records.is_empty() {
        map.remove(&key(PAGES, base));
        return;
    }
    let mut page = Vec::new();
    write_all(&mut page, base, records);
    put_page(map, base, &page);
}

fn put_page(map: &mut StateMap, base: u64, page: &[u8]) {
    let mut value = Vec::with_capacity(1 + page.len());
    value.push(RECORDS);
    value.extend_from_slice(page);
    map.write(&key(PAGES, base), &value);
}

fn put_run(map: &mut StateMap, run: Option<Run>) {
    let Some(run) = run else {
        return;
    };
    let mut value = vec![RUN];
    for number in [run.grants, run.longer, run.start] {
        put_varint(&mut value, number);
    }
    map.write(&key(PAGES, run.token), &value);
    put_index(map, run.numbers(), run.token);
}

/// Adds numbers to ranges; they may go on where the last one ends.
fn go_on_with(ranges: &mut Vec<Span>, span: Span) {
    match ranges.last_mut() {
        Some(last) if last.end.checked_add(1) == Some(span.start) => last.end = span.end,
        _ => ranges.push(span),
    }
}

/// The numbers of some grants, rising and apart.
fn ranges_of(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable_by_key(|span| span.start);
    let mut ranges: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        go_on_with(&mut ranges, span);
    }
    ranges
}

fn put_index(map: &mut StateMap, span: Span, base: u64) {
    let mut value = Vec::with_capacity(12);
    put_varint(&mut value, span.end - span.start);
    put_varint(&mut value, base);
    map.write(&key(INDEX, span.end), &value);
}

/// Takes numbers, which one entry of the index names, out of it.
fn unindex(map: &mut StateMap, part: Span) {
    let Some((base, span)) = page_of(map, part.start) else {
        assert!(unwinding(), "the index names each number that is granted");
        return;
    };
    map.remove(&key(INDEX, span.end));
    for rest in span.minus(&[part]) {
        put_index(map, rest, base);
    }
}

fn indexed(key: &[u8], mut value: &[u8]) -> Result<(Span, u64), Damaged> {
    let end = base_after(key, INDEX).ok_or(Damaged)?;
    let longer = take_varint(&mut value)?;
    let base = take_varint(&mut value)?;
    let start = end.checked_sub(longer).ok_or(Damaged)?;
    value
        .is_empty()
        .then_some((Span { start, end }, base))
        .ok_or(Damaged)
}

/// The number that a page's key holds; `None` if it is the key of something else.
fn base_of(key: &[u8]) -> Option<u64> {
    base_after(key, PAGES)
}

fn base_after(key: &[u8], prefix: u8) -> Option<u64> {
    let number = key.strip_prefix(&[prefix])?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

fn key(prefix: u8, number: u64) -> [u8; 9] {
    let mut key = [prefix; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

const EXPECTED_PAGE: &str = "a page of grants";

fn unreadable(key: &[u8], value: &[u8]) -> String {
    let expected = match key.first() {
        Some(&PAGES) => EXPECTED_PAGE,
        _ => "a range of granted numbers and its page",
    };
    stored::unreadable(key, expected, stored::Bytes(value))
}
