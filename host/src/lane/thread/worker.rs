//! What a lane's thread does: it enters a job, runs it, and tells of it.

use std::sync::{Arc, PoisonError};

use super::{Handed, Shared, Window};
use crate::{
    clock::{Clock, Moment},
    lane::{
        code::{LaneCode, Output, Verdict},
        signal::Signal,
    },
    limits,
    threads::{Step, Worker},
};

/// What the lane's thread does.
pub(super) struct LaneWorker {
    shared: Arc<Shared>,
    code: LaneCode,
    clock: Clock,
    signal: Arc<Signal>,
    reply: Vec<u8>,
    /// When the last job ended, if the next one begins at once: asking for the time costs a fifth of a small job.
    now: Option<Moment>,
    /// The job that was entered and has not been run, and when it was entered.
    entered: Option<(Handed, Moment)>,
    /// The job that was run and has not been told of, when it was entered, and what came of it.
    verdict: Option<(Handed, Moment, Verdict)>,
}

impl LaneWorker {
    /// Runs what comes into a window.
    pub(super) fn new(
        shared: Arc<Shared>,
        code: LaneCode,
        clock: Clock,
        signal: Arc<Signal>,
    ) -> Self {
        Self {
            shared,
            code,
            clock,
            signal,
            reply: Vec::new(),
            now: None,
            entered: None,
            verdict: None,
        }
    }

    /// Enters the next job, if there is one; else says whether there is to be one.
    fn enter(&mut self, window: &mut Window) -> Step {
        let next = match window.held {
            true => None,
            false => window.inbox.pop_front(),
        };
        let Some(handed) = next else {
            return match window.ends {
                true => Step::Ended,
                false => Step::Idle(None),
            };
        };
        let moment = self.now.take().unwrap_or_else(|| self.clock.read());
        window.entered = Some((handed.clone(), self.clock.instant_at(moment)));
        self.entered = Some((handed, moment));
        Step::Did
    }

    fn run_entered(&mut self) {
        let Some((handed, moment)) = self.entered.take() else {
            return;
        };
        self.reply.clear();
        let out = Output {
            reply: &mut self.reply,
            effects: None,
        };
        let asked = handed.job.asked();
        let verdict = (self.code).run(handed.jobber, &asked, &self.clock, moment, out);
        // Code that is made anew after a panic took its time after that.
        self.now = (!verdict.is_panic()).then(|| self.code.ended());
        self.verdict = Some((handed, moment, verdict));
    }

    /// Tells of the job that was run. Nobody hears it of a thread that was given up.
    fn tell(&mut self, window: &mut Window) -> Step {
        let Some((handed, moment, verdict)) = self.verdict.take() else {
            return Step::Did;
        };
        if window.abandoned {
            return Step::Ended;
        }
        let started = self.clock.instant_at(moment);
        let ended = self.clock.instant_at(self.code.ended());
        window.entered = None;
        let told = (&*self.reply, self.code.effect_bytes());
        window.finish(handed, verdict, told, ended - started, ended);
        if self.reply.capacity() > limits::HELD_REPLY_BYTES_MAX {
            self.reply = Vec::new();
        }
        if window.is_worth_a_signal(started, ended)
            && let Some(lane) = window.lane
        {
            self.signal.raise(lane);
        }
        Step::Did
    }
}

impl Worker for LaneWorker {
    fn run(mut self: Box<Self>) {
        let shared = Arc::clone(&self.shared);
        let mut window = shared.lock();
        loop {
            match self.enter(&mut window) {
                Step::Ended => return,
                Step::Idle(_) => {
                    window.sleeps = true;
                    window = shared
                        .filled
                        .wait(window)
                        .unwrap_or_else(PoisonError::into_inner);
                    self.now = None;
                }
                Step::Did => {
                    drop(window);
                    self.run_entered();
                    window = shared.lock();
                    if self.tell(&mut window) == Step::Ended {
                        return;
                    }
                }
            }
        }
    }

    fn step(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        if self.entered.is_some() {
            self.run_entered();
            return Step::Did;
        }
        let mut window = shared.lock();
        if self.verdict.is_some() {
            return self.tell(&mut window);
        }
        let step = self.enter(&mut window);
        if step == Step::Idle(None) {
            self.now = None;
        }
        step
    }
}
