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

use std::{cell::RefCell, rc::Rc};

use crate::{coordinator::Coordinator, limits};

/// What all connections share on the core thread.
pub struct Hub {
    /// Who answers.
    pub coordinator: RefCell<Coordinator>,
    /// Every read goes through this one buffer; a connection keeps only what is not whole.
    buffer: RefCell<Box<[u8]>>,
}

impl Hub {
    /// Around the coordinator.
    pub fn new(coordinator: Coordinator) -> Rc<Self> {
        Rc::new(Self {
            coordinator: RefCell::new(coordinator),
            buffer: RefCell::new(vec![0; limits::READ_BYTES].into_boxed_slice()),
        })
    }
}
