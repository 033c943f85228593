//! How the answers that are kept are stored: entries of a state of the host's own.
//!
//! An entry's key is a session and an id, both in eight bytes, high byte first. Under the id 0 stands up to which id the session has
//! forgotten. Under the session 0 stand the host's own entries.
//!
//! The value of an answer begins with its kind and the request's fingerprint in eight bytes. Then come, from kind 2 on, how many states
//! the job worked on, in two bytes, and their ids in four bytes each; and last the result. Hosts that knew no kind 2 wrote kind 0.

use std::collections::BTreeMap;

use super::Fingerprint;
use crate::state::{
    StateMap,
    effects::{self, StateId},
};

/// The number under which entries of the host's own stand: no session has it.
pub(super) const HOST: u64 = 0;
/// The highest session that was ever forgotten.
pub(super) const FORGOTTEN_TO: u64 = 0;
/// The key of the sessions' names.
pub(super) const KEY: u64 = 1;
/// The id under which a session says up to which one it has forgotten.
pub(super) const FLOOR: u64 = 0;

/// The length of an entry's key, in bytes.
pub(super) const KEY_BYTES: usize = 16;

/// An answer of which it is not known what states it is from.
const ANSWERED: u8 = 0;
const CANCELLED: u8 = 1;
const ANSWERED_FROM: u8 = 2;

const HEAD_BYTES: usize = 9;

/// What is stored under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// The request was answered, and what it was answered with.
    Answer {
        fingerprint: Fingerprint,
        /// The states that the job worked on, see [`is_from`]; `None` if that is not known.
        from: Option<&'a [u8]>,
        result: &'a [u8],
    },
    /// The request was taken back.
    Cancelled,
}

/// The value that keeps an answer.
pub(super) fn answer(fingerprint: Fingerprint, from: &[StateId], result: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD_BYTES + 2 + 4 * from.len() + result.len());
    value.push(ANSWERED_FROM);
    value.extend_from_slice(&fingerprint.0.to_be_bytes());
    let count = u16::try_from(from.len()).expect("a plugin has at most 1,000 states");
    value.extend_from_slice(&count.to_be_bytes());
    for state in from {
        value.extend_from_slice(&state.0.to_be_bytes());
    }
    value.extend_from_slice(result);
    value
}

/// The value of a request that was taken back.
pub(super) fn cancelled() -> Vec<u8> {
    let mut value = vec![0; HEAD_BYTES];
    value[0] = CANCELLED;
    value
}

/// Reads what is stored under an id.
pub(super) fn read(value: &[u8]) -> Stored<'_> {
    let (head, rest) = value.split_at(HEAD_BYTES.min(value.len()));
    let fingerprint = Fingerprint(read_number(head.get(1..).unwrap_or_default()));
    let (from, result) = match head.first() {
        Some(&ANSWERED) => (None, rest),
        Some(&ANSWERED_FROM) => {
            let (count, rest) = rest.split_at(2.min(rest.len()));
            let states = usize::try_from(read_number(count)).unwrap_or(usize::MAX);
            let (from, result) = rest.split_at(states.saturating_mul(4).min(rest.len()));
            (Some(from), result)
        }
        _ => return Stored::Cancelled,
    };
    Stored::Answer {
        fingerprint,
        from,
        result,
    }
}

/// Whether an answer is from one of `states`.
fn is_from(from: &[u8], states: &[StateId]) -> bool {
    let mut ids = from.chunks_exact(4).map(read_number);
    ids.any(|id| states.iter().any(|state| u64::from(state.0) == id))
}

/// The key of the entry for an id of a session.
pub(super) fn key(session: u64, id: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&session.to_be_bytes());
    key[8..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The session and the id of a key.
pub(super) fn read_key(key: &[u8]) -> (u64, u64) {
    let (session, id) = key.split_at(8.min(key.len()));
    (read_number(session), read_number(id))
}

/// What was written by [`u64::to_be_bytes`], or the like for shorter numbers.
pub(super) fn read_number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// How many answers a drop of states has made untrue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untrue {
    /// Those that are from one of the states.
    pub answers: u64,
    /// Those of earlier hosts, of which that cannot be told: they may be.
    pub unknown: u64,
}

/// Forgets the answers that are untrue once `dropped` are no more, so that whoever asks again hears that it cannot be told. `put` gets
/// each effect on the state of the answers, which is `id`.
pub fn forget_untrue(
    answers: &StateMap,
    id: StateId,
    dropped: &[StateId],
    mut put: impl FnMut(&dyn Fn(&mut Vec<u8>)),
) -> Untrue {
    let mut untrue = Untrue::default();
    let mut floors: BTreeMap<u64, u64> = BTreeMap::new();
    for (entry, value) in answers.iter() {
        let (session, number) = read_key(entry);
        if session == HOST || number == FLOOR {
            continue;
        }
        match read(value) {
            Stored::Answer { from: None, .. } => untrue.unknown += 1,
            Stored::Answer {
                from: Some(from), ..
            } if is_from(from, dropped) => untrue.answers += 1,
            Stored::Answer { .. } | Stored::Cancelled => continue,
        }
        put(&|out| effects::remove(out, id, entry));
        // Entries come by rising ids, so the last one of a session counts.
        floors.insert(session, number);
    }
    for (session, number) in floors {
        let floor = answers.read(&key(session, FLOOR)).map_or(0, read_number);
        let floor = floor.max(number).to_be_bytes();
        put(&|out| effects::put(out, id, &key(session, FLOOR), &floor));
    }
    untrue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written_also_by_an_earlier_host() {
        let fingerprint = Fingerprint(7 << 40);
        for from in [&[][..], &[StateId(3)], &[StateId(3), StateId(u32::MAX)]] {
            let value = answer(fingerprint, from, b"{}");
            let Stored::Answer {
                fingerprint: read_fingerprint,
                from: Some(read_from),
                result,
            } = read(&value)
            else {
                panic!("{value:?}");
            };
            assert_eq!((read_fingerprint, result), (fingerprint, &b"{}"[..]));
            for state in [StateId(3), StateId(u32::MAX), StateId(0)] {
                assert_eq!(is_from(read_from, &[state]), from.contains(&state));
            }
        }
        assert_eq!(read(&cancelled()), Stored::Cancelled);
        let earlier = [&[ANSWERED][..], &fingerprint.0.to_be_bytes(), b"{}"].concat();
        let stored = Stored::Answer {
            fingerprint,
            from: None,
            result: b"{}",
        };
        assert_eq!(read(&earlier), stored);
    }

    #[test]
    fn what_may_be_untrue_is_forgotten_and_nothing_else() {
        let mut answers = StateMap::default();
        let earlier = [&[ANSWERED][..], &[0; 8], b"{}"].concat();
        for (session, id, value) in [
            (HOST, KEY, vec![1; 16]),
            (5, FLOOR, 2_u64.to_be_bytes().to_vec()),
            (
                5,
                3,
                answer(Fingerprint(1), &[StateId(1), StateId(2)], b"{}"),
            ),
            (5, 4, answer(Fingerprint(1), &[StateId(3)], b"{}")),
            (5, 6, cancelled()),
            (6, 1, earlier),
            (7, 1, answer(Fingerprint(1), &[], b"{}")),
        ] {
            answers.write(&key(session, id), &value, |_| ());
        }
        let mut told = Vec::new();
        let untrue = forget_untrue(&answers, StateId(9), &[StateId(2)], |effect| {
            effect(&mut told)
        });
        assert_eq!(
            untrue,
            Untrue {
                answers: 1,
                unknown: 1
            }
        );
        let mut expected = Vec::new();
        for (session, id) in [(5, 3), (6, 1)] {
            effects::remove(&mut expected, StateId(9), &key(session, id));
        }
        for (session, floor) in [(5, 3_u64), (6, 1)] {
            let floor = floor.to_be_bytes();
            effects::put(&mut expected, StateId(9), &key(session, FLOOR), &floor);
        }
        assert_eq!(told, expected);
    }
}
