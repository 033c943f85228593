//! When requests are due that are sent at a fixed rate, and a clock that rings at that moment.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

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
        let (seconds, rest) = (self.taken / self.per_second, self.taken % self.per_second);
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
}

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
}
