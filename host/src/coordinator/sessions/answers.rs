//! The answers that are kept to be given again, by session and id.
//!
//! They are a state of the host's own, beside those of the plugins: their effects go into the same batches as those of the
//! jobs that they belong to. See `stored` for its entries.

use plugin_api::description::StateDescription;
use protocol::limits::{ANSWERS_KEPT_BYTES_MAX, ANSWERS_KEPT_MAX, SESSION_KEPT};
use rustc_hash::FxHashMap;

use super::{
    Fingerprint, Origin, RequestId, SessionKey,
    shares::{ANSWER_BYTES, Idle, SESSION_BYTES, Shares},
    stored::{self, FLOOR, FORGOTTEN_TO, HOST, KEY, KEY_BYTES, Stored, key, read_key, read_number},
};
use crate::{
    budget::{Budget, Kept},
    limits::{FORGOTTEN_AT_ONCE_MAX, FORGOTTEN_TOLD_EVERY_MS, SESSIONS_IDLE_MAX},
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

/// The answers that are kept, by session and id, and the key of the sessions' names.
#[derive(Debug)]
pub struct Answers {
    /// The state that they are stored in.
    lent: LentState,
    /// What changes is told, to be kept.
    is_told: bool,
    /// What is known of each session.
    sessions: FxHashMap<u64, Session>,
    /// How much each takes, and who goes first.
    shares: Shares,
    /// The bytes of all sessions count in this budget.
    budget: Budget,
    /// So much of the budget the sessions take.
    kept: Kept,
    /// The highest session that was forgotten.
    forgotten_to: u64,
    /// What was forgotten for want of room since that was told last.
    lost: Lost,
    /// When that was told last, on the host's clock.
    lost_told_ms: Option<u64>,
}

/// What was forgotten since there was no room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Whole sessions, because too many were left.
    pub sessions: usize,
    /// Answers of sessions that took most.
    pub answers: usize,
    /// Where the clients came from of the session that was forgotten last.
    pub origin: Origin,
}

#[derive(Debug, Default)]
struct Session {
    /// Up to this id what is not kept is forgotten.
    floor: u64,
    /// How many answers are kept.
    answers: usize,
    /// What the answers take with their keys, in bytes.
    bytes: usize,
    /// How many clients are in the session.
    clients: usize,
    /// Since when nobody is in it, on the host's clock.
    idle_since_ms: u64,
    /// Where the session's clients come from.
    origin: Origin,
    /// Something was changed for it, or may have been.
    matters: bool,
    /// The batch of the last answer.
    last_change: BatchNo,
}

impl Session {
    /// What the session takes, in bytes.
    fn size(&self) -> usize {
        SESSION_BYTES + self.answers * ANSWER_BYTES + self.bytes
    }

    fn idle(&self, session: u64) -> Idle {
        Idle {
            matters: self.matters,
            since_ms: self.idle_since_ms,
            session,
        }
    }
}

/// What is known of an id that a request bears.
#[derive(Debug, PartialEq, Eq)]
pub enum Looked<'a> {
    /// No request with it was answered or taken back.
    New,
    /// The result that the request was answered with, and the batch in which that is.
    Answered(&'a [u8], BatchNo),
    /// The request was taken back, in that batch.
    Cancelled(BatchNo),
    /// It belongs to another request.
    Conflict,
    /// The id is so old that nothing is known of it any more.
    Forgotten,
}

/// What a session is taken for of which nothing but what is stored is known.
const UNKNOWN: (Origin, bool) = (Origin::UNKNOWN, true);

impl Answers {
    /// Goes on with what is stored, and counts it in a budget. Nobody is there at first.
    pub fn new(lent: LentState, is_told: bool, now_ms: u64, budget: &Budget) -> Self {
        let mut answers = Self {
            lent: LentState::default(),
            is_told,
            sessions: FxHashMap::default(),
            shares: Shares::default(),
            budget: budget.clone(),
            kept: Kept::none_of(budget),
            forgotten_to: 0,
            lost: Lost::default(),
            lost_told_ms: None,
        };
        for (key, value) in lent.map.iter() {
            match read_key(key) {
                (HOST, FORGOTTEN_TO) => answers.forgotten_to = read_number(value),
                (HOST, _) => {}
                (session, FLOOR) => {
                    answers.session(session, now_ms, UNKNOWN).floor = read_number(value);
                }
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

    /// Keeps the key of the sessions' names, and appends the effect that stores it to `out`.
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

    /// A client goes on with a session, or begins one. The session is its origin's from now on.
    pub fn enter(&mut self, session: u64, origin: Origin) {
        let shares = &mut self.shares;
        let of = self.sessions.entry(session).or_insert_with(|| {
            let of = Session {
                origin,
                ..Session::default()
            };
            shares.resize(origin, session, 0, of.size());
            of
        });
        if of.clients == 0 {
            shares.remove_idle(of.origin, of.idle(session));
        }
        of.clients += 1;
        if of.origin != origin {
            shares.resize(of.origin, session, of.size(), 0);
            of.origin = origin;
            shares.resize(origin, session, 0, of.size());
        }
        self.kept.set(self.shares.bytes());
    }

    /// A client of the session `session` has gone.
    pub fn leave(&mut self, session: u64, now_ms: u64) {
        let Some(of) = self.sessions.get_mut(&session) else {
            return;
        };
        of.clients -= 1;
        if of.clients > 0 {
            return;
        }
        // One that is not higher than what was forgotten is known only as long as it is here, and that is as long as there is
        // room: nobody else makes any for it.
        let is_unused = of.answers == 0 && of.floor == 0;
        let is_known_anyway = session > self.forgotten_to;
        if is_unused && (is_known_anyway || self.shares.idle_len() >= SESSIONS_IDLE_MAX) {
            self.shares.resize(of.origin, session, of.size(), 0);
            self.sessions.remove(&session);
            self.kept.set(self.shares.bytes());
        } else {
            of.idle_since_ms = now_ms;
            self.shares.add_idle(of.origin, of.idle(session));
        }
    }

    /// Whether all that was answered in a session is known. One of which nothing is stored has never answered anything,
    /// unless it may be one of those that were forgotten: those are never higher than the highest of them.
    pub fn is_known(&self, session: u64) -> bool {
        self.sessions.contains_key(&session) || session > self.forgotten_to
    }

    /// What is known of the id of a request that asks for `fingerprint`.
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

    /// A request of a session, asked from `origin`, was run, and has `changed` a state or not. Sessions for which nothing was
    /// changed are forgotten before the others.
    pub fn ran(&mut self, session: u64, origin: Origin, changed: bool, now_ms: u64) {
        if !self.is_known(session) {
            return;
        }
        // Its client may have gone meanwhile, and an unused session with it.
        let new = (origin, changed);
        let of = self.session(session, now_ms, new);
        if of.matters || !changed {
            return;
        }
        let (before, is_idle) = (of.idle(session), of.clients == 0);
        of.matters = true;
        let (origin, after) = (of.origin, of.idle(session));
        if is_idle {
            self.shares.remove_idle(origin, before);
            self.shares.add_idle(origin, after);
        }
    }

    /// What was forgotten for want of room since that was told last, if it is to be told now.
    pub fn take_lost(&mut self, now_ms: u64) -> Option<Lost> {
        let told = self.lost_told_ms;
        let is_told = told.is_some_and(|told| now_ms < told + FORGOTTEN_TOLD_EVERY_MS);
        if self.lost == Lost::default() || is_told {
            return None;
        }
        self.lost_told_ms = Some(now_ms);
        Some(std::mem::take(&mut self.lost))
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

    /// Forgets sessions that nobody came back to, and what is too much, see [`Shares`]. A little at a time, so that no
    /// request pays for all of a large session.
    fn bound_all(&mut self, present: u64, now_ms: u64, out: &mut Vec<u8>) {
        let kept_ms = u64::try_from(SESSION_KEPT.as_millis()).unwrap_or(u64::MAX);
        let mut left = FORGOTTEN_AT_ONCE_MAX;
        while left > 0 {
            let over = self.shares.left_first();
            let over = over.filter(|(since_ms, _)| since_ms.saturating_add(kept_ms) < now_ms);
            let too_many = self.shares.idle_len() > SESSIONS_IDLE_MAX;
            let crowded = over.is_none() && too_many;
            let session = over.map(|(_, session)| session);
            let Some(idle) =
                session.or_else(|| crowded.then(|| self.shares.least_missed()).flatten())
            else {
                break;
            };
            // One that has no answers is work as well.
            left -= self.forget_lowest(idle, left, out, |_| true).max(1);
            if self.sessions[&idle].answers == 0 {
                let of = self.forget_session(idle, out);
                if crowded {
                    self.lost.sessions += 1;
                    self.lost.origin = of.origin;
                }
            }
        }
        let mut left = FORGOTTEN_AT_ONCE_MAX;
        while left > 0 && self.budget.over().is_some() {
            let sessions = &self.sessions;
            // What has just been answered is not forgotten at once.
            let least = |session| usize::from(session == present);
            let may_lose = |session: u64| sessions[&session].answers > least(session);
            let Some(largest) = self.shares.largest(may_lose) else {
                return;
            };
            self.lost.answers += self.forget_lowest(largest, 1, out, |_| true);
            self.lost.origin = self.sessions[&largest].origin;
            left -= 1;
        }
    }

    fn forget_session(&mut self, idle: u64, out: &mut Vec<u8>) -> Session {
        let of = self.sessions.remove(&idle).unwrap_or_default();
        self.shares.remove_idle(of.origin, of.idle(idle));
        self.shares.resize(of.origin, idle, of.size(), 0);
        self.kept.set(self.shares.bytes());
        self.remove(&key(idle, FLOOR), out);
        if idle > self.forgotten_to {
            self.forgotten_to = idle;
            self.write(&key(HOST, FORGOTTEN_TO), &idle.to_be_bytes(), out);
        }
        of
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
            let before = of.size();
            (of.answers, of.bytes) = (of.answers - 1, of.bytes - bytes);
            of.floor = of.floor.max(id);
            floor = Some(of.floor);
            self.shares.resize(of.origin, session, before, of.size());
            self.kept.set(self.shares.bytes());
            forgotten += 1;
        }
        if let Some(floor) = floor {
            self.write(&key(session, FLOOR), &floor.to_be_bytes(), out);
        }
        forgotten
    }

    fn count(&mut self, session: u64, now_ms: u64, value_bytes: usize) {
        let of = self.session(session, now_ms, UNKNOWN);
        let before = of.size();
        of.answers += 1;
        of.bytes += value_bytes + KEY_BYTES;
        let (origin, now) = (of.origin, of.size());
        self.shares.resize(origin, session, before, now);
        self.kept.set(self.shares.bytes());
    }

    /// A session, which nobody is in if it is new here: then it is of that origin, and `matters` or not.
    fn session(
        &mut self,
        session: u64,
        now_ms: u64,
        (origin, matters): (Origin, bool),
    ) -> &mut Session {
        let (shares, kept) = (&mut self.shares, &self.kept);
        self.sessions.entry(session).or_insert_with(|| {
            let of = Session {
                idle_since_ms: now_ms,
                origin,
                matters,
                ..Session::default()
            };
            shares.resize(of.origin, session, 0, of.size());
            shares.add_idle(of.origin, of.idle(session));
            kept.set(shares.bytes());
            of
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
mod tests;
