//! Sockets: what comes in goes to the coordinator, what it answers goes out.

mod admission;
mod connection;
mod idle;
mod listener;
mod operators;
mod pipe;
mod port_holder;
mod stall;
#[cfg(test)]
mod tests;
mod transport;
mod unacknowledged;

pub use admission::Admission;
pub use listener::{ListenError, Listeners};
pub use operators::{OperatorsError, OperatorsSocket, SocketFile};

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::runtime::{Builder, LocalRuntime};

use crate::{coordinator::Coordinator, limits};

/// What all connections share on the core thread.
pub struct Hub {
    /// Decides what each message is answered with.
    pub coordinator: RefCell<Coordinator>,
    /// Every read goes through this one buffer; a connection keeps only what is not whole.
    buffer: RefCell<Box<[u8]>>,
    patience: Patience,
}

/// How long clients are waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// How long a message may take from its first byte to its last; `None` for as long as it takes.
    pub message: Option<Duration>,
    /// How long a client may do nothing; `None` for ever.
    pub idle: Option<Duration>,
}

impl Hub {
    /// Around the coordinator.
    pub fn new(coordinator: Coordinator, patience: Patience) -> Rc<Self> {
        Rc::new(Self {
            coordinator: RefCell::new(coordinator),
            buffer: RefCell::new(vec![0; limits::READ_BYTES].into_boxed_slice()),
            patience,
        })
    }
}

/// The runtime of the core thread. It looks at the sockets after a few tasks, and each connection has one turn between
/// two looks: one that always has something to say delays the others by its turn, and not by many.
///
/// # Errors
/// The system has no room for it.
pub fn core_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(limits::TASKS_BETWEEN_LOOKS)
        .build_local(Default::default())
}
