//! The sending half of a connection: replies on their way to the client.

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::io::AsyncWrite;

use super::{transport::Writer, unacknowledged::unacknowledged_bytes};
use crate::{
    budget::{Budgets, Kept, Spent},
    coordinator::{KeptFor, Outlet},
    limits,
};

/// Shared by the connection's task and the coordinator, both on the core thread.
///
/// Whoever has replies tries to send them at once; only what the socket does not take is left to the
/// connection's task.
pub(super) struct Pipe {
    socket: RefCell<Writer>,
    unsent: RefCell<Vec<u8>>,
    /// How much of `unsent` the socket has taken.
    taken: Cell<usize>,
    /// What the socket has taken since the connection began.
    taken_bytes: Cell<u64>,
    /// The socket takes nothing for now; the task is told when it does.
    full: Cell<bool>,
    /// What `unsent` takes while there is something in it.
    kept: Kept,
    /// What the connection keeps of a message that has begun.
    begun: Kept,
    /// The budget that had no room for what the client is to be sent.
    crowded: Cell<Option<Spent>>,
    marked: Cell<bool>,
    finishing: Cell<bool>,
    /// Nothing that had come before it was finishing is left.
    all_heard: Cell<bool>,
    broken: RefCell<Option<Broken>>,
    task: RefCell<Option<Waker>>,
}

/// Why nothing more can be sent.
#[derive(Debug)]
pub(super) enum Broken {
    /// The socket reported an error.
    Socket(io::Error),
    /// The client has not read this many bytes of replies.
    Unread(usize),
    /// The same, and there is no room for more of all clients': no other has read so little.
    Crowded(usize, Spent),
}

/// Memory that a connection keeps for its next replies, in bytes.
const BUFFER_KEPT_BYTES: usize = 4 * 1024;

impl Pipe {
    pub(super) fn new(socket: Writer, budgets: &Budgets) -> Rc<Self> {
        Rc::new(Self {
            socket: RefCell::new(socket),
            unsent: RefCell::default(),
            taken: Cell::new(0),
            taken_bytes: Cell::new(0),
            full: Cell::new(false),
            kept: Kept::none_of(&budgets.replies),
            begun: Kept::none_of(&budgets.messages),
            crowded: Cell::new(None),
            marked: Cell::new(false),
            finishing: Cell::new(false),
            all_heard: Cell::new(false),
            broken: RefCell::new(None),
            task: RefCell::new(None),
        })
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.borrow().len() - self.taken.get()
    }

    /// With so many bytes of replies that it has not read nothing more is read from the client: fewer where all clients
    /// together have left half of what may be unread.
    pub(super) fn pause_bytes(&self) -> usize {
        match self.kept.are_many() {
            true => limits::READ_BYTES,
            false => limits::UNREAD_REPLY_BYTES_PAUSE,
        }
    }

    /// Nothing more will be appended.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.get()
    }

    /// Nothing of what had come before that is left.
    pub(super) fn all_is_heard(&self) {
        self.all_heard.set(true);
    }

    pub(super) fn take_broken(&self) -> Option<Broken> {
        self.broken.borrow_mut().take()
    }

    /// The connection keeps so much of a message that has begun, in bytes.
    pub(super) fn message_keeps(&self, bytes: usize) {
        self.begun.set(bytes);
    }

    /// There is no room for the message that has begun.
    pub(super) fn take_crowded(&self) -> Option<Spent> {
        self.crowded.take()
    }

    /// How much of what was sent the client's side has acknowledged, in bytes. All, where the system does not tell.
    pub(super) fn acknowledged_bytes(&self) -> u64 {
        let unacknowledged = unacknowledged_bytes(&*self.socket.borrow());
        let taken = self.taken_bytes.get();
        taken.saturating_sub(unacknowledged.unwrap_or_default())
    }

    /// Has the connection's task woken when there is something that only it can do.
    pub(super) fn wake_with(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Sends, and has the task woken when the socket takes more. Ready once all is sent.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unsent_bytes() > 0 {
            let unsent = self.unsent.borrow();
            let mut socket = self.socket.borrow_mut();
            let sent = Pin::new(&mut *socket).poll_write(cx, &unsent[self.taken.get()..]);
            drop(unsent);
            match sent {
                Poll::Ready(sent) => {
                    if !self.sent(sent) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending => {
                    self.full.set(true);
                    return Poll::Pending;
                }
            }
        }
        self.full.set(false);
        Poll::Ready(())
    }

    /// Says to the client that nothing more comes.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_shutdown(cx)
    }

    /// Notes what the socket took; false if it is broken.
    fn sent(&self, sent: io::Result<usize>) -> bool {
        let result = match sent {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            sent => sent,
        };
        match result {
            Ok(bytes) => {
                self.taken.set(self.taken.get() + bytes);
                self.taken_bytes.set(self.taken_bytes.get() + bytes as u64);
                self.reuse();
                true
            }
            Err(error) => {
                self.break_with(Broken::Socket(error));
                false
            }
        }
    }

    fn reuse(&self) {
        let mut unsent = self.unsent.borrow_mut();
        let taken = self.taken.get();
        if taken == unsent.len() {
            unsent.clear();
            unsent.shrink_to(BUFFER_KEPT_BYTES);
            self.taken.set(0);
        } else if taken > unsent.len() / 2 {
            // Moving the rest costs less than what was sent before.
            unsent.drain(..taken);
            self.taken.set(0);
        }
        self.count(&unsent);
    }

    /// Counts what is kept for the client.
    fn count(&self, unsent: &Vec<u8>) {
        let is_kept = !unsent.is_empty();
        self.kept.set(if is_kept { unsent.capacity() } else { 0 });
    }

    fn break_with(&self, broken: Broken) {
        self.unsent.take();
        self.taken.set(0);
        self.kept.set(0);
        self.broken.borrow_mut().get_or_insert(broken);
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

impl Outlet for Pipe {
    fn unsent(&self) -> RefMut<'_, Vec<u8>> {
        self.unsent.borrow_mut()
    }

    fn has_unsent(&self) -> bool {
        self.unsent_bytes() > 0 || (self.finishing.get() && !self.all_heard.get())
    }

    fn mark(&self) -> bool {
        !self.marked.replace(true)
    }

    fn flush(&self) {
        self.marked.set(false);
        if !self.full.get() {
            loop {
                let unsent = self.unsent.borrow();
                if unsent.is_empty() {
                    break;
                }
                let sent = self.socket.borrow().try_write(&unsent[self.taken.get()..]);
                drop(unsent);
                match sent {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.full.set(true);
                        self.wake();
                        break;
                    }
                    sent => {
                        if !self.sent(sent) {
                            break;
                        }
                    }
                }
            }
        }
        let unread = self.unsent_bytes();
        if unread > 0 {
            self.count(&self.unsent.borrow());
        }
        if unread > limits::UNREAD_REPLY_BYTES_MAX {
            self.break_with(Broken::Unread(unread));
        }
    }

    fn finish(&self) {
        self.finishing.set(true);
        self.wake();
    }

    fn kept(&self) -> KeptFor {
        KeptFor {
            replies: self.kept.bytes(),
            message: self.begun.bytes(),
        }
    }

    fn shed_replies(&self, spent: Spent) {
        self.break_with(Broken::Crowded(self.unsent_bytes(), spent));
    }

    fn shed_message(&self, spent: Spent) {
        // It is gone as soon as the connection's task has its turn.
        self.begun.set(0);
        self.crowded.set(Some(spent));
        self.wake();
    }
}
