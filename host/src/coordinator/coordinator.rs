//! The owner of all queues and lanes, and the closed list of what can happen to it: a client comes, asks, ends
//! or goes; a lane's thread has finished something; time has passed; a plugin comes, is opened, or goes; the
//! host is told to stop.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{ErrorCode, Meta, Request, encoder};
use tokio::sync::Notify;

use super::{
    agenda::Agenda,
    builtins::check_deadline,
    clients::{Clients, Outlet},
    durable::{commits::Commits, decisions::Decisions, persistence::Persistence},
    host_error::host_error,
    peer::Peer,
    routing::Routing,
    schedule::{Expired, Schedule},
    sessions::{SessionKey, Sessions},
    turn::Turn,
    types::Closed,
};
use crate::{
    budget::Budgets,
    clock::Clock,
    lane::{ClientSlot, Fetched, Handed, Opener, RequestRef, Runner, Signal},
    limits,
    plugins::Standing,
    state::Store,
};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's name, for its log.
    pub name: String,
    /// How long a request may take by default; `None` for ever.
    pub deadline: Option<Duration>,
    /// Requests queued for one lane.
    pub queue_jobs_max: usize,
    /// How long a request may wait for a state to change; `None` for as long as its deadline lets it.
    pub wait_max: Option<Duration>,
    /// How long a type or a plugin is out of service after faults for the first time.
    pub quarantine: Duration,
    /// How long a new version waits for the jobs that run on the old one.
    pub drain_timeout: Duration,
    /// When a job's effects count, in a word.
    pub durability: &'static str,
    /// Any client may do what an operator may.
    pub operators_over_tcp: bool,
}

/// The single worker. Lives on the core thread.
///
/// Its owners have their fields for themselves. They stand side by side so that two of them can be held at once.
pub struct Coordinator {
    /// What an operator decided at the start.
    pub(super) settings: Settings,
    /// What all moments come from.
    pub(super) clock: Clock,
    /// What is kept for clients counts here.
    pub(super) budgets: Budgets,
    /// Who is connected, and what they are owed.
    pub(super) clients: Clients,
    /// The types that are served, the lanes and the plugins.
    pub(super) routing: Routing,
    /// The jobs that wait for something.
    pub(super) schedule: Schedule,
    /// What keeps the state.
    pub(super) persistence: Persistence,
    /// What makes a request that is asked again count once.
    pub(super) sessions: Sessions,
    /// What operators decided of plugins.
    pub(super) decisions: Decisions,
    /// What the core loop is to look at next.
    pub(super) agenda: Agenda,
    /// The turn that the core thread is in.
    pub(super) turn: Turn,
    /// Opens lanes on threads of its own.
    pub(super) opener: Opener,
    /// What the lanes' threads report with.
    pub(super) signal: Arc<Signal>,
    /// The plugins of which something else serves than what came last, until that is fetched.
    pub(super) standings: Vec<Standing>,
    /// How often `ping` was answered.
    pub(super) pongs: u64,
    /// The host stops: nothing new is taken.
    pub(super) stopping: bool,
    /// A reply on its way to where it is sent or held. Kept and reused, as the three that follow are.
    pub(super) reply: Vec<u8>,
    /// What was fetched from a lane's thread.
    pub(super) fetched: Fetched,
    /// Jobs on their way to a lane's thread.
    pub(super) window: VecDeque<Handed>,
    /// Jobs whose deadline has passed.
    pub(super) expired: Vec<Expired>,
}

impl Coordinator {
    /// Without plugins and clients. `new_key` names the sessions of a state that has no key yet.
    pub fn new(
        settings: Settings,
        clock: Clock,
        signal: Arc<Signal>,
        opener: Opener,
        (store, commits): (Store, Commits),
        new_key: SessionKey,
    ) -> Self {
        let mut persistence = Persistence::new(store, commits);
        let budgets = Budgets::default();
        let steady_ms = clock.steady_ms();
        let sessions = Sessions::recovered(&mut persistence, new_key, steady_ms, &budgets);
        let decisions = Decisions::recovered(&mut persistence);
        // Milliseconds count up faster than clients come, so ids are not used again after a restart.
        let first_id = clock.now_ms().saturating_mul(1_000);
        let wait_ms_max = millis(settings.wait_max);
        let mut schedule = Schedule::new(settings.queue_jobs_max, wait_ms_max);
        schedule.count_in(budgets.requests.clone());
        Self {
            clients: Clients::new(first_id, budgets.clone()),
            routing: Routing::default(),
            schedule,
            persistence,
            sessions,
            decisions,
            agenda: Agenda::default(),
            turn: Turn::new(clock),
            opener,
            signal,
            standings: Vec::new(),
            pongs: 0,
            stopping: false,
            budgets,
            reply: Vec::new(),
            fetched: Fetched::default(),
            window: VecDeque::new(),
            expired: Vec::new(),
            settings,
            clock,
        }
    }

    /// Rung when [`Coordinator::advance`] has something to do.
    pub fn bell(&self) -> Rc<Notify> {
        self.agenda.bell()
    }

    /// Where what is kept for clients counts.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// A client has connected.
    pub fn connected(&mut self, outlet: Rc<dyn Outlet>, peer: Peer) -> (ClientSlot, u64) {
        self.clients.enter(outlet, peer)
    }

    /// A client has sent a message.
    pub fn received(&mut self, slot: ClientSlot, frame: &[u8]) {
        if frame.len() > limits::BILLED_BYTES {
            // So that what reading it takes is not the jobber's.
            self.turn.takes_long();
        }
        self.deal_with(slot, frame);
        self.turn.count_message();
        self.turn.bill_if_due();
    }

    fn deal_with(&mut self, slot: ClientSlot, frame: &[u8]) {
        let greeted = self.clients.at(slot).hello.is_some();
        let request = match Request::parse(frame, greeted) {
            Ok(request) => request,
            Err(bad) => return self.bad_message(slot, &bad.query_index, &bad.reason, frame),
        };
        self.turn.bill_if_due();
        let meta = match self.meta(slot, &request) {
            Ok(meta) => meta,
            Err(reason) => return self.bad_message(slot, request.query_index, &reason, frame),
        };
        let new = match meta.id.map(|id| self.recognise(slot, &request, id)) {
            // It was asked before, and is dealt with.
            Some(None) => {
                self.turn.takes_long();
                return;
            }
            new => new.flatten(),
        };
        let Some(type_id) = self.routing.find(&request.type_name) else {
            return self.not_served(slot, &request, &meta, frame);
        };
        let served = &self.routing[type_id];
        if self.stopping {
            return self.fail(slot, &request, ErrorCode::ShuttingDown, SHUTTING_DOWN);
        }
        if served.is_in_doubt() && self.refuses(slot, type_id, &request) {
            return;
        }
        let (client, served) = (self.clients.at(slot), &self.routing[type_id]);
        let asked = RequestRef {
            client: client.id,
            session: client.session.unwrap_or_default(),
            attempt: 1,
            wait: meta.wait.or(served.wait).unwrap_or(false),
            deadline_ms: self.deadline(meta.deadline_ms.or(served.deadline_ms)),
            once: new.map(|(of, fingerprint)| self.sessions.begin(of, fingerprint, type_id)),
            query_index: request.query_index,
            payload: request.payload.unwrap_or(""),
        };
        self.asked(slot, type_id, &asked);
    }

    /// Whether a client waits for something.
    pub fn has_unanswered(&mut self, slot: ClientSlot) -> bool {
        self.clients.at(slot).unanswered > 0
    }

    /// A client's bytes are no messages: it gets its last words after what it is owed.
    pub fn broke_off(&mut self, slot: ClientSlot, last_words: Vec<u8>) {
        self.clients.at(slot).last_words = Some(last_words);
        self.clients.settle(slot, 0);
    }

    /// A client sends nothing more. What it has queued goes; what is in work is still answered.
    pub fn ended(&mut self, slot: ClientSlot) {
        let client = self.clients.at(slot);
        client.ended = true;
        client.last_words.get_or_insert_default();
        self.forget_queued(slot);
    }

    /// A client's connection is closed.
    pub fn disconnected(&mut self, slot: ClientSlot) {
        self.leave_session(slot);
        self.clients.gone(slot);
        self.forget_queued(slot);
        // Whoever stops the host waits for the last one.
        self.agenda.ring();
    }

    /// Begins a turn of messages from one connection.
    pub fn begin_turn(&mut self) {
        self.turn.begin();
    }

    /// Whether jobs have run on the core thread for so long that what is finished should be sent, and others
    /// should get their turn.
    pub fn turn_is_over(&self) -> bool {
        self.turn.is_over()
    }

    /// Sends what was answered, and has what was changed made durable.
    pub fn flush(&mut self) {
        // Jobs on threads have been told a later time than this turn's.
        self.persistence.submit(|| self.clock.now_ms());
        self.clients.flush();
    }

    /// Whether there is more to do at once.
    pub fn has_marked(&self) -> bool {
        self.agenda.has_work()
    }

    /// Whether a lane's thread is to be looked at again soon, see [`Coordinator::look_at_threads`].
    pub fn has_loaded_threads(&self) -> bool {
        self.agenda.has_loaded()
    }

    /// When time alone gives [`Coordinator::advance`] something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let scheduled = (self.schedule.next_due_ms()).map(|ms| self.clock.instant_of(ms));
        // While the host stops nothing comes back.
        let back = self.agenda.next_back().filter(|_| !self.stopping);
        let due = [scheduled, self.agenda.next_watch(), back];
        due.into_iter().flatten().min()
    }

    /// Does everything that has come to be done: fetches from threads, answers what has expired, begins what
    /// may begin.
    pub fn advance(&mut self) {
        for lane in self.signal.take() {
            self.fetch(lane);
        }
        self.time_passed();
        self.look_at_watches();
        self.end_quarantines();
        for lane in self.agenda.take_marked() {
            self.agenda.unmark(lane);
            self.run(lane);
        }
        self.step_plugins();
        self.step_storage();
    }

    /// Takes nothing new, and gives up what has not begun.
    pub fn stop(&mut self) {
        self.stopping = true;
        let lanes: Vec<_> = self.routing.lane_ids().collect();
        for lane in lanes {
            self.take_back(lane);
            self.give_up(lane, Closed::new(ErrorCode::ShuttingDown, SHUTTING_DOWN));
        }
    }

    /// Whether all jobs that had begun are answered.
    pub fn is_idle(&self) -> bool {
        self.schedule.is_empty()
            && self.persistence.is_idle()
            && self.routing.lanes().all(|lane| !lane.is_busy())
    }

    /// Lets all clients go, each with what it is owed, and those that come later. Operators are answered until the host ends.
    pub fn dismiss_clients(&mut self) {
        self.clients.dismiss();
    }

    /// Whether a client is owed an answer, or has not been sent all that it was answered.
    pub fn has_unsent(&mut self) -> bool {
        let slots = self.clients.slots();
        let mut unsent = slots
            .into_iter()
            .map(|slot| self.clients.at(slot).is_to_be_told());
        unsent.any(|unsent| unsent)
    }

    /// Whether anyone is connected that has to go before the host ends.
    pub fn has_clients(&mut self) -> bool {
        let slots = self.clients.slots();
        let mut held = slots.into_iter().map(|slot| {
            let client = self.clients.at(slot);
            !client.peer.is_operator() || client.is_to_be_told()
        });
        held.any(|held| held)
    }

    /// All requests that wait for something.
    pub fn queue_len(&self) -> usize {
        self.schedule.len()
    }

    /// The control data that holds for a request: its own, then what its client said in hello.
    fn meta(&mut self, slot: ClientSlot, request: &Request<'_>) -> Result<Meta, String> {
        let own = request.meta.map(Meta::parse).transpose()?;
        let hello = &self.clients.at(slot).hello;
        let (own, hello) = (own.unwrap_or_default(), hello.unwrap_or_default());
        check_deadline(&own)?;
        Ok(Meta {
            deadline_ms: own.deadline_ms.or(hello.deadline_ms),
            wait: own.wait.or(hello.wait),
            id: own.id,
        })
    }

    fn deadline(&self, patience_ms: Option<u64>) -> u64 {
        match patience_ms {
            Some(0) => u64::MAX,
            Some(ms) => self.turn.now().steady_ms.saturating_add(ms),
            None => {
                let ms = millis(self.settings.deadline);
                self.turn.now().steady_ms.saturating_add(ms)
            }
        }
    }

    fn forget_queued(&mut self, slot: ClientSlot) {
        let (mut ready, mut handed) = (Vec::new(), Vec::new());
        let (mut removed, mut left) = (0, Vec::new());
        self.schedule.remove_client(slot, &mut ready, |job| {
            removed += 1;
            left.extend(Some(job).filter(|job| job.once.is_some()));
        });
        if removed < self.clients.at(slot).unanswered {
            for lane in self.routing.lanes_mut() {
                if let Runner::Thread(thread) = lane.runner() {
                    handed.extend(thread.remove_client(slot));
                }
            }
        }
        for Handed { job, .. } in handed {
            removed += 1;
            self.has_left(self.routing[job.type_id].lane, &job);
            left.extend(Some(job).filter(|job| job.once.is_some()));
        }
        for lane in ready {
            self.agenda.mark(lane);
        }
        // Before its own are handed on: it is not to inherit them itself.
        let gone = self.clients.at(slot).is_gone();
        let left_others = self.leave_joined(slot, gone);
        if removed > 0 {
            tracing::debug!(removed, "a client's queued requests went with it");
        }
        for job in left {
            self.hand_on(job);
        }
        self.clients.settle(slot, removed + left_others);
    }

    pub(super) fn bad_message(
        &mut self,
        slot: ClientSlot,
        query_index: &str,
        reason: &str,
        frame: &[u8],
    ) {
        let code = ErrorCode::BadMessage.as_str();
        self.clients.reply(slot, |out| {
            encoder::bad_message(out, code, query_index, reason, frame);
        });
    }

    pub(super) fn fail(
        &mut self,
        slot: ClientSlot,
        request: &Request<'_>,
        code: ErrorCode,
        text: &str,
    ) {
        self.clients.reply(slot, |out| {
            host_error(out, &request.type_name, request.query_index, code, text);
        });
    }
}

/// `None` is for ever.
fn millis(patience: Option<Duration>) -> u64 {
    let ms = patience.map(|patience| patience.as_millis());
    ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(u64::MAX)
}

/// What the states of the host's own are kept under: no plugin has this name.
pub(super) const HOST: &str = "";

pub(super) const SHUTTING_DOWN: &str = "the host is stopping; ask again once it is back";
/// What is asked of a plugin that an operator took out of service.
pub(super) const DISABLED: &str = "the plugin that serves this type was disabled";
/// What is asked of a plugin that is going.
pub(super) const REMOVED: &str = "the plugin that serves this type is being removed";
