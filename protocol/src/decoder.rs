//! Cuts a connection's bytes into messages. Owns only the bytes of the message that is not yet whole.
//!
//! A message that lies whole inside the bytes just read is lent out in place; only an unfinished tail is copied. Every
//! byte is searched once, however the stream was cut.

use std::ops::Range;

use thiserror::Error;

use crate::{
    error_code::ErrorCode,
    limits::{BAD_MESSAGE_ECHO_BYTES_MAX, MESSAGE_BYTES_MAX, SEPARATOR},
    object,
    opening::{OPENING_BYTES_MAX, Opening},
    separator,
};

/// Above this a buffer is given back as soon as its message is done, so that one big message does not make the
/// connection big for good.
const BUFFER_BYTES_KEPT: usize = 4096;

/// A little more than is echoed, so that the echo can be cut at a character's end.
const RECEIVED_BYTES_KEPT: usize = BAD_MESSAGE_ECHO_BYTES_MAX + 4;

/// Why a connection's bytes cannot be read any further. The peer is at fault; its connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A message is longer than the limit, or is going to be.
    #[error(
        "expected a message of at most {bytes_max} bytes before its separator 🦀, got a longer one; send less at once"
    )]
    TooLarge {
        /// The limit, in bytes, separator not counted.
        bytes_max: usize,
        /// The message's first bytes, a little over 1 KiB at most.
        received: Box<[u8]>,
    },
    /// The connection's first bytes belong to another protocol. No message was or will be read from it.
    #[error(
        "expected JSON messages, each followed by 🦀, got {what}; this port speaks rm-host's own protocol"
    )]
    NotThisProtocol {
        /// "an HTTP request" or "a TLS handshake".
        what: &'static str,
        /// The connection's first bytes, a little over 1 KiB at most.
        received: Box<[u8]>,
    },
}

impl ProtocolError {
    /// The code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::NotThisProtocol { .. } => ErrorCode::BadMessage,
        }
    }

    /// The beginning of what was received, to be echoed.
    pub fn received(&self) -> &[u8] {
        match self {
            Self::TooLarge { received, .. } | Self::NotThisProtocol { received, .. } => received,
        }
    }
}

/// Cuts one connection's bytes into messages; one per connection and direction.
///
/// ```
/// let mut decoder = protocol::Decoder::new();
/// let whole = "{\"type\":\"a\"} 🦀 {\"type\":\"b\"}🦀".as_bytes();
/// let (first, rest) = whole.split_at(15); // in the middle of the separator
///
/// assert_eq!(decoder.feed(first).next()?, None);
/// let mut frames = decoder.feed(rest);
/// assert_eq!(frames.next()?, Some(&b"{\"type\":\"a\"}"[..]));
/// assert_eq!(frames.next()?, Some(&b"{\"type\":\"b\"}"[..]));
/// assert_eq!(frames.next()?, None);
/// # Ok::<(), protocol::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// Received and not yet lent out, from `start` on; before `start` are messages that are done.
    buffer: Vec<u8>,
    start: usize,
    /// Whether `buffer[start..]` may hold a separator. Only after a `Frames` was dropped before its end; otherwise the
    /// buffer is the beginning of one message and is never searched again.
    unsearched: bool,
    /// Whether the connection's first bytes were judged to be of our protocol.
    opened: bool,
    message_bytes_max: usize,
    failed: Option<ProtocolError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder for messages of up to [`MESSAGE_BYTES_MAX`] bytes. It holds no heap memory while no message is begun.
    pub fn new() -> Self {
        Self::with_limit(MESSAGE_BYTES_MAX)
    }

    /// A decoder for messages of up to `message_bytes_max` bytes, separator not counted.
    pub fn with_limit(message_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            unsearched: false,
            opened: false,
            message_bytes_max,
            failed: None,
        }
    }

    /// Takes what was read from the connection; the messages are drawn from the returned [`Frames`].
    ///
    /// What is left undrawn stays in the decoder, whatever its size: who stops in the middle goes on later with
    /// `feed(&[])`, and reads no more from the connection until then.
    pub fn feed<'a>(&'a mut self, input: &'a [u8]) -> Frames<'a> {
        Frames {
            decoder: self,
            input,
        }
    }

    /// How many bytes wait in the decoder: the beginning of a message, and messages left undrawn.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// How much memory that takes, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether the beginning of a message waits for more bytes, and nothing else does.
    pub fn has_begun(&self) -> bool {
        !self.unsearched && self.pending_bytes() > 0
    }

    /// Forgets all that waits, and gives its memory back. Returns the first bytes, a little over 1 KiB at most.
    pub fn give_up(&mut self) -> Box<[u8]> {
        let received = self.received(&[]);
        self.buffer = Vec::new();
        self.start = 0;
        self.unsearched = false;
        received
    }

    /// Gives up what is done, before more is appended or the decoder rests.
    fn drop_done(&mut self) {
        if self.start == self.buffer.len() {
            self.start = 0;
            self.unsearched = false;
            if self.buffer.capacity() > BUFFER_BYTES_KEPT {
                self.buffer = Vec::new();
            } else {
                self.buffer.clear();
            }
        } else if self.start > self.buffer.len() / 2 {
            // Only once more than half is done, so that a byte is moved once on average.
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.buffer.capacity() > BUFFER_BYTES_KEPT
                && self.buffer.capacity() / 4 > self.buffer.len()
            {
                self.buffer.shrink_to_fit();
            }
        }
    }

    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.buffer = Vec::new();
        self.start = 0;
        self.failed = Some(error.clone());
        error
    }

    /// `rest` is what of the message, or of the connection, has come beyond the buffer.
    fn received(&self, rest: &[u8]) -> Box<[u8]> {
        let pending = &self.buffer[self.start..];
        pending
            .iter()
            .chain(rest)
            .take(RECEIVED_BYTES_KEPT)
            .copied()
            .collect()
    }

    fn too_large(&mut self, rest: &[u8]) -> ProtocolError {
        let received = self.received(rest);
        self.fail(ProtocolError::TooLarge {
            bytes_max: self.message_bytes_max,
            received,
        })
    }
}

/// The messages in what a [`Decoder`] was fed. Dropped before the end, it leaves the rest in the decoder.
#[derive(Debug)]
#[must_use = "the messages are drawn with `next`"]
pub struct Frames<'a> {
    decoder: &'a mut Decoder,
    /// Not yet drawn, and behind all that the decoder holds.
    input: &'a [u8],
}

/// Where a message lies. Found first and lent out last, because a loan must not outlive its turn of the loop.
enum MessageBytes<'a> {
    Buffer(Range<usize>),
    Input(&'a [u8]),
}

impl<'a> Frames<'a> {
    /// The next whole message, without the whitespace around it; empty ones are skipped. `Ok(None)`: more bytes are
    /// needed.
    ///
    /// # Errors
    /// [`ProtocolError`] when the stream cannot be read further, after all messages before that place. The decoder
    /// then gives the same error for ever.
    #[allow(
        clippy::should_implement_trait,
        reason = "lends from itself, which `Iterator` cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<&[u8]>, ProtocolError> {
        if let Some(error) = &self.decoder.failed {
            return Err(error.clone());
        }
        if !self.decoder.opened && !self.opens_as_ours()? {
            return Ok(None);
        }
        loop {
            match self.next_place()? {
                None => return Ok(None),
                Some(MessageBytes::Input(message)) => {
                    let message = object::trim(message);
                    if !message.is_empty() {
                        return Ok(Some(message));
                    }
                }
                Some(MessageBytes::Buffer(range)) => {
                    if !object::trim(&self.decoder.buffer[range.clone()]).is_empty() {
                        return Ok(Some(object::trim(&self.decoder.buffer[range])));
                    }
                }
            }
        }
    }

    /// The next message as it came, empty or not.
    fn next_place(&mut self) -> Result<Option<MessageBytes<'a>>, ProtocolError> {
        let decoder = &mut *self.decoder;
        if decoder.unsearched {
            match separator::find(&decoder.buffer[decoder.start..]) {
                Some(bytes) => {
                    let message = decoder.start..decoder.start + bytes;
                    if bytes > decoder.message_bytes_max {
                        return Err(decoder.too_large(&[]));
                    }
                    decoder.start = message.end + SEPARATOR.len();
                    return Ok(Some(MessageBytes::Buffer(message)));
                }
                None => decoder.unsearched = false,
            }
        }
        decoder.drop_done();
        if decoder.pending_bytes() > 0 {
            return self.finish_begun();
        }
        let Some(bytes) = separator::find(self.input) else {
            return self.keep_tail();
        };
        let message = &self.input[..bytes];
        if bytes > decoder.message_bytes_max {
            return Err(decoder.too_large(message));
        }
        self.input = &self.input[bytes + SEPARATOR.len()..];
        Ok(Some(MessageBytes::Input(message)))
    }

    /// Completes the message whose beginning the decoder holds.
    fn finish_begun(&mut self) -> Result<Option<MessageBytes<'a>>, ProtocolError> {
        let decoder = &mut *self.decoder;
        let held = partial_separator_bytes(&decoder.buffer[decoder.start..]);
        // No byte of the separator occurs twice in it, so a cut one continues at one place only.
        let cut = held > 0 && self.input.starts_with(&SEPARATOR[held..]);
        let (message_end, input_end) = if cut {
            (decoder.buffer.len() - held, SEPARATOR.len() - held)
        } else if let Some(bytes) = separator::find(self.input) {
            (decoder.buffer.len() + bytes, bytes + SEPARATOR.len())
        } else {
            return self.keep_tail();
        };
        if message_end - decoder.start > decoder.message_bytes_max {
            return Err(decoder.too_large(self.input));
        }
        let (used, rest) = self.input.split_at(input_end);
        decoder.buffer.extend_from_slice(used);
        self.input = rest;
        let message = decoder.start..message_end;
        decoder.start = decoder.buffer.len();
        Ok(Some(MessageBytes::Buffer(message)))
    }

    /// Keeps an input without a separator for the next feed.
    fn keep_tail(&mut self) -> Result<Option<MessageBytes<'a>>, ProtocolError> {
        let decoder = &mut *self.decoder;
        let pending = decoder.pending_bytes() + self.input.len();
        if pending > decoder.message_bytes_max {
            // The end may be a cut separator, which is not the message's own: whether a message is too large must not
            // depend on where the stream was cut.
            let mut tail = [0; SEPARATOR.len() - 1];
            let held_and_input = decoder.buffer[decoder.start..].iter().chain(self.input);
            tail.iter_mut()
                .rev()
                .zip(held_and_input.rev())
                .for_each(|(last, &byte)| *last = byte);
            let held = partial_separator_bytes(&tail);
            if pending - held > decoder.message_bytes_max {
                return Err(decoder.too_large(self.input));
            }
        }
        decoder.buffer.extend_from_slice(self.input);
        self.input = &[];
        Ok(None)
    }

    /// Judges the connection's first bytes; false while they are too few.
    fn opens_as_ours(&mut self) -> Result<bool, ProtocolError> {
        let decoder = &mut *self.decoder;
        let first: Vec<u8> = decoder
            .buffer
            .iter()
            .chain(self.input)
            .take(OPENING_BYTES_MAX)
            .copied()
            .collect();
        match Opening::of(&first) {
            Opening::Ours => decoder.opened = true,
            Opening::Foreign(what) => {
                let received = decoder.received(self.input);
                return Err(decoder.fail(ProtocolError::NotThisProtocol { what, received }));
            }
            Opening::Undecided => {
                // The beginning of a foreign opening holds no separator, so the bytes count as searched.
                decoder.buffer.extend_from_slice(self.input);
                self.input = &[];
            }
        }
        Ok(decoder.opened)
    }
}

impl Drop for Frames<'_> {
    fn drop(&mut self) {
        let decoder = &mut *self.decoder;
        if decoder.failed.is_some() {
            return;
        }
        decoder.drop_done();
        if !self.input.is_empty() {
            decoder.buffer.extend_from_slice(self.input);
            decoder.unsearched = true;
        }
        if decoder.buffer.is_empty() {
            decoder.buffer = Vec::new();
        }
    }
}

/// How many bytes at the end of `bytes` may be the beginning of a separator.
fn partial_separator_bytes(bytes: &[u8]) -> usize {
    (1..SEPARATOR.len())
        .rev()
        .find(|&count| bytes.ends_with(&SEPARATOR[..count]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_all(decoder: &mut Decoder, input: &[u8]) {
        let mut frames = decoder.feed(input);
        while frames.next().unwrap().is_some() {}
    }

    #[test]
    fn an_idle_decoder_holds_no_memory_and_a_begun_message_no_more_than_it_needs() {
        let mut decoder = Decoder::new();
        draw_all(&mut decoder, "{}🦀{}🦀".as_bytes());
        assert_eq!(decoder.buffer.capacity(), 0);
        draw_all(&mut decoder, &[b'x'; 500_000]);
        draw_all(&mut decoder, "🦀{".as_bytes());
        assert_eq!(decoder.pending_bytes(), 1);
        assert!(decoder.buffer.capacity() <= BUFFER_BYTES_KEPT);
        draw_all(&mut decoder, "}🦀".as_bytes());
        assert_eq!(decoder.buffer.capacity(), 0);
    }
}
