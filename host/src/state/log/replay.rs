//! All states, built up from effects.

use std::collections::BTreeMap;

use super::{
    Batch, BatchNo, Damage, OpenError, Recovered, RecoveredState, RecoveryReport, Snapshot,
    segment::Span,
};
use crate::state::{
    StateMap,
    effects::{self, BadEffects, Declared, Effect, StateId},
};

/// The states after some batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Replayed {
    states: BTreeMap<StateId, RecoveredState>,
    next_state: StateId,
    last: BatchNo,
    now_ms: u64,
    batches: u64,
    effects: u64,
}

impl Replayed {
    /// Goes on from a snapshot.
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            states: snapshot
                .states
                .into_iter()
                .map(|state| (state.id, state))
                .collect(),
            next_state: snapshot.next_state,
            last: snapshot.last,
            now_ms: snapshot.now_ms,
            ..Self::default()
        }
    }

    /// The last batch that is in it.
    pub(super) fn last(&self) -> BatchNo {
        self.last
    }

    /// Adds a batch.
    pub(super) fn apply(&mut self, batch: Batch<'_>) -> Result<(), BadEffects> {
        let mut effects = effects::read(batch.effects);
        let mut at = 0;
        while let Some(effect) = effects.next() {
            self.change(effect?, at)?;
            self.effects += 1;
            at = effects.at();
        }
        self.last = batch.no;
        self.now_ms = self.now_ms.max(batch.now_ms);
        self.batches += 1;
        Ok(())
    }

    /// Adds a batch that was read from a segment.
    pub(super) fn apply_read(&mut self, batch: Batch<'_>, span: Span<'_>) -> Result<(), OpenError> {
        self.apply(batch)
            .map_err(|cause| bad_effects(cause, batch.no, span))
    }

    fn change(&mut self, effect: Effect<'_>, at: usize) -> Result<(), BadEffects> {
        match effect {
            Effect::Put(id, key, value) => self.map(id, at)?.write(key, value, |_| ()),
            Effect::Remove(id, key) => {
                self.map(id, at)?.remove(key);
            }
            Effect::Declare(id, declared) => self.declare(id, &declared),
            Effect::Drop(id) => {
                self.map(id, at)?;
                self.states.remove(&id);
            }
        }
        Ok(())
    }

    fn declare(&mut self, id: StateId, declared: &Declared<'_>) {
        let state = self.states.entry(id).or_insert_with(|| RecoveredState {
            id,
            plugin: String::new(),
            name: String::new(),
            kind: String::new(),
            schema: 0,
            map: StateMap::default(),
        });
        state.plugin = declared.plugin.to_owned();
        state.name = declared.name.to_owned();
        state.kind = declared.kind.to_owned();
        state.schema = declared.schema;
        self.next_state = self.next_state.max(StateId(id.0.saturating_add(1)));
    }

    fn map(&mut self, id: StateId, at: usize) -> Result<&mut StateMap, BadEffects> {
        match self.states.get_mut(&id) {
            Some(state) => Ok(&mut state.map),
            None => Err(unknown_state(id, at)),
        }
    }

    /// What was built, and from what.
    pub(super) fn into_recovered(self, snapshot: Option<BatchNo>) -> Recovered {
        Recovered {
            states: self.states.into_values().collect(),
            last: self.last,
            now_ms: self.now_ms,
            next_state: self.next_state,
            report: RecoveryReport {
                snapshot,
                batches: self.batches,
                effects: self.effects,
                cut: None,
                end: None,
            },
        }
    }

    /// The states that were built, as a snapshot.
    pub(super) fn into_snapshot(self) -> Snapshot {
        Snapshot {
            states: self.states.into_values().collect(),
            last: self.last,
            now_ms: self.now_ms,
            next_state: self.next_state,
        }
    }
}

/// An effect on a state that is not there.
pub(super) fn unknown_state(id: StateId, at: usize) -> BadEffects {
    BadEffects {
        at,
        expected: "a state that was declared and not dropped",
        found: format!("state {id}"),
    }
}

/// Effects that are wrong though their checksum is right: a fault of the host that wrote them.
pub(super) fn bad_effects(cause: BadEffects, batch: BatchNo, span: Span<'_>) -> OpenError {
    OpenError::from(Damage {
        file: span.file.to_owned(),
        byte: span.at,
        batch: Some(batch),
        expected: format!("{} at byte {} of its effects", cause.expected, cause.at),
        found: cause.found,
    })
}
