//! One connection of a benchmark: keeps so many requests in flight, and hears their replies.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use client::limits::REPLY_BYTES_MAX;
use protocol::{Decoder, Reply};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    Bench,
    tally::Tally,
    template::{NUMBERS, Requests},
};

/// What is written, and not yet sent, before nothing more is written.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Connection {
    stream: TcpStream,
    /// See [`Requests::of`].
    shift: usize,
    places: Places,
    decoder: Decoder,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    lost: bool,
    /// Wakes its task; kept only where somebody else has it send.
    waker: Option<Waker>,
}

/// The requests in flight. Each stands in a place of its own, which its number tells.
struct Places {
    all: Vec<InFlight>,
    free: Vec<usize>,
}

#[derive(Clone, Copy)]
struct InFlight {
    /// Of its last request.
    number: u64,
    /// When that was sent or due; `None`: it is answered.
    since: Option<Instant>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, pipeline: usize, shift: usize) -> Self {
        let numbers = (NUMBERS.start..).take(pipeline);
        Self {
            stream,
            shift,
            places: Places {
                all: numbers
                    .map(|number| InFlight {
                        number,
                        since: None,
                    })
                    .collect(),
                free: (0..pipeline).rev().collect(),
            },
            decoder: Decoder::with_limit(REPLY_BYTES_MAX),
            out: Vec::new(),
            sent: 0,
            lost: false,
            waker: None,
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        (self.places.all.len() - self.places.free.len()) as u64
    }

    pub(super) fn has_room(&self) -> bool {
        !self.lost && !self.places.free.is_empty() && self.out.len() < UNSENT_BYTES_MAX
    }

    /// How long the next request is. Only with [`Connection::has_room`].
    pub(super) fn next_bytes(&self, requests: &Requests) -> usize {
        requests.of(self.places.next(), self.shift).bytes()
    }

    /// Writes a request that counts from `since`. Only with [`Connection::has_room`].
    pub(super) fn ask(&mut self, requests: &Requests, since: Instant) {
        self.write(requests, since);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// It is lost: nothing more can be asked on it.
    pub(super) fn give_up(&mut self) {
        self.lost = true;
    }

    /// Runs until all was sent and answered.
    ///
    /// # Errors
    /// Why the connection is lost.
    pub(super) fn poll(&mut self, bench: &Bench, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        if bench.pace.is_some() {
            self.waker = Some(cx.waker().clone());
        }
        let mut now = Instant::now();
        loop {
            loop {
                let asked = self.fill(bench, now);
                if self.poll_send(cx)?.is_pending() || !asked {
                    break;
                }
                // What is sent has left room for more.
            }
            if self.in_flight() == 0 && bench.tally.borrow().is_over(now) {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = bench.buffer.borrow_mut();
            let mut read = ReadBuf::new(&mut buffer);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                return Poll::Ready(Err(error.to_string()));
            }
            if read.filled().is_empty() {
                return Poll::Ready(Err("the host closed it".to_owned()));
            }
            now = Instant::now();
            let tally = &mut bench.tally.borrow_mut();
            if let Err(reason) = self.hear(read.filled(), &bench.requests, tally, now) {
                return Poll::Ready(Err(reason));
            }
        }
    }

    /// Sends what is written; pending: not all of it can be now.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, String> {
        while self.sent < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(bytes)) => self.sent += bytes,
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(Poll::Ready(()))
    }

    /// Writes as many requests as may be sent, and says whether there was any.
    fn fill(&mut self, bench: &Bench, now: Instant) -> bool {
        let before = self.in_flight();
        self.write_due(bench, now);
        self.in_flight() > before
    }

    fn write_due(&mut self, bench: &Bench, now: Instant) {
        if !self.has_room() {
            return;
        }
        let mut tally = bench.tally.borrow_mut();
        let mut pace = bench.pace.as_ref().map(|pace| pace.borrow_mut());
        while self.has_room() {
            let since = match &mut pace {
                // Those that wait for room are late by the host's fault.
                Some(pace) if !tally.is_over(now) => pace.take(now),
                Some(_) => None,
                None => Some(now),
            };
            let Some(since) = since else { return };
            if !tally.sends(now, self.next_bytes(&bench.requests)) {
                return;
            }
            self.write(&bench.requests, since);
        }
    }

    fn write(&mut self, requests: &Requests, since: Instant) {
        let number = self.places.begin(since);
        requests.of(number, self.shift).write(&mut self.out, number);
    }

    /// Takes what has come.
    fn hear(
        &mut self,
        bytes: &[u8],
        requests: &Requests,
        tally: &mut Tally,
        now: Instant,
    ) -> Result<(), String> {
        tally.received(now, bytes.len());
        let mut frames = self.decoder.feed(bytes);
        while let Some(frame) = frames.next().map_err(|error| error.to_string())? {
            let (number, result, refusal) = match requests.read(frame, self.shift) {
                Some((number, result)) => (Some(number), result, requests.refusal_in(result)),
                // In other words than usual, or an answer to something else.
                None => {
                    let reply = Reply::parse(frame).map_err(|error| error.to_string())?;
                    let refusal = reply.refusal();
                    let number = reply.query_index.parse().ok().filter(|number| {
                        // What refuses a request may be of the host's own type.
                        refusal.is_some() || requests.is_of(&reply.type_name, *number, self.shift)
                    });
                    (number, reply.result.as_bytes(), refusal)
                }
            };
            match number.and_then(|number| self.places.end(number)) {
                Some(since) => tally.answered(since, now),
                None => tally.counts.strangers += 1,
            }
            match (refusal, &mut tally.unique) {
                (Some(refusal), _) => tally.refused(&refusal),
                (None, Some(unique)) => unique.look_at(result),
                (None, None) => {}
            }
        }
        Ok(())
    }
}

impl Places {
    /// The number of the next request. Only with a free place.
    fn next(&self) -> u64 {
        let step = self.all.len() as u64;
        let number = self.all[*self.free.last().expect("there is room")].number + step;
        match number < NUMBERS.end {
            true => number,
            // Its first one again, after thousands of millions.
            false => NUMBERS.start + (number - NUMBERS.start) % step,
        }
    }

    /// Takes a free place, and gives its request's number.
    fn begin(&mut self, since: Instant) -> u64 {
        let number = self.next();
        let place = self.free.pop().expect("there is room");
        self.all[place] = InFlight {
            number,
            since: Some(since),
        };
        number
    }

    /// Ends the request with this number, and says since when it was in flight. `None`: it is not.
    fn end(&mut self, number: u64) -> Option<Instant> {
        let offset = number.checked_sub(NUMBERS.start)?;
        let place = usize::try_from(offset % self.all.len() as u64).ok()?;
        let of = &mut self.all[place];
        if of.number != number {
            return None;
        }
        let since = of.since.take()?;
        self.free.push(place);
        Some(since)
    }
}
