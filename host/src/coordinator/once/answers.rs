//! The answers that are kept to be given again, by session and id.
//!
//! They are a state of the host's own, beside those of the plugins: their effects go into the same batches as those of the
//! jobs that they belong to. See `stored` for its entries.

use std::collections::BTreeSet;

use plugin_api::description::StateDescription;
use protocol::limits::{ANSWERS_KEPT_BYTES_MAX, ANSWERS_KEPT_MAX, SESSION_KEPT};
use rustc_hash::FxHashMap;

use super::{
    Fingerprint, RequestId, SessionKey,
    stored::{self, FLOOR, FORGOTTEN_TO, HOST, KEY, KEY_BYTES, Stored, key, read_key, read_number},
};
use crate::{
    limits::{ANSWERS_KEPT_BYTES_ALL_MAX, FORGOTTEN_AT_ONCE_MAX, SESSIONS_IDLE_MAX},
    state::{
        BatchNo, LentState,
        effects::{self, StateId},
    },
};

/// How the store knows these entries.
pub fn answers_state() -> StateDescription {
    StateDescription {
        name: "answers".to_owned(),
        kind: "answers".to_owned(),
        schema: 1,
        books: 0,
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Answers {
    lent: LentState,
    /// What changes is told, to be kept.
    is_told: bool,
    sessions: FxHashMap<u64, Session>,
    /// Those that no client is in, by since when.
    idle: BTreeSet<(u64, u64)>,
    /// By how many bytes their answers take.
    by_bytes: BTreeSet<(usize, u64)>,
    bytes: usize,
    forgotten_to: u64,
}

#[derive(Debug, Default)]
struct Session {
    /// Up to this id what is not kept is forgotten.
    floor: u64,
    answers: usize,
    bytes: usize,
    clients: usize,
    idle_since_ms: u64,
    /// The batch of the last answer.
    last_change: BatchNo,
}

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub enum Looked<'a> {
    /// It was never answered.
    New,
    /// The result that the request was answered with, and the batch in which that is.
    Answered(&'a [u8], BatchNo),
    /// It was taken back.
    Cancelled(BatchNo),
    /// It belongs to another request.
    Conflict,
    /// It is too old to tell.
    Forgotten,
}

impl Answers {
    /// Goes on with what is stored. Nobody is there at first.
    pub fn new(lent: LentState, is_told: bool, now_ms: u64) -> Self {
        let mut answers = Self {
            is_told,
            ..Self::default()
        };
        for (key, value) in lent.map.iter() {
            match read_key(key) {
                (HOST, FORGOTTEN_TO) => answers.forgotten_to = read_number(value),
                (HOST, _) => {}
                (session, FLOOR) => answers.session(session, now_ms).floor = read_number(value),
                (session, _) => answers.count(session, now_ms, value.len()),
            }
        }
        answers.lent = lent;
        answers
    }

    /// The key that the sessions' names were made with, once one is stored.
    pub fn key(&self) -> Option<SessionKey> {
        let stored = self.lent.map.read(&key(HOST, KEY))?;
        stored.try_into().ok().map(SessionKey)
    }

    /// Stores it.
    pub fn put_key(&mut self, new: SessionKey, out: &mut Vec<u8>) {
        self.write(&key(HOST, KEY), &new.0, out);
    }

    /// About how much memory they take, in bytes.
    pub fn memory(&self) -> usize {
        self.lent.map.memory()
    }

    /// Where it stands in the store.
    pub fn state_id(&self) -> StateId {
        self.lent.id
    }

    /// A client goes on with a session, or begins one.
    pub fn enter(&mut self, session: u64) {
        let of = self.sessions.entry(session).or_default();
        if of.clients == 0 {
            self.idle.remove(&(of.idle_since_ms, session));
        }
        of.clients += 1;
    }

    /// A client of it has gone.
    pub fn leave(&mut self, session: u64, now_ms: u64) {
        let Some(of) = self.sessions.get_mut(&session) else {
            return;
        };
        of.clients -= 1;
        if of.clients > 0 {
            return;
        }
        // One that is not higher than what was forgotten is known only as long as it is here.
        if of.answers == 0 && of.floor == 0 && session > self.forgotten_to {
            self.sessions.remove(&session);
        } else {
            of.idle_since_ms = now_ms;
            self.idle.insert((now_ms, session));
        }
    }

    /// Whether all that was answered in a session is known. One of which nothing is stored has never answered anything,
    /// unless it may be one of those that were forgotten: those are never higher than the highest of them.
    pub fn is_known(&self, session: u64) -> bool {
        self.sessions.contains_key(&session) || session > self.forgotten_to
    }

    /// What is known of a request.
    pub fn look(&self, of: RequestId, fingerprint: Fingerprint) -> Looked<'_> {
        match self.look_at_any(of) {
            (Looked::Answered(..), Some(stored)) if stored != fingerprint => Looked::Conflict,
            (looked, _) => looked,
        }
    }

    /// What is known of an id, whatever was asked under it.
    pub fn look_at_any(&self, of: RequestId) -> (Looked<'_>, Option<Fingerprint>) {
        let session = self.sessions.get(&of.session);
        let last_change = session.map_or(BatchNo::default(), |session| session.last_change);
        let Some(value) = self.lent.map.read(&key(of.session, of.id)) else {
            let floor = session.map_or(0, |session| session.floor);
            return match of.id <= floor {
                true => (Looked::Forgotten, None),
                false => (Looked::New, None),
            };
        };
        match stored::read(value) {
            Stored::Answer {
                fingerprint,
                result,
                ..
            } => (Looked::Answered(result, last_change), Some(fingerprint)),
            Stored::Cancelled => (Looked::Cancelled(last_change), None),
        }
    }

    /// Keeps what a request was answered with, whose job worked on the states `from`. What changes is appended to `out`, for the
    /// batch of the job.
    pub fn keep(
        &mut self,
        of: RequestId,
        fingerprint: Fingerprint,
        from: &[StateId],
        result: &[u8],
        now_ms: u64,
        out: &mut Vec<u8>,
    ) {
        self.put(of, &stored::answer(fingerprint, from, result), now_ms, out);
    }

    /// Notes that a request was taken back: whoever asks it again is told so.
    pub fn cancel(&mut self, of: RequestId, now_ms: u64, out: &mut Vec<u8>) {
        self.put(of, &stored::cancelled(), now_ms, out);
    }

    /// The last answer of a session is in this batch.
    pub fn changed_in(&mut self, session: u64, batch: BatchNo) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.last_change = batch;
        }
    }

    fn put(&mut self, of: RequestId, value: &[u8], now_ms: u64, out: &mut Vec<u8>) {
        let is_gone = !self.sessions.contains_key(&of.session) && !self.is_known(of.session);
        if is_gone {
            // Its client went, and room was needed. Nobody can come back to it, so nobody can ask this again.
            return;
        }
        self.write(&key(of.session, of.id), value, out);
        self.count(of.session, now_ms, value.len());
        let session = &self.sessions[&of.session];
        if session.answers > ANSWERS_KEPT_MAX || session.bytes > ANSWERS_KEPT_BYTES_MAX {
            self.forget_lowest(of.session, FORGOTTEN_AT_ONCE_MAX, out, |session| {
                session.answers > ANSWERS_KEPT_MAX || session.bytes > ANSWERS_KEPT_BYTES_MAX
            });
        }
        self.bound_all(of.session, now_ms, out);
    }

    /// Forgets sessions that nobody came back to, and what is too much: first of those that were left, then of those that take
    /// most. A little at a time, so that no request pays for all of a large session.
    fn bound_all(&mut self, present: u64, now_ms: u64, out: &mut Vec<u8>) {
        let kept_ms = u64::try_from(SESSION_KEPT.as_millis()).unwrap_or(u64::MAX);
        let mut left = FORGOTTEN_AT_ONCE_MAX;
        while left > 0
            && let Some((since_ms, idle)) = self.idle.first().copied()
        {
            let is_over = since_ms.saturating_add(kept_ms) < now_ms;
            let too_many = self.idle.len() > SESSIONS_IDLE_MAX;
            if !is_over && !too_many && self.bytes <= ANSWERS_KEPT_BYTES_ALL_MAX {
                return;
            }
            // One that has no answers is work as well.
            left -= self.forget_lowest(idle, left, out, |_| true).max(1);
            if self.sessions[&idle].answers == 0 {
                self.forget_session((since_ms, idle), out);
            }
        }
        let mut left = FORGOTTEN_AT_ONCE_MAX;
        while left > 0 && self.bytes > ANSWERS_KEPT_BYTES_ALL_MAX {
            // What has just been answered is not forgotten at once.
            let may_lose = |of: &&(usize, u64)| of.1 != present || self.sessions[&of.1].answers > 1;
            let Some((_, largest)) = self.by_bytes.iter().rev().find(may_lose).copied() else {
                return;
            };
            self.forget_lowest(largest, 1, out, |_| true);
            left -= 1;
        }
    }

    fn forget_session(&mut self, (since_ms, idle): (u64, u64), out: &mut Vec<u8>) {
        self.idle.remove(&(since_ms, idle));
        self.sessions.remove(&idle);
        self.remove(&key(idle, FLOOR), out);
        if idle > self.forgotten_to {
            self.forgotten_to = idle;
            self.write(&key(HOST, FORGOTTEN_TO), &idle.to_be_bytes(), out);
        }
    }

    /// Forgets answers of a session, those with the lowest ids first, while there are too many. Returns how many.
    fn forget_lowest(
        &mut self,
        session: u64,
        at_most: usize,
        out: &mut Vec<u8>,
        too_many: impl Fn(&Session) -> bool,
    ) -> usize {
        let (mut floor, mut forgotten) = (None, 0);
        while forgotten < at_most {
            let of = &self.sessions[&session];
            if of.answers == 0 || !too_many(of) {
                break;
            }
            let lowest = self.lent.map.at_or_after(&key(session, FLOOR + 1));
            let Some((lowest, value)) = lowest else {
                break;
            };
            let (id, bytes) = (read_key(lowest).1, value.len() + KEY_BYTES);
            self.remove(&key(session, id), out);
            let of = self.sessions.entry(session).or_default();
            let before = of.bytes;
            (of.answers, of.bytes) = (of.answers - 1, of.bytes - bytes);
            of.floor = of.floor.max(id);
            floor = Some(of.floor);
            let now = of.bytes;
            self.resized(session, before, now);
            forgotten += 1;
        }
        if let Some(floor) = floor {
            self.write(&key(session, FLOOR), &floor.to_be_bytes(), out);
        }
        forgotten
    }

    fn count(&mut self, session: u64, now_ms: u64, value_bytes: usize) {
        let bytes = value_bytes + KEY_BYTES;
        let of = self.session(session, now_ms);
        of.answers += 1;
        let before = of.bytes;
        of.bytes += bytes;
        self.resized(session, before, before + bytes);
    }

    fn resized(&mut self, session: u64, before: usize, now: usize) {
        self.by_bytes.remove(&(before, session));
        if now > 0 {
            self.by_bytes.insert((now, session));
        }
        self.bytes = self.bytes - before + now;
    }

    fn session(&mut self, session: u64, now_ms: u64) -> &mut Session {
        self.sessions.entry(session).or_insert_with(|| {
            // Its client has gone while this was on its way, or has not come back after a start.
            self.idle.insert((now_ms, session));
            Session {
                idle_since_ms: now_ms,
                ..Session::default()
            }
        })
    }

    fn write(&mut self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.lent.map.write(key, value, |_| ());
        if self.is_told {
            effects::put(out, self.lent.id, key, value);
        }
    }

    fn remove(&mut self, key: &[u8], out: &mut Vec<u8>) {
        if self.lent.map.remove(key).is_some() && self.is_told {
            effects::remove(out, self.lent.id, key);
        }
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
