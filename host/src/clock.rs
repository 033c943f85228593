//! The host's time: milliseconds since 1970 that never go back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the wall clock once and goes on by the monotonic one, so that a step of the wall clock neither
/// expires every request nor lets one wait for hours.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    /// A clock that starts with the present wall time.
    pub fn new() -> Self {
        Self::not_before(0)
    }

    /// The same, unless the wall clock stands before `floor_ms`, which an earlier run of the host has told: then
    /// it starts there.
    pub fn not_before(floor_ms: u64) -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start: Instant::now(),
            start_ms: millis(since_1970).max(floor_ms),
        }
    }

    /// Milliseconds since 1970-01-01T00:00Z.
    pub fn now_ms(&self) -> u64 {
        self.start_ms + millis(self.start.elapsed())
    }

    /// Microseconds since some moment before this clock was made.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// [`Clock::now_us`] as a moment that was read before, to be looked at without asking the system.
    pub fn read(&self) -> Moment {
        let us = self.now_us();
        Moment {
            us,
            ms: self.ms_of(us),
        }
    }

    /// The same moment as the system's clock tells it, to the microsecond.
    pub fn instant_at(&self, moment: Moment) -> Instant {
        self.start + Duration::from_micros(moment.us)
    }

    /// What [`Clock::now_ms`] was when [`Clock::now_us`] was `us`.
    pub fn ms_of(&self, us: u64) -> u64 {
        self.start_ms + us / 1_000
    }

    /// When this clock will say `ms`; now, if that is past.
    pub fn instant_of(&self, ms: u64) -> Instant {
        let ahead = Duration::from_millis(ms.saturating_sub(self.start_ms));
        self.start.checked_add(ahead).unwrap_or_else(Instant::now)
    }
}

/// A moment that was read from the clock. Reading it costs a tenth of a small request, so it is done once for
/// each and handed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// See [`Clock::now_us`].
    pub us: u64,
    /// See [`Clock::now_ms`].
    pub ms: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
