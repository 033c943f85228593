//! How long the core thread was ready to run and had no processor: a busy machine's doing, and no plugin's.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::limits::RUN_DELAY_LOOK_US;

/// What the system says of one thread.
#[derive(Debug)]
pub struct RunDelay {
    /// `None`: this system does not tell.
    schedule: Option<File>,
    /// What was waited until the last look, and when that was, in microseconds.
    waited_us: u64,
    looked_us: u64,
}

impl RunDelay {
    /// None ever, of a thread whose time is simulated.
    pub fn none() -> Self {
        Self {
            schedule: None,
            waited_us: 0,
            looked_us: 0,
        }
    }

    /// That of the thread that calls this.
    pub fn of_this_thread() -> Self {
        let schedule = File::open("/proc/thread-self/schedstat").ok();
        let waited_us = schedule.as_ref().and_then(waited_us).unwrap_or_default();
        Self {
            schedule,
            waited_us,
            looked_us: 0,
        }
    }

    /// Looks, if the last look is older than [`RUN_DELAY_LOOK_US`]: a look costs a call to the system, and there is none
    /// for each request. `now_us` is the clock's.
    #[inline]
    pub fn look(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.looked_us) > RUN_DELAY_LOOK_US {
            self.looked_us = now_us;
            self.since_look();
        }
    }

    /// How long the thread has waited since it was last looked, in microseconds, and looks.
    pub fn since_look(&mut self) -> u64 {
        let Some(now_us) = self.schedule.as_ref().and_then(waited_us) else {
            return 0;
        };
        let before_us = std::mem::replace(&mut self.waited_us, now_us);
        now_us.saturating_sub(before_us)
    }
}

/// The second number is what the thread waited on a run queue, in nanoseconds.
fn waited_us(schedule: &File) -> Option<u64> {
    let mut text = [0; 64];
    let bytes = schedule.read_at(&mut text, 0).ok()?;
    let text = str::from_utf8(&text[..bytes]).ok()?;
    let waited_ns: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(waited_ns / 1_000)
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn what_a_thread_waits_for_a_processor_is_told() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        // More than can run at once, so that some wait.
        let spinning: Vec<_> = (0..4 * processors)
            .map(|_| {
                thread::spawn(|| {
                    let mut run_delay = RunDelay::of_this_thread();
                    assert!(run_delay.schedule.is_some(), "this system does not tell");
                    let until = Instant::now() + Duration::from_millis(200);
                    while Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    run_delay.since_look()
                })
            })
            .collect();
        let waited = spinning.into_iter().map(|one| one.join().unwrap());
        assert!(waited.max().unwrap_or_default() > 10_000);
    }

    #[test]
    fn it_is_looked_now_and_then() {
        let mut run_delay = RunDelay::of_this_thread();
        run_delay.look(10_000);
        assert_eq!(run_delay.looked_us, 10_000);
        run_delay.look(11_000);
        assert_eq!(run_delay.looked_us, 10_000);
        run_delay.look(13_000);
        assert_eq!(run_delay.looked_us, 13_000);
    }
}
