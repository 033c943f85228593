//! What the lanes run: begun here, and led to its reply or to where it waits.

use std::time::{Duration, Instant};

use plugin_api::rules;
use protocol::{ErrorCode, encoder};

use super::{
    coordinator::{Coordinator, SHUTTING_DOWN},
    host_error::host_error,
    job::{Asked, Job, TypeId},
    lane::Runner,
    lane_code::{Output, Verdict},
    lane_thread::{Fetched, Finished, Handed},
    schedule::LaneId,
    storage::{VOID, storage_unknown},
    types::Closed,
};
use crate::limits;

/// Jobs of one inline lane that are run before others get their turn.
const INLINE_TURN: usize = 256;

impl Coordinator {
    /// Fetches finished replies from threads that are not through with their window, and takes back what
    /// stands behind a job that runs for long.
    pub fn look_at_threads(&mut self) {
        for lane in std::mem::take(&mut self.loaded) {
            self.fetch(lane);
            let Some(of) = self.lanes.get_mut(lane.0 as usize).and_then(Option::as_mut) else {
                continue;
            };
            if let Runner::Thread(thread) = of.runner() {
                let (taken, is_loaded) = thread.take_back_surplus(Instant::now());
                if is_loaded && !self.loaded.contains(&lane) {
                    self.loaded.push(lane);
                }
                self.put_back(lane, taken);
            }
        }
    }

    pub(super) fn time_passed(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        let mut ready = Vec::new();
        self.schedule
            .due(self.clock.now_ms(), &mut expired, &mut ready);
        for job in expired.drain(..) {
            self.answer_unrun(&job, ErrorCode::Expired, rules::EXPIRED_UNSERVED);
        }
        self.expired = expired;
        for lane in ready {
            self.mark(lane);
        }
    }

    /// Has the core loop look at a lane.
    pub(super) fn mark(&mut self, lane: LaneId) {
        let of = self.lanes[lane.0 as usize]
            .as_mut()
            .expect("only open lanes get jobs");
        if !of.marked {
            of.marked = true;
            self.marked.push(lane);
            self.bell.notify_one();
        }
    }

    pub(super) fn state_changed(&mut self, lane: LaneId) {
        self.schedule.state_changed(lane);
        if self.schedule.has_next(lane) {
            self.mark(lane);
        }
    }

    /// Takes back what a lane's thread has not entered.
    pub(super) fn take_back(&mut self, id: LaneId) {
        let lane = self.lanes[id.0 as usize]
            .as_mut()
            .expect("only open lanes are paused");
        if let Runner::Thread(thread) = lane.runner() {
            let taken = thread.take_back();
            self.put_back(id, taken);
        }
    }

    /// Has a lane begin nothing more, and answers all that it has not begun.
    pub(super) fn halt(&mut self, lane: LaneId, code: ErrorCode, text: &str) {
        self.lane(lane).paused = true;
        self.take_back(lane);
        self.give_up(lane, code, text);
    }

    /// Answers all that a lane holds and has not begun.
    pub(super) fn give_up(&mut self, lane: LaneId, code: ErrorCode, text: &str) {
        let mut jobs = Vec::new();
        self.schedule.drain_lane(lane, |job| jobs.push(job));
        for job in jobs {
            self.answer_unrun(&job, code, text);
        }
    }

    /// Answers a job that was taken out of the schedule.
    pub(super) fn answer_unrun(&mut self, job: &Job, code: ErrorCode, text: &str) {
        self.answer_all(job, |out, type_name, index| {
            host_error(out, type_name, index, code, text);
        });
    }

    /// Answers all who have asked for a job with an error. Where it bears an id, that is free again.
    fn answer_all(&mut self, job: &Job, write: impl Fn(&mut Vec<u8>, &str, &str)) {
        let type_name = &self.types[job.type_id].name;
        self.clients
            .reply(job.slot, |out| write(out, type_name, job.query_index()));
        self.clients.settle(job.slot, 1);
        for joined in self.end_once(job.once) {
            let type_name = &self.types[job.type_id].name;
            self.clients.reply(joined.slot, |out| {
                write(out, type_name, &joined.query_index)
            });
            self.clients.settle(joined.slot, 1);
        }
    }

    pub(super) fn note_served(
        &mut self,
        type_id: TypeId,
        asked: &Asked<'_>,
        verdict: &Verdict,
        took: impl FnOnce() -> Duration,
    ) {
        self.types[type_id].served += 1;
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
            r#type = %self.types[type_id].name,
            client = asked.client,
            query_index = asked.query_index,
            attempt = asked.attempt,
            took_us = u64::try_from(took().as_micros()).unwrap_or(u64::MAX),
            result,
            "served"
        );
    }

    /// Begins what a lane may begin.
    pub(super) fn run(&mut self, id: LaneId) {
        if self.is_held_up(id) {
            // What its thread would go on with would only be more to keep.
            return self.take_back(id);
        }
        let Some(lane) = self.lanes[id.0 as usize]
            .as_mut()
            .filter(|lane| !lane.paused)
        else {
            return;
        };
        match lane.runner() {
            Runner::Inline(_) => self.run_inline(id),
            Runner::Thread(_) => self.hand_over(id),
            Runner::Gone => {}
        }
    }

    fn run_inline(&mut self, id: LaneId) {
        self.begin_turn();
        for _ in 0..INLINE_TURN {
            let Some((job, waited)) = self.next(id) else {
                return;
            };
            let lane = self.lanes[id.0 as usize]
                .as_mut()
                .expect("it has just been run");
            let Runner::Inline(code) = lane.runner() else {
                return self.schedule.put_back(id, job, waited);
            };
            let started = debug_start();
            let mut reply = std::mem::take(&mut self.reply);
            reply.clear();
            let jobber = self.types[job.type_id].jobber;
            let out = Output {
                reply: &mut reply,
                effects: Some(self.commits.effects()),
            };
            let verdict = code.run(jobber, &job.asked(), &self.clock, self.now, out);
            self.now = code.ended();
            let took_us = code.took_us();
            self.note_served(job.type_id, &job.asked(), &verdict, || {
                started.map_or(Duration::ZERO, |at| at.elapsed())
            });
            let panicked = verdict.is_panic();
            self.served(id, job, verdict, &reply, waited);
            self.reply = reply;
            if panicked {
                self.panicked(id);
            }
            self.took(id, took_us);
            if self.turn_us > limits::INLINE_TURN_US || self.is_held_up(id) {
                break;
            }
        }
        if self.schedule.has_next(id) {
            self.mark(id);
        }
    }

    /// Takes the next job of a lane that is really to be run. One whose type others wait for already joins
    /// them, or is refused: it must not take what they stand in line for.
    fn next(&mut self, id: LaneId) -> Option<(Job, bool)> {
        loop {
            let (job, waited) = self.schedule.next(id)?;
            if job.once.is_some() && self.commits.have_failed() {
                // What it would be answered cannot be kept, so it would be run again when it is asked again.
                self.answer_unrun(&job, ErrorCode::StorageFailed, VOID);
                if waited {
                    self.schedule.try_next(id, job.type_id);
                }
                continue;
            }
            if waited || !self.schedule.has_waiting(id, job.type_id) {
                return Some((job, waited));
            }
            let (code, text) = self.schedule.refusal(id, job.type_id);
            if job.wait {
                self.schedule.wait(id, job, false, (code, text));
                continue;
            }
            self.answer_all(&job, |out, type_name, index| {
                encoder::error(out, type_name, index, &code, rules::OTHERS_WAIT);
            });
        }
    }

    fn hand_over(&mut self, id: LaneId) {
        let lane = self.lanes[id.0 as usize]
            .as_mut()
            .expect("it has just been run");
        let Runner::Thread(thread) = lane.runner() else {
            return;
        };
        let now = Instant::now();
        let room = thread.room(now);
        let mut window = std::mem::take(&mut self.window);
        let mut bytes = 0;
        while window.len() < room
            && bytes < limits::WINDOW_BYTES_MAX
            && let Some((job, waited)) = self.next(id)
        {
            bytes += job.text_bytes();
            let jobber = self.types[job.type_id].jobber;
            window.push_back(Handed {
                job,
                jobber,
                waited,
            });
        }
        let lane = self.lanes[id.0 as usize]
            .as_mut()
            .expect("it has just been run");
        let Runner::Thread(thread) = lane.runner() else {
            unreachable!("no lane changes its runner while jobs are taken out of its queue");
        };
        if !window.is_empty() {
            if thread.hand(&mut window) && !self.loaded.contains(&id) {
                self.loaded.push(id);
            }
            self.watch(id, now);
        }
        self.window = window;
    }

    /// Fetches what a lane's thread has finished, and gives it more.
    pub(super) fn fetch(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id.0 as usize).and_then(Option::as_mut) else {
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
    pub(super) fn take_fetched(&mut self, id: LaneId, mut fetched: Fetched) {
        let (mut replies, mut effects) = (&fetched.replies[..], &fetched.effects[..]);
        let counts = !self.commits.have_failed();
        let panics = fetched.finished.iter();
        let panics = panics.filter(|one| one.verdict.is_panic()).count();
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
            if counts {
                self.commits.make_room(changed.len());
                self.commits.effects().extend_from_slice(changed);
            }
            self.note_served(handed.job.type_id, &handed.job.asked(), &verdict, || took);
            self.served(id, handed.job, verdict, reply, handed.waited);
        }
        self.put_back(id, fetched.returned.drain(..).rev());
        fetched.clear();
        self.fetched = fetched;
        // Last, for whoever is refused because of it came after those that were run.
        for _ in 0..panics {
            self.panicked(id);
        }
    }

    /// A job has been run: its reply goes out, or it is set aside.
    fn served(&mut self, lane: LaneId, job: Job, verdict: Verdict, reply: &[u8], waited: bool) {
        let (slot, type_id) = (job.slot, job.type_id);
        let client = self.clients.at(slot);
        let unwanted = client.ended;
        let mut stays = false;
        match verdict {
            Verdict::Replied { changed, result } => {
                let failed = self.commits.have_failed();
                if failed && self.lane(lane).is_kept {
                    self.answer_unrun(&job, ErrorCode::StorageFailed, VOID);
                } else if failed && job.once.is_some() {
                    // It has changed no state; what else it did stays, and that it was done cannot be kept.
                    self.answer_all(&job, storage_unknown);
                } else {
                    let joined = self.keep_answer(lane, job.once, reply, &result);
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
                    Some(closed) => self.answer_unrun(&job, closed.code, &closed.text),
                    None => {
                        stays = waits;
                        self.let_ended_go(job.once);
                        self.set_aside(lane, job, verdict, waited);
                    }
                }
            }
        }
        if waited && !stays {
            self.waits_no_more(lane, type_id);
        }
    }

    /// Why a job of this type can only be given up. What a removed plugin has queued still runs on it, but what
    /// a job waits for may never come; on a quarantined one, or one whose state is not what is durable, nothing
    /// runs.
    pub(super) fn runs_no_more(&self, type_id: TypeId, waits: bool) -> Option<Closed> {
        let closed = self.types[type_id].closed.clone();
        closed.filter(|closed| {
            let nothing_runs = [ErrorCode::Quarantined, ErrorCode::StorageFailed];
            waits || nothing_runs.contains(&closed.code)
        })
    }

    /// A job that had been set aside, and was out to be tried once more, has left the line for good.
    pub(super) fn waits_no_more(&mut self, lane: LaneId, type_id: TypeId) {
        self.schedule.try_next(lane, type_id);
        if self.schedule.has_next(lane) {
            self.mark(lane);
        }
    }

    pub(super) fn set_aside(&mut self, lane: LaneId, mut job: Job, verdict: Verdict, waited: bool) {
        match verdict {
            Verdict::TryAgain => {
                job.attempt += 1;
                let delay = u64::try_from(limits::RETRY_DELAY.as_millis()).unwrap_or(u64::MAX);
                let due_ms = self.clock.now_ms().saturating_add(delay);
                self.schedule.retry_at(lane, job, due_ms);
            }
            Verdict::Wait { code, message } => {
                self.schedule.wait(lane, job, waited, (code, message));
            }
            Verdict::Replied { .. } | Verdict::Void => {
                unreachable!("what is answered is not set aside")
            }
        }
        if self.schedule.has_next(lane) {
            self.mark(lane);
        }
        self.bell.notify_one();
    }

    /// Puts jobs that were handed out, but not begun, back where they stood; the last one comes first.
    pub(super) fn put_back(&mut self, lane: LaneId, handed: impl Iterator<Item = Handed>) {
        for Handed { job, waited, .. } in handed {
            let type_id = job.type_id;
            match self.runs_no_more(type_id, false) {
                None => self.schedule.put_back(lane, job, waited),
                Some(closed) => {
                    self.answer_unrun(&job, closed.code, &closed.text);
                    if waited {
                        self.waits_no_more(lane, type_id);
                    }
                }
            }
        }
    }
}

/// The time, if somebody will read how long a job took.
pub(super) fn debug_start() -> Option<Instant> {
    tracing::enabled!(tracing::Level::DEBUG).then(Instant::now)
}

pub(super) const TIMED_OUT: &str = "the jobber did not end in time; nothing that it did counts";
