//! One state: an ordered map from bytes to bytes, in memory.

use std::{
    collections::BTreeMap,
    ops::Bound::{Included, Unbounded},
};

/// The entries of one state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateMap {
    entries: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl StateMap {
    /// The value of `key`.
    pub fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|value| &**value)
    }

    /// Sets the value of `key` and hands the one that it replaces to `replaced` first.
    pub fn write(&mut self, key: &[u8], value: &[u8], replaced: impl FnOnce(Option<&[u8]>)) {
        match self.entries.get_mut(key) {
            Some(stored) => {
                replaced(Some(stored));
                // Most values are counters and ranges that keep their length.
                if stored.len() == value.len() {
                    stored.copy_from_slice(value);
                } else {
                    *stored = value.into();
                }
            }
            None => {
                replaced(None);
                self.entries.insert(key.into(), value.into());
            }
        }
    }

    /// Adds an entry whose key is higher than all others.
    pub fn push_last(&mut self, key: &[u8], value: &[u8]) {
        self.entries.insert(key.into(), value.into());
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        self.entries.remove(key)
    }

    /// The entry with the first key at or after `from`.
    pub fn at_or_after(&self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut entries = self.entries.range::<[u8], _>((Included(from), Unbounded));
        entries.next().map(|(key, value)| (&**key, &**value))
    }

    /// The entry with the last key at or before `from`.
    pub fn at_or_before(&self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut entries = self.entries.range::<[u8], _>((Unbounded, Included(from)));
        entries.next_back().map(|(key, value)| (&**key, &**value))
    }
}
