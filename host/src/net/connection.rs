//! One client's connection, from its first byte to its last.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use protocol::{Decoder, ErrorCode, ProtocolError, encoder};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Hub,
    admission::Admission,
    idle::Idle,
    pipe::{Broken, Pipe},
    stall::Stall,
    transport::{Reader, Stream},
};
use crate::{
    budget::Spent,
    coordinator::{Outlet, Peer},
    lane::ClientSlot,
    limits,
};

/// What the connection's task owns. What the coordinator reaches too is in its [`Pipe`].
pub(super) struct Connection {
    hub: Rc<Hub>,
    slot: ClientSlot,
    id: u64,
    socket: Reader,
    pipe: Rc<Pipe>,
    decoder: Decoder,
    reading: Reading,
    /// Ends a connection whose client does not take its replies.
    stall: Stall,
    /// Ends a connection whose client does nothing, where the host is to.
    idle: Option<Idle>,
    /// Bytes that lay in the socket when the host let its client go: what is in them is still answered. Only from then on.
    rest: Option<usize>,
    /// Ends a connection whose client does not go. Only once it should.
    linger: Option<Pin<Box<Sleep>>>,
    /// When the message that has begun to come began.
    begun: Option<Instant>,
    /// Ends a connection whose message does not end. Made with the first that comes in pieces.
    patience: Option<Pin<Box<Sleep>>>,
    discarded_bytes: usize,
}

/// What becomes of the bytes that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// They are cut into messages.
    Messages,
    /// So they are, but others get their turn, or the client has many replies to read first; whole messages
    /// may lie in the decoder.
    Paused,
    /// They are thrown away: nothing more is answered.
    Discarding,
    /// No more bytes will come: the client has ended its side.
    Ended,
}

/// Gives the connection's task its next turn once the sockets were looked at and the others had theirs. A task that
/// wakes itself would be back in the line before any socket is looked at.
fn after_others(cx: &mut Context<'_>) {
    // It has the task woken, and is never ready when it is asked first.
    let _ = pin!(yield_now()).poll(cx);
}

/// Why a connection was closed, where the client is to blame or to be pitied.
#[derive(Debug)]
pub(super) enum Closed {
    ByClient,
    Broken(Broken),
    Stalled(usize),
}

/// Serves whoever has come, if there is a place for it.
pub(super) fn begin(hub: &Rc<Hub>, admission: &Rc<Admission>, stream: Stream, peer: Peer) {
    let Some((stream, place)) = admission.admit(stream, peer) else {
        return;
    };
    let hub = Rc::clone(hub);
    tokio::task::spawn_local(async move {
        serve(hub, stream, peer).await;
        drop(place);
    });
}

/// Serves a client until its connection is closed.
async fn serve(hub: Rc<Hub>, stream: Stream, peer: Peer) {
    if let Err(error) = stream.prepare() {
        tracing::debug!(%peer, "a socket's options cannot be set: {error}");
    }
    let mut connection = Connection::new(hub, stream, peer);
    tracing::debug!(client = connection.id, %peer, "connected");
    let closed = poll_fn(|cx| connection.poll(cx)).await;
    connection.close(closed, peer);
}

impl Connection {
    pub(super) fn new(hub: Rc<Hub>, stream: Stream, peer: Peer) -> Self {
        let (socket, write) = stream.into_split();
        let pipe = Pipe::new(write, hub.coordinator.borrow().budgets());
        let outlet: Rc<dyn Outlet> = Rc::clone(&pipe) as _;
        let (slot, id) = hub.coordinator.borrow_mut().connected(outlet, peer);
        let idle = hub.patience.idle.filter(|_| !peer.is_operator());
        Self {
            idle: idle.and_then(Idle::new),
            hub,
            slot,
            id,
            socket,
            pipe,
            decoder: Decoder::new(),
            reading: Reading::Messages,
            stall: Stall::default(),
            rest: None,
            linger: None,
            begun: None,
            patience: None,
            discarded_bytes: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn pipe(&self) -> Rc<Pipe> {
        Rc::clone(&self.pipe)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        self.pipe.wake_with(cx.waker());
        loop {
            if let Some(broken) = self.pipe.take_broken() {
                return Poll::Ready(Closed::Broken(broken));
            }
            if self.pipe.is_finishing() && self.rest.is_none() {
                self.rest = Some(waiting_bytes(&self.socket));
            }
            let all_sent = self.pipe.poll_send(cx).is_ready();
            if let Some(broken) = self.pipe.take_broken() {
                return Poll::Ready(Closed::Broken(broken));
            }
            if all_sent && self.pipe.is_finishing() {
                if matches!(self.reading, Reading::Messages | Reading::Paused) {
                    match self.take_rest() {
                        // Its replies are sent first, and others have waited.
                        Ok(true) => after_others(cx),
                        Ok(false) => {
                            self.reading = Reading::Discarding;
                            continue;
                        }
                        Err(_) => return Poll::Ready(Closed::ByClient),
                    }
                    return Poll::Pending;
                }
                if self.hub.coordinator.borrow_mut().has_unanswered(self.slot) {
                    // An answer waits for the disk. The coordinator wakes this task with it.
                    return Poll::Pending;
                }
                self.pipe.all_is_heard();
                return self.poll_finish(cx);
            }
            if let Some(spent) = self.pipe.take_crowded() {
                self.give_up(ErrorCode::Busy, &crowded(spent));
            }
            if self.poll_begun(cx).is_ready() {
                self.give_up(
                    ErrorCode::BadMessage,
                    &unfinished(self.hub.patience.message),
                );
            }
            if self.stall.poll(cx, &self.pipe, all_sent).is_ready() {
                return Poll::Ready(Closed::Stalled(self.pipe.unsent_bytes()));
            }
            if self.poll_idle(cx, all_sent).is_ready() {
                self.idle_too_long();
                continue;
            }
            match self.reading {
                Reading::Paused if self.pipe.unsent_bytes() > self.pipe.pause_bytes() / 2 => {
                    return Poll::Pending;
                }
                Reading::Paused => {
                    self.take(&[]);
                    if self.reading == Reading::Paused {
                        // Its turn is over; others have waited.
                        after_others(cx);
                        return Poll::Pending;
                    }
                }
                Reading::Ended => return Poll::Pending,
                Reading::Messages | Reading::Discarding => match ready!(self.poll_read(cx)) {
                    Ok(more) if more || self.reading == Reading::Paused => {
                        // There is more, and others have waited.
                        after_others(cx);
                        return Poll::Pending;
                    }
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(Closed::ByClient),
                },
            }
        }
    }

    /// Takes a piece of what had come before the host let go; false once there is nothing left. The socket itself is
    /// asked: a task whose turn is over hears from the runtime that there is nothing.
    fn take_rest(&mut self) -> std::io::Result<bool> {
        if self.reading == Reading::Paused {
            self.take(&[]);
            return Ok(true);
        }
        let rest = self.rest.unwrap_or_default();
        let hub = Rc::clone(&self.hub);
        let mut buffer = hub.buffer.borrow_mut();
        let piece = rest.min(buffer.len());
        let bytes = match rustix::io::read(&self.socket, &mut buffer[..piece]) {
            Ok(bytes) => bytes,
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => 0,
            Err(error) => return Err(error.into()),
        };
        if bytes > 0 {
            self.rest = Some(rest - bytes);
            self.take(&buffer[..bytes]);
        }
        Ok(bytes > 0)
    }

    /// Ready when the client has done nothing for too long, where there is a limit to that.
    fn poll_idle(&mut self, cx: &mut Context<'_>, all_sent: bool) -> Poll<()> {
        let Some(idle) = self.idle.as_mut() else {
            return Poll::Pending;
        };
        if matches!(self.reading, Reading::Discarding | Reading::Ended) {
            return Poll::Pending;
        }
        let (hub, slot) = (&self.hub, self.slot);
        idle.poll(cx, || {
            !all_sent || hub.coordinator.borrow_mut().has_unanswered(slot)
        })
    }

    fn idle_too_long(&mut self) {
        self.idle = None;
        self.decoder.give_up();
        self.begun = None;
        self.pipe.message_keeps(0);
        let limit = self.hub.patience.idle.unwrap_or_default();
        let text = format!(
            "this client has asked for nothing for {limit:?} (--idle) and waits for nothing; connect again when there is \
             something to ask, or send a ping now and then"
        );
        tracing::info!(client = self.id, "disconnected: {text}");
        let mut words = Vec::new();
        let code = ErrorCode::IdleTooLong.as_str();
        encoder::error(&mut words, encoder::BAD_MESSAGE_TYPE, "0", code, &text);
        self.reading = Reading::Discarding;
        let mut coordinator = self.hub.coordinator.borrow_mut();
        coordinator.broke_off(self.slot, words);
        coordinator.flush();
    }

    /// Reads once, and says whether there is likely more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let hub = Rc::clone(&self.hub);
        let mut buffer = hub.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
        let full = read.remaining() == 0;
        let bytes = read.filled();
        if let Some(idle) = &self.idle {
            idle.has_sent();
        }
        if bytes.is_empty() {
            self.reading = Reading::Ended;
            // What has begun will never end.
            self.decoder.give_up();
            self.begun = None;
            self.pipe.message_keeps(0);
            let mut coordinator = self.hub.coordinator.borrow_mut();
            coordinator.ended(self.slot);
            coordinator.flush();
        } else if self.reading == Reading::Discarding {
            self.discarded_bytes += bytes.len();
        } else {
            self.take(bytes);
        }
        Poll::Ready(Ok(full))
    }

    /// Hands the messages in `bytes`, and those that the decoder still holds, to the coordinator.
    fn take(&mut self, bytes: &[u8]) {
        let mut coordinator = self.hub.coordinator.borrow_mut();
        coordinator.begin_turn();
        let mut frames = self.decoder.feed(bytes);
        self.reading = Reading::Messages;
        loop {
            match frames.next() {
                Ok(Some(frame)) => {
                    self.begun = None;
                    coordinator.received(self.slot, frame);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(client = self.id, "disconnected: {error}");
                    self.reading = Reading::Discarding;
                    coordinator.broke_off(self.slot, last_words(&error));
                    break;
                }
            }
            if self.pipe.unsent_bytes() > self.pipe.pause_bytes() || coordinator.turn_is_over() {
                self.reading = Reading::Paused;
                break;
            }
        }
        drop(frames);
        // While it is paused it is the host that does not read.
        if self.reading != Reading::Messages || !self.decoder.has_begun() {
            self.begun = None;
        } else if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        self.pipe.message_keeps(self.decoder.held_bytes());
        coordinator.flush();
    }

    /// Ready when a message that has begun has not ended in time.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(begun), Some(patience)) = (self.begun, self.hub.patience.message) else {
            return Poll::Pending;
        };
        let Some(ends) = begun.checked_add(patience) else {
            return Poll::Pending;
        };
        let timer = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep_until(ends)));
        // Often it was set for an earlier message.
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= ends {
                return Poll::Ready(());
            }
            timer.as_mut().reset(ends);
        }
        Poll::Pending
    }

    /// Reads no further, since a message that has begun cannot be waited for. The client is told, after what it is owed.
    fn give_up(&mut self, code: ErrorCode, reason: &str) {
        tracing::warn!(client = self.id, "disconnected: {reason}");
        let received = self.decoder.give_up();
        self.begun = None;
        self.pipe.message_keeps(0);
        self.reading = Reading::Discarding;
        let mut words = Vec::new();
        encoder::bad_message(&mut words, code.as_str(), "0", reason, &received);
        let mut coordinator = self.hub.coordinator.borrow_mut();
        coordinator.broke_off(self.slot, words);
        coordinator.flush();
    }

    /// Everything is sent: tells the client so, and waits until it has gone too, so that what it still sends
    /// does not reset the connection under the last reply.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        let timer = self
            .linger
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limits::LINGER)));
        if timer.as_mut().poll(cx).is_ready() || ready!(self.pipe.poll_shutdown(cx)).is_err() {
            return Poll::Ready(Closed::ByClient);
        }
        while self.reading != Reading::Ended && self.discarded_bytes < limits::LINGER_BYTES_MAX {
            self.reading = Reading::Discarding;
            if ready!(self.poll_read(cx)).is_err() {
                break;
            }
        }
        Poll::Ready(Closed::ByClient)
    }

    fn close(self, closed: Closed, peer: Peer) {
        match closed {
            Closed::ByClient => tracing::debug!(client = self.id, %peer, "disconnected"),
            Closed::Broken(Broken::Socket(error)) => {
                tracing::debug!(client = self.id, %peer, "disconnected: {error}");
            }
            Closed::Broken(Broken::Unread(bytes)) => tracing::warn!(
                client = self.id,
                %peer,
                "disconnected: it has not read {bytes} bytes of replies, at most {} are kept; a client has \
                 to read while it asks",
                limits::UNREAD_REPLY_BYTES_MAX
            ),
            Closed::Broken(Broken::Crowded(bytes, spent)) => tracing::warn!(
                client = self.id,
                %peer,
                "disconnected: it has not read {bytes} bytes of replies, more than any other client, and {spent}; a client \
                 has to read while it asks"
            ),
            Closed::Stalled(bytes) => tracing::warn!(
                client = self.id,
                %peer,
                "disconnected: it has taken nothing of {bytes} bytes of replies for {} s; a client has to \
                 read while it asks",
                limits::STALLED_WRITE_MAX.as_secs()
            ),
        }
        let mut coordinator = self.hub.coordinator.borrow_mut();
        coordinator.disconnected(self.slot);
        coordinator.flush();
    }
}

fn crowded(spent: Spent) -> String {
    format!(
        "no other client has sent so much of a message that has not ended, and {spent}; send messages whole, and try again"
    )
}

fn unfinished(patience: Option<Duration>) -> String {
    let patience = patience.unwrap_or_default();
    format!(
        "expected the separator 🦀 within {patience:?} after a message's first byte, got none; send it with its separator at once"
    )
}

/// What has come and was not read. None where the system does not tell: then nothing more is answered.
fn waiting_bytes(socket: &Reader) -> usize {
    let bytes = rustix::io::ioctl_fionread(socket).unwrap_or_default();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn last_words(error: &ProtocolError) -> Vec<u8> {
    let mut words = Vec::new();
    let code = error.code().as_str();
    encoder::bad_message(&mut words, code, "0", &error.to_string(), error.received());
    words
}
