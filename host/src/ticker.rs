//! A timer finer than the runtime's, whose grain is a millisecond.

use std::{cell::Cell, io, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{net::unix::pipe, time::sleep};

/// Ticks once each time that it is armed.
///
/// The system's own timer, which is read like a pipe, and waited for together with the sockets. A thread that
/// sleeps would have to be woken for each time that it is armed, and would take its turns on the core thread's
/// core.
#[derive(Debug)]
pub struct Ticker {
    timer: pipe::Receiver,
    armed: Cell<bool>,
}

impl Ticker {
    /// Not armed. To be called on the runtime.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // No pipe, but what tokio does with one: wait until it can be read, and read.
        let timer = pipe::Receiver::from_owned_fd_unchecked(timer)?;
        Ok(Self {
            timer,
            armed: Cell::new(false),
        })
    }

    /// Has it tick after `delay`, which is more than nothing, if it is not armed already.
    pub fn arm(&self, delay: Duration) {
        if self.armed.get() {
            return;
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: delay.try_into().expect("within the clock's years"),
        };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once) {
            Ok(_) => self.armed.set(true),
            Err(error) => tracing::error!("the timer of {delay:?} cannot be set: {error}"),
        }
    }

    /// Waits for the tick. Safe to be dropped and called again.
    pub async fn ticked(&self) {
        while let Err(error) = self.read().await {
            // The system has no reason for it; if it finds one, the runtime's own timer is fine enough.
            tracing::error!("the timer cannot be read: {error}");
            sleep(Duration::from_millis(1)).await;
        }
        self.armed.set(false);
    }

    async fn read(&self) -> io::Result<()> {
        loop {
            self.timer.readable().await?;
            let mut ticks = [0; size_of::<u64>()];
            match self.timer.try_read(&mut ticks) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(|_| ()),
            }
        }
    }
}
