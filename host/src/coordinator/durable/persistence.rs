//! What keeps the state: the store, the batches on their way to the disk, and whether the disk takes them. These change
//! together, so that nobody sees a store that is ahead of the disk and takes it for what is durable.

use std::time::Duration;

use plugin_api::{description::StateDescription, rules::stored::StoredFault};
use serde::Serialize;

use super::commits::{Batch, Commits};
use crate::{
    coordinator::versions::slot::Said,
    lane::ClientSlot,
    planted::{Fault, planted},
    state::{BatchNo, LentState, Recovered, Store, effects::StateId},
};

/// The store, the batches, and how the storage is.
pub(in crate::coordinator) struct Persistence {
    /// The states that no lane has, and what is known of every state.
    store: Store,
    /// What was changed and is not durable yet, with the replies that wait for it.
    commits: Commits,
    /// Whether the disk takes what is changed.
    storage: Storage,
}

/// How far the way back from a failure of the disk has come, and what the failure was.
#[derive(Debug)]
enum Storage {
    /// What jobs change is kept.
    Sound,
    /// Jobs with state are still in work, on a state that is ahead of the disk.
    Quieting(Said),
    /// The state is being read back.
    Rebuilding(Said),
}

/// How the keeping of the state is, for operators.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(in crate::coordinator) enum StorageReport<'a> {
    /// What jobs change is kept.
    Sound,
    /// It is not, and requests that need it are refused.
    Failed {
        /// When it failed, in milliseconds since 1970 on the host's clock.
        since_ms: u64,
        /// What the disk said.
        error: &'a str,
    },
}

impl Persistence {
    /// A sound storage, with what it has kept.
    pub(in crate::coordinator) fn new(store: Store, commits: Commits) -> Self {
        Self {
            store,
            commits,
            storage: Storage::Sound,
        }
    }

    /// Whether what is changed is kept at all.
    #[inline]
    pub(in crate::coordinator) fn is_kept(&self) -> bool {
        self.commits.are_kept()
    }

    /// Whether the state is not ahead of a disk that fails: what is changed counts, and states can be lent.
    #[inline]
    pub(in crate::coordinator) fn is_sound(&self) -> bool {
        matches!(self.storage, Storage::Sound)
    }

    /// Whether the state is to be read back as soon as nobody works on it.
    pub(in crate::coordinator) fn is_quieting(&self) -> bool {
        matches!(self.storage, Storage::Quieting(_))
    }

    /// Whether so much waits to be durable that jobs with state have to wait.
    #[inline]
    pub(in crate::coordinator) fn is_full(&self) -> bool {
        self.commits.are_full()
    }

    /// Whether nothing is on its way and nobody waits.
    pub(in crate::coordinator) fn is_idle(&self) -> bool {
        self.commits.are_empty()
    }

    /// How the keeping of the state is, for operators.
    pub(in crate::coordinator) fn report(&self) -> StorageReport<'_> {
        match &self.storage {
            Storage::Sound => StorageReport::Sound,
            Storage::Quieting(why) | Storage::Rebuilding(why) => StorageReport::Failed {
                since_ms: why.at_ms,
                error: &why.text,
            },
        }
    }

    /// About how much memory the states take that no lane has, in bytes.
    pub(in crate::coordinator) fn memory(&self) -> usize {
        self.store.memory()
    }

    /// Whether a version of `plugin` may have the states that it declares.
    ///
    /// # Errors
    /// The state that it may not have, and why.
    pub(in crate::coordinator) fn check<'a>(
        &self,
        plugin: &str,
        states: impl IntoIterator<Item = &'a StateDescription>,
    ) -> Result<(), StoredFault> {
        self.store.check(plugin, states)
    }

    /// Takes a state out of the store for whoever serves it.
    pub(in crate::coordinator) fn lend(
        &mut self,
        plugin: &str,
        state: &StateDescription,
    ) -> LentState {
        self.store.take(plugin, state)
    }

    /// Puts a state back into the store that nobody serves any more.
    pub(in crate::coordinator) fn give_back(
        &mut self,
        plugin: &str,
        state: &StateDescription,
        lent: LentState,
    ) {
        self.store.give_back(plugin, state, lent);
    }

    /// A state is from now on what its plugin declares. That goes with the next batch, before anything that is changed in
    /// the state.
    pub(in crate::coordinator) fn declare(
        &mut self,
        plugin: &str,
        state: &StateDescription,
        id: StateId,
    ) {
        self.store.serves(plugin, state, id, self.commits.effects());
    }

    /// Where jobs put what they change. What stands here goes with the next batch.
    #[inline]
    pub(in crate::coordinator) fn effects(&mut self) -> &mut Vec<u8> {
        self.commits.effects()
    }

    /// Sees that so many bytes of effects can be added without making a batch larger than the log takes.
    #[inline]
    pub(in crate::coordinator) fn make_room(&mut self, bytes: usize) {
        self.commits.make_room(bytes);
    }

    /// The last batch in which anything is, durable or not.
    #[inline]
    pub(in crate::coordinator) fn latest(&self) -> BatchNo {
        self.commits.latest()
    }

    /// Keeps a reply until a batch is durable; false if the batch is not on its way any more, and the reply may leave.
    /// `undone`: what the reply tells of has not happened if the batch never comes to be.
    #[inline]
    pub(in crate::coordinator) fn hold_until(
        &mut self,
        batch: BatchNo,
        slot: ClientSlot,
        reply: &[u8],
        undone: bool,
    ) -> bool {
        let is_awaited = self.commits.is_awaited(batch) && !planted(Fault::ReplyBeforeDisk);
        if is_awaited {
            self.commits.hold(batch, slot, reply, undone);
        }
        is_awaited
    }

    /// Sends what has gathered on its way, unless something still is.
    #[inline]
    pub(in crate::coordinator) fn submit(&mut self, now_ms: impl FnOnce() -> u64) {
        self.commits.submit(now_ms);
    }

    /// What was on its way is durable. `buffer` is what its effects were in.
    pub(in crate::coordinator) fn committed(&mut self, buffer: Vec<u8>) -> Batch {
        self.commits.committed(buffer)
    }

    /// The disk has failed: nothing that is not durable will come to be. Returns the batch of which that is not certain yet,
    /// and what has gathered behind it.
    pub(in crate::coordinator) fn fail(&mut self, why: Said) -> (Batch, Batch) {
        self.storage = Storage::Quieting(why);
        self.commits.fail()
    }

    /// Nobody works on the state any more: has it read back from the disk.
    pub(in crate::coordinator) fn rebuild(&mut self) {
        self.storage = match std::mem::replace(&mut self.storage, Storage::Sound) {
            Storage::Quieting(why) | Storage::Rebuilding(why) => Storage::Rebuilding(why),
            Storage::Sound => unreachable!("only after a failure is anything read back"),
        };
        self.store = Store::default();
        self.commits.rebuild();
    }

    /// The state is what is durable, and is kept again.
    pub(in crate::coordinator) fn rebuilt(&mut self, recovered: Recovered) {
        let next = match planted(Fault::BatchNumberOff) {
            false => recovered.last.next(),
            true => recovered.last.next().next(),
        };
        self.commits.go_on(next);
        self.store = Store::recovered(recovered.states, recovered.next_state);
        self.storage = Storage::Sound;
    }

    /// Ends the keeping, with all that was submitted; false if that takes longer than `patience`.
    pub(in crate::coordinator) fn close(&mut self, patience: Duration) -> bool {
        self.commits.close(patience)
    }
}
