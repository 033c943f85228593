//! What closed segments change of the states, by state and key: the last change of each entry.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Batch, BatchNo, OpenError, segment::Span, snapshot_file::Described, states::bad_effects,
};
use crate::state::effects::{self, Cursor, Effect, StateId};

const REMOVED: u8 = 0;
const PUT: u8 = 1;

/// Filled with all batches in order, then sorted, then taken state by state.
#[derive(Debug)]
pub(super) struct Changes {
    /// For each change whether the entry is there, its key, and its value as [`effects::bytes`] writes it.
    bytes: Vec<u8>,
    entries: Vec<Change>,
    /// As the states were declared last.
    declared: BTreeMap<StateId, Described>,
    /// Where in `bytes` what came before does not count any more.
    dropped: BTreeMap<StateId, usize>,
    next_state: StateId,
    last: BatchNo,
    now_ms: u64,
}

/// There is one for every change of a closed part, so it is small.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Where the key begins.
    at: usize,
    key_bytes: u32,
    state: StateId,
}

/// What changed of one state.
#[derive(Debug)]
pub(super) struct StateChanges<'a> {
    /// If it was declared, anew or for the first time.
    pub described: Option<Described>,
    /// Nothing of what it was before is left.
    pub was_dropped: bool,
    bytes: &'a [u8],
    entries: &'a [Change],
}

impl Changes {
    /// With room for the effects that segments of so many bytes hold.
    pub(super) fn with_capacity(bytes: u64) -> Self {
        Self {
            bytes: Vec::with_capacity(usize::try_from(bytes).unwrap_or(0)),
            entries: Vec::new(),
            declared: BTreeMap::new(),
            dropped: BTreeMap::new(),
            next_state: StateId(0),
            last: BatchNo(0),
            now_ms: 0,
        }
    }

    pub(super) fn last(&self) -> BatchNo {
        self.last
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn next_state(&self) -> StateId {
        self.next_state
    }

    /// Adds a batch.
    pub(super) fn add(&mut self, batch: Batch<'_>, span: Span<'_>) -> Result<(), OpenError> {
        for effect in effects::read(batch.effects) {
            match effect.map_err(|cause| bad_effects(cause, batch.no, span))? {
                Effect::Put(state, key, value) => {
                    self.change(state, key, PUT);
                    effects::bytes(&mut self.bytes, value);
                }
                Effect::Remove(state, key) => self.change(state, key, REMOVED),
                Effect::Declare(state, declared) => {
                    self.declared.insert(state, declared.into());
                    let next = StateId(state.0.saturating_add(1));
                    self.next_state = self.next_state.max(next);
                }
                Effect::Drop(state) => {
                    self.declared.remove(&state);
                    self.dropped.insert(state, self.bytes.len());
                }
            }
        }
        self.last = batch.no;
        self.now_ms = self.now_ms.max(batch.now_ms);
        Ok(())
    }

    fn change(&mut self, state: StateId, key: &[u8], what: u8) {
        self.bytes.push(what);
        self.entries.push(Change {
            at: self.bytes.len(),
            key_bytes: key.len() as u32,
            state,
        });
        self.bytes.extend_from_slice(key);
    }

    /// Puts the changes in order and forgets all but the last of each entry.
    pub(super) fn sort(&mut self) {
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

    /// The lowest state of which something changed.
    pub(super) fn next_id(&self, after: Option<StateId>) -> Option<StateId> {
        let from = after.map_or(StateId(0), |id| StateId(id.0.saturating_add(1)));
        let changed = self.entries.partition_point(|change| change.state < from);
        [
            self.entries.get(changed).map(|change| change.state),
            self.declared.range(from..).next().map(|(id, _)| *id),
            self.dropped.range(from..).next().map(|(id, _)| *id),
        ]
        .into_iter()
        .flatten()
        .min()
        .filter(|id| after < Some(*id))
    }

    /// What changed of one state.
    pub(super) fn of(&self, id: StateId) -> StateChanges<'_> {
        let begin = self.entries.partition_point(|change| change.state < id);
        let end = self.entries.partition_point(|change| change.state <= id);
        StateChanges {
            described: self.declared.get(&id).cloned(),
            was_dropped: self.dropped.contains_key(&id),
            bytes: &self.bytes,
            entries: &self.entries[begin..end],
        }
    }
}

impl<'a> StateChanges<'a> {
    /// By key: the value that each entry has now, or none.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let bytes = self.bytes;
        self.entries.iter().map(move |change| {
            let is_there = bytes[change.at - 1] == PUT;
            let value_at = change.at + change.key_bytes as usize;
            let value = is_there.then(|| Cursor::new(&bytes[value_at..]).slice());
            let value = value.map(|value| value.expect("it was written by `add`"));
            (key(bytes, change), value)
        })
    }
}

fn key<'a>(bytes: &'a [u8], change: &Change) -> &'a [u8] {
    &bytes[change.at..change.at + change.key_bytes as usize]
}
