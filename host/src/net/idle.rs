//! Whether a client does nothing, where its place is wanted for others.

use std::{
    cell::Cell,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Watches one client for how long it has done nothing.
pub(super) struct Idle {
    patience: Duration,
    /// When it last sent something, or was owed something.
    active: Cell<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    /// `None` for a patience that the clock cannot measure.
    pub(super) fn new(patience: Duration) -> Option<Self> {
        let now = Instant::now();
        let until = now.checked_add(patience)?;
        Some(Self {
            patience,
            active: Cell::new(now),
            timer: Box::pin(sleep_until(until)),
        })
    }

    /// The client has sent something just now.
    pub(super) fn has_sent(&self) {
        self.active.set(Instant::now());
    }

    /// Ready once the client has sent nothing for so long, and is owed nothing.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        has_unanswered: impl Fn() -> bool,
    ) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= self.active.get() + self.patience {
                if !has_unanswered() {
                    return Poll::Ready(());
                }
                self.active.set(now);
            }
            self.timer.as_mut().reset(self.active.get() + self.patience);
        }
        Poll::Pending
    }
}
