//! A turn on the core thread: what time it is, and how much of the turn is spent. Who has used up a turn lets the others have
//! theirs.

use crate::{
    clock::{Clock, Moment},
    limits,
    run_delay::RunDelay,
};

/// The turn that the core thread is in.
pub(super) struct Turn {
    /// What all moments come from.
    clock: Clock,
    /// The time, as of the turn's beginning or the last job that ran inline.
    now: Moment,
    /// How long jobs have run on the core thread since the turn began, in microseconds.
    spent_us: u64,
    /// Messages of this turn that have not been counted in it yet.
    unbilled: u32,
    /// What no inline jobber is to blame for: how long this thread waited for a processor.
    run_delay: RunDelay,
}

impl Turn {
    /// A turn of the thread that calls this.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            now: clock.read(),
            run_delay: match clock.is_simulated() {
                true => RunDelay::none(),
                false => RunDelay::of_this_thread(),
            },
            clock,
            spent_us: 0,
            unbilled: 0,
        }
    }

    /// The next turn begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        (self.spent_us, self.unbilled) = (0, 0);
        self.now = self.clock.read();
        self.run_delay.look(self.now.us);
    }

    /// The time, as of the turn's beginning or what was billed last.
    #[inline]
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Whether the turn is spent: what is finished should be sent, and others should get their turn.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.spent_us > limits::INLINE_TURN_US
    }

    /// Notes that a message has been dealt with.
    #[inline]
    pub(super) fn count_message(&mut self) {
        self.unbilled += 1;
    }

    /// What is done for the present message may take long: it is billed by itself.
    #[inline]
    pub(super) fn takes_long(&mut self) {
        self.unbilled = limits::UNBILLED_MAX;
    }

    /// What was done for messages counts for their client's turn, as jobs do that run on the core thread. The clock is
    /// read for what may have taken long, else now and then.
    #[inline]
    pub(super) fn bill_if_due(&mut self) {
        if self.unbilled >= limits::UNBILLED_MAX {
            self.bill();
            self.unbilled = 0;
        }
    }

    /// What was done since the last look at the clock counts for the turn.
    pub(super) fn bill(&mut self) {
        let began_us = std::mem::replace(&mut self.now, self.clock.read()).us;
        self.spent_us += self.now.us.saturating_sub(began_us);
    }

    /// An inline job has just ended, at this moment: what was done before it is not billed once more.
    #[inline]
    pub(super) fn job_ended(&mut self, now: Moment) {
        (self.now, self.unbilled) = (now, 0);
    }

    /// A call of an inline jobber counts for the turn. One that was slow returns how long it held up the core thread, in
    /// microseconds: a call that only waited for a processor has held up nobody.
    #[inline]
    pub(super) fn spend(&mut self, took_us: u64) -> Option<u64> {
        const SLOW_US: u64 = limits::INLINE_CALL_MS_MAX * 1_000;
        self.spent_us += took_us;
        if took_us <= SLOW_US {
            return None;
        }
        let held_us = took_us.saturating_sub(self.run_delay.since_look());
        (held_us > SLOW_US).then_some(held_us)
    }
}
