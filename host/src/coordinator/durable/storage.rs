//! What a reply waits for, and what happens when the disk fails: nothing that is not durable is told as done,
//! and the state is read back from what is durable before it serves again.

use std::{rc::Rc, time::Duration};

use plugin_api::description::StateDescription;
use protocol::{ErrorCode, encoder};

use super::commits::Batch;
use crate::{
    coordinator::{
        coordinator::Coordinator,
        host_error::host_error,
        lane::Lane,
        sessions::repeats::written,
        types::Closed,
        versions::slot::{Said, Step},
    },
    lane::{ClientSlot, LaneId, Runner},
    planted::{Fault, planted},
    state::{BatchNo, Kept, Recovered},
};

impl Coordinator {
    /// Sends a lane's reply, or keeps it until all that it may tell of is durable. Says whether it was sent.
    pub(in crate::coordinator) fn send_or_hold(
        &mut self,
        lane: LaneId,
        slot: ClientSlot,
        reply: &[u8],
        changed: bool,
    ) -> bool {
        let last_change = self.persistence.latest();
        let of = self.routing.lane(lane);
        if changed && of.is_kept {
            of.last_change = last_change;
        }
        let (last_change, undone) = (of.last_change, of.is_kept);
        let is_held = self
            .persistence
            .hold_until(last_change, slot, reply, undone);
        if !is_held {
            self.clients.reply(slot, |out| out.extend_from_slice(reply));
        }
        !is_held
    }

    /// Takes over what a plugin's code has changed when it was opened: its states are from now on what the plugin
    /// `declared`, by its own name. That goes with the same batch as the changes, so that a migrated state and its
    /// schema are durable together or not at all.
    pub(in crate::coordinator) fn take_effects(
        &mut self,
        lane: LaneId,
        declared: (&str, &[StateDescription]),
        effects: &[u8],
    ) {
        let (plugin, states) = declared;
        let ids = self.routing.lane(lane).note_schemas(states);
        if self.persistence.is_sound() {
            for (state, id) in states.iter().zip(ids) {
                self.persistence.declare(plugin, state, id);
            }
            self.persistence.effects().extend_from_slice(effects);
        }
        let latest = self.persistence.latest();
        let of = self.routing.lane(lane);
        if of.is_kept {
            of.last_change = latest;
        }
    }

    /// Whether a lane has to wait until more of what was changed is durable.
    pub(in crate::coordinator) fn is_held_up(&self, lane: LaneId) -> bool {
        let lane = self.routing.lane_if_open(lane);
        lane.is_some_and(Lane::waits_for_disk) && self.persistence.is_full()
    }

    /// The thread that keeps the state has said something.
    pub fn kept(&mut self, kept: Kept) {
        match kept {
            Kept::Committed { buffer } => {
                let was_full = self.persistence.is_full();
                let batch = self.persistence.committed(buffer);
                self.release(&batch);
                if was_full {
                    self.mark_all();
                }
            }
            // What had been submitted before the first failure was heard of fails as well.
            Kept::Failed(_) if !self.persistence.is_sound() => {}
            Kept::Failed(error) => {
                tracing::error!(
                    "the state cannot be kept: {error}; requests that need it are answered `storage_failed` until \
                     it has been read back from the disk"
                );
                self.storage_failed(Said {
                    text: error.to_string(),
                    at_ms: self.clock.now_ms(),
                });
            }
            Kept::Rebuilt(recovered) => self.rebuilt(recovered),
        }
    }

    /// About how much memory the states take, in bytes. What was answered to requests with ids is one of them.
    pub(in crate::coordinator) fn state_memory(&self) -> usize {
        let lanes = self.routing.lanes().map(Lane::state_memory);
        self.persistence.memory() + self.sessions.memory() + lanes.sum::<usize>()
    }

    /// Ends the keeping of the state in good order; false if the disk has not come back within `patience`.
    pub fn close_storage(&mut self, patience: Duration) -> bool {
        self.persistence.close(patience)
    }

    fn release(&mut self, batch: &Batch) {
        for (slot, reply, _) in batch.replies() {
            self.clients.reply(slot, |out| out.extend_from_slice(reply));
            self.clients.settle(slot, 1);
        }
    }

    fn mark_all(&mut self) {
        for lane in self.routing.lane_ids() {
            if self.schedule.has_next(lane) {
                self.agenda.mark(lane);
            }
        }
    }

    fn storage_failed(&mut self, why: Said) {
        let (in_doubt, void) = self.persistence.fail(why);
        self.revoke_replies(&in_doubt, false);
        self.revoke_replies(&void, true);
        // Nothing waits any more for what will not come to be: lanes without states go on.
        for lane in self.routing.lanes_mut() {
            if !planted(Fault::LastChangeStays) {
                lane.last_change = BatchNo::default();
            }
        }
        self.sessions.storage_failed();
        let names = self.routing.names();
        for name in names {
            self.close_kept(&name);
        }
        // Those that were held up until more is durable would hear of that from nobody.
        self.mark_all();
        self.step_storage();
    }

    /// Answers what was held with an error instead. Of a batch that is `void` what changed a state is undone, and no more
    /// than that.
    fn revoke_replies(&mut self, batch: &Batch, void: bool) {
        if planted(Fault::VoidToldAsDone) {
            return self.release(batch);
        }
        for (slot, reply, undone) in batch.replies() {
            let reply = written(reply);
            let (type_name, index) = (&reply.type_name, reply.query_index);
            self.clients.reply(slot, |out| match void && undone {
                true => host_error(out, type_name, index, ErrorCode::StorageFailed, VOID),
                false => storage_unknown(out, type_name, index),
            });
            self.clients.settle(slot, 1);
        }
    }

    /// While the state is not what is durable, nothing is begun that needs it.
    pub(in crate::coordinator) fn close_kept(&mut self, name: &str) {
        for type_id in self.routing.types_of(name) {
            if self.routing.lane(self.routing[type_id].lane).is_kept {
                let closed = &mut self.routing[type_id].closed;
                closed.get_or_insert_with(|| Closed::new(ErrorCode::StorageFailed, VOID));
            }
        }
        for lane in self.routing.lanes_of(name) {
            if self.routing.lane(lane).is_kept {
                self.halt(lane, Closed::new(ErrorCode::StorageFailed, VOID));
            }
        }
    }

    /// Has the state read back as soon as nobody works on it.
    pub(in crate::coordinator) fn step_storage(&mut self) {
        if !self.persistence.is_quieting() {
            return;
        }
        let opening = |step: &Step| matches!(step, Step::Opening(_));
        let busy = self.routing.plugins().any(|(_, slot)| opening(&slot.step))
            || (self.routing.lanes()).any(|lane| lane.is_kept && lane.is_busy());
        if busy {
            return;
        }
        let kept = self.routing.lanes().filter(|lane| lane.is_kept);
        for lane in kept.filter(|_| !planted(Fault::StatesNotReadBack)) {
            drop(lane.take_states());
        }
        self.persistence.rebuild();
    }

    fn rebuilt(&mut self, recovered: Recovered) {
        tracing::warn!(
            "the state has been read back from the disk, as it was after batch {}: it is kept again",
            recovered.last.0
        );
        self.persistence.rebuilt(recovered);
        if !planted(Fault::AnswersNotReadBack) {
            self.answers_recovered();
        }
        self.decisions_recovered();
        for lane in self.routing.lanes_mut() {
            if !planted(Fault::LastChangeStays) {
                lane.last_change = BatchNo::default();
            }
        }
        let names = self.routing.names();
        for name in &names {
            self.give_states_anew(name);
        }
        let types: Vec<_> = self.routing.types().map(|(id, _)| id).collect();
        for id in types {
            let closed = &mut self.routing[id].closed;
            closed.take_if(|closed| closed.code == ErrorCode::StorageFailed);
        }
        for name in names {
            // It was on its way out before, and takes nothing new now.
            self.close_again(&name);
            self.begin_next(&name);
        }
    }

    /// Opens the lanes that serve on the states that were read back.
    fn give_states_anew(&mut self, name: &str) {
        let Some(serving) = self.routing.serving(name) else {
            return;
        };
        let description = serving.prepared.description.clone();
        let lanes = serving.lanes.clone();
        for (id, described) in lanes.into_iter().zip(&description.lanes) {
            if !self.routing.lane(id).is_kept {
                continue;
            }
            if planted(Fault::StatesNotReadBack) {
                self.reopen(id);
                continue;
            }
            // Declared once it is open: the state may be of an older schema again, if the migration was not durable.
            let states = described.states.iter();
            let states = states.map(|state| self.persistence.lend(&description.name, state));
            let states = states.collect();
            self.routing.lane(id).put_states(states);
            self.reopen(id);
        }
    }

    /// Drops a lane's code and opens it on the state that the lane has now.
    fn reopen(&mut self, id: LaneId) {
        let plugin = Rc::clone(&self.routing.lane(id).origin.plugin);
        let inline = match self.routing.lane(id).take_runner() {
            Runner::Inline(code) => {
                self.opener.drop_off_thread(code);
                true
            }
            Runner::Thread(_) | Runner::Gone => false,
        };
        if self.routing.slot(&plugin).quarantined.is_none() {
            self.open_anew(id, inline);
        }
    }
}

/// Writes the error of a request that may count or not.
pub(in crate::coordinator) fn storage_unknown(
    out: &mut Vec<u8>,
    type_name: &str,
    query_index: &str,
) {
    let code = ErrorCode::StorageFailed.as_str();
    let outcome = [("outcome", "\"unknown\"")];
    encoder::error_with(out, type_name, query_index, code, UNKNOWN, &outcome);
}

/// What is said of a job of which the disk may have the effects or not.
const UNKNOWN: &str = "the disk failed while this was written: whether it counts is known once the host serves again; ask \
                       then for what is so";

/// The same of one that has changed nothing.
pub(in crate::coordinator) const VOID: &str = "the state cannot be kept at the moment, because the disk fails; nothing was changed, try again later";
