//! One state: an ordered map from bytes to bytes, in memory.
//!
//! Entries are packed into leaves of up to half a kibibyte, and the leaves are found through a tree of their lowest keys. So an entry
//! costs hardly more than its bytes, and finding it touches few places of memory.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound::{Excluded, Included, Unbounded},
};

use smallvec::SmallVec;

use super::leaf::Leaf;

/// The key by which a leaf is found. Nearly all keys stand in the tree itself, so that those that are compared on the way
/// to a leaf are not read from all over the memory.
type Lowest = SmallVec<[u8; 16]>;

/// The entries of one state.
#[derive(Clone, Default)]
pub struct StateMap {
    /// The entries with the lowest keys: all of them while they are few, so that those are found without a tree. It is empty
    /// only if there are no others.
    first: Leaf,
    /// By a key that is not higher than the leaf's first one, and higher than the last one of the leaf before. None is empty.
    others: BTreeMap<Lowest, Leaf>,
    /// What the leaves, and their places in the tree, take of memory, in bytes.
    memory: usize,
}

/// What a leaf in the tree takes beside its entries, in bytes: its place in a node that is filled by half or more, and what
/// the allocator keeps of it.
const LEAF_BYTES: usize = 112;

/// The same with the key by which it is found.
fn leaf_bytes(lowest: &Lowest) -> usize {
    LEAF_BYTES + if lowest.spilled() { lowest.len() } else { 0 }
}

impl StateMap {
    /// The value of `key`.
    pub fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.leaf_of(key).1.read(key)
    }

    /// Sets the value of `key` and hands the one that it replaces to `replaced` first.
    pub fn write(&mut self, key: &[u8], value: &[u8], replaced: impl FnOnce(Option<&[u8]>)) {
        let leaf = self.leaf_of_mut(key);
        let before = leaf.memory();
        let is_last = leaf.write(key, value, replaced);
        let upper = match leaf.is_over_full() {
            true => leaf.split(is_last),
            false => None,
        };
        let after = leaf.memory();
        self.grew(before, after, upper);
    }

    /// About how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Notes what became of a leaf, of which `upper` may have been split off.
    fn grew(&mut self, before: usize, after: usize, upper: Option<(Box<[u8]>, Leaf)>) {
        self.memory = self.memory + after - before;
        if let Some((lowest, upper)) = upper {
            let lowest = Lowest::from_slice(&lowest);
            self.memory += leaf_bytes(&lowest) + upper.memory();
            self.others.insert(lowest, upper);
        }
    }

    /// Adds an entry whose key is higher than all others.
    pub fn push_last(&mut self, key: &[u8], value: &[u8]) {
        let mut last = self.others.last_entry();
        let leaf = last.as_mut().map_or(&mut self.first, |last| last.get_mut());
        let before = leaf.memory();
        leaf.push(key, value);
        let upper = match leaf.is_over_full() {
            true => leaf.split(true),
            false => None,
        };
        let after = leaf.memory();
        self.grew(before, after, upper);
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        let leaf = self.leaf_of_mut(key);
        let before = leaf.memory();
        let removed = leaf.remove(key)?;
        let (after, is_sparse) = (leaf.memory(), leaf.is_sparse());
        self.grew(before, after, None);
        if is_sparse {
            self.join(key);
        }
        Some(removed)
    }

    /// The entry with the first key at or after `from`.
    pub fn at_or_after(&self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let (_, leaf) = self.leaf_of(from);
        leaf.at_or_after(from)
            .or_else(|| self.leaf_after(from)?.1.entries().next())
    }

    /// The entry with the last key at or before `from`.
    pub fn at_or_before(&self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let (lowest, leaf) = self.leaf_of(from);
        leaf.at_or_before(from)
            .or_else(|| self.leaf_before(lowest?).entries().last())
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let leaves = [&self.first].into_iter().chain(self.others.values());
        leaves.flat_map(Leaf::entries)
    }

    /// Makes the leaf of `key` and the next one, or the one before, a single leaf, if they fit well.
    fn join(&mut self, key: &[u8]) {
        let (lowest, leaf) = self.leaf_of(key);
        let after = self
            .leaf_after(key)
            .filter(|(_, next)| leaf.is_empty() || leaf.fits_beside(next));
        let absorbed = match (after, lowest) {
            (Some((next_lowest, _)), _) => next_lowest,
            (None, Some(lowest)) if self.leaf_before(lowest).fits_beside(leaf) => lowest,
            // Only the first leaf may be empty, and only if it is the only one.
            (None, Some(lowest)) if leaf.is_empty() => lowest,
            (None, _) => return,
        };
        let absorbed = Lowest::from_slice(absorbed);
        if let Some(leaf) = self.others.remove(&absorbed) {
            self.memory -= leaf_bytes(&absorbed) + leaf.memory();
            let into = self.leaf_of_mut(&absorbed);
            let before = into.memory();
            into.absorb(&leaf);
            let after = into.memory();
            self.grew(before, after, None);
        }
    }

    /// The leaf in which `key` is, if it is anywhere, and the key that it is found by.
    fn leaf_of(&self, key: &[u8]) -> (Option<&[u8]>, &Leaf) {
        if self.is_of_first(key) {
            return (None, &self.first);
        }
        let up_to = (Unbounded, Included(key));
        match self.others.range::<[u8], _>(up_to).next_back() {
            Some((lowest, leaf)) => (Some(lowest), leaf),
            None => (None, &self.first),
        }
    }

    /// Whether it is seen without a search that the leaf of `key` is the first one. The entry that a pool reads and writes
    /// with every grant has the lowest key of all.
    fn is_of_first(&self, key: &[u8]) -> bool {
        self.others.is_empty() || self.first.begins_at_or_above(key)
    }

    fn leaf_of_mut(&mut self, key: &[u8]) -> &mut Leaf {
        if self.is_of_first(key) {
            return &mut self.first;
        }
        let up_to = (Unbounded, Included(key));
        match self.others.range_mut::<[u8], _>(up_to).next_back() {
            Some((_, leaf)) => leaf,
            None => &mut self.first,
        }
    }

    /// The leaf after that of `key`.
    fn leaf_after(&self, key: &[u8]) -> Option<(&[u8], &Leaf)> {
        let after = (Excluded(key), Unbounded);
        let (lowest, leaf) = self.others.range::<[u8], _>(after).next()?;
        Some((lowest, leaf))
    }

    /// The leaf before the one that is found by `lowest`.
    fn leaf_before(&self, lowest: &[u8]) -> &Leaf {
        let before = (Unbounded, Excluded(lowest));
        let before = self.others.range::<[u8], _>(before).next_back();
        before.map_or(&self.first, |(_, leaf)| leaf)
    }
}

impl PartialEq for StateMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for StateMap {}

impl fmt::Debug for StateMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..3, 0..7)
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => Just(vec![1; 8]),
            4 => proptest::collection::vec(any::<u8>(), 0..200),
            1 => Just(vec![2; 3000]),
        ]
    }

    fn entry<'a>(found: Option<(&'a Vec<u8>, &'a Vec<u8>)>) -> Option<(&'a [u8], &'a [u8])> {
        found.map(|(key, value)| (&**key, &**value))
    }

    fn is_same(map: &StateMap, plain: &Plain) -> bool {
        let plain = plain.iter().map(|(key, value)| (&**key, &**value));
        map.iter().eq(plain)
    }

    proptest! {
        #[test]
        fn a_map_is_what_was_written_to_it(
            changes in proptest::collection::vec((0_u8..10, keys(), values()), 0..400),
            asked in proptest::collection::vec(keys(), 20),
        ) {
            let mut map = StateMap::default();
            let mut plain = Plain::new();
            for (change, key, value) in changes {
                if change < 7 {
                    let old = plain.insert(key.clone(), value.clone());
                    map.write(&key, &value, |replaced| assert_eq!(replaced, old.as_deref()));
                } else {
                    prop_assert_eq!(map.remove(&key).map(Vec::from), plain.remove(&key));
                }
            }
            prop_assert!(is_same(&map, &plain));
            let others = map.others.iter();
            let others = others.map(|(lowest, leaf)| leaf_bytes(lowest) + leaf.memory());
            prop_assert_eq!(map.memory(), map.first.memory() + others.sum::<usize>());
            for key in &asked {
                prop_assert_eq!(map.read(key), plain.get(key).map(|value| &**value));
                prop_assert_eq!(map.at_or_after(key), entry(plain.range(key.clone()..).next()));
                prop_assert_eq!(map.at_or_before(key), entry(plain.range(..=key.clone()).next_back()));
            }
            let mut pushed = StateMap::default();
            for (key, value) in map.iter() {
                pushed.push_last(key, value);
            }
            prop_assert_eq!(&pushed, &map);
            for key in plain.keys() {
                prop_assert!(map.remove(key).is_some());
            }
            prop_assert!(map.iter().next().is_none());
            prop_assert!(map.others.is_empty());
        }
    }

    #[test]
    fn entries_in_order_fill_their_leaves() {
        let mut map = StateMap::default();
        for number in 0_u64..10_000 {
            map.write(&number.to_be_bytes(), &[0; 8], |_| ());
        }
        assert!(map.others.len() < 10_000 * 18 / 500, "{}", map.others.len());
        for number in (0_u64..10_000).filter(|number| number % 100 != 0) {
            map.remove(&number.to_be_bytes());
        }
        assert!(map.others.len() < 20, "{}", map.others.len());
    }
}
