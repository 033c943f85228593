//! What a part of the closed segments changes of the states, by state and key: the last change of each entry.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io,
};

use super::{
    DiskError,
    snapshot_file::{Described, SnapshotWriter},
};
use crate::state::effects::{self, Cursor, Effect, StateId};

const REMOVED: u8 = 0;
const PUT: u8 = 1;

/// Filled with effects in order, then sorted, then written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// For each change whether the entry is there, its key, and its value as [`effects::bytes`] writes it.
    bytes: Vec<u8>,
    entries: Vec<Change>,
    /// As the states were declared last.
    declared: BTreeMap<StateId, Described>,
    /// Where in `bytes` what came before does not count any more.
    dropped: BTreeMap<StateId, usize>,
}

/// There is one for every change, so it is small.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// The byte at which the entry's key begins.
    at: usize,
    key_bytes: u32,
    state: StateId,
}

/// What a run says of a state before its entries, in a word before the state's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Became {
    /// It was declared, anew or for the first time.
    pub declared: bool,
    /// Nothing of what it was before is left.
    pub dropped: bool,
}

impl Became {
    fn word(self) -> char {
        match (self.declared, self.dropped) {
            (false, false) => '0',
            (true, false) => '1',
            (false, true) => '2',
            (true, true) => '3',
        }
    }

    /// Takes the word off a state that was read from a run.
    pub(super) fn take_off(described: &mut Described) -> Option<Self> {
        let name = described.name.clone();
        let mut letters = name.chars();
        let word = letters.next()?.to_digit(4)?;
        described.name = letters.as_str().to_owned();
        Some(Self {
            declared: word & 1 != 0,
            dropped: word & 2 != 0,
        })
    }
}

/// What an entry of a run holds: its value, or nothing where the entry was removed.
pub(super) fn value_in_run(value: &[u8]) -> Option<&[u8]> {
    value.split_first().map(|(_, value)| value)
}

impl Changes {
    /// How much memory they take, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Change>()
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.declared.is_empty() && self.dropped.is_empty()
    }

    /// Adds an effect.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn add(&mut self, effect: &Effect<'_>) -> io::Result<()> {
        match effect {
            Effect::Put(state, key, value) => {
                self.change(*state, key, PUT, value.len() + 10)?;
                effects::bytes(&mut self.bytes, value);
            }
            Effect::Remove(state, key) => self.change(*state, key, REMOVED, 0)?,
            Effect::Declare(state, declared) => {
                self.declared.insert(*state, (*declared).into());
            }
            Effect::Drop(state) => {
                self.declared.remove(state);
                self.dropped.insert(*state, self.bytes.len());
            }
        }
        Ok(())
    }

    fn change(&mut self, state: StateId, key: &[u8], what: u8, more: usize) -> io::Result<()> {
        let no_memory = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let room = 1 + key.len() + more;
        self.bytes.try_reserve(room).map_err(no_memory)?;
        self.entries.try_reserve(1).map_err(no_memory)?;
        self.bytes.push(what);
        self.entries.push(Change {
            at: self.bytes.len(),
            key_bytes: key.len() as u32,
            state,
        });
        self.bytes.extend_from_slice(key);
        Ok(())
    }

    /// Makes it empty. Its buffers keep their memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.declared.clear();
        self.dropped.clear();
    }

    /// Writes all of it as a run, by state and key.
    pub(super) fn write(&mut self, run: &mut SnapshotWriter) -> Result<(), DiskError> {
        self.sort();
        let mut value = Vec::new();
        let mut rest = &self.entries[..];
        for id in self.ids() {
            let became = Became {
                declared: self.declared.contains_key(&id),
                dropped: self.dropped.contains_key(&id),
            };
            let mut described = self.declared.get(&id).cloned().unwrap_or_default();
            described.name.insert(0, became.word());
            run.state(id, &described)?;
            let (of_state, others) = rest.split_at(rest.partition_point(|one| one.state == id));
            rest = others;
            for change in of_state {
                value.clear();
                if self.bytes[change.at - 1] == PUT {
                    let at = change.at + change.key_bytes as usize;
                    let stored = Cursor::new(&self.bytes[at..]).slice();
                    value.push(PUT);
                    value.extend_from_slice(stored.expect("it was written by `add`"));
                }
                run.entry(key(&self.bytes, change), &value)?;
            }
        }
        Ok(())
    }

    /// The states of which something changed.
    fn ids(&self) -> BTreeSet<StateId> {
        let declared = self.declared.keys().chain(self.dropped.keys());
        let changed = self.entries.chunk_by(|one, other| one.state == other.state);
        let changed = changed.map(|of_state| of_state[0].state);
        declared.copied().chain(changed).collect()
    }

    /// Puts the changes in order and forgets all but the last of each entry.
    fn sort(&mut self) {
        let Self {
            bytes,
            entries,
            dropped,
            ..
        } = self;
        entries.retain(|change| dropped.get(&change.state).is_none_or(|at| change.at > *at));
        let order = |change: &Change| (change.state, key(bytes, change));
        entries.sort_unstable_by(|one, other| {
            (order(one), Reverse(one.at)).cmp(&(order(other), Reverse(other.at)))
        });
        entries.dedup_by(|later, kept| order(later) == order(kept));
    }
}

fn key<'a>(bytes: &'a [u8], change: &Change) -> &'a [u8] {
    &bytes[change.at..change.at + change.key_bytes as usize]
}
