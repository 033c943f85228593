//! How long a host has been away, and when it is tried again.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    time::Duration,
};

use tokio::time::Instant;

use crate::limits::{RECONNECT_PAUSE_MAX, RECONNECT_PAUSE_MIN};

/// Since when the host has answered nothing, and how long the next pause is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) since: Instant,
    pause: Duration,
}

impl Outage {
    /// It begins now.
    pub(crate) fn begin() -> Self {
        Self {
            since: Instant::now(),
            pause: RECONNECT_PAUSE_MIN,
        }
    }

    /// Twice as long each time, and by chance up to half as long again: clients that lost the same host do not come back
    /// in step.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        let chance = RandomState::new().build_hasher().finish();
        let of_1024 = u32::try_from(chance % 1024).unwrap_or_default();
        pause + pause * of_1024 / 2048
    }
}
