//! What the host offers to a plugin's code while it runs a request: the lane's state and facts about the call.

use std::sync::Arc;

use crate::buffer::Buffer;

/// The host as the code of one lane sees it.
///
/// Behind it stands the real host, or [`crate::testing`]. `state` counts the lane's states in the order in
/// which they are declared. An `Err` means that the job no longer counts (it ran past its time limit, say):
/// whatever it does from here on is void.
pub(crate) trait HostAccess: Send + Sync {
    /// Puts the value of `key` into `value` (emptied first) and says whether there is one.
    fn read(&self, state: u32, key: &[u8], value: &mut Buffer) -> Result<bool, Revoked>;
    /// Returns whether a value was replaced.
    fn write(&self, state: u32, key: &[u8], value: &[u8]) -> Result<bool, Revoked>;
    /// Returns whether there was one.
    fn remove(&self, state: u32, key: &[u8]) -> Result<bool, Revoked>;
    /// Puts the entry nearest to `from` in the direction asked for into `key` and `value` (emptied first).
    fn seek(
        &self,
        state: u32,
        direction: Seek,
        from: &[u8],
        key: &mut Buffer,
        value: &mut Buffer,
    ) -> Result<bool, Revoked>;
    /// Facts about the request that runs.
    fn call(&self) -> Call;
}

/// Which neighbour of a key is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The first key that is the same or greater.
    AtOrAfter,
    /// The last key that is the same or smaller.
    AtOrBefore,
}

/// The job that asks no longer counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Revoked;

/// Facts about the request that runs. A function that takes `&Call` as its last argument gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The connection that asked: a number that is never used for another one.
    pub client: u64,
    /// The session that the connection is in, if it is in one: a number that is never used for another one, and stays the same
    /// when the client comes back over another connection.
    pub session: Option<u64>,
    /// 1 for the first run of this request, one more after each "try again".
    pub attempt: u32,
    /// Milliseconds since 1970-01-01T00:00Z. Never less than in an earlier call.
    pub now_ms: u64,
    /// When the client's patience ends, on the same clock. `None`: it waits for ever.
    pub deadline_ms: Option<u64>,
}

impl Call {
    /// Who holds what this request is granted: the session, else the connection.
    pub fn holder(&self) -> Holder {
        match self.session {
            Some(session) => Holder::Session(session),
            None => Holder::Connection(self.client),
        }
    }

    /// Whether this request comes from `holder`: from its session, or from the connection itself, which may have been granted
    /// something before it came to have a session.
    pub fn is_from(&self, holder: Holder) -> bool {
        match holder {
            Holder::Connection(client) => client == self.client,
            Holder::Session(session) => Some(session) == self.session,
        }
    }
}

/// Who was granted something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Holder {
    /// A connection without a session, by its number: see [`Call::client`].
    Connection(u64),
    /// A session, by its number: see [`Call::session`].
    Session(u64),
}

/// One state of the lane: an ordered map from bytes to bytes, inside the transaction of the job that runs.
///
/// All kinds of state are built on it. Its functions return plain values: when access was revoked they
/// unwind, quietly, to the entry of the plugin, because nothing that the job could still do would count.
///
/// While the thread unwinds already, an author's `Drop` may come here once more. To unwind out of it would end
/// the process, so a revoked access then finds nothing and changes nothing; and so does what is built on this:
/// see [`unwinding`].
pub struct StateMap {
    host: Arc<dyn HostAccess>,
    state: u32,
    key: Buffer,
    value: Buffer,
}

impl StateMap {
    pub(crate) fn new(host: Arc<dyn HostAccess>, state: u32) -> Self {
        Self {
            host,
            state,
            key: Buffer::new(),
            value: Buffer::new(),
        }
    }

    /// Facts about the request that runs.
    pub(crate) fn call(&self) -> Call {
        self.host.call()
    }

    /// The value of `key`.
    pub(crate) fn read(&mut self, key: &[u8]) -> Option<&[u8]> {
        let found = or_unwind(self.host.read(self.state, key, &mut self.value));
        found.then_some(&self.value)
    }

    /// Sets the value of `key`; returns whether one was replaced.
    pub(crate) fn write(&mut self, key: &[u8], value: &[u8]) -> bool {
        or_unwind(self.host.write(self.state, key, value))
    }

    /// Removes `key`; returns whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        or_unwind(self.host.remove(self.state, key))
    }

    /// The entry with the first key at or after `from`.
    pub(crate) fn at_or_after(&mut self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        self.seek(Seek::AtOrAfter, from)
    }

    /// The entry with the last key at or before `from`.
    pub(crate) fn at_or_before(&mut self, from: &[u8]) -> Option<(&[u8], &[u8])> {
        self.seek(Seek::AtOrBefore, from)
    }

    fn seek(&mut self, direction: Seek, from: &[u8]) -> Option<(&[u8], &[u8])> {
        let found = self
            .host
            .seek(self.state, direction, from, &mut self.key, &mut self.value);
        or_unwind(found).then_some((&*self.key, &*self.value))
    }
}

/// What a revoked job unwinds with. It never reaches the author: the plugin's entry catches it.
pub(crate) struct GaveUp;

/// Whether the job is on its way out. Whatever it still does is void, and it must not panic: where a state
/// has no right answer it gives an empty one.
pub(crate) fn unwinding() -> bool {
    std::thread::panicking()
}

fn or_unwind(found: Result<bool, Revoked>) -> bool {
    match found {
        Ok(found) => found,
        Err(Revoked) if unwinding() => false,
        Err(Revoked) => std::panic::resume_unwind(Box::new(GaveUp)),
    }
}

#[cfg(test)]
mod tests;
