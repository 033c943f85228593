//! The signals that the process is sent, as what they mean to the host.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalAction {
    /// To stop. The signal's name.
    Stop(&'static str),
    /// To look anew at what the operator may have changed.
    LookAnew,
    /// Nothing that the host knows. The signal's name.
    Nothing(&'static str),
}

/// All signals that are caught. One that is not caught, and that ends a process, ends the host.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one. Dropped while it waits, it loses none.
    pub async fn next(&mut self) -> SignalAction {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalAction::Stop("TERM"),
            _ = self.interrupt.recv() => SignalAction::Stop("INT"),
            _ = self.hangup.recv() => SignalAction::LookAnew,
            _ = self.user_1.recv() => SignalAction::Nothing("USR1"),
            _ = self.user_2.recv() => SignalAction::Nothing("USR2"),
        }
    }
}
