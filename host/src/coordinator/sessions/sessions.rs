//! All that is known of sessions: what was answered in them, what is under way, and the key that their names are made with.

use super::{
    Answers, Fingerprint, InFlight, Joined, Looked, Origin, RequestId, SessionKey,
    answers::{Lost, answers_state},
};
use crate::{
    budget::{Budgets, Spent},
    coordinator::{coordinator::HOST, durable::persistence::Persistence},
    lane::{ClientSlot, InFlightId, TypeId},
    state::{BatchNo, LentState, effects::StateId},
};

/// The sessions, their requests under way, and the answers that are kept of them.
#[derive(Debug)]
pub(in crate::coordinator) struct Sessions {
    /// The answers that are kept, by session and id.
    answers: Answers,
    /// The requests with an id that are not answered yet.
    in_flight: InFlight,
    /// What the sessions' names are made with.
    key: SessionKey,
    /// The batch in which the key is stored.
    key_in: BatchNo,
}

impl Sessions {
    /// Goes on with what is stored. `new_key` names the sessions of a state that has no key yet.
    pub(in crate::coordinator) fn recovered(
        persistence: &mut Persistence,
        new_key: SessionKey,
        now_ms: u64,
        budgets: &Budgets,
    ) -> Self {
        let lent = persistence.lend(HOST, &answers_state());
        let answers = Answers::new(lent, persistence.is_kept(), now_ms, &budgets.answers);
        Self {
            key: answers.key().unwrap_or(new_key),
            key_in: BatchNo::default(),
            answers,
            in_flight: InFlight::new(budgets.requests.clone()),
        }
    }

    /// The state was read back: what was answered is what is durable, and nobody is in any session. What is under way goes on.
    pub(in crate::coordinator) fn recover(
        &mut self,
        persistence: &mut Persistence,
        now_ms: u64,
        budgets: &Budgets,
    ) {
        let lent = persistence.lend(HOST, &answers_state());
        let (is_told, budget) = (persistence.is_kept(), &budgets.answers);
        // Before the new ones are counted.
        self.answers = Answers::new(LentState::default(), is_told, now_ms, budget);
        self.answers = Answers::new(lent, is_told, now_ms, budget);
    }

    /// No batch that is on its way will come to be: nobody waits for the one with the key.
    pub(in crate::coordinator) fn storage_failed(&mut self) {
        self.key_in = BatchNo::default();
    }

    /// Sees that the state of the answers, and the key of the sessions' names, are stored before anything that needs them.
    pub(in crate::coordinator) fn declare(&mut self, persistence: &mut Persistence) {
        if self.answers.key().is_some() {
            return;
        }
        persistence.declare(HOST, &answers_state(), self.answers.state_id());
        self.answers.put_key(self.key, persistence.effects());
        if persistence.is_kept() {
            self.key_in = persistence.latest();
        }
    }

    /// The batch in which the key of the sessions' names is stored.
    pub(in crate::coordinator) fn key_in(&self) -> BatchNo {
        self.key_in
    }

    /// The name of a session.
    pub(in crate::coordinator) fn name(&self, session: u64) -> String {
        self.key.name(session)
    }

    /// The session of that name, if all that was answered in it is known.
    pub(in crate::coordinator) fn named(&self, name: &str) -> Option<u64> {
        let session = self.key.session(name);
        session.filter(|session| self.answers.is_known(*session))
    }

    /// A client goes on with a session, or begins one. The session is its origin's from now on.
    pub(in crate::coordinator) fn enter(&mut self, session: u64, origin: Origin) {
        self.answers.enter(session, origin);
    }

    /// A client of a session has gone.
    pub(in crate::coordinator) fn leave(&mut self, session: u64, now_ms: u64) {
        self.answers.leave(session, now_ms);
    }

    /// About how much memory the answers take, in bytes.
    pub(in crate::coordinator) fn memory(&self) -> usize {
        self.answers.memory()
    }

    /// What is known of the id of a request that is not under way and asks for `fingerprint`.
    pub(in crate::coordinator) fn look(
        &self,
        of: RequestId,
        fingerprint: Fingerprint,
    ) -> Looked<'_> {
        self.answers.look(of, fingerprint)
    }

    /// What is known of an id that is not under way, whatever was asked under it.
    pub(in crate::coordinator) fn look_at_any(&self, of: RequestId) -> Looked<'_> {
        self.answers.look_at_any(of).0
    }

    /// Whether nothing is known of an id: no request that bears it is under way, or was answered.
    pub(in crate::coordinator) fn is_new(&self, of: RequestId) -> bool {
        self.in_flight.find(of).is_none() && self.look_at_any(of) == Looked::New
    }

    /// Keeps what a request under way is answered with, whose job worked on the states `from`, and has `changed` a state or
    /// not. Its client comes from `origin`. What that changes is appended to the effects of the job. Returns in which batch
    /// that is.
    pub(in crate::coordinator) fn keep(
        &mut self,
        once: InFlightId,
        (origin, from, changed): (Origin, &[StateId], bool),
        result: &[u8],
        now_ms: u64,
        persistence: &mut Persistence,
    ) -> BatchNo {
        self.declare(persistence);
        let (of, fingerprint) = self.in_flight.of(once);
        self.answers.ran(of.session, origin, changed, now_ms);
        let effects = persistence.effects();
        self.answers
            .keep(of, fingerprint, from, result, now_ms, effects);
        self.noted_in(of, persistence)
    }

    /// Notes that a request was taken back: whoever asks it again is told so. Returns in which batch that is.
    pub(in crate::coordinator) fn cancel(
        &mut self,
        of: RequestId,
        now_ms: u64,
        persistence: &mut Persistence,
    ) -> BatchNo {
        self.declare(persistence);
        self.answers.cancel(of, now_ms, persistence.effects());
        self.noted_in(of, persistence)
    }

    /// What was forgotten for want of room since that was told last, if it is to be told now.
    pub(in crate::coordinator) fn take_lost(&mut self, now_ms: u64) -> Option<Lost> {
        self.answers.take_lost(now_ms)
    }

    /// The request under way with this id, and what it asks for.
    pub(in crate::coordinator) fn find(&self, of: RequestId) -> Option<(InFlightId, Fingerprint)> {
        self.in_flight.find(of)
    }

    /// The type of a request that is under way.
    pub(in crate::coordinator) fn type_of(&self, once: InFlightId) -> TypeId {
        self.in_flight.type_of(once)
    }

    /// A request has come whose id is not under way.
    pub(in crate::coordinator) fn begin(
        &mut self,
        of: RequestId,
        fingerprint: Fingerprint,
        type_id: TypeId,
    ) -> InFlightId {
        self.in_flight.begin(of, fingerprint, type_id)
    }

    /// A request is answered, or given up. Returns who else is to hear of that.
    pub(in crate::coordinator) fn end(&mut self, once: InFlightId) -> Vec<Joined> {
        self.in_flight.end(once)
    }

    /// How many clients wait for a request's answer beside the one that asked first.
    pub(in crate::coordinator) fn joined_len(&self, once: InFlightId) -> usize {
        self.in_flight.joined_len(once)
    }

    /// The same request has come again.
    ///
    /// # Errors
    /// There is no room for one more.
    pub(in crate::coordinator) fn join(
        &mut self,
        once: InFlightId,
        joined: Joined,
    ) -> Result<(), Spent> {
        self.in_flight.join(once, joined)
    }

    /// Takes out the one that joined a request first.
    pub(in crate::coordinator) fn pop_joined(&mut self, once: InFlightId) -> Option<Joined> {
        self.in_flight.pop_joined(once)
    }

    /// Takes out those who have joined a request and do not want its answer any more.
    pub(in crate::coordinator) fn take_joined(
        &mut self,
        once: InFlightId,
        is_unwanted: impl FnMut(ClientSlot) -> bool,
    ) -> Vec<Joined> {
        self.in_flight.take_joined(once, is_unwanted)
    }

    /// A client wants no answer any more to those requests that `leaves` says. Returns how many it had joined.
    pub(in crate::coordinator) fn leave_joined(
        &mut self,
        client: ClientSlot,
        leaves: impl FnMut(InFlightId) -> bool,
    ) -> usize {
        self.in_flight.leave(client, leaves)
    }

    /// Notes in which batch the last answer of a session is.
    fn noted_in(&mut self, of: RequestId, persistence: &Persistence) -> BatchNo {
        if !persistence.is_kept() {
            return BatchNo::default();
        }
        let latest = persistence.latest();
        self.answers.changed_in(of.session, latest);
        latest
    }
}
