//! What one job has changed so far, kept so that it can be taken back.
//!
//! Changes go straight into the maps, because nearly every job succeeds: a job that does not is undone from
//! here. Of each entry only the value is kept that it had before the job, however often the job changes it. What is kept,
//! and what will have to be told of the changes, is bounded while they are made.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    ops::Range,
};

use super::{effects, store::LentState};

/// The changes of the job that runs. Reused from job to job: its buffers keep their memory.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    changes: Vec<Change>,
    /// The keys and the old values that `changes` point into.
    bytes: Vec<u8>,
    index: Index,
    /// The effects that [`Transaction::tell`] will write, in bytes.
    effect_bytes: usize,
    /// Of `effect_bytes`; twice as many are kept to take the changes back.
    bytes_max: usize,
}

/// What a job changed is more than what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "changed more of its state at once than can be kept: at most {bytes_max} bytes are allowed, keys and values together, \
     and twice as many to keep what was there before"
)]
pub struct TooMuch {
    /// How much a job may change, in bytes.
    pub bytes_max: usize,
}

/// One entry that is not, or may not be, as it was before the job. Places are in `Transaction::bytes`, whose bound is a
/// number of 32 bits.
#[derive(Debug)]
struct Change {
    state: u32,
    key_at: u32,
    key_bytes: u32,
    /// The old value stands behind the key. [`ABSENT`]: there was none.
    old_bytes: u32,
    /// The effect that tells what has become of the entry, in bytes.
    effect_bytes: u32,
    /// The change before this one whose key has the same hash.
    same_hash: u32,
}

/// No length, and no index, is so large.
const ABSENT: u32 = u32::MAX;

/// Where changes are found by their keys, once they are too many to look at each.
#[derive(Debug, Default)]
struct Index {
    hasher: RandomState,
    /// The last change with a key of this hash.
    last: HashMap<u64, u32>,
    /// How many of the job's changes the index knows.
    changes: usize,
}

/// What one change takes beside its key and its old value, in bytes: itself, and its place in the index.
const CHANGE_BYTES: usize = 2 * size_of::<Change>();

/// Buffers that grew past this by one large job are given back after it.
const BYTES_KEPT_MAX: usize = 64 * 1024;

/// Up to so many changes are looked through one by one. Nearly every job makes a handful.
const WALKED_MAX: usize = 12;

const _: () = {
    use crate::limits::{JOB_EFFECTS_BYTES_MAX, OPENING_EFFECTS_BYTES_MAX};
    let entry = plugin_api::limits::STATE_ENTRY_BYTES_MAX;
    assert!(JOB_EFFECTS_BYTES_MAX <= OPENING_EFFECTS_BYTES_MAX);
    assert!(2 * (OPENING_EFFECTS_BYTES_MAX + entry) < ABSENT as usize);
};

impl Transaction {
    /// Bounds what is changed from now on, see [`TooMuch`].
    pub(super) fn begin(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Sets an entry. Says whether it replaced one.
    ///
    /// # Errors
    /// This is more than the job may change. It is to be rolled back.
    pub(super) fn write(
        &mut self,
        states: &mut [LentState],
        state: usize,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, TooMuch> {
        let of = &mut states[state];
        let told = effects::put_bytes(of.id, key, value);
        if let Some(known) = self.find(state, key) {
            let mut replaced = false;
            of.map.write(key, value, |old| replaced = old.is_some());
            self.tells(known, told);
            return self.check().map(|()| replaced);
        }
        let key_at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let (bytes, mut old_bytes) = (&mut self.bytes, ABSENT);
        of.map.write(key, value, |old| {
            if let Some(old) = old {
                bytes.extend_from_slice(old);
                old_bytes = old.len() as u32;
            }
        });
        self.note(state, key_at, key.len(), old_bytes, told);
        self.check().map(|()| old_bytes != ABSENT)
    }

    /// Takes an entry out. Says whether there was one.
    ///
    /// # Errors
    /// This is more than the job may change. It is to be rolled back.
    pub(super) fn remove(
        &mut self,
        states: &mut [LentState],
        state: usize,
        key: &[u8],
    ) -> Result<bool, TooMuch> {
        let of = &mut states[state];
        let Some(old) = of.map.remove(key) else {
            return Ok(false);
        };
        let told = effects::remove_bytes(of.id, key);
        match self.find(state, key) {
            Some(known) => self.tells(known, told),
            None => {
                let key_at = self.bytes.len();
                self.bytes.extend_from_slice(key);
                self.bytes.extend_from_slice(&old);
                self.note(state, key_at, key.len(), old.len() as u32, told);
            }
        }
        self.check().map(|()| true)
    }

    /// Makes the changes stay. Returns whether there were any.
    pub(super) fn commit(&mut self) -> bool {
        let changed = !self.changes.is_empty();
        self.clear();
        changed
    }

    /// How many bytes [`Transaction::tell`] appends.
    pub(super) fn effect_bytes(&self) -> usize {
        self.effect_bytes
    }

    /// Appends what has become of each entry that was changed.
    pub(super) fn tell(&self, states: &[LentState], out: &mut Vec<u8>) {
        let before = out.len();
        for change in &self.changes {
            let key = &self.bytes[change.key()];
            let LentState { id, map, .. } = &states[change.state as usize];
            match map.read(key) {
                Some(value) => effects::put(out, *id, key, value),
                None => effects::remove(out, *id, key),
            }
        }
        debug_assert_eq!(out.len() - before, self.effect_bytes);
    }

    /// Takes the changes back.
    pub(super) fn roll_back(&mut self, states: &mut [LentState]) {
        for change in self.changes.drain(..).rev() {
            let key = &self.bytes[change.key()];
            let map = &mut states[change.state as usize].map;
            match change.old_value() {
                Some(old) => map.write(key, &self.bytes[old], |_| ()),
                None => drop(map.remove(key)),
            }
        }
        self.clear();
    }

    fn check(&self) -> Result<(), TooMuch> {
        let bytes_max = self.bytes_max;
        let kept = self.bytes.len() + self.changes.len() * CHANGE_BYTES;
        match kept > bytes_max.saturating_mul(2) || self.effect_bytes > bytes_max {
            true => Err(TooMuch { bytes_max }),
            false => Ok(()),
        }
    }

    /// The change of an entry that was changed before.
    fn find(&mut self, state: usize, key: &[u8]) -> Option<usize> {
        let is_it =
            |change: &Change| change.state as usize == state && self.bytes[change.key()] == *key;
        if self.changes.len() <= WALKED_MAX {
            return self.changes.iter().position(is_it);
        }
        self.index.add(&mut self.changes, &self.bytes);
        let mut next = self.index.last(state, key);
        loop {
            let at = usize::try_from(next?).ok()?;
            let change = &self.changes[at];
            if is_it(change) {
                return Some(at);
            }
            next = Some(change.same_hash).filter(|index| *index != ABSENT);
        }
    }

    fn note(&mut self, state: usize, key_at: usize, key_bytes: usize, old_bytes: u32, told: usize) {
        self.effect_bytes += told;
        // What does not fit is past the bound, and rolled back: all of it lies below the largest number of 32 bits.
        self.changes.push(Change {
            state: state as u32,
            key_at: key_at as u32,
            key_bytes: key_bytes as u32,
            old_bytes,
            effect_bytes: told as u32,
            same_hash: ABSENT,
        });
    }

    fn tells(&mut self, change: usize, told: usize) {
        let before = std::mem::replace(&mut self.changes[change].effect_bytes, told as u32);
        self.effect_bytes = self.effect_bytes - before as usize + told;
    }

    fn clear(&mut self) {
        self.effect_bytes = 0;
        self.changes.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT_MAX);
        self.changes.shrink_to(BYTES_KEPT_MAX / size_of::<Change>());
        self.index.clear();
    }
}

impl Change {
    fn key(&self) -> Range<usize> {
        let at = self.key_at as usize;
        at..at + self.key_bytes as usize
    }

    fn old_value(&self) -> Option<Range<usize>> {
        let at = self.key().end;
        (self.old_bytes != ABSENT).then(|| at..at + self.old_bytes as usize)
    }
}

impl Index {
    /// Adds the changes that have come since.
    fn add(&mut self, changes: &mut [Change], bytes: &[u8]) {
        for at in self.changes..changes.len() {
            let change = &mut changes[at];
            let hash = self.hash(change.state as usize, &bytes[change.key()]);
            let before = self.last.insert(hash, at as u32);
            change.same_hash = before.unwrap_or(ABSENT);
        }
        self.changes = changes.len();
    }

    fn last(&self, state: usize, key: &[u8]) -> Option<u32> {
        self.last.get(&self.hash(state, key)).copied()
    }

    fn hash(&self, state: usize, key: &[u8]) -> u64 {
        self.hasher.hash_one((state, key))
    }

    fn clear(&mut self) {
        if self.changes > 0 {
            self.changes = 0;
            self.last.clear();
            self.last
                .shrink_to(BYTES_KEPT_MAX / size_of::<(u64, u32)>());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::state::{effects::Effect, map::StateMap};

    const BYTES_MAX: usize = 1024 * 1024;

    fn begun() -> Transaction {
        let mut transaction = Transaction::default();
        transaction.begin(BYTES_MAX);
        transaction
    }

    type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

    fn copy_of(map: &StateMap) -> Plain {
        let entries = map.iter();
        entries
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect()
    }

    fn told_to(copy: &mut Plain, told: &[u8]) {
        let mut seen = Vec::new();
        for effect in effects::read(told) {
            match effect.unwrap() {
                Effect::Put(_, key, value) => {
                    seen.push(key.to_vec());
                    copy.insert(key.to_vec(), value.to_vec());
                }
                Effect::Remove(_, key) => {
                    seen.push(key.to_vec());
                    copy.remove(key);
                }
                other => panic!("a job told {other:?}"),
            }
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "each entry is told once");
    }

    proptest! {
        #[test]
        fn a_job_that_is_rolled_back_leaves_no_trace_and_one_that_tells_makes_another_copy_the_same(
            before in vec((0_u8..40, vec(any::<u8>(), 0..4)), 0..30),
            job in vec((any::<bool>(), 0_u8..40, vec(any::<u8>(), 0..4)), 0..80),
        ) {
            let mut states = vec![LentState::default()];
            for (key, value) in &before {
                states[0].map.write(&[*key], value, |_| ());
            }
            let untouched = states[0].map.clone();
            let mut transaction = begun();
            for stays in [false, true] {
                for (write, key, value) in &job {
                    let known = states[0].map.read(&[*key]).is_some();
                    let was_there = match write {
                        true => transaction.write(&mut states, 0, &[*key], value),
                        false => transaction.remove(&mut states, 0, &[*key]),
                    };
                    prop_assert_eq!(was_there, Ok(known));
                }
                if stays {
                    let (mut told, mut copy) = (Vec::new(), copy_of(&untouched));
                    transaction.tell(&states, &mut told);
                    prop_assert_eq!(told.len(), transaction.effect_bytes());
                    told_to(&mut copy, &told);
                    prop_assert_eq!(copy, copy_of(&states[0].map));
                } else {
                    transaction.roll_back(&mut states);
                    prop_assert_eq!(&states[0].map, &untouched);
                    prop_assert!(!transaction.commit());
                }
            }
        }
    }

    #[test]
    fn of_an_entry_only_the_value_before_the_job_is_kept() {
        let mut states = vec![LentState::default()];
        states[0].map.write(b"often", &[7; 1000], |_| ());
        let mut transaction = begun();
        for others in 0_u8..40 {
            for value in 0_u8..100 {
                let written = transaction.write(&mut states, 0, b"often", &[value; 1000]);
                assert_eq!(written, Ok(true));
            }
            transaction.write(&mut states, 0, &[others], b"").unwrap();
        }
        assert_eq!(transaction.changes.len(), 41);
        assert_eq!(transaction.bytes.len(), 5 + 1000 + 40);
        transaction.roll_back(&mut states);
        assert_eq!(states[0].map.read(b"often"), Some(&[7; 1000][..]));
    }

    #[test]
    fn a_job_that_changes_too_much_hears_so_at_once_and_can_be_taken_back() {
        let too_much = Err(TooMuch {
            bytes_max: BYTES_MAX,
        });
        let mut states = vec![LentState::default()];
        for key in 0_u32..100_000 {
            states[0].map.write(&key.to_be_bytes(), &[0; 40], |_| ());
        }
        let before = states[0].map.clone();
        let mut transaction = begun();
        // More than may be told; then more than may be kept of what was there, with little that is told.
        for (value, removes) in [(1000, false), (0, true)] {
            let mut changed = (0_u32..100_000).map(|key| {
                let key = key.to_be_bytes();
                match removes {
                    true => transaction.remove(&mut states, 0, &key),
                    false => transaction.write(&mut states, 0, &key, &vec![1; value]),
                }
            });
            let refused = changed.position(|changed| changed == too_much);
            let refused = refused.expect("it is too much");
            assert!((1_000..25_000).contains(&refused), "{refused}");
            transaction.roll_back(&mut states);
            assert_eq!(states[0].map, before);
        }
    }

    #[test]
    fn a_committed_job_says_whether_it_changed_anything() {
        let mut states = vec![LentState::default()];
        let mut transaction = begun();
        assert_eq!(transaction.remove(&mut states, 0, b"absent"), Ok(false));
        assert!(!transaction.commit());
        assert_eq!(transaction.write(&mut states, 0, b"k", b"1"), Ok(false));
        assert_eq!(transaction.write(&mut states, 0, b"k", b"2"), Ok(true));
        assert!(transaction.commit());
        transaction.roll_back(&mut states);
        assert_eq!(states[0].map.read(b"k"), Some(&b"2"[..]));
    }
}
