//! The watchdog: notices a call of a plugin on the core thread that does not return, and ends the process,
//! which serves nobody any more, so that it is started again without that plugin.
//!
//! It counts looks rather than time: a process that was stopped for an hour, or a machine that slept, was not
//! stuck in a call for an hour.

use std::{
    io, thread,
    time::{Duration, SystemTime},
};

use crate::{
    blame::{self, Blame},
    crash_mark,
    limits::{OPENING_TIME_MAX, WATCHDOG_LOOK},
    logging,
    own_fault::EXIT_FAULT,
};

/// How long the end waits for its last line to be written.
const SAY_WAIT: Duration = Duration::from_millis(200);

/// Looks at the watched thread's calls until the process ends. One of them may take `limit`, and up to a look
/// more.
///
/// # Errors
/// The system has no thread left.
pub fn start(limit: Duration) -> io::Result<()> {
    let mut watch = Watch::new(limit);
    let mut loads = Watch::new(OPENING_TIME_MAX);
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || {
            loop {
                thread::sleep(WATCHDOG_LOOK);
                let loading = blame::loading();
                let is_stuck = loads.look(loading.map(|(_, since)| since));
                if let Some((blame, _)) = loading
                    && is_stuck
                {
                    end_loading(&blame);
                }
                let call = blame::watched_call();
                let is_stuck = watch.look(call.map(|(number, _)| number));
                if let Some((_, blame)) = call
                    && is_stuck
                {
                    // What is loaded for so long may be what that call waits for.
                    if let Some((blame, _)) = loading.filter(|_| loads.looks > 0) {
                        end_loading(&blame);
                    }
                    end(&blame, watch.stuck_after());
                }
            }
        })?;
    Ok(())
}

fn end(blame: &Blame, stuck_for: Duration) -> ! {
    let began = jiff::Timestamp::try_from(SystemTime::now() - stuck_for);
    let began = began.unwrap_or_default().to_string();
    tracing::error!(
        plugin = %blame.plugin(),
        %began,
        "an inline call did not return within {stuck_for:?} and holds up everything: the host ends itself, and \
         leaves this plugin out when it is started again"
    );
    crash_mark::write(blame, "held the host up with a call that did not return");
    logging::flush();
    crash_mark::end_at_once(EXIT_FAULT)
}

/// The dynamic loader's lock is held: whatever thread is new, or keeps for the first time what is to be dropped at its
/// end, waits for it, which is nearly everything. So nothing is done here that may be such a thing.
fn end_loading(blame: &Blame) -> ! {
    crash_mark::write(blame, "held the host up while it was loaded");
    logging::say(&format!(
        "a plugin hangs while it is loaded, for {OPENING_TIME_MAX:?} at least, although it passed its trial, and so \
         holds up everything: the host ends itself, and leaves this plugin out when it is started again \
         plugin={}",
        blame.plugin()
    ));
    // For the line to be written: to wait for that would be such a thing.
    thread::sleep(SAY_WAIT);
    crash_mark::end_at_once(EXIT_FAULT)
}

/// Tells a call that stays from calls that come and go.
#[derive(Debug)]
struct Watch<C> {
    looks_max: u32,
    call: Option<C>,
    /// How often in a row it was seen.
    looks: u32,
}

impl<C: PartialEq + Copy> Watch<C> {
    fn new(limit: Duration) -> Self {
        let looks = limit.as_millis().div_ceil(WATCHDOG_LOOK.as_millis());
        Self {
            looks_max: u32::try_from(looks).unwrap_or(u32::MAX - 1),
            call: None,
            looks: 0,
        }
    }

    /// How long a stuck call has run at least.
    fn stuck_after(&self) -> Duration {
        WATCHDOG_LOOK.saturating_mul(self.looks_max)
    }

    /// Says whether the call that runs now is stuck.
    fn look(&mut self, call: Option<C>) -> bool {
        if call != self.call {
            self.call = call;
            self.looks = 0;
            return false;
        }
        // The first look may have come as late as an interval after the call began, or with it.
        self.looks = self.looks.saturating_add(1);
        call.is_some() && self.looks >= self.looks_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_stays_for_the_limit_is_stuck() {
        let mut watch = Watch::new(2 * WATCHDOG_LOOK);
        assert!(!watch.look(Some(1)));
        assert!(!watch.look(Some(1)));
        assert!(watch.look(Some(1)));
    }

    #[test]
    fn calls_that_come_and_go_are_not_stuck() {
        let mut watch = Watch::new(WATCHDOG_LOOK);
        for call in 1..100 {
            assert!(!watch.look(Some(call)));
        }
        for _ in 0..100 {
            assert!(!watch.look(None::<u64>));
        }
        assert!(!watch.look(Some(1)));
    }

    #[test]
    fn a_limit_between_two_looks_is_waited_for() {
        let mut watch = Watch::new(WATCHDOG_LOOK + Duration::from_millis(1));
        assert!(!watch.look(Some(1)));
        assert!(!watch.look(Some(1)));
        assert!(watch.look(Some(1)));
        assert_eq!(watch.stuck_after(), 2 * WATCHDOG_LOOK);
    }
}
