//! A client's connection on the simulated network.

use std::{
    cell::{Cell, RefCell, RefMut},
    rc::Rc,
};

use host::{
    budget::{Budgets, Kept, Spent},
    coordinator::{KeptFor, Outlet},
    lane::ClientSlot,
};
use protocol::limits::SEPARATOR;

/// The host's end of a connection: what it has sent and the client has not read.
pub struct Wire {
    unsent: RefCell<Vec<u8>>,
    kept: Kept,
    read: RefCell<Vec<u8>>,
    marked: Cell<bool>,
    /// The client reads what comes.
    pub reads: Cell<bool>,
    /// The host says that nothing more comes.
    pub is_finishing: Cell<bool>,
    /// The host has closed it.
    pub is_broken: Cell<bool>,
}

impl Wire {
    fn new(budgets: &Budgets) -> Rc<Self> {
        Rc::new(Self {
            unsent: RefCell::default(),
            kept: Kept::none_of(&budgets.replies),
            read: RefCell::default(),
            marked: Cell::new(false),
            reads: Cell::new(true),
            is_finishing: Cell::new(false),
            is_broken: Cell::new(false),
        })
    }

    /// The client reads what was sent. Returns whole replies.
    pub fn read(&self) -> Vec<Vec<u8>> {
        self.flush();
        let mut read = self.read.borrow_mut();
        let mut frames = Vec::new();
        while let Some(at) = read
            .windows(SEPARATOR.len())
            .position(|bytes| bytes == SEPARATOR)
        {
            let rest = read.split_off(at + SEPARATOR.len());
            let mut frame = std::mem::replace(&mut *read, rest);
            frame.truncate(at);
            frames.push(frame);
        }
        frames
    }
}

impl Outlet for Wire {
    fn unsent(&self) -> RefMut<'_, Vec<u8>> {
        self.unsent.borrow_mut()
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.borrow().is_empty()
    }

    fn mark(&self) -> bool {
        !self.marked.replace(true)
    }

    fn flush(&self) {
        self.marked.set(false);
        let mut unsent = self.unsent.borrow_mut();
        if self.reads.get() {
            self.read.borrow_mut().append(&mut unsent);
        }
        self.kept.set(unsent.len());
    }

    fn finish(&self) {
        self.is_finishing.set(true);
    }

    fn kept(&self) -> KeptFor {
        KeptFor {
            replies: self.kept.bytes(),
            message: 0,
        }
    }

    fn shed_replies(&self, _: Spent) {
        self.unsent.borrow_mut().clear();
        self.kept.set(0);
        self.is_broken.set(true);
    }

    fn shed_message(&self, _: Spent) {}
}

/// A client that is connected.
pub struct Client {
    pub slot: ClientSlot,
    pub wire: Rc<Wire>,
    /// Its number in the story.
    pub number: usize,
    /// Which of the people it is: they keep their session and their ids over connections.
    pub person: usize,
    pub greeted: bool,
    /// It sends nothing more.
    pub has_ended: bool,
    pub next_index: u64,
}

impl Client {
    /// Connects.
    pub fn connect(
        coordinator: &mut host::coordinator::Coordinator,
        peer: host::coordinator::Peer,
        (number, person): (usize, usize),
    ) -> Self {
        let wire = Wire::new(coordinator.budgets());
        let (slot, _) = coordinator.connected(Rc::clone(&wire) as _, peer);
        Self {
            slot,
            wire,
            number,
            person,
            greeted: false,
            has_ended: false,
            next_index: 1,
        }
    }
}
