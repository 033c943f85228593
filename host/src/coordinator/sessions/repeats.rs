//! Requests that bear an id: each counts once, however often it is asked. A repeated one gets the first one's answer, or
//! waits for it; what was answered stands in the same batch as what the job changed. And `rm.cancel`, which takes one back.

use protocol::{Cancel, ErrorCode, Reply, Request, encoder, limits::SEPARATOR};
use serde::Serialize;

use super::{Fingerprint, Joined, Looked, Origin, RequestId};
use crate::{
    coordinator::{
        builtins::json_text,
        coordinator::{Coordinator, SHUTTING_DOWN},
        durable::storage::{VOID, storage_unknown},
        host_error::host_error,
    },
    lane::{ClientSlot, Handed, InFlightId, Job, LaneId, Outcome, RequestRef, Runner},
    limits,
    planted::{Fault, planted},
    state::BatchNo,
};

/// What `rm.cancel` is answered with.
#[derive(Debug, Serialize)]
struct Cancelled {
    /// It is not served, now or later.
    cancelled: bool,
    /// What had become of the request by then, in the protocol's words.
    was: &'static str,
}

impl Coordinator {
    /// Has a client go on with the session of that name, or with its own. Returns the name.
    pub(in crate::coordinator) fn enter_session(
        &mut self,
        slot: ClientSlot,
        resumed: Option<&str>,
    ) -> Result<String, String> {
        let client = self.clients.at(slot);
        let (own, id) = (client.session, client.id);
        let session = match resumed {
            None => own.unwrap_or(id),
            Some(name) => self
                .sessions
                .named(name)
                .ok_or_else(|| FORGOTTEN_SESSION.to_owned())?,
        };
        if own != Some(session) {
            self.leave_session(slot);
            let client = self.clients.at(slot);
            client.session = Some(session);
            self.sessions.enter(session, Origin::of(client.peer));
        }
        if self.persistence.is_sound() {
            self.sessions.declare(&mut self.persistence);
        }
        Ok(self.sessions.name(session))
    }

    /// A client goes, or goes on with another session.
    pub(in crate::coordinator) fn leave_session(&mut self, slot: ClientSlot) {
        if let Some(session) = self.clients.at(slot).session {
            self.sessions.leave(session, self.clock.steady_ms());
        }
    }

    /// Deals with a request that was asked before. One that was not is to be run: returns what it is known by.
    pub(in crate::coordinator) fn recognise(
        &mut self,
        slot: ClientSlot,
        request: &Request<'_>,
        id: u64,
    ) -> Option<(RequestId, Fingerprint)> {
        let fingerprint = Fingerprint::of(request);
        let of = self.request_id(slot, id);
        if !self.persistence.is_sound() {
            // What is known of it is ahead of the disk.
            self.refuse_while_unsound(slot, request, of);
            return None;
        }
        if let Some((in_flight, first)) = self.sessions.find(of) {
            if first == fingerprint {
                self.join(slot, request, in_flight);
            } else {
                self.fail(slot, request, ErrorCode::IdConflict, CONFLICT);
            }
            return None;
        }
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let (type_name, index) = (&request.type_name, request.query_index);
        let mut refuse = |code, text| host_error(&mut reply, type_name, index, code, text);
        let batch = match self.sessions.look(of, fingerprint) {
            Looked::New => {
                self.reply = reply;
                return Some((of, fingerprint));
            }
            Looked::Answered(result, batch) => {
                if let Err(spent) = self.clients.has_room_for_reply(slot, result.len()) {
                    self.reply = reply;
                    self.busy(slot, type_name, index, &spent.to_string());
                    return None;
                }
                encoder::reply(&mut reply, type_name, index, result);
                batch
            }
            Looked::Cancelled(batch) => {
                refuse(ErrorCode::Cancelled, CANCELLED);
                batch
            }
            Looked::Conflict => {
                refuse(ErrorCode::IdConflict, CONFLICT);
                BatchNo::default()
            }
            Looked::Forgotten => {
                refuse(ErrorCode::IdForgotten, FORGOTTEN);
                BatchNo::default()
            }
        };
        if !self.has_too_much_open(slot, request) {
            self.send_once_durable(batch, slot, &reply, false);
        }
        self.reply = reply;
        None
    }

    /// Has a repeated request wait for the answer of the first, unless too many do.
    fn join(&mut self, slot: ClientSlot, request: &Request<'_>, in_flight: InFlightId) {
        let joined = self.sessions.joined_len(in_flight);
        if joined >= limits::JOINED_MAX {
            let full =
                format!("{joined} have asked for the same request again and wait for its answer");
            return self.busy(slot, &request.type_name, request.query_index, &full);
        }
        if self.has_too_much_open(slot, request) {
            return;
        }
        let query_index = request.query_index.into();
        let joined = Joined { slot, query_index };
        match self.sessions.join(in_flight, joined) {
            Ok(()) => self.clients.at(slot).unanswered += 1,
            Err(spent) => {
                let full = spent.to_string();
                self.busy(slot, &request.type_name, request.query_index, &full);
            }
        }
    }

    /// Answers `busy` where a client has too many requests open, or too much is on its way to the disk already.
    pub(in crate::coordinator) fn has_too_much_open(
        &mut self,
        slot: ClientSlot,
        request: &Request<'_>,
    ) -> bool {
        let unanswered = self.clients.at(slot).unanswered;
        let full = if unanswered >= limits::CLIENT_JOBS_MAX {
            format!("{unanswered} requests of this connection are queued already")
        } else if self.persistence.is_full() {
            "the disk has not taken yet what was changed before".to_owned()
        } else {
            return false;
        };
        self.busy(slot, &request.type_name, request.query_index, &full);
        true
    }

    /// Keeps what a request with an id is answered with, in the batch of what it changed. Returns who else asked it.
    ///
    /// What the host answers in a jobber's place is not kept: nothing was changed, and it may be asked again.
    pub(in crate::coordinator) fn keep_answer(
        &mut self,
        lane: LaneId,
        (slot, once): (ClientSlot, Option<InFlightId>),
        reply: &[u8],
        (result, changed): (&Outcome, bool),
    ) -> Vec<Joined> {
        let Some(once) = once else {
            return Vec::new();
        };
        if let Outcome::Answered | Outcome::Refused(_) = result
            && !planted(Fault::AnswerNotKept)
        {
            let (result, now_ms) = (written(reply).result, self.clock.steady_ms());
            let origin = Origin::of(self.clients.at(slot).peer);
            let lane_of = self.routing.lane_if_open(lane);
            let from = lane_of.map_or(&[][..], |lane| &lane.state_ids);
            let kept_in = self.sessions.keep(
                once,
                (origin, from, changed),
                result.as_bytes(),
                now_ms,
                &mut self.persistence,
            );
            self.tell_lost(now_ms);
            let lane = self.routing.lane(lane);
            lane.answers_are_kept = true;
            lane.last_change = lane.last_change.max(kept_in);
        }
        self.sessions.end(once)
    }

    /// Gives the same answer to those who asked the same again.
    pub(in crate::coordinator) fn answer_joined(
        &mut self,
        lane: LaneId,
        joined: Vec<Joined>,
        reply: &[u8],
    ) {
        if joined.is_empty() || planted(Fault::JoinedForgotten) {
            return;
        }
        let first = written(reply);
        let mut again = Vec::new();
        for Joined { slot, query_index } in joined {
            again.clear();
            encoder::reply(
                &mut again,
                &first.type_name,
                &query_index,
                first.result.as_bytes(),
            );
            if self.send_or_hold(lane, slot, &again, false) {
                self.clients.settle(slot, 1);
            }
        }
    }

    /// A request with an id is answered with an error of the host's. Returns who else asked it.
    pub(in crate::coordinator) fn end_once(&mut self, once: Option<InFlightId>) -> Vec<Joined> {
        once.map(|once| self.sessions.end(once)).unwrap_or_default()
    }

    /// A client has gone, and its request with it. If another connection has asked the same, it is that one's now.
    pub(in crate::coordinator) fn hand_on(&mut self, job: Job) {
        let Some(once) = job.once.filter(|_| !planted(Fault::HeirForgotten)) else {
            return;
        };
        let heir = loop {
            let Some(joined) = self.sessions.pop_joined(once) else {
                self.sessions.end(once);
                return;
            };
            if !self.clients.at(joined.slot).ended {
                break joined;
            }
            self.clients.settle(joined.slot, 1);
        };
        let client = self.clients.at(heir.slot).id;
        let asked = RequestRef {
            client,
            query_index: &heir.query_index,
            ..job.asked()
        };
        let job = Job::new(heir.slot, client, job.type_id, &asked);
        if self.stopping {
            return self.answer_unrun(&job, ErrorCode::ShuttingDown, SHUTTING_DOWN);
        }
        match self.runs_no_more(job.type_id, false) {
            Some(closed) => self.answer_unrun(&job, closed.code, &closed.text),
            None => {
                let lane = self.routing[job.type_id].lane;
                self.schedule.queue(lane, job);
                self.agenda.mark(lane);
            }
        }
    }

    /// A client that has ended, or `gone` altogether, wants no answer any more to what it asked again and what has not
    /// begun. One whose connection is closed wants none at all. Returns how many of its requests that were.
    pub(in crate::coordinator) fn leave_joined(&mut self, slot: ClientSlot, gone: bool) -> usize {
        let schedule = &self.schedule;
        self.sessions
            .leave_joined(slot, |once| gone || schedule.holds(once))
    }

    /// A request with an id that was in work is set aside: those who asked it again and have ended want no answer any
    /// more.
    pub(in crate::coordinator) fn let_ended_go(&mut self, once: Option<InFlightId>) {
        let Some(once) = once else { return };
        let clients = &mut self.clients;
        let ended = |slot| clients.at(slot).ended;
        for joined in self.sessions.take_joined(once, ended) {
            self.clients.settle(joined.slot, 1);
        }
    }

    /// Answers `rm.cancel`.
    pub(in crate::coordinator) fn cancel(&mut self, slot: ClientSlot, request: &Request<'_>) {
        let asked = Cancel::parse(request.payload).and_then(|cancel| {
            let session = self.clients.at(slot).session;
            session
                .map(|_| cancel.id)
                .ok_or_else(|| NO_SESSION.to_owned())
        });
        let of = match asked {
            Ok(id) => self.request_id(slot, id),
            Err(reason) => return self.fail(slot, request, ErrorCode::BadPayload, &reason),
        };
        if !self.persistence.is_sound() {
            return self.fail(slot, request, ErrorCode::StorageFailed, VOID);
        }
        if self.has_too_much_open(slot, request) {
            return;
        }
        let was = match self.sessions.find(of) {
            Some((once, _)) => match self.take_out(once) {
                Some((job, did)) => {
                    let batch = self.note_cancelled(of);
                    self.tell_cancelled(&job, batch);
                    did
                }
                None => "running",
            },
            None => match self.sessions.look_at_any(of) {
                Looked::New => {
                    // It may still be on its way here, on another connection.
                    self.note_cancelled(of);
                    "unknown"
                }
                Looked::Cancelled(_) => "cancelled",
                Looked::Answered(..) | Looked::Conflict => "answered",
                Looked::Forgotten => {
                    return self.fail(slot, request, ErrorCode::IdForgotten, FORGOTTEN);
                }
            },
        };
        let cancelled = !matches!(was, "running" | "answered");
        let result = Cancelled { cancelled, was };
        self.answer_once_durable(
            (self.persistence.latest(), true),
            slot,
            request,
            &json_text(&result),
        );
    }

    /// The state was read back: what was answered is what is durable.
    pub(in crate::coordinator) fn answers_recovered(&mut self) {
        let now_ms = self.clock.steady_ms();
        self.sessions
            .recover(&mut self.persistence, now_ms, &self.budgets);
        for slot in self.clients.slots() {
            let client = self.clients.at(slot);
            if let Some(session) = client.session {
                self.sessions.enter(session, Origin::of(client.peer));
            }
        }
    }

    fn request_id(&mut self, slot: ClientSlot, id: u64) -> RequestId {
        let session = self.clients.at(slot).session;
        let session = session.expect("`meta` is read after hello only, which begins a session");
        RequestId { session, id }
    }

    fn refuse_while_unsound(&mut self, slot: ClientSlot, request: &Request<'_>, of: RequestId) {
        if self.sessions.is_new(of) {
            return self.fail(slot, request, ErrorCode::StorageFailed, VOID);
        }
        self.clients.reply(slot, |out| {
            storage_unknown(out, &request.type_name, request.query_index);
        });
    }

    /// Takes a request out that has not begun, wherever it is, and says in a word what it did.
    fn take_out(&mut self, once: InFlightId) -> Option<(Job, &'static str)> {
        if let Some(taken) = self.schedule.take(once) {
            let lane = self.routing[taken.0.type_id].lane;
            if self.schedule.has_next(lane) {
                self.agenda.mark(lane);
            }
            return Some(taken);
        }
        // It may lie on its lane's thread, which has not entered it yet.
        let lane = self.routing[self.sessions.type_of(once)].lane;
        let of = self.routing.lane_if_open_mut(lane)?;
        let Runner::Thread(thread) = of.runner() else {
            return None;
        };
        let Handed { job, .. } = thread.take_once(once)?;
        self.has_left(lane, &job);
        let did = match job.is_in_line() {
            true => "waiting",
            false => "queued",
        };
        Some((job, did))
    }

    fn note_cancelled(&mut self, of: RequestId) -> BatchNo {
        if planted(Fault::CancelNotNoted) {
            return BatchNo::default();
        }
        let now_ms = self.clock.steady_ms();
        let noted_in = self.sessions.cancel(of, now_ms, &mut self.persistence);
        self.tell_lost(now_ms);
        noted_in
    }

    /// Says in the log what was forgotten for want of room.
    fn tell_lost(&mut self, now_ms: u64) {
        if let Some(lost) = self.sessions.take_lost(now_ms) {
            tracing::warn!(
                sessions = lost.sessions,
                answers = lost.answers,
                last_of = %lost.origin,
                "forgotten for want of room: whoever asks for them again is told `id_forgotten`; at most {} bytes of \
                 answers are kept, and {} sessions that nobody is in",
                limits::ANSWERS_KEPT_BYTES_ALL_MAX,
                limits::SESSIONS_IDLE_MAX
            );
        }
    }

    /// Tells all who asked for it. They must not hear of it before it is certain that nobody runs it any more.
    fn tell_cancelled(&mut self, job: &Job, batch: BatchNo) {
        let asked = Joined {
            slot: job.slot,
            query_index: job.query_index().into(),
        };
        let type_name = std::rc::Rc::clone(&self.routing[job.type_id].name);
        let mut reply = Vec::new();
        for Joined { slot, query_index } in std::iter::once(asked).chain(self.end_once(job.once)) {
            reply.clear();
            host_error(
                &mut reply,
                &type_name,
                &query_index,
                ErrorCode::Cancelled,
                CANCELLED,
            );
            // It is owed already.
            self.send_once_durable(batch, slot, &reply, true);
            self.clients.settle(slot, 1);
        }
    }

    /// Answers a request of the host's own once a batch is durable. `undone`: what it did has not happened if the batch
    /// never comes to be.
    pub(in crate::coordinator) fn answer_once_durable(
        &mut self,
        (batch, undone): (BatchNo, bool),
        slot: ClientSlot,
        request: &Request<'_>,
        result: &str,
    ) {
        let mut reply = Vec::new();
        let (type_name, index) = (&request.type_name, request.query_index);
        encoder::reply(&mut reply, type_name, index, result.as_bytes());
        self.send_once_durable(batch, slot, &reply, undone);
    }

    /// Sends a reply once a batch is durable, if it is not yet.
    fn send_once_durable(&mut self, batch: BatchNo, slot: ClientSlot, reply: &[u8], undone: bool) {
        let is_held =
            self.persistence.is_kept() && self.persistence.hold_until(batch, slot, reply, undone);
        if is_held {
            self.clients.at(slot).unanswered += 1;
        } else {
            self.clients.reply(slot, |out| out.extend_from_slice(reply));
        }
    }
}

/// A reply as the host has written it.
pub(in crate::coordinator) fn written(reply: &[u8]) -> Reply<'_> {
    let json = reply.strip_suffix(&SEPARATOR).unwrap_or(reply);
    Reply::parse(json).expect("the host has written it")
}

const FORGOTTEN_SESSION: &str = "this host does not know the session (any more): whether what was asked in it was served \
                                 cannot be told; say hello without `session` for a new one";
const NO_SESSION: &str = "`rm.cancel` takes back a request of a session: say `rm.hello` first";
const CONFLICT: &str = "the id was used for another request, of another type or with another payload; nothing was run: \
                        take a higher id";
const FORGOTTEN: &str = "the id is older than what is remembered of its session, so that it may have been served; it is \
                         not run: take a higher id";
const CANCELLED: &str = "the request was taken back, and is not run";
