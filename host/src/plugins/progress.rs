//! How far the preparation of a plugin has come, as two threads see it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// How far a preparation has come, for whoever may have to give it up.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Reached>);

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// Since when code of the plugin runs.
    makes_since: Option<Instant>,
    is_given_up: bool,
}

impl Progress {
    /// From now on code of the plugin makes it from its configuration.
    pub(super) fn makes(&self) {
        self.reached().makes_since = Some(Instant::now());
    }

    /// Since when code of the plugin makes it; `None` until then.
    pub(super) fn makes_since(&self) -> Option<Instant> {
        self.reached().makes_since
    }

    /// Nobody waits for this preparation any more.
    pub(super) fn give_up(&self) {
        self.reached().is_given_up = true;
    }

    /// Whether anybody still waits for this preparation.
    pub(super) fn is_given_up(&self) -> bool {
        self.reached().is_given_up
    }

    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
