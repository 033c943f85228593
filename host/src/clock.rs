//! The host's time: milliseconds since 1970 that never go back.
//!
//! Two times are told. [`Clock::now_ms`] is for people, plugins and the log: it goes on by itself, and follows the system's
//! clock wherever that is ahead of it. [`Clock::steady_ms`] is for deadlines and spans: it goes on by itself alone, and
//! while the machine sleeps, so that no step of the system's clock ends anything early. Both begin at the same number.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    limits::CLOCK_DIFFERENCE_TOLD,
    planted::{Fault, planted},
};

/// Reads the wall clock at its start and goes on by the monotonic one. What neither of the two tells is added each time that
/// somebody has it look at the system, see [`Clock::look`]. All copies of a clock tell the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_ms: u64,
    /// There is one clock for the whole process, and one for each test of a trial.
    added: &'static Added,
    /// Where a simulated clock stands, in microseconds since its start; `None` of one that goes by the system's.
    simulated_us: Option<&'static AtomicU64>,
}

/// What came to a clock since it was made, beside what the monotonic clock tells. Both only grow.
#[derive(Debug)]
struct Added {
    /// How long the machine has slept, in milliseconds.
    slept_ms: AtomicU64,
    /// By how much the system's clock was set forward, beyond this one's time.
    stepped_ms: AtomicU64,
    /// How far the time since boot was ahead of the monotonic one when the clock was made.
    slept_before: Duration,
}

/// What the system's clocks say at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// By the wall clock, since 1970.
    pub wall_ms: u64,
    /// How long the machine has slept since it was started.
    pub slept: Duration,
}

/// How the host's time stands to the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// None that anybody need know of.
    None,
    /// The system's clock went so far forward, and the host's time with it.
    Followed(Duration),
    /// The host's time is so far ahead, and goes on from there.
    Ahead(Duration),
}

impl Seen {
    /// At this moment.
    pub fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        Self {
            wall_ms: millis(since_1970.unwrap_or_default()),
            slept: at(ClockId::Boottime).saturating_sub(at(ClockId::Monotonic)),
        }
    }
}

impl Clock {
    /// A clock that starts with the present wall time.
    pub fn new() -> Self {
        Self::not_before(0)
    }

    /// The same, unless the wall clock stands before `floor_ms`, which an earlier run of the host has told: then
    /// it starts there.
    pub fn not_before(floor_ms: u64) -> Self {
        Self::made(Seen::now(), floor_ms)
    }

    /// The same, by what the system says at this moment.
    pub fn made(seen: Seen, floor_ms: u64) -> Self {
        Self {
            start: Instant::now(),
            start_ms: seen.wall_ms.max(floor_ms),
            simulated_us: None,
            added: Box::leak(Box::new(Added {
                slept_ms: AtomicU64::new(0),
                stepped_ms: AtomicU64::new(0),
                slept_before: seen.slept,
            })),
        }
    }

    /// A clock that begins at `seen`, not before `floor_ms`, and goes only as `us` is set, which is in microseconds.
    pub fn simulated(us: &'static AtomicU64, seen: Seen, floor_ms: u64) -> Self {
        let floor_ms = match planted(Fault::ClockGoesBack) {
            true => 0,
            false => floor_ms,
        };
        let clock = Self::made(seen, floor_ms);
        let start_us = us.load(Ordering::Relaxed);
        Self {
            start_ms: clock.start_ms.saturating_sub(start_us / 1_000),
            simulated_us: Some(us),
            ..clock
        }
    }

    /// Takes in what the system says: how long the machine has slept, and how far its clock was set forward.
    pub fn look(&self, seen: Seen) -> Difference {
        let slept = seen.slept.saturating_sub(self.added.slept_before);
        let slept_ms = millis(slept);
        self.added.slept_ms.fetch_max(slept_ms, Ordering::Relaxed);
        let now_ms = self.now_ms();
        let told_ms = millis(CLOCK_DIFFERENCE_TOLD);
        let ahead_ms = now_ms.saturating_sub(seen.wall_ms);
        let behind_ms = seen.wall_ms.saturating_sub(now_ms);
        self.added
            .stepped_ms
            .fetch_add(behind_ms, Ordering::Relaxed);
        if behind_ms > told_ms {
            Difference::Followed(Duration::from_millis(behind_ms))
        } else if ahead_ms > told_ms {
            Difference::Ahead(Duration::from_millis(ahead_ms))
        } else {
            Difference::None
        }
    }

    /// Milliseconds since 1970-01-01T00:00Z, as far as the host knows.
    pub fn now_ms(&self) -> u64 {
        self.read().ms
    }

    /// Milliseconds that no step of the system's clock is in. Deadlines are kept in these.
    pub fn steady_ms(&self) -> u64 {
        self.read().steady_ms
    }

    /// Microseconds since some moment before this clock was made, without those that the machine slept.
    pub fn now_us(&self) -> u64 {
        let since_start = self.instant().saturating_duration_since(self.start);
        u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX)
    }

    /// This moment as the system's monotonic clock tells it. Limits that last less than a sleep of the machine are kept in these.
    #[inline]
    pub fn instant(&self) -> Instant {
        match self.simulated_us {
            None => Instant::now(),
            Some(us) => self.start + Duration::from_micros(us.load(Ordering::Relaxed)),
        }
    }

    /// Whether it goes as a simulator has it go.
    pub fn is_simulated(&self) -> bool {
        self.simulated_us.is_some()
    }

    /// The present moment in all of these, to be looked at without asking the system.
    pub fn read(&self) -> Moment {
        let us = self.now_us();
        let slept_ms = self.added.slept_ms.load(Ordering::Relaxed);
        let steady_ms = self.start_ms + us / 1_000 + slept_ms;
        Moment {
            us,
            steady_ms,
            ms: steady_ms + self.added.stepped_ms.load(Ordering::Relaxed),
        }
    }

    /// The same moment as the system's monotonic clock tells it, to the microsecond.
    pub fn instant_at(&self, moment: Moment) -> Instant {
        self.start + Duration::from_micros(moment.us)
    }

    /// When [`Clock::steady_ms`] will be `ms`, unless the machine sleeps before; now, if that is past.
    pub fn instant_of(&self, ms: u64) -> Instant {
        let slept_ms = self.added.slept_ms.load(Ordering::Relaxed);
        let ahead = Duration::from_millis(ms.saturating_sub(self.start_ms + slept_ms));
        self.start
            .checked_add(ahead)
            .unwrap_or_else(|| self.instant())
    }
}

/// A moment that was read from the clock. Reading it costs a tenth of a small request, so it is done once for
/// each and handed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// See [`Clock::now_us`].
    pub us: u64,
    /// See [`Clock::steady_ms`].
    pub steady_ms: u64,
    /// See [`Clock::now_ms`].
    pub ms: u64,
}

impl Moment {
    /// The time in which plugins are told when something is due that is due at `steady_ms`; [`u64::MAX`] for never.
    pub fn told_of(&self, steady_ms: u64) -> u64 {
        match steady_ms {
            u64::MAX => u64::MAX,
            due => due.saturating_add(self.ms - self.steady_ms),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A span as an operator reads it: `2 d 3 h`, `5 min 2 s`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "min"),
            (seconds % 60, "s"),
        ];
        let first = parts.iter().position(|(number, _)| *number > 0);
        let first = first.unwrap_or(parts.len() - 1);
        for (index, (number, unit)) in parts.iter().enumerate().skip(first).take(2) {
            let space = if index == first { "" } else { " " };
            write!(f, "{space}{number} {unit}")?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const HOUR_MS: u64 = 3_600_000;

    fn seen(wall_ms: u64, slept: Duration) -> Seen {
        Seen { wall_ms, slept }
    }

    #[test]
    fn a_forward_step_is_followed_and_ends_no_span() {
        let clock = Clock::made(seen(1_000, HOUR), 0);
        let before = clock.read();
        let (copy, deadline_ms) = (clock, before.steady_ms + 500);
        let wall_ms = before.ms + 24 * HOUR_MS;
        let Difference::Followed(step) = clock.look(seen(wall_ms, HOUR)) else {
            panic!("it is told");
        };
        assert!(step > 23 * HOUR);
        assert!(copy.now_ms() >= wall_ms);
        assert!(clock.steady_ms() < before.steady_ms + HOUR_MS);
        // Who is told the deadline is told as much time until it as before.
        let now = clock.read();
        assert_eq!(
            now.told_of(deadline_ms) - now.ms,
            deadline_ms - now.steady_ms
        );
        assert_eq!(now.told_of(u64::MAX), u64::MAX);
        assert_eq!(clock.look(seen(wall_ms, HOUR)), Difference::None);
    }

    #[test]
    fn a_step_back_is_told_and_the_time_goes_on() {
        let clock = Clock::made(seen(100 * HOUR_MS, HOUR), 0);
        let before = clock.now_ms();
        let Difference::Ahead(ahead) = clock.look(seen(90 * HOUR_MS, HOUR)) else {
            panic!("it is told");
        };
        assert!(ahead >= 10 * HOUR && clock.now_ms() >= before);
        // It came back: nothing is doubled.
        clock.look(seen(100 * HOUR_MS, HOUR));
        assert!(clock.now_ms() < before + HOUR_MS);
    }

    #[test]
    fn a_clock_starts_where_the_one_before_it_had_come_to() {
        let clock = Clock::made(seen(5 * HOUR_MS, HOUR), 9 * HOUR_MS);
        assert!(clock.now_ms() >= 9 * HOUR_MS);
        let ahead = clock.look(seen(5 * HOUR_MS, HOUR));
        assert!(matches!(ahead, Difference::Ahead(ahead) if ahead >= 4 * HOUR));
        // The wall clock is set, at last.
        clock.look(seen(20 * HOUR_MS, HOUR));
        assert!(clock.now_ms() >= 20 * HOUR_MS);
    }

    #[test]
    fn spans_go_on_while_the_machine_sleeps_and_the_wall_clock_is_not_taken_for_a_step() {
        let clock = Clock::made(seen(1_000, HOUR), 0);
        let before = clock.read();
        let due = clock.instant_of(before.steady_ms + 2 * HOUR_MS);
        // So it is seen after the machine has slept for two hours: both clocks have gone on.
        let woken = clock.look(seen(1_000 + 2 * HOUR_MS, 3 * HOUR));
        assert_eq!(woken, Difference::None);
        let now = clock.read();
        assert!((2 * HOUR_MS..3 * HOUR_MS).contains(&(now.steady_ms - before.steady_ms)));
        assert!(now.ms - now.steady_ms < 10_000);
        let due_now = clock.instant_of(before.steady_ms + 2 * HOUR_MS);
        assert!(due - due_now > HOUR, "it is due now");
    }

    #[test]
    fn spans_are_told_in_two_parts() {
        for (seconds, text) in [
            (0, "0 s"),
            (5, "5 s"),
            (3_700, "1 h 1 min"),
            (34_560_000, "400 d 0 h"),
        ] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
