//! When requests are due that are sent at a fixed rate, and a clock that rings at that moment.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The times at which requests are due, one after the other.
pub(super) struct Pace {
    start: Instant,
    per_second: u64,
    /// How many were taken.
    taken: u64,
}

impl Pace {
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            start: Instant::now(),
            per_second,
            taken: 0,
        }
    }

    /// When the next request is due.
    pub(super) fn next(&self) -> Instant {
        self.due(self.taken)
    }

    fn due(&self, index: u64) -> Instant {
        let (seconds, rest) = (index / self.per_second, index % self.per_second);
        let nanos = rest * 1_000_000_000 / self.per_second;
        self.start + Duration::from_secs(seconds) + Duration::from_nanos(nanos)
    }

    /// Takes the next request, if it is due at `now`, and says when it was.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }

    /// What has not been taken and was due from `start` on and before `end`: when, and how many at that time. So many that
    /// they would be too many to be looked at one by one are told together.
    pub(super) fn untaken(
        &self,
        start: Instant,
        end: Instant,
    ) -> impl Iterator<Item = (Instant, u64)> {
        let index_at = |time: Instant| {
            let passed = time.saturating_duration_since(self.start).as_nanos();
            let index = (passed * u128::from(self.per_second)).div_ceil(1_000_000_000);
            u64::try_from(index).unwrap_or(u64::MAX)
        };
        let (from, to) = (self.taken.max(index_at(start)), index_at(end));
        let step = (to.saturating_sub(from) / UNTAKEN_TOLD_MAX).max(1);
        (from..to)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .map(move |index| (self.due(index), step.min(to - index)))
    }
}

/// More than so many times of requests that were not sent are no more exact.
const UNTAKEN_TOLD_MAX: u64 = 100_000;

/// Rings within some ten microseconds, where the runtime's own timers would be a millisecond late: a thread sleeps.
pub(super) struct Alarm {
    times: mpsc::Sender<Instant>,
    rung: Arc<Notify>,
}

impl Alarm {
    /// # Errors
    /// There can be no more threads.
    pub(super) fn new() -> std::io::Result<Self> {
        let (times, set) = mpsc::channel::<Instant>();
        let rung = Arc::new(Notify::new());
        let bell = Arc::clone(&rung);
        thread::Builder::new()
            .name("alarm".to_owned())
            .spawn(move || {
                // Until nobody sets it any more.
                for time in set {
                    thread::sleep(time.saturating_duration_since(Instant::now()));
                    bell.notify_one();
                }
            })?;
        Ok(Self { times, rung })
    }

    /// Waits until `time`.
    pub(super) async fn wait(&self, time: Instant) {
        if self.times.send(time).is_ok() {
            self.rung.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_in_even_steps_that_do_not_drift() {
        let mut pace = Pace::new(3);
        let start = pace.start;
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(start + Duration::from_millis(333)), None);
        let later = start + Duration::from_secs(1_000_000);
        let mut last = start;
        for _ in 1..3_000_000 {
            last = pace.take(later).expect("all of them were due before");
        }
        assert_eq!(last - start, Duration::from_nanos(999_999_666_666_666));
        assert_eq!(pace.next(), later);
    }

    #[test]
    fn what_was_not_taken_is_told_with_its_times_however_much_it_is() {
        let mut pace = Pace::new(10);
        let at = |ms| pace.start + Duration::from_millis(ms);
        let (from, to) = (at(200), at(600));
        let late: Vec<_> = pace.untaken(from, to).collect();
        assert_eq!(late, [200, 300, 400, 500].map(|ms| (at(ms), 1)));
        (0..5).for_each(|_| {
            pace.take(to);
        });
        assert_eq!(pace.untaken(from, to).count(), 1);
        assert_eq!(pace.untaken(to, from).count(), 0);
        let pace = Pace::new(10_000_000);
        let hour = pace.start + Duration::from_secs(3_600);
        let late: Vec<_> = pace.untaken(pace.start, hour).collect();
        assert!(late.len() as u64 <= 2 * UNTAKEN_TOLD_MAX);
        assert_eq!(
            late.iter().map(|(_, count)| count).sum::<u64>(),
            36_000_000_000
        );
    }
}
