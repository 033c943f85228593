//! Whether a client takes what it is sent. The system takes up to megabytes for it at once, and then nothing for long,
//! though the client reads on: so what counts is what its side has acknowledged.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep};

use super::pipe::Pipe;
use crate::limits;

/// Looks at a connection that has not been sent all.
#[derive(Default)]
pub(super) struct Stall(Option<Look>);

struct Look {
    next: Pin<Box<Sleep>>,
    acknowledged_bytes: u64,
    /// When they were last seen to have grown.
    grown: Instant,
}

impl Stall {
    /// Ready when the client has taken nothing for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, pipe: &Pipe, all_sent: bool) -> Poll<()> {
        if all_sent {
            self.0 = None;
            return Poll::Pending;
        }
        let look = self.0.get_or_insert_with(|| Look {
            next: Box::pin(sleep(limits::STALLED_WRITE_LOOK)),
            acknowledged_bytes: pipe.acknowledged_bytes(),
            grown: Instant::now(),
        });
        while look.next.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let acknowledged_bytes = pipe.acknowledged_bytes();
            if acknowledged_bytes > look.acknowledged_bytes {
                (look.acknowledged_bytes, look.grown) = (acknowledged_bytes, now);
            } else if now >= look.grown + limits::STALLED_WRITE_MAX {
                return Poll::Ready(());
            }
            look.next.as_mut().reset(now + limits::STALLED_WRITE_LOOK);
        }
        Poll::Pending
    }
}
