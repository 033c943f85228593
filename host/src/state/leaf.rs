//! A run of neighbouring entries of a state, packed.

use std::{cmp::Ordering, ops::Range};

/// A leaf that is larger is split, unless it has one entry only.
const LEAF_BYTES_MAX: usize = 512;

/// Memory is taken in steps of this, not doubled: most of a state's leaves are at rest.
const STEP_BYTES: usize = 64;

/// Entries by key, each as the length of its key, that of its value, key, and value. Found by walking from the first
/// one, which for so few bytes takes less time than one look into memory that is not cached.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    bytes: Vec<u8>,
}

/// Where an entry lies in its leaf's bytes.
#[derive(Clone, Debug)]
struct EntrySpan {
    begin: usize,
    key: Range<usize>,
    value: Range<usize>,
}

/// Where an entry would lie that is not in the leaf.
struct Gap {
    at: usize,
    /// Where the entry before it begins.
    before: Option<usize>,
}

/// A key that many are compared with. Most keys are a few bytes and a number, all of one length: those are compared as two
/// numbers, which takes a fraction of the time of a call that compares bytes.
struct Sought<'a> {
    key: &'a [u8],
    ends: Option<(u64, u64)>,
}

impl<'a> Sought<'a> {
    fn new(key: &'a [u8]) -> Self {
        Self {
            key,
            ends: Self::ends(key),
        }
    }

    /// The first and the last eight bytes, if there are no others; of a single byte, that one.
    fn ends(key: &[u8]) -> Option<(u64, u64)> {
        if let [only] = key {
            return Some((u64::from(*only), 0));
        }
        let first = key.first_chunk().filter(|_| key.len() <= 16)?;
        let last = key.last_chunk()?;
        Some((u64::from_be_bytes(*first), u64::from_be_bytes(*last)))
    }

    fn order_of(&self, other: &[u8]) -> Ordering {
        match (self.ends, Self::ends(other)) {
            // Where the first bytes are the same, so are those that both ends have in common.
            (Some(sought), Some(ends)) if self.key.len() == other.len() => ends.cmp(&sought),
            _ => other.cmp(self.key),
        }
    }
}

/// Entries from the first to the last.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    leaf: &'a Leaf,
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.leaf.place(self.at)?;
        self.at = place.value.end;
        Some(self.leaf.entry(place))
    }
}

impl Leaf {
    /// How much memory its entries take, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it is so large that it should be split.
    pub(super) fn is_over_full(&self) -> bool {
        self.bytes.len() > LEAF_BYTES_MAX
    }

    /// Whether it may be worth while to look for another one to join it with.
    pub(super) fn is_sparse(&self) -> bool {
        self.bytes.len() < LEAF_BYTES_MAX / 4
    }

    /// Whether it and `next` would do well as one.
    pub(super) fn fits_beside(&self, next: &Self) -> bool {
        self.bytes.len() + next.bytes.len() <= LEAF_BYTES_MAX / 2
    }

    /// Whether its lowest key is `key` or a higher one.
    pub(super) fn begins_at_or_above(&self, key: &[u8]) -> bool {
        let lowest = self.place(0).map(|place| &self.bytes[place.key]);
        lowest.is_some_and(|lowest| Sought::new(key).order_of(lowest).is_ge())
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { leaf: self, at: 0 }
    }

    pub(super) fn read(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.find(key).ok()?;
        Some(&self.bytes[found.value])
    }

    pub(super) fn at_or_after(&self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let place = match self.find(from) {
            Ok(found) => found,
            Err(gap) => self.place(gap.at)?,
        };
        Some(self.entry(place))
    }

    pub(super) fn at_or_before(&self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let place = match self.find(from) {
            Ok(found) => found,
            Err(gap) => self.place(gap.before?)?,
        };
        Some(self.entry(place))
    }

    /// Sets an entry and hands the value that it replaces to `replaced` first. Returns whether it is the last one now.
    pub(super) fn write(
        &mut self,
        key: &[u8],
        value: &[u8],
        replaced: impl FnOnce(Option<&[u8]>),
    ) -> bool {
        match self.find(key) {
            Ok(found) => {
                replaced(Some(&self.bytes[found.value.clone()]));
                // Most values are counters and ranges that keep their length.
                if found.value.len() == value.len() {
                    self.bytes[found.value].copy_from_slice(value);
                } else {
                    self.splice(found.begin..found.value.end, Some((key, value)));
                }
                false
            }
            Err(gap) => {
                replaced(None);
                let is_last = gap.at == self.bytes.len();
                self.splice(gap.at..gap.at, Some((key, value)));
                is_last
            }
        }
    }

    /// Adds an entry whose key is higher than all others.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let end = self.bytes.len();
        self.splice(end..end, Some((key, value)));
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        let found = self.find(key).ok()?;
        let value = self.bytes[found.value.clone()].into();
        self.splice(found.begin..found.value.end, None);
        Some(value)
    }

    /// Takes the upper half out, or only the last entry. Nothing if there is only one.
    pub(super) fn split(&mut self, last_only: bool) -> Option<(Box<[u8]>, Self)> {
        let mut at = 0;
        let middle = self.bytes.len() / 2;
        while let Some(place) = self.place(at) {
            let is_last = place.value.end == self.bytes.len();
            if at > 0 && (is_last || (!last_only && place.value.end > middle)) {
                let key = self.bytes[place.key].into();
                let mut upper = Self::default();
                upper.append(&self.bytes[at..]);
                self.bytes.truncate(at);
                self.give_back();
                return Some((key, upper));
            }
            at = place.value.end;
        }
        None
    }

    /// Adds all entries of `next`, whose keys are higher.
    pub(super) fn absorb(&mut self, next: &Self) {
        self.append(&next.bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts an entry, or nothing, in the place of what is in `range`.
    fn splice(&mut self, range: Range<usize>, entry: Option<(&[u8], &[u8])>) {
        let Some((key, value)) = entry else {
            self.bytes.drain(range);
            return self.give_back();
        };
        let head = Head::new(key.len(), value.len());
        let head = head.bytes();
        let entry_bytes = head.len() + key.len() + value.len();
        let old_length = self.bytes.len();
        let length = old_length - range.len() + entry_bytes;
        if length > old_length {
            self.make_room(length - old_length);
            self.bytes.resize(length, 0);
        }
        let begin = range.start;
        self.bytes
            .copy_within(range.end..old_length, begin + entry_bytes);
        self.bytes.truncate(length);
        let (to_head, rest) = self.bytes[begin..begin + entry_bytes].split_at_mut(head.len());
        to_head.copy_from_slice(head);
        let (to_key, to_value) = rest.split_at_mut(key.len());
        to_key.copy_from_slice(key);
        to_value.copy_from_slice(value);
        if length < old_length {
            self.give_back();
        }
    }

    fn make_room(&mut self, bytes: usize) {
        let needed = self.bytes.len() + bytes;
        if needed > self.bytes.capacity() {
            let capacity = needed.next_multiple_of(STEP_BYTES);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    fn give_back(&mut self) {
        if self.bytes.capacity() - self.bytes.len() >= 4 * STEP_BYTES {
            let capacity = self.bytes.len().next_multiple_of(STEP_BYTES);
            self.bytes.shrink_to(capacity);
        }
    }

    /// The entry of `key`, or where it belongs.
    fn find(&self, key: &[u8]) -> Result<EntrySpan, Gap> {
        let sought = Sought::new(key);
        let mut gap = Gap {
            at: 0,
            before: None,
        };
        while let Some(place) = self.place(gap.at) {
            match sought.order_of(&self.bytes[place.key.clone()]) {
                Ordering::Less => {
                    gap = Gap {
                        at: place.value.end,
                        before: Some(place.begin),
                    }
                }
                Ordering::Equal => return Ok(place),
                Ordering::Greater => break,
            }
        }
        Err(gap)
    }

    fn place(&self, begin: usize) -> Option<EntrySpan> {
        let mut at = begin;
        let first = usize::from(*self.bytes.get(at)?);
        let second = usize::from(*self.bytes.get(at + 1)?);
        let (key_bytes, value_bytes) = if first < 0x80 && second < 0x80 {
            at += 2;
            (first, second)
        } else {
            (self.length(&mut at), self.length(&mut at))
        };
        let key = at..at + key_bytes;
        let value = key.end..key.end + value_bytes;
        Some(EntrySpan { begin, key, value })
    }

    fn length(&self, at: &mut usize) -> usize {
        let mut length = 0;
        let mut shift = 0;
        loop {
            let byte = self.bytes[*at];
            *at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return length;
            }
            shift += 7;
        }
    }

    fn entry(&self, place: EntrySpan) -> (&[u8], &[u8]) {
        (&self.bytes[place.key], &self.bytes[place.value])
    }
}

/// The two lengths before an entry.
struct Head {
    bytes: [u8; 20],
    length: usize,
}

impl Head {
    fn new(key_bytes: usize, value_bytes: usize) -> Self {
        let mut head = Self {
            bytes: [0; 20],
            length: 0,
        };
        for mut number in [key_bytes, value_bytes] {
            while number >= 0x80 {
                head.push(number as u8 | 0x80);
                number >>= 7;
            }
            head.push(number as u8);
        }
        head
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
