//! Plugins go: what is queued is served, what waits is told, and once nothing runs the states go back to the store.
//! What they did stays listed.

use protocol::ErrorCode;

use super::slot::{PluginSlot, Step};
use crate::{
    coordinator::{
        coordinator::{Coordinator, DISABLED, REMOVED},
        lane::Lane,
        types::Closed,
    },
    lane::LaneId,
    limits,
    planted::{Fault, planted},
};

impl Coordinator {
    pub(in crate::coordinator) fn gone(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        (slot.disabled, slot.latest, slot.dropped) = (false, None, None);
        let outdated = [slot.next.take(), slot.kept.take(), slot.take_blocked()];
        if slot.serving.is_some() {
            tracing::info!(plugin = %name, "its file is gone: what is queued is still served");
        }
        for outdated in outdated {
            self.outdated(outdated);
        }
        self.forget_decision(name);
        self.close(name, REMOVED);
    }

    /// Takes nothing new for a plugin; once all that is queued is served, it goes.
    pub(in crate::coordinator) fn close(&mut self, name: &str, text: &str) {
        if planted(Fault::GoneAtOnce) {
            for lane in self.routing.lanes_of(name) {
                self.schedule.drain_lane(lane, usize::MAX, drop);
            }
        }
        let now_ms = self.clock.now_ms();
        let slot = self.routing.slot(name);
        (slot.removing, slot.waits_since_ms) = (true, now_ms);
        for type_id in self.routing.types_of(name) {
            let closed = &mut self.routing[type_id].closed;
            closed.get_or_insert_with(|| Closed::new(ErrorCode::Removed, text));
        }
        for lane in self.routing.lanes_of(name) {
            // What they wait for may never come now: they are told so when it is their turn.
            self.state_changed(lane);
        }
        self.remove_if_idle(name);
    }

    /// Closes what was opened while its plugin was on its way out.
    pub(in crate::coordinator) fn close_again(&mut self, name: &str) {
        let Some(slot) = self.routing.slot_if_known(name) else {
            return;
        };
        if slot.removing {
            let text = if slot.disabled { DISABLED } else { REMOVED };
            self.close(name, text);
        }
    }

    pub(in crate::coordinator) fn remove_if_idle(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        if !slot.removing || !matches!(slot.step, Step::None) {
            return;
        }
        let lanes = self.routing.lanes_of(name);
        let idle = |lane: &LaneId| {
            self.schedule.is_idle(*lane)
                && !self.routing.lane_if_open(*lane).is_some_and(Lane::is_busy)
        };
        if !lanes.iter().all(idle) {
            return;
        }
        self.lend_states_back(name);
        self.note_counts(name);
        for type_id in self.routing.types_of(name) {
            self.routing.forget_type(type_id);
        }
        for lane in lanes {
            self.close_lane(lane);
        }
        let slot = self.routing.slot(name);
        let serving = slot.serving.take();
        (slot.removing, slot.quarantined) = (false, None);
        let done = match slot.disabled {
            true => "disabled",
            false => {
                self.retire(name);
                "removed"
            }
        };
        if let Some(serving) = serving {
            tracing::info!(plugin = %name, "{done}; its states are kept");
            self.outdated(Some(serving.prepared));
        }
        self.unblock();
    }

    /// Of a plugin whose file is gone only its history is left, if it has one; and what came meanwhile.
    fn retire(&mut self, name: &str) {
        let now_ms = self.clock.now_ms();
        let mut slot = std::mem::take(self.routing.slot(name));
        // What comes meanwhile can be rolled back as it could have been.
        let previous = match slot.next {
            Some(_) => None,
            None => slot.previous.take(),
        };
        for outdated in [previous, slot.kept.take(), slot.take_blocked()] {
            self.outdated(outdated);
        }
        let PluginSlot {
            mut history,
            next,
            previous,
            told_by,
            latest,
            dropped,
            ..
        } = slot;
        history.ends(now_ms);
        if history.is_empty() && next.is_none() {
            self.routing.forget_plugin(name);
        } else {
            let slot = self.routing.slot(name);
            (slot.history, slot.next) = (history, next);
            (slot.previous, slot.told_by) = (previous, told_by);
            (slot.latest, slot.dropped) = (latest, dropped);
        }
        let gone = self.routing.plugins().filter(|(_, slot)| slot.is_gone());
        if gone.clone().count() > limits::GONE_PLUGINS_MAX {
            let ended_ms = |slot: &PluginSlot| slot.history.ended_ms();
            let first = gone.min_by_key(|(_, slot)| ended_ms(slot));
            let first = first.map(|(name, _)| name.clone());
            if let Some(first) = first {
                self.routing.forget_plugin(&first);
            }
        }
    }

    /// Tries again what waited for another plugin to go.
    pub(in crate::coordinator) fn unblock(&mut self) {
        let mut blocked = Vec::new();
        for slot in self.routing.slots_mut() {
            blocked.extend(slot.take_blocked());
        }
        blocked
            .into_iter()
            .for_each(|prepared| self.begin(prepared));
    }
}
