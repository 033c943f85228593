//! One request inside the host, from its arrival to its reply.

use std::num::NonZeroU32;

use smol_str::{SmolStr, SmolStrBuilder};

/// A client's place in the coordinator's table. Reused; its job's `client` tells who it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientSlot(pub u32);

/// A request type that some plugin serves or has served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// A request with an id that is in flight: where it stands among those. Small, for every job has room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InFlightId(pub NonZeroU32);

/// A lane's place in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// A request that could not be answered while it was read.
///
/// A lane's thread runs it while the coordinator keeps a copy, so that it can be answered if it never ends.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where its client is to be found.
    pub slot: ClientSlot,
    /// Who asked; never used for two clients.
    pub client: u64,
    /// The session that its client was in, or 0.
    pub session: u64,
    /// The type that it asks for.
    pub type_id: TypeId,
    /// Which run of it this is, from 1: one more after each "try again".
    pub attempt: u8,
    /// Set aside instead of refused where the jobber says "not yet".
    pub wait: bool,
    /// As [`Clock::steady_ms`](crate::clock::Clock::steady_ms) counts; `u64::MAX` for none.
    pub deadline_ms: u64,
    /// Where it stands among the requests in flight, if it bears an id.
    pub once: Option<InFlightId>,
    /// Set from when the jobber first said "not yet" until it leaves its line, also while it is tried once more.
    pub waits: Option<Box<Waits>>,
    /// The digits of `queryIndex`, then the payload's JSON: one allocation for both, or none if they are short.
    text: SmolStr,
    query_index_bytes: u32,
}

/// What is remembered of a request that stands in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Lower than that of everybody who began to wait later, in whatever line.
    pub arrival: u64,
    /// Since when it waits, in milliseconds since 1970 on the host's clock.
    pub since_ms: u64,
    /// The code that the jobber said "not yet" with; that of the one before it, where it was not tried yet.
    pub code: Box<str>,
    /// The jobber's sentence. `None`: it was not tried yet, and nobody is told what was said to others.
    pub text: Option<Box<str>>,
    /// Its deadline is the longest that the host lets anybody wait.
    pub is_capped: bool,
}

impl Job {
    /// A request that has not been run yet.
    pub fn new(slot: ClientSlot, client: u64, type_id: TypeId, asked: &RequestRef<'_>) -> Self {
        Self {
            slot,
            client,
            session: asked.session,
            type_id,
            attempt: asked.attempt,
            wait: asked.wait,
            deadline_ms: asked.deadline_ms,
            once: asked.once,
            waits: None,
            text: joined(asked.query_index, asked.payload),
            query_index_bytes: u32::try_from(asked.query_index.len())
                .expect("a message is at most 1 MiB"),
        }
    }

    /// The request, as a lane's code takes it.
    pub fn asked(&self) -> RequestRef<'_> {
        RequestRef {
            client: self.client,
            session: self.session,
            attempt: self.attempt,
            wait: self.wait,
            deadline_ms: self.deadline_ms,
            once: self.once,
            query_index: self.query_index(),
            payload: &self.text[self.query_index_bytes as usize..],
        }
    }

    /// The digits as the client sent them.
    pub fn query_index(&self) -> &str {
        &self.text[..self.query_index_bytes as usize]
    }

    /// What it takes up beside its fixed size, in bytes.
    pub fn text_bytes(&self) -> usize {
        let waits = self.waits.as_deref();
        let told = waits.map_or(0, |waits| {
            let text = waits.text.as_ref().map_or(0, |text| text.len());
            size_of::<Waits>() + waits.code.len() + text
        });
        self.text.len() + told
    }

    /// See [`RequestRef::who`].
    pub fn who(&self) -> u64 {
        self.asked().who()
    }

    /// Whether it stands in line, or is out of it to be tried once more.
    pub fn is_in_line(&self) -> bool {
        self.waits.is_some()
    }
}

/// A request as it is run: borrowed from the read buffer or from its [`Job`].
#[derive(Clone, Copy, Debug)]
pub struct RequestRef<'a> {
    /// The number of the connection that asked.
    pub client: u64,
    /// See [`Job::session`].
    pub session: u64,
    /// Which run of it this is, from 1.
    pub attempt: u8,
    /// See [`Job::wait`].
    pub wait: bool,
    /// See [`Job::deadline_ms`].
    pub deadline_ms: u64,
    /// See [`Job::once`].
    pub once: Option<InFlightId>,
    /// The client's number for the request: digits, as they were sent.
    pub query_index: &'a str,
    /// The payload's JSON; empty if there is none.
    pub payload: &'a str,
}

impl RequestRef<'_> {
    /// Who pays for what the request does: its session, else its connection. A session bears the number of the
    /// connection that began it, so that the two do not collide.
    pub fn who(&self) -> u64 {
        match self.session {
            0 => self.client,
            session => session,
        }
    }
}

/// Both, in one piece of memory.
fn joined(query_index: &str, payload: &str) -> SmolStr {
    let mut text = SmolStrBuilder::new();
    text.push_str(query_index);
    text.push_str(payload);
    text.finish()
}
