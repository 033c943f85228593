//! Has the host's time follow the system's clock, once a second, and says where the two are apart.

use std::path::{Path, PathBuf};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    clock::{Clock, Difference, Seen, Span},
    limits::CLOCK_LOOK,
};

/// The host's clock, as its core loop keeps it right.
pub struct ClockWatch {
    clock: Clock,
    next: Interval,
    /// For the order that brings the host's time back.
    data: PathBuf,
    /// It was told that the host's time is ahead.
    told_ahead: bool,
}

impl ClockWatch {
    /// Is due at once. To be called within the core thread's runtime.
    pub fn new(clock: Clock, data: &Path) -> Self {
        let mut next = interval(CLOCK_LOOK);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            clock,
            next,
            data: data.to_owned(),
            told_ahead: false,
        }
    }

    /// Waits until it is time for a look. Safe to be dropped and called again.
    pub async fn is_due(&mut self) {
        self.next.tick().await;
    }

    /// Takes in what the system says.
    pub fn look(&mut self, seen: Seen) {
        let difference = self.clock.look(seen);
        match difference {
            Difference::None => {}
            Difference::Followed(step) => tracing::info!(
                "the system's clock went forward by {}: the host's time has followed it, and no deadline ends earlier",
                Span(step)
            ),
            Difference::Ahead(_) if self.told_ahead => {}
            Difference::Ahead(ahead) => tracing::warn!(
                "the host's time is {} ahead of the system's clock, which was set back, or was ahead when the host ran \
                 before: it goes on from where it is. If the system's clock is wrong, set it; if it is right, and that is far, \
                 end the host and run: rm-host state set-time --data {}",
                Span(ahead),
                self.data.display()
            ),
        }
        self.told_ahead = matches!(difference, Difference::Ahead(_));
    }
}
