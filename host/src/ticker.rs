//! A timer finer than the runtime's, whose grain is a millisecond.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::Notify;

/// Ticks once each time that it is armed. A thread of its own sleeps for it, and only then.
#[derive(Debug)]
pub struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    armed: Mutex<Armed>,
    changed: Condvar,
    ticked: Notify,
}

#[derive(Debug, Default)]
struct Armed {
    delay: Option<Duration>,
    ends: bool,
}

impl Ticker {
    /// Not armed.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || of_thread.run())?;
        Ok(Self { shared })
    }

    /// Has it tick after `delay`, if it is not armed already.
    pub fn arm(&self, delay: Duration) {
        let mut armed = self
            .shared
            .armed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if armed.delay.is_none() {
            armed.delay = Some(delay);
            self.shared.changed.notify_one();
        }
    }

    /// Waits for the tick. Safe to be dropped and called again.
    pub async fn ticked(&self) {
        self.shared.ticked.notified().await;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared
            .armed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ends = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        while !armed.ends {
            let Some(delay) = armed.delay else {
                armed = self
                    .changed
                    .wait(armed)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(armed);
            thread::sleep(delay);
            armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
            armed.delay = None;
            self.ticked.notify_one();
        }
    }
}
