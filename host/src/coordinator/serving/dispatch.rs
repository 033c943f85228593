//! What the lanes run: begun here, and led to its reply or to where it waits.

use std::time::{Duration, Instant};

use protocol::ErrorCode;

use super::unrun::{EXPIRED, Unrun};
use crate::{
    coordinator::{
        coordinator::{Coordinator, SHUTTING_DOWN},
        durable::storage::{VOID, storage_unknown},
    },
    lane::{Fetched, Finished, Handed, Job, LaneId, Output, RequestRef, Runner, TypeId, Verdict},
    limits,
    planted::{Fault, planted},
};

/// Jobs of one inline lane that are run before others get their turn.
const INLINE_TURN: usize = 256;

impl Coordinator {
    /// Fetches finished replies from threads that are not through with their window, and takes back what
    /// stands behind a job that runs for long.
    pub fn look_at_threads(&mut self) {
        for lane in self.agenda.take_loaded() {
            self.fetch(lane);
            let Some(of) = self.routing.lane_if_open_mut(lane) else {
                continue;
            };
            if let Runner::Thread(thread) = of.runner() {
                let (taken, is_loaded) = thread.take_back_surplus(self.clock.instant());
                if is_loaded {
                    self.agenda.note_loaded(lane);
                }
                self.put_back(lane, taken);
            }
        }
    }

    pub(in crate::coordinator) fn state_changed(&mut self, lane: LaneId) {
        if planted(Fault::WakeForgotten) {
            return;
        }
        self.schedule.state_changed(lane);
        if self.schedule.has_next(lane) {
            self.agenda.mark(lane);
        }
    }

    /// Takes back what a lane's thread has not entered.
    pub(in crate::coordinator) fn take_back(&mut self, id: LaneId) {
        if let Runner::Thread(thread) = self.routing.lane(id).runner() {
            let taken = thread.take_back();
            self.put_back(id, taken);
        }
    }

    pub(in crate::coordinator) fn note_served(
        &mut self,
        type_id: TypeId,
        asked: &RequestRef<'_>,
        verdict: &Verdict,
        took: impl FnOnce() -> Duration,
    ) {
        self.routing[type_id].served += 1;
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let result = match verdict {
            Verdict::Replied { result, .. } => result.word(),
            Verdict::TryAgain => "try again",
            Verdict::Wait { .. } => "not yet",
            Verdict::Void => "void",
        };
        tracing::debug!(
            r#type = %self.routing[type_id].name,
            client = asked.client,
            query_index = asked.query_index,
            attempt = asked.attempt,
            took_us = u64::try_from(took().as_micros()).unwrap_or(u64::MAX),
            result,
            "served"
        );
    }

    /// Begins what a lane may begin.
    pub(in crate::coordinator) fn run(&mut self, id: LaneId) {
        if self.gives_up(id) {
            return;
        }
        if self.is_held_up(id) {
            // What its thread would go on with would only be more to keep.
            return self.take_back(id);
        }
        let lane = self.routing.lane_if_open_mut(id);
        let Some(lane) = lane.filter(|lane| !lane.paused) else {
            return;
        };
        match lane.runner() {
            Runner::Inline(_) => self.run_inline(id),
            Runner::Thread(_) => self.hand_over(id),
            Runner::Gone => {}
        }
    }

    fn run_inline(&mut self, id: LaneId) {
        self.turn.begin();
        let mut unrun = Unrun::default();
        for _ in 0..INLINE_TURN {
            let Some(job) = self.next(id, &mut unrun) else {
                break;
            };
            let jobber = self.routing[job.type_id].jobber;
            let Runner::Inline(code) = self.routing.lane(id).runner() else {
                return self.schedule.put_back(id, job);
            };
            let started = debug_start();
            let mut reply = std::mem::take(&mut self.reply);
            reply.clear();
            let out = Output {
                reply: &mut reply,
                effects: Some(self.persistence.effects()),
            };
            let verdict = code.run(jobber, &job.asked(), &self.clock, self.turn.now(), out);
            self.turn.job_ended(code.ended());
            let took_us = code.took_us();
            self.note_served(job.type_id, &job.asked(), &verdict, || {
                started.map_or(Duration::ZERO, |at| at.elapsed())
            });
            let (misdeed, type_id, who) = (verdict.misdeed(), job.type_id, job.who());
            self.served(id, job, verdict, &reply);
            self.reply = reply;
            if let Some(misdeed) = misdeed {
                self.failed_on(id, type_id, who, misdeed);
            }
            self.took(id, took_us);
            if self.turn.is_over() || self.is_held_up(id) {
                break;
            }
        }
        if self.schedule.has_next(id) {
            self.agenda.mark(id);
        }
    }

    fn hand_over(&mut self, id: LaneId) {
        let Runner::Thread(thread) = self.routing.lane(id).runner() else {
            return;
        };
        let now = self.clock.instant();
        let room = thread.room(now);
        let mut window = std::mem::take(&mut self.window);
        let (mut unrun, mut bytes) = (Unrun::default(), 0);
        while window.len() < room
            && bytes < limits::WINDOW_BYTES_MAX
            && let Some(job) = self.next(id, &mut unrun)
        {
            bytes += job.text_bytes();
            let jobber = self.routing[job.type_id].jobber;
            window.push_back(Handed { job, jobber });
        }
        if unrun.is_enough() && self.schedule.has_next(id) {
            self.agenda.mark(id);
        }
        let Runner::Thread(thread) = self.routing.lane(id).runner() else {
            unreachable!("no lane changes its runner while jobs are taken out of its queue");
        };
        if !window.is_empty() {
            if thread.hand(&mut window) {
                self.agenda.note_loaded(id);
            }
            self.watch(id, now);
        }
        self.window = window;
    }

    /// Fetches what a lane's thread has finished, and gives it more.
    pub(in crate::coordinator) fn fetch(&mut self, id: LaneId) {
        let Some(lane) = self.routing.lane_if_open_mut(id) else {
            return;
        };
        let mut fetched = std::mem::take(&mut self.fetched);
        if let Runner::Thread(thread) = lane.runner() {
            thread.fetch(&mut fetched);
        }
        self.take_fetched(id, fetched);
        self.run(id);
    }

    /// Leads what a lane's thread has finished to its replies.
    pub(in crate::coordinator) fn take_fetched(&mut self, id: LaneId, mut fetched: Fetched) {
        let (mut replies, mut effects) = (&fetched.replies[..], &fetched.effects[..]);
        let counts = self.persistence.is_sound();
        let misdeeds = fetched.finished.iter().filter_map(|one| {
            let job = &one.handed.job;
            Some((job.type_id, job.who(), one.verdict.misdeed()?))
        });
        let misdeeds: Vec<_> = misdeeds.collect();
        for Finished {
            handed,
            verdict,
            reply_bytes,
            effect_bytes,
            took,
        } in fetched.finished.drain(..)
        {
            let (reply, rest) = replies.split_at(reply_bytes);
            let (changed, later) = effects.split_at(effect_bytes);
            (replies, effects) = (rest, later);
            if counts && !planted(Fault::EffectsLost) {
                self.persistence.make_room(changed.len());
                self.persistence.effects().extend_from_slice(changed);
            }
            self.note_served(handed.job.type_id, &handed.job.asked(), &verdict, || took);
            self.served(id, handed.job, verdict, reply);
        }
        self.put_back(id, fetched.returned.drain(..).rev());
        fetched.clear();
        self.fetched = fetched;
        // Last, for whoever is refused because of it came after those that were run.
        for (type_id, who, misdeed) in misdeeds {
            self.failed_on(id, type_id, who, misdeed);
        }
    }

    /// A job has been run: its reply goes out, or it is set aside.
    fn served(&mut self, lane: LaneId, job: Job, verdict: Verdict, reply: &[u8]) {
        let (slot, type_id, waited) = (job.slot, job.type_id, job.is_in_line());
        let client = self.clients.at(slot);
        let unwanted = client.ended;
        let mut stays = false;
        match verdict {
            Verdict::Replied { result, .. } if waited && result == EXPIRED => {
                // Nobody may overtake it while it is tried, so it stands first.
                self.answer_expired(&job, Some(1));
            }
            Verdict::Replied { changed, result } => {
                let failed = !self.persistence.is_sound();
                if failed && self.routing.lane(lane).is_kept {
                    self.answer_unrun(&job, ErrorCode::StorageFailed, VOID);
                } else if failed && job.once.is_some() {
                    // It has changed no state; what else it did stays, and that it was done cannot be kept.
                    self.answer_all(&job, storage_unknown);
                } else {
                    let joined =
                        self.keep_answer(lane, (slot, job.once), reply, (&result, changed));
                    if self.send_or_hold(lane, slot, reply, changed) {
                        self.clients.settle(slot, 1);
                    }
                    self.answer_joined(lane, joined, reply);
                }
                if changed {
                    self.state_changed(lane);
                }
            }
            Verdict::Void => self.answer_unrun(&job, ErrorCode::Timeout, TIMED_OUT),
            // A client that has ended takes with it what is not answered yet.
            _ if unwanted => {
                self.clients.settle(slot, 1);
                self.hand_on(job);
            }
            _ if self.stopping => {
                self.answer_unrun(&job, ErrorCode::ShuttingDown, SHUTTING_DOWN);
            }
            verdict => {
                let waits = matches!(verdict, Verdict::Wait { .. });
                match self.runs_no_more(type_id, waits) {
                    Some(closed) => self.answer_closed(&job, &closed),
                    None => {
                        stays = waits;
                        self.let_ended_go(job.once);
                        self.set_aside(lane, job, verdict);
                    }
                }
            }
        }
        if waited && !stays {
            self.waits_no_more(lane, type_id);
        }
    }

    /// A job is out of the schedule for good. If it stood in line, and was out to be tried once more, the next one is
    /// tried.
    pub(in crate::coordinator) fn has_left(&mut self, lane: LaneId, job: &Job) {
        if job.is_in_line() && !planted(Fault::TrialNeverEnds) {
            self.waits_no_more(lane, job.type_id);
        }
    }

    fn waits_no_more(&mut self, lane: LaneId, type_id: TypeId) {
        self.schedule.try_next(lane, type_id);
        if self.schedule.has_next(lane) {
            self.agenda.mark(lane);
        }
    }

    pub(in crate::coordinator) fn set_aside(
        &mut self,
        lane: LaneId,
        mut job: Job,
        verdict: Verdict,
    ) {
        match verdict {
            Verdict::TryAgain if planted(Fault::RetryForgotten) => {}
            Verdict::TryAgain => {
                job.attempt += 1;
                let delay = u64::try_from(limits::RETRY_DELAY.as_millis()).unwrap_or(u64::MAX);
                let due_ms = self.clock.steady_ms().saturating_add(delay);
                self.schedule.retry_at(lane, job, due_ms);
            }
            Verdict::Wait { code, message } => {
                let now_ms = self.clock.steady_ms();
                self.schedule.wait(lane, job, (code, message), now_ms);
            }
            Verdict::Replied { .. } | Verdict::Void => {
                unreachable!("what is answered is not set aside")
            }
        }
        if self.schedule.has_next(lane) {
            self.agenda.mark(lane);
        }
        self.agenda.ring();
    }

    /// Puts jobs that were handed out, but not begun, back where they stood; the last one comes first.
    pub(in crate::coordinator) fn put_back(
        &mut self,
        lane: LaneId,
        handed: impl Iterator<Item = Handed>,
    ) {
        for Handed { job, .. } in handed.filter(|_| !planted(Fault::PutBackForgotten)) {
            match self.runs_no_more(job.type_id, false) {
                None => self.schedule.put_back(lane, job),
                Some(closed) => {
                    self.answer_closed(&job, &closed);
                    self.has_left(lane, &job);
                }
            }
        }
    }
}

/// The time, if somebody will read how long a job took.
pub(in crate::coordinator) fn debug_start() -> Option<Instant> {
    tracing::enabled!(tracing::Level::DEBUG).then(Instant::now)
}

pub(in crate::coordinator) const TIMED_OUT: &str =
    "the jobber did not end in time; nothing that it did counts";
