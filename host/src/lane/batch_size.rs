//! How many jobs a lane's thread is given at once.
//!
//! A hand-over costs a wake-up, so there should be many; but what lies on the thread has to be fetched back when
//! somebody wants it, and is not looked at when its deadline comes. So: as many as take a millisecond together.

use std::time::Duration;

use crate::limits;

/// Of one lane, by how long its jobs have taken of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// A job's time, in nanoseconds: each new one counts an eighth.
    job_ns: u64,
}

impl BatchSize {
    /// For jobs of which nothing is known yet.
    pub fn new() -> Self {
        Self {
            job_ns: window_ns() / 32,
        }
    }

    /// Counts a job that took so long.
    pub fn ran(&mut self, took: Duration) {
        // One that took for ever is one that fills a window.
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.job_ns = self.job_ns - self.job_ns / 8 + took.min(16 * window_ns()) / 8;
    }

    /// At least one, and at most [`limits::WINDOW_JOBS_MAX`].
    pub fn jobs(&self) -> usize {
        let jobs = window_ns() / self.job_ns.max(1);
        usize::try_from(jobs)
            .unwrap_or(usize::MAX)
            .clamp(1, limits::WINDOW_JOBS_MAX)
    }
}

impl Default for BatchSize {
    fn default() -> Self {
        Self::new()
    }
}

fn window_ns() -> u64 {
    u64::try_from(limits::WINDOW_TIME.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many jobs of so many microseconds each.
    fn after(size: &mut BatchSize, jobs: usize, took_us: u64) -> usize {
        (0..jobs).for_each(|_| size.ran(Duration::from_micros(took_us)));
        size.jobs()
    }

    #[test]
    fn what_is_handed_over_takes_about_a_millisecond() {
        let mut size = BatchSize::new();
        assert_eq!(size.jobs(), 32, "nothing is known yet");
        for (took_us, jobs) in [
            (1, 900..=1_024),
            (10, 90..=110),
            (90, 10..=12),
            (400, 2..=3),
        ] {
            let found = after(&mut size, 60, took_us);
            assert!(jobs.contains(&found), "{found} of {took_us} µs");
        }
        assert_eq!(after(&mut size, 60, 0), limits::WINDOW_JOBS_MAX);
        assert_eq!(after(&mut size, 20, 5_000), 1);
        assert_eq!(after(&mut size, 1, u64::MAX), 1);
    }

    #[test]
    fn one_slow_job_is_soon_forgotten() {
        let mut size = BatchSize::new();
        assert!(after(&mut size, 60, 1) > 900);
        assert!((30..=50).contains(&after(&mut size, 1, 200)));
        assert!(after(&mut size, 40, 1) > 800);
        // Whatever it was: not even a minute makes the lane slow for more than some windows.
        assert!(after(&mut size, 1, 60_000_000) == 1);
        assert!(after(&mut size, 60, 1) > 500);
    }
}
