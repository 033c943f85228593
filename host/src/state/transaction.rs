//! What one job has changed so far, kept so that it can be taken back.
//!
//! Changes go straight into the maps, because nearly every job succeeds: a job that does not is undone from
//! here, last change first.

use std::ops::Range;

use super::map::StateMap;

/// The changes of the job that runs. Reused from job to job: its buffers keep their memory.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    changes: Vec<Change>,
    /// The keys and the old values that `changes` point into.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Change {
    state: usize,
    key: Range<usize>,
    old_value: Option<Range<usize>>,
}

/// Buffers that grew past this by one large job are given back after it.
const BYTES_KEPT_MAX: usize = 64 * 1024;

impl Transaction {
    pub(super) fn write(
        &mut self,
        maps: &mut [StateMap],
        state: usize,
        key: &[u8],
        value: &[u8],
    ) -> bool {
        let bytes = &mut self.bytes;
        let kept_key = keep(bytes, key);
        let mut old_value = None;
        maps[state].write(key, value, |old| {
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

    pub(super) fn remove(&mut self, maps: &mut [StateMap], state: usize, key: &[u8]) -> bool {
        let Some(old) = maps[state].remove(key) else {
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

    /// Takes the changes back.
    pub(super) fn roll_back(&mut self, maps: &mut [StateMap]) {
        for change in self.changes.drain(..).rev() {
            let key = &self.bytes[change.key];
            match change.old_value {
                Some(old) => maps[change.state].write(key, &self.bytes[old], |_| ()),
                None => {
                    maps[change.state].remove(key);
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

    proptest! {
        #[test]
        fn a_rolled_back_job_leaves_no_trace(
            before in proptest::collection::vec((0_u8..8, proptest::collection::vec(any::<u8>(), 0..4)), 0..10),
            job in proptest::collection::vec((any::<bool>(), 0_u8..8, proptest::collection::vec(any::<u8>(), 0..4)), 0..20),
        ) {
            let mut maps = vec![StateMap::default()];
            let mut untouched = StateMap::default();
            for (key, value) in &before {
                maps[0].write(&[*key], value, |_| ());
                untouched.write(&[*key], value, |_| ());
            }
            let mut transaction = Transaction::default();
            for (write, key, value) in &job {
                if *write {
                    transaction.write(&mut maps, 0, &[*key], value);
                } else {
                    transaction.remove(&mut maps, 0, &[*key]);
                }
            }
            transaction.roll_back(&mut maps);
            prop_assert_eq!(&maps[0], &untouched);
            prop_assert!(!transaction.commit());
        }
    }

    #[test]
    fn a_committed_job_says_whether_it_changed_anything() {
        let mut maps = vec![StateMap::default()];
        let mut transaction = Transaction::default();
        assert!(!transaction.remove(&mut maps, 0, b"absent"));
        assert!(!transaction.commit());
        assert!(!transaction.write(&mut maps, 0, b"k", b"1"));
        assert!(transaction.write(&mut maps, 0, b"k", b"2"));
        assert!(transaction.commit());
        transaction.roll_back(&mut maps);
        assert_eq!(maps[0].read(b"k"), Some(&b"2"[..]));
    }
}
