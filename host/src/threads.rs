//! Where what may block, or wait, runs: on threads of the system. A simulator runs the same workers step by step instead, in
//! an order of its own.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// What a thread does, from its start to its end.
pub trait Worker: Send {
    /// Works and waits until there is nothing left to do for good.
    fn run(self: Box<Self>);

    /// Does the next piece of the same, and waits for nothing.
    fn step(&mut self) -> Step;
}

/// What a worker's step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It did something, and there may be more.
    Did,
    /// There is nothing to do until something comes, or until this moment.
    Idle(Option<Instant>),
    /// There is nothing left to do for good.
    Ended,
}

/// Starts workers.
pub trait Threads: Send + Sync {
    /// Has a worker work, under a name and on a stack of so many bytes; `None` is the usual size.
    ///
    /// # Errors
    /// The system has no thread left. The worker is dropped.
    fn start(
        &self,
        name: &str,
        stack_bytes: Option<usize>,
        worker: Box<dyn Worker>,
    ) -> io::Result<()>;

    /// Waits for the last word of a worker.
    ///
    /// # Errors
    /// It has not come within `patience`, or the worker is gone.
    fn wait(&self, last: &Receiver<bool>, patience: Duration) -> Result<bool, RecvTimeoutError>;
}

/// The threads of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemThreads;

impl Threads for SystemThreads {
    fn start(
        &self,
        name: &str,
        stack_bytes: Option<usize>,
        worker: Box<dyn Worker>,
    ) -> io::Result<()> {
        let mut thread = thread::Builder::new().name(name.to_owned());
        if let Some(bytes) = stack_bytes {
            thread = thread.stack_size(bytes);
        }
        thread.spawn(move || worker.run()).map(drop)
    }

    fn wait(&self, last: &Receiver<bool>, patience: Duration) -> Result<bool, RecvTimeoutError> {
        last.recv_timeout(patience)
    }
}

/// A worker that does one thing and ends.
pub struct Once<F>(Option<F>);

impl<F: FnOnce() + Send> Once<F> {
    /// Calls `does`.
    pub fn new(does: F) -> Self {
        Self(Some(does))
    }
}

impl<F: FnOnce() + Send> Worker for Once<F> {
    fn run(mut self: Box<Self>) {
        self.step();
    }

    fn step(&mut self) -> Step {
        if let Some(does) = self.0.take() {
            does();
        }
        Step::Ended
    }
}
