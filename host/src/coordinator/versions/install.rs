//! Plugins come, change and go while requests are served.
//!
//! A version that comes is checked against the others; then the lanes that it replaces are paused, and once
//! no job of them runs, their states are lent to the new code, which is opened on a thread of the opener's. Only
//! when all of its lanes are open does it take their place, with their queues: no job sees half of a swap. If
//! anything fails, the states go back and the old version goes on.

use std::{collections::BTreeMap, rc::Rc};

use plugin_api::description::Description;
use protocol::ErrorCode;

use super::{
    claims::conflict,
    slot::{Said, Serving, Step, kept_lanes, log_serving, open_lane_of, types_of_lane},
};
use crate::{
    coordinator::{
        coordinator::{Coordinator, REMOVED},
        lane::{Lane, Origin},
        serving::type_faults::Outages,
        types::ServedType,
    },
    lane::{LaneId, OpenFailed, Opened, OpenedLane, Opening, OpeningLane, TypeId},
    limits,
    planted::{Fault, planted},
    plugins::{Prepared, Standing},
};

impl Coordinator {
    /// The plugins of which something else serves than what came last, as it became known since the last call.
    pub fn take_standings(&mut self) -> Vec<Standing> {
        std::mem::take(&mut self.standings)
    }

    /// Whether all plugins that have come so far serve, or are refused.
    pub fn plugins_are_settled(&self) -> bool {
        let mut steps = self.routing.plugins().map(|(_, slot)| &slot.step);
        steps.all(|step| matches!(step, Step::None | Step::Blocked(_)))
    }

    /// Goes on with whatever waited for jobs to end.
    pub(in crate::coordinator) fn step_plugins(&mut self) {
        let names: Vec<String> = self
            .routing
            .plugins()
            .filter(|(_, slot)| slot.removing || matches!(slot.step, Step::Pausing(_)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.open_if_idle(&name);
            self.remove_if_idle(&name);
        }
    }

    pub(in crate::coordinator) fn begin(&mut self, prepared: Box<Prepared>) {
        let name = prepared.name.clone();
        // What came before it under this name, and waited, is outdated.
        let blocked = self.routing.slot(&name).take_blocked();
        self.outdated(blocked);
        if !self.persistence.is_sound() {
            // It would get a state that is not what is durable.
            tracing::info!(
                plugin = %name,
                hash = %prepared.hash,
                "waits until the state has been read back from the disk"
            );
            let outdated = self.routing.slot(&name).next.replace(prepared);
            return self.outdated(outdated);
        }
        // Its file is back. Whatever comes of that, the version that serves stays.
        self.routing.slot(&name).removing = false;
        for type_id in self.routing.types_of(&name) {
            let closed = &mut self.routing[type_id].closed;
            closed.take_if(|closed| closed.code == ErrorCode::Removed);
        }
        let refused = self.persistence.check(
            &prepared.description.name,
            prepared
                .description
                .lanes
                .iter()
                .flat_map(|lane| &lane.states),
        );
        if let Err(error) = refused {
            self.reject(&name, &error.to_string());
            return self.outdated(Some(prepared));
        }
        if let Some(conflict) = conflict(self.routing.plugins(), &prepared) {
            tracing::warn!(
                plugin = %name,
                "waits: {conflict}; it takes over when that plugin goes"
            );
            self.routing.slot(&name).step = Step::Blocked(prepared);
            return;
        }
        self.routing.slot(&name).step = Step::Pausing(prepared);
        let cut_at = self
            .clock
            .instant()
            .checked_add(self.settings.drain_timeout);
        for lane in self.routing.lanes_of(&name) {
            self.routing.lane(lane).paused = true;
            self.take_back(lane);
            if let Some(cut_at) = cut_at.filter(|_| self.routing.lane(lane).is_busy()) {
                self.cut_at(lane, cut_at);
            }
        }
        self.open_if_idle(&name);
    }

    fn open_if_idle(&mut self, name: &str) {
        let lanes = self.routing.lanes_of(name);
        let Step::Pausing(_) = self.routing.slot(name).step else {
            return;
        };
        if !self.persistence.is_sound() {
            return;
        }
        let is_busy = lanes.iter().any(|lane| self.routing.lane(*lane).is_busy());
        if is_busy && !planted(Fault::SwapWhileBusy) {
            return;
        }
        let Step::Pausing(prepared) = std::mem::take(&mut self.routing.slot(name).step) else {
            unreachable!("looked at above");
        };
        self.lend_states_back(name);
        let declared = &prepared.description.name;
        let lanes = prepared.description.lanes.iter();
        let opening_lanes = lanes
            .enumerate()
            .map(|(index, lane)| OpeningLane {
                index: u32::try_from(index).expect("a description has fewer lanes"),
                types: types_of_lane(lane),
                inline: lane.inline,
                states: lane
                    .states
                    .iter()
                    .map(|state| self.persistence.lend(declared, state))
                    .collect(),
            })
            .collect();
        self.opener.open(Opening {
            name: name.to_owned(),
            open: open_lane_of(&prepared),
            lanes: opening_lanes,
            anew: None,
            kept: self.persistence.is_kept(),
        });
        self.routing.slot(name).step = Step::Opening(prepared);
    }

    /// Takes the states of a plugin's lanes back into the store. The lanes stand still.
    pub(in crate::coordinator) fn lend_states_back(&mut self, name: &str) {
        let Some(serving) = self.routing.serving(name) else {
            return;
        };
        let declared = &serving.prepared.description.name;
        for (lane, described) in serving
            .lanes
            .iter()
            .zip(&serving.prepared.description.lanes)
        {
            let lane = self.routing.lane_if_open(*lane);
            let lane = lane.expect("a serving lane is open");
            for (state, lent) in described.states.iter().zip(lane.take_states()) {
                self.persistence.give_back(declared, state, lent);
            }
        }
    }

    /// The opener has done what it could.
    pub fn opened(&mut self, opened: Opened) {
        let Opened { name, anew, result } = opened;
        if let Some(lane) = anew {
            return self.opened_anew(lane, result);
        }
        let Step::Opening(prepared) = std::mem::take(&mut self.routing.slot(&name).step) else {
            unreachable!("only what is at this step is with the opener");
        };
        match result {
            Ok(lanes) => self.install(&name, *prepared, lanes),
            Err(failed) => {
                self.go_on_without(&name, &prepared.description, failed);
                self.outdated(Some(prepared));
            }
        }
        self.resume(&name);
        // Its file went while it was on its way: it serves what came meanwhile, and no more.
        self.close_again(&name);
        if !self.persistence.is_sound() {
            self.close_kept(&name);
        }
        self.unblock();
        self.begin_next(&name);
    }

    /// Goes on with what came while something else was on its way.
    pub(in crate::coordinator) fn begin_next(&mut self, name: &str) {
        let Some(slot) = self.routing.slot_if_known_mut(name) else {
            return;
        };
        if matches!(slot.step, Step::None | Step::Blocked(_))
            && let Some(next) = slot.next.take()
        {
            if slot.disabled {
                let outdated = slot.keep(next);
                return self.outdated(outdated);
            }
            self.begin(next);
        }
    }

    /// Gives the states back to the old version, which serves on.
    fn go_on_without(&mut self, name: &str, description: &Description, failed: OpenFailed) {
        let described = description.lanes.iter().zip(failed.states);
        for (lane, states) in described {
            for (state, lent) in lane.states.iter().zip(states) {
                self.persistence.give_back(&description.name, state, lent);
            }
        }
        if let Some(serving) = self.routing.serving(name) {
            let declared = &serving.prepared.description.name;
            for (lane, described) in serving
                .lanes
                .iter()
                .zip(&serving.prepared.description.lanes)
            {
                let states = described.states.iter();
                let states = states
                    .map(|state| self.persistence.lend(declared, state))
                    .collect();
                let lane = self.routing.lane_if_open(*lane);
                let lane = lane.expect("a serving lane is open");
                lane.put_states(states);
            }
        }
        for lane in self.routing.lanes_of(name) {
            self.routing.lane(lane).cut_at = None;
            // Its job was cut off to make room for this version.
            if self.routing.slot(name).quarantined.is_none()
                && self.routing.lane(lane).has_no_code()
            {
                self.open_anew(lane, false);
            }
        }
        self.reject(name, &format!("it could not be opened: {}", failed.reason));
    }

    /// Puts a new version in the place of the old one.
    fn install(&mut self, name: &str, prepared: Prepared, opened: Vec<OpenedLane>) {
        let old = self.routing.slot(name).serving.take();
        let old_lanes: Vec<LaneId> = old.as_ref().map_or_else(Vec::new, |old| old.lanes.clone());
        let kept = kept_lanes(old.as_ref(), &prepared.description);
        let plugin: Rc<str> = name.into();
        let mut lanes = Vec::new();
        // All of it, and what its states are declared as, is durable together.
        let effects: usize = opened.iter().map(|lane| lane.effects.len()).sum();
        self.persistence.make_room(effects);
        for ((described, opened), kept) in prepared.description.lanes.iter().zip(opened).zip(kept) {
            let time_limit = prepared.settings.time_limit.unwrap_or(limits::TIME_LIMIT);
            let origin = Origin {
                plugin: Rc::clone(&plugin),
                open: open_lane_of(&prepared),
                index: u32::try_from(lanes.len()).expect("a description has fewer lanes"),
                types: types_of_lane(described),
                time_limit: (!time_limit.is_zero()).then_some(time_limit),
            };
            let is_kept = self.persistence.is_kept() && !described.states.is_empty();
            let mut lane = Lane::new(origin, opened.access, opened.runner, is_kept);
            let id = kept.unwrap_or_else(|| self.schedule.open_lane());
            lane.works_for(id);
            if let Some(replaced) = self.routing.put_lane(id, lane) {
                replaced.retire(&self.opener);
            }
            lanes.push(id);
            let declared = (&*prepared.description.name, &*described.states);
            self.take_effects(id, declared, &opened.effects);
        }
        self.note_counts(name);
        let vanished = self.serve_types(&plugin, &prepared, &lanes);
        self.leave_lanes(&old_lanes, &lanes, &vanished);
        log_serving(name, &prepared, old.as_ref());
        let since_ms = self.clock.now_ms();
        let slot = self.routing.slot(name);
        (slot.quarantined, slot.stuck) = (None, 0);
        slot.last_error = None;
        slot.history.begins(&prepared, since_ms);
        let content = prepared.content;
        let mut outdated = slot.previous.take_if(|before| before.content == content);
        match old.map(|old| old.prepared) {
            // A version that is opened anew does not push out the one before it.
            Some(old) if old.content == content => outdated = outdated.or(Some(old)),
            Some(old) => {
                slot.outages = Outages::default();
                outdated = slot.previous.replace(old).or(outdated);
            }
            None => {}
        }
        slot.serving = Some(Serving {
            prepared: Box::new(prepared),
            since_ms,
            lanes,
        });
        self.outdated(outdated);
        self.decide_version(name);
        self.tell_standing(name);
    }

    /// Lets it be known what serves, if that is not what came last.
    fn tell_standing(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        // A quarantine ends with any file.
        let serving = slot.serving.as_ref();
        let serving = serving.filter(|_| slot.quarantined.is_none());
        let serving = serving.map(|serving| serving.prepared.content);
        if slot.next.is_none() && slot.latest != serving {
            let latest = std::mem::replace(&mut slot.latest, serving);
            self.standings.push(Standing {
                name: name.to_owned(),
                latest,
                serving,
            });
        }
    }

    /// Points the types at the new lanes. Returns those that the new version does not serve any more.
    fn serve_types(
        &mut self,
        plugin: &Rc<str>,
        prepared: &Prepared,
        lanes: &[LaneId],
    ) -> Vec<TypeId> {
        let mut vanished: BTreeMap<TypeId, ()> = self
            .routing
            .served_by(plugin)
            .map(|(id, _)| (id, ()))
            .collect();
        for (lane, described) in lanes.iter().zip(&prepared.description.lanes) {
            for (jobber, type_name) in (0..).zip(described.types()) {
                let settings = prepared.settings.for_type(type_name);
                let id = self.routing.serve(ServedType {
                    name: type_name.into(),
                    lane: *lane,
                    jobber,
                    plugin: Rc::clone(plugin),
                    deadline_ms: settings
                        .deadline
                        .map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
                    wait: settings.wait,
                    closed: None,
                    faults: None,
                    served: 0,
                });
                vanished.remove(&id);
            }
        }
        vanished.into_keys().collect()
    }

    /// Moves the jobs out of lanes that the new version does not have, and closes those.
    fn leave_lanes(&mut self, old: &[LaneId], new: &[LaneId], vanished: &[TypeId]) {
        let left: Vec<LaneId> = old
            .iter()
            .filter(|lane| !new.contains(lane))
            .copied()
            .collect();
        if planted(Fault::SwapForgetsTypes) {
            for lane in old {
                self.schedule.drain_lane(*lane, usize::MAX, drop);
            }
        }
        let routing = &self.routing;
        let homeless = self.schedule.regroup(&left, |id| {
            (!vanished.contains(&id)).then(|| routing[id].lane)
        });
        for job in homeless {
            self.answer_unrun(&job, ErrorCode::Removed, REMOVED);
        }
        for lane in left {
            self.close_lane(lane);
        }
        for id in vanished {
            self.routing.forget_type(*id);
        }
    }

    pub(in crate::coordinator) fn close_lane(&mut self, id: LaneId) {
        self.schedule.close_lane(id);
        if let Some(lane) = self.routing.take_lane(id) {
            lane.retire(&self.opener);
        }
    }

    /// Has a version dropped that is of no use any more, which runs the plugin's code.
    pub(in crate::coordinator) fn outdated(&self, version: Option<Box<Prepared>>) {
        if let Some(version) = version {
            self.opener.drop_off_thread(version);
        }
    }

    pub(in crate::coordinator) fn refused(&mut self, name: &str, reason: &str) {
        let at_ms = self.clock.now_ms();
        let slot = self.routing.slot(name);
        slot.last_error = Some(Said {
            text: reason.to_owned(),
            at_ms,
        });
        let rest = match slot.serving {
            Some(_) => "; the version that serves goes on",
            None => "",
        };
        tracing::error!(plugin = %name, "refused: {reason}{rest}");
    }

    /// A version that came well through its check cannot serve here.
    fn reject(&mut self, name: &str, reason: &str) {
        self.routing.slot(name).told_by = None;
        self.refused(name, reason);
        self.tell_standing(name);
    }
}
