//! The sending half of a connection: replies on their way to the client.

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::{io::AsyncWrite, time::Instant};

use super::transport::Writer;
use crate::{coordinator::Outlet, limits};

/// Shared by the connection's task and the coordinator, both on the core thread.
///
/// Whoever has replies tries to send them at once; only what the socket does not take is left to the
/// connection's task.
pub(super) struct Pipe {
    socket: RefCell<Writer>,
    unsent: RefCell<Vec<u8>>,
    /// How much of `unsent` the socket has taken.
    taken: Cell<usize>,
    /// When the socket last took something, or had nothing to take.
    moved: Cell<Instant>,
    /// The socket takes nothing for now; the task is told when it does.
    full: Cell<bool>,
    marked: Cell<bool>,
    finishing: Cell<bool>,
    broken: RefCell<Option<Broken>>,
    task: RefCell<Option<Waker>>,
}

/// Why nothing more can be sent.
#[derive(Debug)]
pub(super) enum Broken {
    /// The socket says so.
    Socket(io::Error),
    /// The client has not read this many bytes of replies.
    Unread(usize),
}

/// Memory that a connection keeps for its next replies, in bytes.
const BUFFER_KEPT_BYTES: usize = 4 * 1024;

impl Pipe {
    pub(super) fn new(socket: Writer) -> Rc<Self> {
        Rc::new(Self {
            socket: RefCell::new(socket),
            unsent: RefCell::default(),
            taken: Cell::new(0),
            moved: Cell::new(Instant::now()),
            full: Cell::new(false),
            marked: Cell::new(false),
            finishing: Cell::new(false),
            broken: RefCell::new(None),
            task: RefCell::new(None),
        })
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.borrow().len() - self.taken.get()
    }

    /// Nothing more will be appended.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.get()
    }

    pub(super) fn take_broken(&self) -> Option<Broken> {
        self.broken.borrow_mut().take()
    }

    /// When the client last took something.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
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
        } else {
            self.moved.set(Instant::now());
            // Moving the rest costs less than what was sent before.
            if taken > unsent.len() / 2 {
                unsent.drain(..taken);
                self.taken.set(0);
            }
        }
    }

    fn break_with(&self, broken: Broken) {
        self.unsent.take();
        self.taken.set(0);
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
        self.unsent_bytes() > 0
    }

    fn mark(&self) -> bool {
        !self.marked.replace(true)
    }

    fn flush(&self) {
        self.marked.set(false);
        if !self.full.get() {
            self.moved.set(Instant::now());
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
        if unread > limits::UNREAD_REPLY_BYTES_MAX {
            self.break_with(Broken::Unread(unread));
        }
    }

    fn finish(&self) {
        self.finishing.set(true);
        self.wake();
    }
}
