//! A plugin, loaded as a host would, and its clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    left_behind::LeftBehind,
    line::{Line, Request},
    version::{Stored, Version},
};
use crate::{
    Answer, Call, Refusal, RefusalKind, description::Description, export::Plugin,
    limits::WAIT_MS_MAX, rules,
};

/// 2026-01-01T00:00Z, so that what subtracts from the time has something to subtract from.
const NOW_MS_AT_FIRST: u64 = 1_767_225_600_000;

/// A plugin without a host. See [the module](super) for an example.
pub struct TestPlugin<P: Plugin> {
    version: Version,
    /// What was kept of versions before this one.
    stored: Stored,
    now_ms: u64,
    gone: BTreeSet<u64>,
    line: Line,
    sent: u64,
    /// To what was sent, by its number.
    replies: BTreeMap<u64, Answer<Value>>,
    plugin: PhantomData<fn() -> P>,
}

/// One client of a [`TestPlugin`], and the circumstances of its next request.
#[must_use = "a client does nothing until it requests something"]
pub struct TestClient<'a, P: Plugin> {
    plugin: &'a mut TestPlugin<P>,
    call: Call,
}

/// A request that was [sent](TestClient::send), by which its [reply](TestPlugin::reply) is found.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reply is found by what was sent"]
pub struct Sent(u64);

impl<P: Plugin> TestPlugin<P> {
    /// Loads the plugin with this configuration: what its `NAME.toml` would hold, as JSON; `json!({})` or
    /// `()` for none.
    ///
    /// # Panics
    /// The plugin cannot be loaded. A test that wants to see why uses [`load`](Self::load).
    pub fn new(config: impl Serialize) -> Self {
        Self::load(config).unwrap_or_else(|text| panic!("{} cannot be loaded: {text}", P::NAME))
    }

    /// Loads the plugin with this configuration.
    ///
    /// # Errors
    /// What the host would log: the configuration cannot be read, the plugin offers what it may not (a type of
    /// the host's own, a type or a state twice), the code panicked.
    pub fn load(config: impl Serialize) -> Result<Self, String> {
        Self::load_on(LeftBehind::new(), config)
    }

    /// Loads the plugin with this configuration on what an older version has stored, which is migrated as a host has it
    /// migrated. What the older version declared, and the types that it stored, are kept beside the test.
    ///
    /// ```standalone_crate
    /// use plugin_api::{prelude::*, testing::{LeftBehind, TestPlugin}};
    /// use serde_json::json;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Booking { guest: String, nights: u32 }
    ///
    /// fn look(room: u64, bookings: &mut Map<u64, Booking>) -> Answer<Booking> {
    ///     bookings.get(&room).ok_or_else(|| Refusal::new("free", "nobody has booked it"))
    /// }
    ///
    /// plugin! {
    ///     state |_| Map::named("bookings").schema(2).migrate(1, |guest: String| match guest.is_empty() {
    ///         true => Err("a booking without a guest".to_owned()),
    ///         false => Ok(Booking { guest, nights: 1 }),
    ///     }) => { "look" => look }
    /// }
    ///
    /// # fn main() {
    /// // As the version before declared it.
    /// let before = |guest: &str| {
    ///     let bookings = Map::<u64, String>::named("bookings");
    ///     LeftBehind::new().with(bookings, |bookings| {
    ///         bookings.insert(&7, &guest.to_owned());
    ///     })
    /// };
    /// let mut plugin = TestPlugin::<RmPlugin>::load_on(before("Ada"), ()).unwrap();
    /// assert_eq!(plugin.client(1).request("look", 7), Ok(json!({ "guest": "Ada", "nights": 1 })));
    ///
    /// let refused = TestPlugin::<RmPlugin>::load_on(before(""), ()).err().unwrap();
    /// assert!(refused.ends_with("from schema 1 to 2: a booking without a guest"), "{refused}");
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load), or what is stored cannot be used, or not be migrated.
    pub fn load_on(left: LeftBehind, config: impl Serialize) -> Result<Self, String> {
        let LeftBehind(stored) = left;
        let now = call(0, NOW_MS_AT_FIRST);
        Ok(Self {
            version: Version::load::<P>(&config, &stored, &now)?,
            stored,
            now_ms: NOW_MS_AT_FIRST,
            gone: BTreeSet::new(),
            line: Line::default(),
            sent: 0,
            replies: BTreeMap::new(),
            plugin: PhantomData,
        })
    }

    /// Loads the plugin anew with this configuration, on the state that there is. What is set aside keeps its
    /// place and is tried on the new version.
    ///
    /// # Errors
    /// As [`load`](Self::load), or the stored state cannot be used. The version before goes on then.
    pub fn reload(&mut self, config: impl Serialize) -> Result<(), String> {
        let mut stored = self.stored.clone();
        self.version.store(&mut stored);
        self.version = Version::load::<P>(&config, &stored, &call(0, self.now_ms))?;
        self.stored = stored;
        self.line.changed(|_| true);
        self.try_again();
        Ok(())
    }

    /// The client with this number, about to ask for the first time, with a patience that never ends. It is
    /// connected from the first time that it is named until it is [disconnected](Self::disconnect).
    ///
    /// # Panics
    /// It has gone: a host gives no number to two clients.
    pub fn client(&mut self, client: u64) -> TestClient<'_, P> {
        assert!(
            !self.gone.contains(&client),
            "client {client} has gone, and no number is used twice: take another"
        );
        let call = call(client, self.now_ms);
        TestClient { plugin: self, call }
    }

    /// The client with this number goes. What it sent and what is not answered yet goes with it, so that those
    /// behind it move up; what was changed for it stays. The plugin is not told: neither does a host.
    pub fn disconnect(&mut self, client: u64) {
        self.gone.insert(client);
        self.line.take_out(|request| request.client == client);
        self.try_again();
    }

    /// The reply to a request that was sent. `None`: it is set aside, or its client went before.
    pub fn reply(&self, sent: &Sent) -> Option<Answer<Value>> {
        self.replies.get(&sent.0).cloned()
    }

    /// Sets the clock, in milliseconds since 1970-01-01T00:00Z. It starts at 2026-01-01T00:00Z, and moves only
    /// when it is set. What is due meanwhile happens, in its order and at its time: requests are run again after
    /// "try again", and deadlines pass.
    ///
    /// # Panics
    /// The clock would go back, which a host's never does.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        assert!(
            now_ms >= self.now_ms,
            "the clock stands at {}, {now_ms} would be back in time",
            self.now_ms
        );
        while let Some(due_ms) = self.line.next_due_ms().filter(|due| *due <= now_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.time_passed();
        }
        self.now_ms = now_ms;
    }

    /// Sets the clock forward, in milliseconds, as [`set_now_ms`](Self::set_now_ms) does.
    pub fn advance_ms(&mut self, by_ms: u64) {
        self.set_now_ms(self.now_ms.saturating_add(by_ms));
    }

    /// How often the plugin has reached for what the host keeps, since it was loaded: reads, look-ups and
    /// writes. It is most of what a short request costs; a test that counts keeps it from creeping up.
    pub fn state_calls(&self) -> u64 {
        self.version.state_calls()
    }

    /// What the plugin says of itself with its present configuration: its types, its states, what is inline.
    pub fn description(&self) -> &Description {
        self.version.description()
    }

    /// How long the code ran that was run last.
    pub(super) fn took(&self) -> Duration {
        self.version.took()
    }

    fn time_passed(&mut self) {
        let now_ms = self.now_ms;
        let expired = self.line.take_out(|request| {
            request
                .deadline_ms
                .is_some_and(|deadline| now_ms > deadline)
        });
        for request in expired {
            let is_capped = request.waits.is_some_and(|waits| waits.is_capped);
            let text = match is_capped {
                true => rules::waited_longest(WAIT_MS_MAX),
                false => rules::EXPIRED_UNSERVED.to_owned(),
            };
            self.fail(&request, "expired", &text);
        }
        self.try_again();
        while let Some(request) = self.line.next_retry(now_ms) {
            self.begin(request);
        }
    }

    fn fail(&mut self, request: &Request, code: &'static str, text: &str) {
        let refusal = Refusal::new(code, text);
        self.replies.insert(request.number, Err(refusal));
    }

    /// Runs what was sent, unless others stand in line for the same.
    fn begin(&mut self, request: Request) {
        match self.line.refusal(&request.type_name).cloned() {
            Some(refusal) => self.line.join(request, refusal, self.now_ms),
            None => {
                if let Some((request, refusal)) = self.run_sent(request) {
                    self.line.join(request, refusal, self.now_ms);
                }
            }
        }
        self.try_again();
    }

    /// Tries those that stand in line, as long as something has changed for one of them.
    fn try_again(&mut self) {
        while let Some(request) = self.line.next_to_try() {
            let type_name = request.type_name.clone();
            match self.run_sent(request) {
                Some((request, refusal)) => self.line.stay(request, refusal),
                // It has left the line; the next one may be luckier.
                None => self.line.changed(|of| of == type_name),
            }
        }
    }

    /// Gives it back, with what it was told, if it is to wait.
    fn run_sent(&mut self, request: Request) -> Option<(Request, Refusal)> {
        let mut call = call(request.client, self.now_ms);
        (call.attempt, call.deadline_ms) = (request.attempt, request.deadline_ms);
        call.session = request.session;
        match self.run(&call, &request.type_name, &request.payload) {
            Err(refusal) if refusal.kind == RefusalKind::NotYet => {
                return Some((request, refusal));
            }
            Err(refusal) if refusal.kind == RefusalKind::TryAgain => {
                self.line.retry(request, self.now_ms);
            }
            reply => {
                self.replies.insert(request.number, reply);
            }
        }
        None
    }

    fn run(&mut self, call: &Call, type_name: &str, payload: &[u8]) -> Answer<Value> {
        let ended = self.version.run(call, type_name, payload);
        if ended.changed {
            let version = &self.version;
            let lane = version.lane_of(type_name);
            self.line.changed(|of| version.lane_of(of) == lane);
        }
        ended.reply
    }
}

impl<P: Plugin> TestClient<'_, P> {
    /// The request has been run `attempt - 1` times before and is tried again.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.call.attempt = attempt;
        self
    }

    /// The client is in the session with this number, which holds what it is granted: another client of the same session may give
    /// that back.
    pub fn session(mut self, session: u64) -> Self {
        self.call.session = Some(session);
        self
    }

    /// The client's patience ends then, on the clock of the plugin.
    pub fn deadline_ms(mut self, deadline_ms: u64) -> Self {
        self.call.deadline_ms = Some(deadline_ms);
        self
    }

    /// Sends a request, has it run once, and returns the answer without its `type`, as a client gets it. `()`
    /// stands for no payload.
    ///
    /// # Errors
    /// The jobber's refusal, "not yet" and "try again" among them; or what the host makes of a fault:
    /// `unknown_type`, `expired`, `jobber_panicked`, `jobber_error`, `type_mismatch`. Nothing stays changed then.
    ///
    /// # Panics
    /// `payload` has no JSON; or the plugin stored what it cannot read again.
    pub fn request(self, type_name: &str, payload: impl Serialize) -> Answer<Value> {
        self.request_text(type_name, &json_text(payload))
    }

    /// The same with the payload's JSON text, empty if absent.
    pub(super) fn request_text(self, type_name: &str, payload: &[u8]) -> Answer<Value> {
        let Self { plugin, call } = self;
        if let Some(refusal) = plugin.line.refusal(type_name) {
            let code = refusal.code.clone();
            return Err(Refusal::not_yet(code, rules::OTHERS_WAIT));
        }
        let reply = plugin.run(&call, type_name, payload);
        plugin.try_again();
        reply
    }

    /// Sends a request of a client that says `wait`, and whose [reply](TestPlugin::reply) may come later: "not
    /// yet" sets it aside until the state changes, "try again" has it run again 1 s later, by the test's clock.
    ///
    /// # Panics
    /// As [`request`](Self::request).
    pub fn send(self, type_name: &str, payload: impl Serialize) -> Sent {
        let Self { plugin, call } = self;
        plugin.sent += 1;
        let number = plugin.sent;
        plugin.begin(Request {
            number,
            client: call.client,
            session: call.session,
            attempt: call.attempt,
            deadline_ms: call.deadline_ms,
            waits: None,
            type_name: type_name.to_owned(),
            payload: json_text(payload),
        });
        Sent(number)
    }
}

fn call(client: u64, now_ms: u64) -> Call {
    Call {
        client,
        session: None,
        attempt: 1,
        now_ms,
        deadline_ms: None,
    }
}

fn json_text(payload: impl Serialize) -> Vec<u8> {
    serde_json::to_vec(&payload).expect("a payload that has JSON")
}
