//! A lane's way to its states: what the lane's code reads and changes, and who may do so at this moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi_stable::std_types::{RSlice, RSliceMut, RVec};
use plugin_api::{
    abi::{self, AbiHost, access, facts, seek},
    rules,
};

use super::{
    effects::StateId,
    store::LentState,
    transaction::{TooMuch, Transaction},
};
use crate::planted::{Fault, planted};

/// Facts about the job that runs, for its code to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallFacts {
    /// The number of the connection that asked, never used for another one.
    pub client: u64,
    /// The session that it is in, or 0. Never used for two sessions.
    pub session: u64,
    /// Which run of the request this is, from 1.
    pub attempt: u32,
    /// See [`Clock`](crate::clock::Clock).
    pub now_ms: u64,
    /// [`abi::NO_DEADLINE`] for none.
    pub deadline_ms: u64,
}

/// The states of one lane while it serves, and the transaction of the job that runs.
///
/// Whoever holds an older `generation` than the present one is refused: so the code of a job that no longer
/// counts can go on running, but touches nothing.
#[derive(Debug, Default)]
pub struct Access {
    generation: u64,
    running: bool,
    /// Somebody keeps what its jobs change.
    kept: bool,
    states: Vec<LentState>,
    transaction: Transaction,
    facts: CallFacts,
    fault: Option<String>,
    held: Held,
}

/// What jobs on a thread of their own have committed and nobody has fetched yet. While it is here it has an owner, whatever
/// becomes of the thread.
#[derive(Debug, Default)]
struct Held {
    /// So many jobs have changed something.
    jobs: usize,
    effects: Vec<u8>,
    /// The reply of the last of these jobs.
    reply: Vec<u8>,
}

/// What a job has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The state is not what it was.
    pub changed: bool,
    /// Of its effects, if somebody keeps them.
    pub effect_bytes: usize,
}

/// A buffer that one large job has made larger than this is not kept for the next, in bytes.
const BUFFER_BYTES_KEPT_MAX: usize = 64 * 1024;

impl Access {
    /// With the states of the lane, in the order of its description. `kept`: what its jobs change is told.
    pub fn new(states: Vec<LentState>, kept: bool) -> Self {
        Self {
            states,
            kept,
            ..Self::default()
        }
    }

    /// What code that is opened now has to show.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Opens the transaction of a job, whose effects may take so many bytes; false if its code no longer counts.
    pub fn begin(&mut self, generation: u64, facts: CallFacts, bytes_max: usize) -> bool {
        debug_assert!(!self.running, "a lane runs one job at a time");
        if self.generation != generation {
            return false;
        }
        self.transaction.begin(bytes_max);
        self.facts = facts;
        self.running = true;
        self.fault = None;
        true
    }

    /// What the job did wrong with its state, if anything; it must not be committed then.
    pub fn fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// Ends the job and lets what it changed stay, which is appended to `effects`, if somebody keeps it. Without
    /// `effects` that is held here, with the job's reply, for [`Access::fetch`]. `None`: the job no longer counts, and
    /// what it changed has been taken back already.
    ///
    /// # Errors
    /// It did wrong with its state. It goes on, to be rolled back, and `effects` are as before.
    pub fn commit(
        &mut self,
        generation: u64,
        effects: Option<&mut Vec<u8>>,
        reply: &[u8],
    ) -> Option<Result<Committed, String>> {
        if self.generation != generation {
            return None;
        }
        if let Some(fault) = self.fault() {
            return Some(Err(fault));
        }
        let is_held = effects.is_none();
        let effects = effects.unwrap_or(&mut self.held.effects);
        let mut effect_bytes = 0;
        if self.kept {
            effect_bytes = self.transaction.effect_bytes();
            self.transaction.tell(&self.states, effects);
        }
        self.running = false;
        let changed = self.transaction.commit();
        if changed && is_held {
            self.held.jobs += 1;
            self.held.reply.clear();
            self.held.reply.shrink_to(BUFFER_BYTES_KEPT_MAX);
            self.held.reply.extend_from_slice(reply);
        }
        Some(Ok(Committed {
            changed,
            effect_bytes,
        }))
    }

    /// Moves what the first `jobs` have changed, `bytes` of effects, into `effects`, which comes empty.
    pub fn fetch(&mut self, jobs: usize, bytes: usize, effects: &mut Vec<u8>) {
        self.held.jobs -= jobs;
        if bytes == self.held.effects.len() {
            std::mem::swap(&mut self.held.effects, effects);
        } else {
            effects.extend(self.held.effects.drain(..bytes));
        }
    }

    /// The reply of the one job whose effects are held and were not fetched with all others, and those. Of an access that
    /// came out of [`Access::abandon`]: it had committed, and its thread has not said so.
    pub fn fetch_unheard(&mut self, effects: &mut Vec<u8>) -> Option<(Vec<u8>, usize)> {
        let held = std::mem::take(&mut self.held);
        effects.extend_from_slice(&held.effects);
        (held.jobs > 0).then_some((held.reply, held.effects.len()))
    }

    /// Appends what the present job has changed so far to `effects`, if somebody keeps it.
    ///
    /// # Errors
    /// It is more than `bytes_max`. `effects` are as before.
    pub fn tell(&self, effects: &mut Vec<u8>, bytes_max: usize) -> Result<(), TooMuch> {
        if self.kept {
            if self.transaction.effect_bytes() > bytes_max {
                return Err(TooMuch { bytes_max });
            }
            self.transaction.tell(&self.states, effects);
        }
        Ok(())
    }

    /// Ends the job whose changes were told, and lets them stay.
    pub fn commit_told(&mut self) {
        self.running = false;
        self.transaction.commit();
    }

    /// The schema that each state is stored with.
    pub fn schemas(&self) -> impl Iterator<Item = Option<u32>> {
        self.states.iter().map(|state| state.schema)
    }

    /// The states are stored with these schemas from now on.
    pub fn note_schemas(&mut self, schemas: impl IntoIterator<Item = u32>) {
        for (state, schema) in self.states.iter_mut().zip(schemas) {
            state.schema = Some(schema);
        }
    }

    /// Ends the job and takes back what it changed; false if it no longer counts.
    pub fn roll_back(&mut self, generation: u64) -> bool {
        if self.generation != generation {
            return false;
        }
        self.running = false;
        if planted(Fault::RollbackSkipped) {
            self.transaction.commit();
        }
        self.transaction.roll_back(&mut self.states);
        true
    }

    /// Ends a job that takes too long, as if it had never run, and takes the states out of its reach. `None`
    /// if it has ended by itself and only has to say so; with `even_if_ended`, that is waited for no longer.
    /// Returns the way to the states for the code that comes after it, and with it what was committed and is to be
    /// fetched: that counts.
    ///
    /// This and the job's commit exclude each other: one of them comes first, and the other one knows.
    pub fn abandon(&mut self, even_if_ended: bool) -> Option<Access> {
        if !self.running && !even_if_ended {
            return None;
        }
        self.revoke();
        let states = std::mem::take(&mut self.states);
        Some(Self {
            held: std::mem::take(&mut self.held),
            ..Self::new(states, self.kept)
        })
    }

    /// Shuts out all code that was opened before, and takes back what its job has changed.
    pub fn revoke(&mut self) {
        self.generation += 1;
        self.running = false;
        self.transaction.roll_back(&mut self.states);
    }

    /// Takes the states away, to be handed to another version. Between jobs only.
    pub fn take_states(&mut self) -> Vec<LentState> {
        debug_assert!(!self.running, "states change hands between jobs");
        std::mem::take(&mut self.states)
    }

    /// About how much memory the states take, in bytes.
    pub fn memory(&self) -> usize {
        self.states.iter().map(|state| state.map.memory()).sum()
    }

    /// The ids of the states in the log, in the order in which they were lent.
    pub fn state_ids(&self) -> Vec<StateId> {
        self.states.iter().map(|state| state.id).collect()
    }

    /// Gives the states back.
    pub fn put_states(&mut self, states: Vec<LentState>) {
        self.states = states;
    }

    fn map_of(&mut self, generation: u64, state: u32) -> Option<usize> {
        if self.generation != generation || !self.running || self.fault.is_some() {
            return None;
        }
        let state = state as usize;
        if state >= self.states.len() {
            self.fault = Some(format!(
                "asked for its state number {state}, it declared {}",
                self.states.len()
            ));
            return None;
        }
        Some(state)
    }
}

/// An [`Access`] that the host and the lane's code reach from different threads.
#[derive(Clone, Debug)]
pub struct SharedAccess(Arc<Mutex<Access>>);

impl SharedAccess {
    /// Shares `access`.
    pub fn new(access: Access) -> Self {
        Self(Arc::new(Mutex::new(access)))
    }

    /// Held for single steps only, never while a plugin's code runs.
    pub fn lock(&self) -> MutexGuard<'_, Access> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host as code that is opened now will see it, until the next [`Access::revoke`].
    pub fn for_code(&self) -> LaneHost {
        LaneHost {
            generation: self.lock().generation,
            access: self.clone(),
        }
    }
}

/// The host and the frozen interface mean the same by "none".
const _: () = assert!(abi::NO_DEADLINE == u64::MAX);

/// What the host offers to a lane's code.
pub struct LaneHost {
    access: SharedAccess,
    generation: u64,
}

impl LaneHost {
    fn with(
        &self,
        state: u32,
        body: impl FnOnce(&mut Access, usize) -> Result<bool, TooMuch>,
    ) -> u32 {
        let mut access = self.access.lock();
        match access.map_of(self.generation, state) {
            None => access::REVOKED,
            Some(state) => match body(&mut access, state) {
                Ok(true) => access::FOUND,
                Ok(false) => access::ABSENT,
                Err(too_much) => {
                    access.fault = Some(too_much.to_string());
                    access::REVOKED
                }
            },
        }
    }
}

impl AbiHost for LaneHost {
    fn state_read(&self, state: u32, key: RSlice<'_, u8>, value: &mut RVec<u8>) -> u32 {
        value.clear();
        self.with(state, |access, state| {
            match access.states[state].map.read(key.as_slice()) {
                Some(found) => {
                    value.extend_from_copy_slice(found);
                    Ok(true)
                }
                None => Ok(false),
            }
        })
    }

    fn state_write(&self, state: u32, key: RSlice<'_, u8>, value: RSlice<'_, u8>) -> u32 {
        if let Err(fault) = rules::entry(key.as_slice(), value.as_slice()) {
            let mut access = self.access.lock();
            if access.generation == self.generation {
                access.fault = Some(fault.to_string());
            }
            return access::REVOKED;
        }
        self.with(state, |access, state| {
            access
                .transaction
                .write(&mut access.states, state, key.as_slice(), value.as_slice())
        })
    }

    fn state_remove(&self, state: u32, key: RSlice<'_, u8>) -> u32 {
        self.with(state, |access, state| {
            access
                .transaction
                .remove(&mut access.states, state, key.as_slice())
        })
    }

    fn state_seek(
        &self,
        state: u32,
        direction: u32,
        from: RSlice<'_, u8>,
        key: &mut RVec<u8>,
        value: &mut RVec<u8>,
    ) -> u32 {
        key.clear();
        value.clear();
        self.with(state, |access, state| {
            let map = &access.states[state].map;
            let found = match direction {
                seek::AT_OR_BEFORE => map.at_or_before(from.as_slice()),
                _ => map.at_or_after(from.as_slice()),
            };
            match found {
                Some((found_key, found_value)) => {
                    key.extend_from_copy_slice(found_key);
                    value.extend_from_copy_slice(found_value);
                    Ok(true)
                }
                None => Ok(false),
            }
        })
    }

    fn call_facts(&self, mut room: RSliceMut<'_, u64>) -> u32 {
        let known = self.access.lock().facts;
        let mut numbered = [0; facts::COUNT];
        numbered[facts::CLIENT] = known.client;
        numbered[facts::SESSION] = known.session;
        numbered[facts::ATTEMPT] = known.attempt.into();
        numbered[facts::NOW_MS] = known.now_ms;
        numbered[facts::DEADLINE_MS] = known.deadline_ms;
        for (fact, number) in room.as_mut_slice().iter_mut().zip(numbered) {
            *fact = number;
        }
        facts::COUNT as u32
    }
}
