//! What one job has changed so far, kept so that it can be taken back.
//!
//! Changes go straight into the maps, because nearly every job succeeds: a job that does not is undone from
//! here, last change first.

use std::ops::Range;

use super::{effects, store::LentState};

/// The changes of the job that runs. Reused from job to job: its buffers keep their memory.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    changes: Vec<Change>,
    /// The keys and the old values that `changes` point into.
    bytes: Vec<u8>,
}

/// What a job changed is more than what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "changed more of its state at once than can be kept: at most {bytes_max} bytes are allowed, keys and values together"
)]
pub struct TooMuch {
    /// In bytes.
    pub bytes_max: usize,
}

#[derive(Debug)]
struct Change {
    state: usize,
    key: Range<usize>,
    old_value: Option<Range<usize>>,
}

/// Buffers that grew past this by one large job are given back after it.
const BYTES_KEPT_MAX: usize = 64 * 1024;

/// How far it is looked whether an entry is changed once more. What is told twice costs bytes, and no more.
const LOOKED_AHEAD_MAX: usize = 8;

impl Transaction {
    pub(super) fn write(
        &mut self,
        states: &mut [LentState],
        state: usize,
        key: &[u8],
        value: &[u8],
    ) -> bool {
        let bytes = &mut self.bytes;
        let kept_key = keep(bytes, key);
        let mut old_value = None;
        states[state].map.write(key, value, |old| {
            old_value = old.map(|old| keep(bytes, old))
        });
        let replaced = old_value.is_some();
        self.changes.push(Change {
            state,
            key: kept_key,
            old_value,
        });
        replaced
    }

    pub(super) fn remove(&mut self, states: &mut [LentState], state: usize, key: &[u8]) -> bool {
        let Some(old) = states[state].map.remove(key) else {
            return false;
        };
        let change = Change {
            state,
            key: keep(&mut self.bytes, key),
            old_value: Some(keep(&mut self.bytes, &old)),
        };
        self.changes.push(change);
        true
    }

    /// Makes the changes stay. Returns whether there were any.
    pub(super) fn commit(&mut self) -> bool {
        let changed = !self.changes.is_empty();
        self.clear();
        changed
    }

    /// Nearly every job changes a handful of entries, some of them more than once: only what came of an entry
    /// at last is told. Nothing is, if it is more than `bytes_max`.
    pub(super) fn tell(
        &self,
        states: &[LentState],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), TooMuch> {
        let before = out.len();
        for (index, change) in self.changes.iter().enumerate() {
            let key = &self.bytes[change.key.clone()];
            let mut later = self.changes[index + 1..].iter().take(LOOKED_AHEAD_MAX);
            if later
                .any(|later| later.state == change.state && self.bytes[later.key.clone()] == *key)
            {
                continue;
            }
            let LentState { id, map, .. } = &states[change.state];
            match map.read(key) {
                Some(value) => effects::put(out, *id, key, value),
                None => effects::remove(out, *id, key),
            }
            if out.len() - before > bytes_max {
                out.truncate(before);
                return Err(TooMuch { bytes_max });
            }
        }
        Ok(())
    }

    /// Takes the changes back.
    pub(super) fn roll_back(&mut self, states: &mut [LentState]) {
        for change in self.changes.drain(..).rev() {
            let key = &self.bytes[change.key];
            match change.old_value {
                Some(old) => states[change.state]
                    .map
                    .write(key, &self.bytes[old], |_| ()),
                None => {
                    states[change.state].map.remove(key);
                }
            }
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT_MAX);
        self.changes.shrink_to(BYTES_KEPT_MAX / size_of::<Change>());
    }
}

fn keep(bytes: &mut Vec<u8>, part: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(part);
    start..bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::{effects::Effect, map::StateMap};

    proptest! {
        #[test]
        fn a_rolled_back_job_leaves_no_trace(
            before in proptest::collection::vec((0_u8..8, proptest::collection::vec(any::<u8>(), 0..4)), 0..10),
            job in proptest::collection::vec((any::<bool>(), 0_u8..8, proptest::collection::vec(any::<u8>(), 0..4)), 0..20),
        ) {
            let mut states = vec![LentState::default()];
            let mut untouched = LentState::default();
            for (key, value) in &before {
                states[0].map.write(&[*key], value, |_| ());
                untouched.map.write(&[*key], value, |_| ());
            }
            let mut transaction = Transaction::default();
            for (write, key, value) in &job {
                if *write {
                    transaction.write(&mut states, 0, &[*key], value);
                } else {
                    transaction.remove(&mut states, 0, &[*key]);
                }
            }
            transaction.roll_back(&mut states);
            prop_assert_eq!(&states[0].map, &untouched.map);
            prop_assert!(!transaction.commit());
        }
    }

    #[test]
    fn what_a_job_tells_makes_another_copy_what_the_job_left() {
        let mut states = vec![LentState::default()];
        states[0].map.write(b"gone", b"1", |_| ());
        let mut transaction = Transaction::default();
        for value in 0_u8..20 {
            transaction.write(&mut states, 0, b"often", &[value]);
        }
        transaction.write(&mut states, 0, b"brief", b"1");
        transaction.remove(&mut states, 0, b"brief");
        transaction.remove(&mut states, 0, b"gone");
        let mut told = Vec::new();
        transaction.tell(&states, &mut told, usize::MAX).unwrap();
        assert!(transaction.commit());

        let mut copy = StateMap::default();
        copy.write(b"gone", b"1", |_| ());
        for effect in effects::read(&told) {
            match effect.unwrap() {
                Effect::Put(_, key, value) => copy.write(key, value, |_| ()),
                Effect::Remove(_, key) => drop(copy.remove(key)),
                other => panic!("a job told {other:?}"),
            }
        }
        assert_eq!(copy, states[0].map);
    }

    #[test]
    fn more_than_may_be_told_is_not_told_at_all() {
        let mut states = vec![LentState::default()];
        let mut transaction = Transaction::default();
        for key in 0_u8..10 {
            transaction.write(&mut states, 0, &[key], &[0; 10]);
        }
        let mut told = vec![1, 2, 3];
        let too_much = transaction.tell(&states, &mut told, 100);
        assert_eq!(too_much, Err(TooMuch { bytes_max: 100 }));
        assert_eq!(told, [1, 2, 3]);
        transaction.roll_back(&mut states);
        assert_eq!(states[0].map, StateMap::default());
    }

    #[test]
    fn a_committed_job_says_whether_it_changed_anything() {
        let mut states = vec![LentState::default()];
        let mut transaction = Transaction::default();
        assert!(!transaction.remove(&mut states, 0, b"absent"));
        assert!(!transaction.commit());
        assert!(!transaction.write(&mut states, 0, b"k", b"1"));
        assert!(transaction.write(&mut states, 0, b"k", b"2"));
        assert!(transaction.commit());
        transaction.roll_back(&mut states);
        assert_eq!(states[0].map.read(b"k"), Some(&b"2"[..]));
    }
}
