//! Sockets: what comes in goes to the coordinator, what it answers goes out.

mod admission;
mod connection;
mod listener;
mod operators;
mod pipe;
mod transport;

pub use admission::Admission;
pub use listener::{ListenError, Listeners};
pub use operators::{OperatorsError, OperatorsSocket, SocketFile};

use std::{cell::RefCell, rc::Rc, time::Duration};

use crate::{coordinator::Coordinator, limits};

/// What all connections share on the core thread.
pub struct Hub {
    /// Who answers.
    pub coordinator: RefCell<Coordinator>,
    /// Every read goes through this one buffer; a connection keeps only what is not whole.
    buffer: RefCell<Box<[u8]>>,
    /// How long a message may take from its first byte to its last; `None` for as long as it takes.
    message_timeout: Option<Duration>,
}

impl Hub {
    /// Around the coordinator. A message may take `message_timeout` from its first byte to its last.
    pub fn new(coordinator: Coordinator, message_timeout: Option<Duration>) -> Rc<Self> {
        Rc::new(Self {
            coordinator: RefCell::new(coordinator),
            buffer: RefCell::new(vec![0; limits::READ_BYTES].into_boxed_slice()),
            message_timeout,
        })
    }
}
