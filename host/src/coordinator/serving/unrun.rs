//! What is answered, or set aside, without being run: what has come too late, what a lane gives up, what others stand in
//! line for. So much of it at once, that everybody else has their turn meanwhile.

use plugin_api::rules;
use protocol::{ErrorCode, Waited, encoder};

use crate::{
    coordinator::{
        coordinator::{Coordinator, SHUTTING_DOWN},
        durable::storage::VOID,
        host_error::{closed_error, host_error},
        schedule::Expired,
        types::Closed,
    },
    lane::{Job, LaneId, Outcome, TypeId},
    limits::UNRUN_AT_ONCE_MAX,
    planted::{Fault, planted},
};

/// How many jobs of a lane were answered or set aside in this turn without being run.
#[derive(Debug, Default)]
pub(in crate::coordinator) struct Unrun(usize);

impl Unrun {
    /// Whether the others have their turn first.
    pub(in crate::coordinator) fn is_enough(&self) -> bool {
        self.0 >= UNRUN_AT_ONCE_MAX
    }
}

/// How a lane's code ends a job whose deadline has passed.
pub(in crate::coordinator) const EXPIRED: Outcome = Outcome::Failed(ErrorCode::Expired);

impl Coordinator {
    pub(in crate::coordinator) fn time_passed(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        let mut ready = Vec::new();
        let now_ms = match planted(Fault::DeadlineByWallClock) {
            true => self.clock.now_ms(),
            false => self.clock.steady_ms(),
        };
        self.schedule
            .due(now_ms, UNRUN_AT_ONCE_MAX, &mut expired, &mut ready);
        for Expired { job, place } in expired.drain(..) {
            if planted(Fault::ExpiryForgotten) {
                continue;
            }
            self.answer_expired(&job, place);
        }
        self.expired = expired;
        for lane in ready {
            self.agenda.mark(lane);
        }
        let next_ms = self.schedule.next_due_ms();
        let more_is_due = next_ms.is_some_and(|ms| ms <= now_ms);
        self.agenda.note_more_is_due(more_is_due);
    }

    /// Has a lane begin nothing more, and answers all that it has not begun.
    pub(in crate::coordinator) fn halt(&mut self, lane: LaneId, why: Closed) {
        self.routing.lane(lane).paused = true;
        self.take_back(lane);
        self.give_up(lane, why);
    }

    /// Answers all that a lane holds and has not begun, in as many turns as that takes.
    pub(in crate::coordinator) fn give_up(&mut self, lane: LaneId, why: Closed) {
        self.routing.lane(lane).gives_up = Some(why);
        self.gives_up(lane);
    }

    /// Whether a lane only gives up what it holds. Goes on with that.
    pub(in crate::coordinator) fn gives_up(&mut self, id: LaneId) -> bool {
        let Some(lane) = self.routing.lane_if_open_mut(id) else {
            return false;
        };
        let stopping = || Closed::new(ErrorCode::ShuttingDown, SHUTTING_DOWN);
        let why = lane.gives_up.clone();
        let Some(why) = why.or_else(|| self.stopping.then(stopping)) else {
            return false;
        };
        let mut jobs = Vec::new();
        self.schedule
            .drain_lane(id, UNRUN_AT_ONCE_MAX, |job| jobs.push(job));
        for job in jobs {
            if !planted(Fault::StopForgets) || !self.stopping {
                self.answer_closed(&job, &why);
            }
        }
        if self.schedule.is_idle(id) {
            self.routing.lane(id).gives_up = None;
        } else {
            self.agenda.mark(id);
        }
        true
    }

    /// Answers a job that was taken out of the schedule.
    pub(in crate::coordinator) fn answer_unrun(&mut self, job: &Job, code: ErrorCode, text: &str) {
        self.answer_all(job, |out, type_name, index| {
            host_error(out, type_name, index, code, text);
        });
    }

    /// The same of one whose type takes nothing.
    pub(in crate::coordinator) fn answer_closed(&mut self, job: &Job, closed: &Closed) {
        let now = self.clock.instant();
        self.answer_all(job, |out, type_name, index| {
            closed_error(out, type_name, index, closed, now);
        });
    }

    /// Answers a job whose deadline has passed; of one that stood in line it is told what it waited for, for how long,
    /// and in which `place`.
    pub(in crate::coordinator) fn answer_expired(&mut self, job: &Job, place: Option<usize>) {
        let code = ErrorCode::Expired;
        let Some(waits) = &job.waits else {
            return self.answer_unrun(job, code, rules::EXPIRED_UNSERVED);
        };
        let waited_ms = self.clock.steady_ms().saturating_sub(waits.since_ms);
        let waited = Waited {
            last_code: (&*waits.code).into(),
            last_err: waits.text.as_deref().unwrap_or(rules::NOT_TRIED).into(),
            waited_ms,
            place: place.unwrap_or(1) as u64,
        };
        let text = match waits.is_capped {
            true => rules::waited_longest(job.deadline_ms.saturating_sub(waits.since_ms)),
            false => rules::EXPIRED_UNSERVED.to_owned(),
        };
        let fields = waited.fields();
        let extra: Vec<_> = fields.iter().map(|(name, json)| (*name, &**json)).collect();
        self.answer_all(job, |out, type_name, index| {
            encoder::error_with(out, type_name, index, code.as_str(), &text, &extra);
        });
    }

    /// Answers all who have asked for a job with an error. Where it bears an id, that is free again.
    pub(in crate::coordinator) fn answer_all(
        &mut self,
        job: &Job,
        write: impl Fn(&mut Vec<u8>, &str, &str),
    ) {
        let type_name = &self.routing[job.type_id].name;
        self.clients
            .reply(job.slot, |out| write(out, type_name, job.query_index()));
        self.clients.settle(job.slot, 1);
        for joined in self.end_once(job.once) {
            let type_name = &self.routing[job.type_id].name;
            self.clients.reply(joined.slot, |out| {
                write(out, type_name, &joined.query_index)
            });
            self.clients.settle(joined.slot, 1);
        }
    }

    /// Takes the next job of a lane that is really to be run; none once `unrun` is enough for this turn.
    pub(in crate::coordinator) fn next(&mut self, id: LaneId, unrun: &mut Unrun) -> Option<Job> {
        let before = unrun.0;
        let mut found = None;
        while found.is_none() && !unrun.is_enough() {
            let Some(job) = self.schedule.next(id) else {
                break;
            };
            found = self.begins(id, job);
            unrun.0 += usize::from(found.is_none());
        }
        if unrun.0 > before {
            // What that took is no job's doing.
            self.turn.bill();
        }
        found
    }

    /// Gives a job back that is to be run. One whose type others wait for already joins them, or is refused: it must not
    /// take what they stand in line for.
    fn begins(&mut self, id: LaneId, job: Job) -> Option<Job> {
        let waits = job.is_in_line();
        let void = job.once.is_some() && !self.persistence.is_sound();
        if void {
            // What it would be answered cannot be kept, so it would be run again when it is asked again.
            self.answer_unrun(&job, ErrorCode::StorageFailed, VOID);
        } else if let Some(closed) = self.runs_no_more(job.type_id, waits) {
            self.answer_closed(&job, &closed);
        } else if let Some(closed) = self.is_shut_out(job.type_id, job.who()) {
            self.answer_closed(&job, &closed);
        } else if waits || !self.schedule.has_waiting(id, job.type_id) {
            return Some(job);
        } else if job.wait {
            let now_ms = self.clock.steady_ms();
            self.schedule.join(id, job, now_ms);
            return None;
        } else {
            let code = self.schedule.code_of_line(id, job.type_id);
            self.answer_all(&job, |out, type_name, index| {
                encoder::error(out, type_name, index, &code, rules::OTHERS_WAIT);
            });
        }
        self.has_left(id, &job);
        None
    }

    /// Why a job of this type can only be given up. What a removed plugin has queued still runs on it, but what
    /// a job waits for may never come; on a quarantined one, or one whose state is not what is durable, nothing
    /// runs.
    pub(in crate::coordinator) fn runs_no_more(
        &self,
        type_id: TypeId,
        waits: bool,
    ) -> Option<Closed> {
        let closed = self.routing[type_id].closed.as_ref().filter(|closed| {
            let nothing_runs = [ErrorCode::Quarantined, ErrorCode::StorageFailed];
            waits || nothing_runs.contains(&closed.code)
        });
        closed.cloned()
    }
}
