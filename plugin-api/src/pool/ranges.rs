//! A set of numbers, kept as its maximal ranges: what it costs grows with its holes, not with its numbers.
//!
//! Each range is one entry of a state's map: the key is the set's prefix byte and the range's END, the value
//! its START. So the lowest numbers of a range are taken by rewriting a value; no key moves. The set owns all
//! keys that begin with its prefix.
//!
//! Invariant: ranges neither overlap nor touch, so a span is wholly in the set only if one range covers it.

use crate::{
    context::{StateMap, unwinding},
    stored,
};

/// Numbers from `start` to `end`, both included. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    /// None if they end before they start.
    pub(crate) fn new(start: u64, end: u64) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    pub(crate) fn one(number: u64) -> Self {
        Self {
            start: number,
            end: number,
        }
    }

    /// How many numbers. All `u64` at once are one too many to count, which is why no state admits the last.
    pub(crate) fn len(self) -> u64 {
        self.end - self.start + 1
    }

    pub(crate) fn overlap(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        Self::new(start, end)
    }

    /// The lowest `count` numbers, or all if there are no more, and the rest. `count` is not 0.
    pub(crate) fn split_at(self, count: u64) -> (Self, Option<Self>) {
        match self.start.checked_add(count) {
            Some(start) if start <= self.end => {
                let taken = Self {
                    end: start - 1,
                    ..self
                };
                (taken, Some(Self { start, ..self }))
            }
            _ => (self, None),
        }
    }

    /// Whether `later` begins behind this span and at least one number lies between them.
    pub(crate) fn is_apart_from(self, later: Self) -> bool {
        self.end
            .checked_add(1)
            .is_some_and(|next| later.start > next)
    }

    /// The index of the first of `others` that does not end before this span; they are in rising order and apart.
    fn place_among(self, others: &[Self]) -> usize {
        others.partition_point(|other| other.end < self.start)
    }

    /// The lowest number of this span that is in one of `others`, which are in rising order and apart.
    pub(crate) fn first_in(self, others: &[Self]) -> Option<u64> {
        let other = others.get(self.place_among(others))?;
        Some(self.overlap(*other)?.start)
    }

    /// The parts of this span that are in none of `others`, which are in rising order and apart.
    pub(crate) fn minus(self, others: &[Self]) -> Vec<Self> {
        let mut rest = Vec::new();
        let mut start = self.start;
        let common =
            (others.iter().skip(self.place_among(others))).map_while(|other| self.overlap(*other));
        for other in common {
            if start < other.start {
                rest.push(Self {
                    start,
                    end: other.start - 1,
                });
            }
            match other.end.checked_add(1) {
                Some(next) => start = next,
                None => return rest,
            }
        }
        if start <= self.end {
            rest.push(Self {
                start,
                end: self.end,
            });
        }
        rest
    }
}

/// One set among those of a state, told apart by its prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeSet {
    prefix: u8,
}

impl RangeSet {
    pub(crate) const fn new(prefix: u8) -> Self {
        Self { prefix }
    }

    /// The first range that ends at or after `number`: the one that holds it, else the next one.
    pub(crate) fn ending_from(self, map: &mut StateMap, number: u64) -> Option<Span> {
        let (key, value) = map.at_or_after(&self.key(number))?;
        if key.first() != Some(&self.prefix) {
            return None;
        }
        match Self::span(key, value) {
            Some(span) => Some(span),
            None if unwinding() => None,
            // A job that finds it otherwise than it was written must not go on.
            None => panic!("{}", Self::unreadable(key, value)),
        }
    }

    pub(crate) fn lowest(self, map: &mut StateMap) -> Option<Span> {
        self.ending_from(map, 0)
    }

    pub(crate) fn contains(self, map: &mut StateMap, number: u64) -> bool {
        self.lowest_missing(map, Span::one(number)).is_none()
    }

    /// The lowest number of `span` that is not in the set.
    pub(crate) fn lowest_missing(self, map: &mut StateMap, span: Span) -> Option<u64> {
        match self.ending_from(map, span.start) {
            Some(range) if range.start > span.start => Some(span.start),
            Some(range) if range.end < span.end => Some(range.end + 1),
            Some(_) => None,
            None => Some(span.start),
        }
    }

    /// The parts of `span` that are in the set, rising.
    pub(crate) fn overlap(self, map: &mut StateMap, span: Span) -> Vec<Span> {
        let mut parts = Vec::new();
        let mut from = Some(span.start);
        while let Some(range) = from.and_then(|number| self.ending_from(map, number)) {
            let Some(part) = range.overlap(span) else {
                break;
            };
            parts.push(part);
            from = range.end.checked_add(1);
        }
        parts
    }

    /// All ranges, rising.
    pub(crate) fn spans(self, map: &mut StateMap) -> Vec<Span> {
        self.overlap(
            map,
            Span {
                start: 0,
                end: u64::MAX,
            },
        )
    }

    /// Adds the numbers of `span` that are not there yet.
    pub(crate) fn insert(self, map: &mut StateMap, span: Span) {
        let mut merged = span;
        let from = span.start.saturating_sub(1);
        while let Some(range) = self.ending_from(map, from) {
            if span.is_apart_from(range) {
                break;
            }
            merged.start = merged.start.min(range.start);
            if range.end >= span.end {
                merged.end = range.end;
                break;
            }
            map.remove(&self.key(range.end));
        }
        self.put(map, merged);
    }

    /// Takes the numbers of `span` that are there out of the set.
    pub(crate) fn remove(self, map: &mut StateMap, span: Span) {
        while let Some(range) = self.ending_from(map, span.start) {
            if range.start > span.end {
                break;
            }
            if range.end > span.end {
                self.put(
                    map,
                    Span {
                        start: span.end + 1,
                        end: range.end,
                    },
                );
            } else {
                map.remove(&self.key(range.end));
            }
            if range.start < span.start {
                self.put(
                    map,
                    Span {
                        start: range.start,
                        end: span.start - 1,
                    },
                );
            }
            if range.end >= span.end {
                break;
            }
        }
    }

    /// Takes the lowest range out of the set.
    pub(crate) fn take_lowest(self, map: &mut StateMap) -> Option<Span> {
        let range = self.lowest(map)?;
        map.remove(&self.key(range.end));
        Some(range)
    }

    /// Reads all that is stored, so that no job meets what cannot be read.
    ///
    /// # Errors
    /// Names the first entry that is no range, or that overlaps or touches the one before it.
    pub(crate) fn check(self, map: &mut StateMap) -> Result<(), String> {
        let mut from = self.key(0).to_vec();
        let mut before: Option<Span> = None;
        while let Some((key, value)) = map.at_or_after(&from) {
            if key.first() != Some(&self.prefix) {
                break;
            }
            let span = Self::span(key, value)
                .filter(|span| before.is_none_or(|before| before.is_apart_from(*span)))
                .ok_or_else(|| Self::unreadable(key, value))?;
            before = Some(span);
            from.clear();
            from.extend_from_slice(key);
            from.push(0);
        }
        Ok(())
    }

    fn put(self, map: &mut StateMap, span: Span) {
        map.write(&self.key(span.end), &span.start.to_be_bytes());
    }

    fn key(self, end: u64) -> [u8; 9] {
        let mut key = [self.prefix; 9];
        key[1..].copy_from_slice(&end.to_be_bytes());
        key
    }

    fn span(key: &[u8], value: &[u8]) -> Option<Span> {
        Span::new(
            u64::from_be_bytes(value.try_into().ok()?),
            u64::from_be_bytes(key.get(1..)?.try_into().ok()?),
        )
    }

    fn unreadable(key: &[u8], value: &[u8]) -> String {
        stored::unreadable(
            key,
            "a range of numbers, apart from the one before",
            stored::Bytes(value),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::MemoryHost;

    const SET: RangeSet = RangeSet::new(7);

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Span),
        Remove(Span),
    }

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    /// Near both ends of `u64`, where arithmetic goes wrong, through a window of 40 numbers each.
    fn any_span() -> impl Strategy<Value = Span> {
        (0..40_u64, 0..6_u64, any::<bool>()).prop_map(|(start, length, high)| {
            let end = (start + length).min(39);
            if high {
                span(u64::MAX - 39 + start, u64::MAX - 39 + end)
            } else {
                span(start, end)
            }
        })
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any_span().prop_map(Step::Insert),
            any_span().prop_map(Step::Remove),
        ]
    }

    fn numbers(spans: &[Span]) -> Vec<u64> {
        spans.iter().flat_map(|s| s.start..=s.end).collect()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_of_numbers_holds(
            steps in proptest::collection::vec(any_step(), 0..60),
            probe in any_span(),
        ) {
            let mut map = MemoryHost::new().map(0);
            let mut plain = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert(s) => {
                        SET.insert(&mut map, s);
                        plain.extend(s.start..=s.end);
                    }
                    Step::Remove(s) => {
                        SET.remove(&mut map, s);
                        plain.retain(|n| !(s.start..=s.end).contains(n));
                    }
                }
                SET.check(&mut map).unwrap();
                let spans = SET.spans(&mut map);
                prop_assert_eq!(numbers(&spans), plain.iter().copied().collect::<Vec<_>>());
            }
            let inside = || probe.start..=probe.end;
            prop_assert_eq!(SET.contains(&mut map, probe.start), plain.contains(&probe.start));
            prop_assert_eq!(
                SET.lowest_missing(&mut map, probe),
                inside().find(|n| !plain.contains(n))
            );
            let present = SET.overlap(&mut map, probe);
            prop_assert_eq!(probe.first_in(&SET.spans(&mut map)), inside().find(|n| plain.contains(n)));
            prop_assert_eq!(
                numbers(&present),
                inside().filter(|n| plain.contains(n)).collect::<Vec<_>>()
            );
            prop_assert_eq!(
                numbers(&probe.minus(&present)),
                inside().filter(|n| !plain.contains(n)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn sets_with_other_prefixes_are_left_alone() {
        let mut map = MemoryHost::new().map(0);
        let (below, above) = (RangeSet::new(6), RangeSet::new(8));
        below.insert(&mut map, span(0, u64::MAX));
        above.insert(&mut map, span(0, u64::MAX));
        SET.insert(&mut map, span(3, 4));
        SET.remove(&mut map, span(0, u64::MAX));
        assert_eq!(SET.lowest(&mut map), None);
        assert_eq!(below.spans(&mut map), [span(0, u64::MAX)]);
        assert_eq!(above.spans(&mut map), [span(0, u64::MAX)]);
    }

    #[test]
    fn an_entry_that_is_no_range_is_named() {
        for (end, value) in [
            (5_u64, &b"abc"[..]),
            (5, &9_u64.to_be_bytes()),
            (5, &3_u64.to_be_bytes()),
        ] {
            let mut map = MemoryHost::new().map(0);
            SET.insert(&mut map, span(1, 2));
            map.write(&SET.key(end), value);
            let text = SET.check(&mut map).unwrap_err();
            assert!(text.contains("07 00 00 00 00 00 00 00 05"), "{text}");
        }
    }
}
