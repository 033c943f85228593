//! Plugins whose code fails: what does not end, and what blocks where it must not.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::ErrorCode;

use crate::{
    coordinator::{
        coordinator::Coordinator,
        versions::slot::{Said, Step},
    },
    lane::{LaneId, OpenFailed, OpenedLane, Opening, OpeningLane, Runner},
    limits,
};

impl Coordinator {
    /// Has the job that runs in a lane looked at when it may be past its limit.
    pub(in crate::coordinator) fn watch(&mut self, id: LaneId, now: Instant) {
        let lane = self.routing.lane(id);
        if lane.watched_until.is_some() {
            return;
        }
        let limit = lane
            .origin
            .time_limit
            .and_then(|limit| now.checked_add(limit));
        if let Some(due) = [limit, lane.cut_at].into_iter().flatten().min() {
            self.watch_until(id, due);
        }
    }

    /// Has the job that runs in a lane given up when a new version has waited for it long enough.
    pub(in crate::coordinator) fn cut_at(&mut self, id: LaneId, at: Instant) {
        let lane = self.routing.lane(id);
        lane.cut_at = Some(at);
        if lane.watched_until.is_none_or(|due| at < due) {
            self.watch_until(id, at);
        }
    }

    /// Has a lane looked at then, and not when that was due before.
    fn watch_until(&mut self, id: LaneId, due: Instant) {
        let before = self.routing.lane(id).watched_until.replace(due);
        self.agenda.watch_until(id, due, before);
    }

    /// Looks at the lanes whose jobs may be past their limit.
    pub(in crate::coordinator) fn look_at_watches(&mut self) {
        let now = self.clock.instant();
        while let Some((due, id)) = self.agenda.take_watch_due(now) {
            let lane = self.routing.lane_if_open_mut(id);
            // Otherwise it was a lane's that had its number before.
            if let Some(lane) = lane.filter(|lane| lane.watched_until == Some(due)) {
                lane.watched_until = None;
                self.look_at_running(id, now);
            }
        }
    }

    fn look_at_running(&mut self, id: LaneId, now: Instant) {
        let lane = self.routing.lane(id);
        let (limit, cut_at, overdue) = (lane.origin.time_limit, lane.cut_at, lane.overdue);
        let Runner::Thread(thread) = lane.runner() else {
            return;
        };
        let Some(since) = thread.running_since() else {
            if !thread.is_idle() {
                self.look_again(id, now);
            }
            return;
        };
        let ends = limit.and_then(|limit| since.checked_add(limit));
        match [ends, cut_at].into_iter().flatten().min() {
            Some(due) if due <= now => {
                // What an earlier job was late with is not held against this one.
                if self.abandon(id, since, overdue == Some(since)) {
                    self.routing.lane(id).overdue = None;
                } else {
                    self.routing.lane(id).overdue = Some(since);
                    self.look_again(id, now);
                }
            }
            Some(due) => self.watch_until(id, due),
            None => {}
        }
    }

    /// Has a lane looked at once more whose thread has ended a job and is about to say so. The limit that has passed
    /// is not when that is: the core thread would look again and again, and do nothing else.
    fn look_again(&mut self, id: LaneId, now: Instant) {
        self.watch_until(id, now + limits::TIME_LIMIT_GRACE);
    }

    /// Ends a lane's job that has run since `since` as if it had never run: its client is told, its code is left to
    /// itself on its thread. One that has committed counts. False if it has ended and is about to say so.
    fn abandon(&mut self, id: LaneId, since: Instant, even_if_ended: bool) -> bool {
        let now = self.clock.instant();
        let Some(abandoned) = self.routing.lane(id).abandon(since, now, even_if_ended) else {
            return false;
        };
        self.take_fetched(id, abandoned.fetched);
        self.put_back(id, abandoned.inbox.into_iter());
        let origin = self.routing.lane(id).origin.clone();
        let ran_for = now.saturating_duration_since(since);
        let late = abandoned.entered.as_ref();
        let late = late.map(|(handed, _)| handed.job.type_id);
        if let Some((handed, _)) = abandoned.entered {
            tracing::error!(
                plugin = %origin.plugin,
                r#type = %self.routing[handed.job.type_id].name,
                client = handed.job.client,
                "a job did not end in time: its client is told, nothing that it did counts"
            );
            self.answer_unrun(&handed.job, ErrorCode::Timeout, super::dispatch::TIMED_OUT);
            self.has_left(id, &handed.job);
        } else {
            tracing::error!(
                plugin = %origin.plugin,
                "a job had committed and its thread did not come to say so in time: it counts, and is answered"
            );
        }
        let ran_for = u64::try_from(ran_for.as_millis()).unwrap_or(u64::MAX);
        let since_ms = self.clock.now_ms().saturating_sub(ran_for);
        let slot = self.routing.slot(&origin.plugin);
        if let Some(serving) = &slot.serving {
            serving.prepared.plugin.got_stuck();
        }
        slot.stuck += 1;
        slot.history.got_stuck(abandoned.remains, since_ms);
        // The new version opens the lane, or the plugin does once it is back.
        if slot.quarantined.is_none() && !matches!(slot.step, Step::Pausing(_)) {
            self.open_anew(id, false);
            if let Some(type_id) = late {
                self.got_stuck(&origin.plugin, type_id, now);
            }
        }
        true
    }

    /// Opens the code of a lane that has none, on its state.
    pub(in crate::coordinator) fn open_anew(&mut self, id: LaneId, inline: bool) {
        let kept = self.persistence.is_kept();
        let lane = self.routing.lane(id);
        (lane.paused, lane.opening) = (true, true);
        let origin = lane.origin.clone();
        let states = lane.take_states();
        self.opener.open(Opening {
            name: origin.plugin.to_string(),
            open: origin.open,
            lanes: vec![OpeningLane {
                index: origin.index,
                types: origin.types,
                inline,
                states,
            }],
            anew: Some(id),
            kept,
        });
    }

    /// A single lane has been opened anew, or could not be.
    pub(in crate::coordinator) fn opened_anew(
        &mut self,
        id: LaneId,
        result: Result<Vec<OpenedLane>, OpenFailed>,
    ) {
        let plugin = Rc::clone(&self.routing.lane(id).origin.plugin);
        self.routing.lane(id).opening = false;
        match result {
            Ok(opened) => {
                let effects: usize = opened.iter().map(|lane| lane.effects.len()).sum();
                self.persistence.make_room(effects);
                let index = self.routing.lane(id).origin.index as usize;
                let serving = self.routing.serving(&plugin);
                let description = serving.map(|serving| serving.prepared.description.clone());
                let description = description.expect("a lane that is open is of what serves");
                for opened in opened {
                    let lane = self.routing.lane(id);
                    lane.replace(opened.access, opened.runner);
                    lane.works_for(id);
                    let declared = (&*description.name, &*description.lanes[index].states);
                    self.take_effects(id, declared, &opened.effects);
                }
                self.resume(&plugin);
            }
            Err(failed) => {
                for states in failed.states {
                    self.routing.lane(id).put_states(states);
                }
                let reason = format!("a lane of it could not be opened anew: {}", failed.reason);
                self.quarantine(&plugin, &reason);
            }
        }
    }

    /// Lets a plugin's lanes go on, unless something else holds them.
    pub(in crate::coordinator) fn resume(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        if slot.quarantined.is_some() || matches!(slot.step, Step::Pausing(_) | Step::Opening(_)) {
            return;
        }
        let unsound = !self.persistence.is_sound();
        for id in self.routing.lanes_of(name) {
            let lane = self.routing.lane(id);
            let stays = lane.opening || (lane.is_kept && unsound);
            if !stays {
                let lane = self.routing.lane(id);
                (lane.paused, lane.gives_up) = (false, None);
                // What opened its code may have added what others wait for.
                self.schedule.state_changed(id);
                self.agenda.mark(id);
            }
        }
    }

    /// An inline call has been made.
    pub(in crate::coordinator) fn took(&mut self, id: LaneId, took_us: u64) {
        if let Some(held_us) = self.turn.spend(took_us) {
            self.was_slow(id, held_us / 1_000);
        }
    }

    /// An inline call took long. A lane whose jobbers block does not belong on the core thread.
    fn was_slow(&mut self, id: LaneId, took_ms: u64) {
        let now = self.clock.instant();
        let lane = self.routing.lane(id);
        let (window, max) = (
            limits::INLINE_STRIKES_WINDOW,
            limits::INLINE_STRIKES_MAX - 1,
        );
        let blocked = took_ms > limits::INLINE_BLOCKED_MS;
        let strikes = is_too_often(&mut lane.strikes, now, window, max);
        let plugin = Rc::clone(&lane.origin.plugin);
        if !blocked && !strikes {
            tracing::debug!(%plugin, took_ms, "an inline call was slow");
            return;
        }
        tracing::warn!(
            %plugin,
            took_ms,
            "an inline call held up the whole host: its lane gets a thread of its own; take `inline` out of \
             the plugin"
        );
        let text = match blocked {
            true => format!("an inline call took {took_ms} ms"),
            false => format!(
                "{} inline calls took more than {} ms each within {} s, the last one {took_ms} ms",
                limits::INLINE_STRIKES_MAX,
                limits::INLINE_CALL_MS_MAX,
                window.as_secs()
            ),
        };
        let at_ms = self.clock.now_ms();
        let lane = self.routing.lane(id);
        lane.moved = Some(Said { text, at_ms });
        let Runner::Inline(code) = lane.take_runner() else {
            unreachable!("only inline calls are timed");
        };
        let access = code.access().clone();
        match self.opener.start_lane(&plugin, *code) {
            Ok(thread) => {
                let lane = self.routing.lane(id);
                lane.replace(access, Runner::Thread(thread));
                lane.works_for(id);
                self.agenda.mark(id);
            }
            Err(error) => {
                let reason = format!("it blocks, and no thread can be started for it: {error}");
                self.quarantine(&plugin, &reason);
            }
        }
    }
}

/// Notes that something happened, and says whether that was more than `max` times within `window`.
fn is_too_often(times: &mut VecDeque<Instant>, now: Instant, window: Duration, max: usize) -> bool {
    times.push_back(now);
    while times
        .front()
        .is_some_and(|first| now.saturating_duration_since(*first) > window)
    {
        times.pop_front();
    }
    times.len() > max
}
