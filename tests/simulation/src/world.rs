//! One run: people who ask, a host that serves, and all that may happen to both, as a seed has it.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use host::{
    clock::Seen,
    coordinator::Peer,
    plugins::{HostSettings, PluginEvent, SimulatedModule},
    state::{
        Durability,
        sim_disk::{Failure, Fault, Operation, Random, SimDisk},
    },
};
use serde_json::json;

use crate::{
    client::Client,
    jobbers::{self, Ask, Then},
    machine::{DEADLINE_MS, Machine, Start, WAIT_MS},
    model::{Kind, Model, Request},
};

/// The people: each keeps a session over all its connections.
const PEOPLE: usize = 4;
/// Connections at the same time, at most.
const CLIENTS_MAX: usize = 8;
/// Turns of the quiet end, at most: so soon everything that can be answered is.
const QUIET_TURNS_MAX: usize = 200_000;

/// And so soon, in seconds, the state is back once the disk is.
const QUIET_SECONDS_MAX: usize = 60;

/// What happened how often.
pub type Gates = std::collections::BTreeMap<&'static str, u64>;

#[derive(Default)]
struct Person {
    session: Option<String>,
    next_id: u64,
    /// The keys of its requests with ids.
    keys: Vec<u64>,
}

/// What this seed does how often: no two seeds have the same people.
struct Weights {
    ask: u64,
    core: u64,
    worker: u64,
    time: u64,
    connect: u64,
    leave: u64,
    slow: u64,
    disk: u64,
    end: u64,
    swap: u64,
    wall: u64,
    panics: u64,
    waits: u64,
    ids: u64,
}

impl Weights {
    fn new(random: &mut Random) -> Self {
        let mut of = |choices: &[u64]| *random.one_of(choices);
        Self {
            ask: of(&[10, 20, 40]),
            core: of(&[10, 30]),
            worker: of(&[10, 30, 60]),
            time: of(&[5, 10, 20]),
            connect: of(&[1, 3]),
            leave: of(&[0, 1, 3]),
            slow: of(&[0, 0, 1, 2]),
            disk: of(&[0, 0, 1]),
            end: of(&[0, 0, 1]),
            swap: of(&[0, 1, 2]),
            wall: of(&[0, 0, 1]),
            panics: of(&[0, 5, 30]),
            waits: of(&[0, 30, 80]),
            ids: of(&[0, 30, 90]),
        }
    }
}

/// See the file's head.
pub struct World {
    random: Random,
    weights: Weights,
    disk: SimDisk,
    time_us: &'static AtomicU64,
    /// By how much the wall clock is ahead of the simulated time, in milliseconds.
    wall_ms: u64,
    machine: Option<Machine>,
    module: SimulatedModule,
    versions: u64,
    durability: Durability,
    queue_jobs_max: usize,
    seats: u64,
    clients: Vec<Client>,
    connected: usize,
    people: Vec<Person>,
    model: Model,
    /// What happened, for who reads it.
    story: Option<String>,
    pub gates: Gates,
    pub steps: u64,
}

impl World {
    pub fn new(
        seed: u64,
        module: &SimulatedModule,
        time_us: &'static AtomicU64,
        tells: bool,
    ) -> Self {
        time_us.store(0, Ordering::Relaxed);
        jobbers::take_time_from(time_us);
        let mut random = Random::new(seed);
        let mut weights = Weights::new(&mut random);
        let durability =
            *random.one_of(&[Durability::Sync, Durability::Sync, Durability::Interval]);
        if durability == Durability::Interval {
            // It promises nothing of the last second where the disk fails.
            weights.disk = 0;
        }
        Self {
            weights,
            disk: SimDisk::new(random.number()),
            time_us,
            wall_ms: 1_700_000_000_000,
            machine: None,
            module: module.clone(),
            versions: 0,
            durability,
            queue_jobs_max: *random.one_of(&[3, 1_000]),
            seats: *random.one_of(&[2, 5, 40]),
            clients: Vec::new(),
            connected: 0,
            people: (0..PEOPLE).map(|_| Person::default()).collect(),
            model: Model::default(),
            story: tells.then(String::new),
            gates: Gates::new(),
            steps: 0,
            random,
        }
    }

    pub fn story(&self) -> &str {
        self.story.as_deref().unwrap_or_default()
    }

    /// How much time has passed on the host's clock, in microseconds.
    pub fn time_us(&self) -> u64 {
        self.time_us.load(Ordering::Relaxed)
    }

    /// # Errors
    /// Which promise was broken.
    pub fn run(&mut self, steps: u64) -> Result<(), String> {
        self.start()?;
        for _ in 0..steps {
            self.steps += 1;
            self.step()?;
            self.hear()?;
        }
        self.end_quietly()
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        let us = self.time_us();
        if let Some(story) = &mut self.story {
            let _ = writeln!(story, "{:>12.3} ms  {}", us as f64 / 1_000.0, what());
        }
    }

    fn note(&mut self, gate: &'static str) {
        *self.gates.entry(gate).or_default() += 1;
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a host runs between steps")
    }

    fn start(&mut self) -> Result<(), String> {
        let start = Start {
            disk: &self.disk,
            time_us: self.time_us,
            wall_ms: self.wall_ms + self.time_us() / 1_000,
            durability: self.durability,
            queue_jobs_max: self.queue_jobs_max,
        };
        let machine =
            Machine::start(&start).map_err(|error| format!("the host does not start: {error}"))?;
        self.machine = Some(machine);
        let durability = self.durability;
        self.tell(|| format!("a host starts: {durability:?}"));
        self.swap(false);
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let w = &self.weights;
        let choices = [
            (w.ask, 0),
            (w.core, 1),
            (w.worker, 2),
            (w.time, 3),
            (w.connect, 4),
            (w.leave, 5),
            (w.slow, 6),
            (w.swap, 8),
        ];
        // What is rare whatever the weights say.
        if self.random.below(200) == 0 {
            let rare = [(w.disk, 7), (w.end, 9), (w.wall, 10)];
            if let Some(rare) = self.choose(&rare) {
                return self.act(rare);
            }
        }
        let chosen = self.choose(&choices).expect("people ask in every run");
        self.act(chosen)
    }

    fn choose(&mut self, choices: &[(u64, usize)]) -> Option<usize> {
        let all: u64 = choices.iter().map(|(weight, _)| weight).sum();
        if all == 0 {
            return None;
        }
        let mut left = self.random.below(all);
        for (weight, choice) in choices {
            if left < *weight {
                return Some(*choice);
            }
            left -= weight;
        }
        None
    }

    fn act(&mut self, choice: usize) -> Result<(), String> {
        match choice {
            0 => self.ask(),
            1 => {
                self.machine().core_turn();
            }
            2 => {
                let workers = self.machine().threads.len() as u64;
                if workers > 0 {
                    let index = self.random.below(workers) as usize;
                    let now = self.machine().clock.instant();
                    self.machine().threads.step(index, now);
                }
            }
            3 => self.time_passes(),
            4 => self.connect(),
            5 => self.leave(),
            6 => self.hold_up_a_worker(),
            7 => self.break_the_disk(),
            8 if self.random.below(20) == 0 => self.swap(true),
            9 => return self.end_and_start(),
            10 => self.set_the_wall_clock(),
            _ => {}
        }
        Ok(())
    }

    fn time_passes(&mut self) {
        let us = match self.random.below(10) {
            0..6 => self.random.below(500),
            6..9 => {
                let now = self.machine().clock.instant();
                let due = self.machine().next_due();
                let due = due.map(|due| due.saturating_duration_since(now).as_micros() as u64 + 1);
                due.unwrap_or_default().min(30_000_000)
            }
            _ => 1 << self.random.below(24),
        };
        self.time_us.fetch_add(us, Ordering::Relaxed);
    }

    fn connect(&mut self) {
        if self.clients.len() >= CLIENTS_MAX {
            return;
        }
        let person = self.random.below(PEOPLE as u64) as usize;
        let number = self.connected;
        self.connected += 1;
        let address = ([10, 0, 0, person as u8 + 1], 1_000);
        let machine = self.machine.as_mut().expect("a host runs between steps");
        let client = Client::connect(
            &mut machine.coordinator,
            Peer::Client(address.into()),
            (number, person),
        );
        client.wire.reads.set(true);
        self.clients.push(client);
        self.tell(|| format!("client {number}, person {person}, connects"));
        if self.random.percent(80) {
            let session = self.people[person].session.clone();
            let payload = match session {
                Some(session) => json!({ "v": 1, "session": session }),
                None => json!({ "v": 1 }),
            };
            let key = self
                .model
                .add(|_| Request::new(Kind::Other, 0, "rm.hello", payload.to_string()));
            self.send(self.clients.len() - 1, key, "");
        }
    }

    fn send(&mut self, at: usize, key: u64, meta: &str) {
        let client = &mut self.clients[at];
        if client.has_ended || client.wire.is_finishing.get() || client.wire.is_broken.get() {
            return;
        }
        let index = client.next_index;
        client.next_index += 1;
        let (slot, number) = (client.slot, client.number);
        let expires_us = self.time_us.load(Ordering::Relaxed) + patience_ms(meta) * 1_000;
        self.model.sent(key, (number, index), expires_us);
        let request = &self.model.requests[&key];
        let frame = format!(
            "{{\"type\":\"{}\",\"queryIndex\":{index},\"payload\":{}{meta}}}",
            request.type_name, request.payload
        );
        self.tell(|| format!("client {number} sends {key}: {frame}"));
        let coordinator = &mut self.machine().coordinator;
        coordinator.begin_turn();
        coordinator.received(slot, frame.as_bytes());
        coordinator.flush();
    }

    fn ask(&mut self) {
        if self.clients.is_empty() {
            return self.connect();
        }
        let at = self.random.below(self.clients.len() as u64) as usize;
        let (person, greeted) = (self.clients[at].person, self.clients[at].greeted);
        if greeted && self.random.percent(10) && !self.people[person].keys.is_empty() {
            return self.repeat(at);
        }
        let hall = 1 + self.random.below(2) as u8;
        let then = match self.random.below(100) {
            roll if roll < self.weights.panics / 3 => Then::Panic,
            roll if roll < self.weights.panics => *self.random.one_of(&[Then::Refuse, Then::Again]),
            _ => Then::Answer,
        };
        let us = match self.random.below(20) {
            0 => self.random.below(40_000),
            1..5 => self.random.below(300),
            _ => 1,
        };
        let tokens = self.model.tokens(hall);
        let (kind, n) = match self.random.below(10) {
            0..4 => (Kind::Take, 1 + self.random.below(self.seats.min(3))),
            4..7 if !tokens.is_empty() => {
                let token = *self.random.one_of(&tokens);
                (Kind::Back { token }, token)
            }
            9 => (Kind::Echo, 0),
            _ => (Kind::Add, 0),
        };
        let type_name = match (kind, hall) {
            (Kind::Take, 1) => "take",
            (Kind::Take, _) => "take2",
            (Kind::Back { .. }, 1) => "back",
            (Kind::Back { .. }, _) => "back2",
            (Kind::Add, 1) => "add",
            (Kind::Add, _) => "add2",
            _ => "echo",
        };
        let id = (greeted && self.random.percent(self.weights.ids)).then(|| {
            self.people[person].next_id += 1;
            self.people[person].next_id
        });
        let key = self.model.add(|key| {
            let ask = Ask { key, n, then, us };
            let payload = serde_json::to_string(&ask).expect("numbers");
            Request {
                then,
                n,
                id: id.map(|id| (person, id)),
                ..Request::new(kind, hall, type_name, payload)
            }
        });
        if id.is_some() {
            self.people[person].keys.push(key);
        }
        // Only who has said hello may say more.
        let meta = match greeted {
            true => self.meta(id),
            false => String::new(),
        };
        self.send(at, key, &meta);
    }

    fn meta(&mut self, id: Option<u64>) -> String {
        let mut meta = serde_json::Map::new();
        if let Some(id) = id {
            meta.insert("id".to_owned(), id.into());
        }
        if self.random.percent(self.weights.waits) {
            meta.insert("wait".to_owned(), true.into());
        }
        if self.random.percent(30) {
            let deadline_ms = 1_u64 << self.random.below(14);
            meta.insert("deadline_ms".to_owned(), deadline_ms.into());
        }
        match meta.is_empty() {
            true => String::new(),
            false => format!(",\"meta\":{}", serde_json::Value::from(meta)),
        }
    }

    /// Asks again, or takes back, what was asked before under an id.
    fn repeat(&mut self, at: usize) {
        let person = self.clients[at].person;
        let key = *self.random.one_of(&self.people[person].keys);
        let id = self.model.requests[&key].id.expect("only those are kept").1;
        if self.random.percent(30) {
            self.note("cancels");
            let payload = json!({ "id": id }).to_string();
            let hall = self.model.requests[&key].hall;
            let cancel = self
                .model
                .add(|_| Request::new(Kind::Cancel { key }, hall, "rm.cancel", payload));
            return self.send(at, cancel, "");
        }
        self.note("repeats");
        let meta = self.meta(Some(id));
        self.send(at, key, &meta);
    }

    fn leave(&mut self) {
        if self.clients.is_empty() || self.random.below(4) > 0 {
            return;
        }
        let at = self.random.below(self.clients.len() as u64) as usize;
        let (number, slot) = (self.clients[at].number, self.clients[at].slot);
        match self.random.below(4) {
            0 => {
                self.tell(|| format!("client {number} reads no more"));
                self.note("silent readers");
                self.clients[at].wire.reads.set(false);
            }
            1 if !self.clients[at].has_ended => {
                self.tell(|| format!("client {number} sends nothing more"));
                self.note("half-closed");
                self.clients[at].has_ended = true;
                let coordinator = &mut self.machine().coordinator;
                coordinator.ended(slot);
                coordinator.flush();
            }
            _ => self.disconnect(at),
        }
    }

    fn disconnect(&mut self, at: usize) {
        let client = self.clients.swap_remove(at);
        self.note("gone");
        self.tell(|| format!("client {} is gone", client.number));
        self.model.gone(client.number);
        let coordinator = &mut self.machine().coordinator;
        coordinator.disconnected(client.slot);
        coordinator.flush();
    }

    fn hold_up_a_worker(&mut self) {
        let workers = self.machine().threads.len() as u64;
        if workers == 0 || self.random.below(10) > 0 {
            return;
        }
        let index = self.random.below(workers) as usize;
        let ms = 1_u64 << self.random.below(18);
        let until = self.machine().clock.instant() + Duration::from_millis(ms);
        let name = self.machine().threads.name(index);
        self.machine().threads.put_to_sleep(index, until);
        self.note("held up");
        self.tell(|| format!("{name} stands still for {ms} ms"));
    }

    fn break_the_disk(&mut self) {
        let operation = *self.random.one_of(&[
            Operation::Write,
            Operation::Sync,
            Operation::Create,
            Operation::Rename,
        ]);
        let fault = Fault {
            operation,
            nth: self.disk.done(operation) + self.random.below(3),
            times: 1 + self.random.below(4),
            failure: *self.random.one_of(&[Failure::Broken, Failure::Full]),
        };
        self.note("disk faults");
        self.tell(|| format!("the disk fails: {fault:?}"));
        self.disk.fail(fault);
    }

    fn set_the_wall_clock(&mut self) {
        let ms = 1_u64 << self.random.below(32);
        self.note("clock steps");
        if self.random.percent(70) {
            self.wall_ms += ms;
            self.tell(|| format!("the wall clock is set forward by {ms} ms"));
        } else {
            self.wall_ms = self.wall_ms.saturating_sub(ms);
            self.tell(|| format!("the wall clock is set back by {ms} ms"));
        }
        let seen = Seen {
            wall_ms: self.wall_ms + self.time_us() / 1_000,
            slept: Duration::ZERO,
        };
        self.machine().clock.look(seen);
    }

    /// A new version comes, or the file goes.
    fn swap(&mut self, may_go: bool) {
        if may_go && self.random.percent(20) {
            self.note("removals");
            self.tell(|| "the plugin's file goes".to_owned());
            let gone = PluginEvent::Gone {
                name: "booth".to_owned(),
            };
            self.machine().plugin_events.push_back(gone);
            return;
        }
        self.versions += 1;
        let version = self.versions;
        let config = json!({ "seats": self.seats, "inline": self.random.percent(60) }).to_string();
        let settings = HostSettings {
            time_limit: Some(Duration::from_secs(*self.random.one_of(&[1, 30]))),
            ..HostSettings::default()
        };
        let prepared = self
            .module
            .prepared("booth", config.as_bytes(), (version, settings));
        let prepared = prepared.expect("its configuration is right");
        self.note("versions");
        self.tell(|| format!("version {version} comes: {config}"));
        self.machine()
            .plugin_events
            .push_back(PluginEvent::Prepared(prepared));
    }

    /// The process ends, in whatever way, and another one starts on the same disk.
    fn end_and_start(&mut self) -> Result<(), String> {
        match self.random.below(3) {
            // Nor where the power goes.
            0 if self.durability == Durability::Sync => {
                self.note("power losses");
                self.tell(|| "the power is lost".to_owned());
                self.disk.lose_power();
                self.kill();
            }
            0 | 1 => {
                self.note("kills");
                self.tell(|| "the host is killed".to_owned());
                self.kill();
            }
            _ => {
                self.note("stops");
                self.stop()?;
            }
        }
        // Faults end with the disk that is repaired meanwhile; what was not durable may be lost with the power alone.
        self.disk.mend();
        if self.disk.is_off() {
            self.disk.power_up();
        }
        self.start()
    }

    fn kill(&mut self) {
        for client in std::mem::take(&mut self.clients) {
            self.model.gone(client.number);
        }
        if let Some(machine) = self.machine.take() {
            machine.threads.kill();
            drop(machine);
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        self.tell(|| "the host is told to stop".to_owned());
        self.disk.mend();
        self.machine().coordinator.stop();
        self.machine().threads.wake_all();
        self.until("the host that stops has jobs in work for ever", |world| {
            world.machine().coordinator.is_idle()
        })?;
        self.machine().coordinator.dismiss_clients();
        self.hear()?;
        if !self
            .machine()
            .coordinator
            .close_storage(Duration::from_secs(1))
        {
            return Err("a sound disk did not take the state at the end".to_owned());
        }
        self.kill();
        Ok(())
    }

    /// What clients read.
    fn hear(&mut self) -> Result<(), String> {
        if jobbers::time_went_back() {
            return Err("a jobber was told an earlier time than the one before it".to_owned());
        }
        let mut at = 0;
        while at < self.clients.len() {
            let (number, person) = (self.clients[at].number, self.clients[at].person);
            let now_us = self.time_us();
            if self.clients[at].wire.reads.get() {
                for frame in self.clients[at].wire.read() {
                    self.tell(|| {
                        format!("client {number} reads {}", String::from_utf8_lossy(&frame))
                    });
                    let (key, code) = self.model.replied(number, &frame, now_us)?;
                    self.greeted(at, key, person, code.as_deref());
                }
            }
            let wire = &self.clients[at].wire;
            let is_over = wire.is_finishing.get() && wire.reads.get();
            if is_over || wire.is_broken.get() {
                let unanswered = self.model.unanswered(number);
                if is_over && unanswered > 0 && !self.clients[at].has_ended {
                    return Err(format!(
                        "client {number} is let go with {unanswered} requests unanswered"
                    ));
                }
                self.disconnect(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn greeted(&mut self, at: usize, key: u64, person: usize, code: Option<&str>) {
        let request = &self.model.requests[&key];
        if request.type_name != "rm.hello" {
            return;
        }
        let Some(answer) = request.answer().filter(|_| code.is_none()) else {
            if code == Some("id_forgotten") {
                self.people[person] = Person::default();
            }
            return;
        };
        let answer: serde_json::Value = serde_json::from_str(answer).expect("the host writes JSON");
        let session = answer["session"].as_str().unwrap_or_default().to_owned();
        let known = &mut self.people[person];
        if known.session.as_ref() != Some(&session) {
            if known.session.is_some() {
                // Another connection of the person came first: this one stays without.
                return;
            }
            (known.session, known.next_id) = (Some(session), 0);
            known.keys.clear();
        }
        self.clients[at].greeted = true;
    }

    /// Has everything go on without any fault until `is_so`.
    fn until(&mut self, else_: &str, is_so: impl Fn(&mut Self) -> bool) -> Result<(), String> {
        for _ in 0..QUIET_TURNS_MAX {
            if is_so(self) {
                return Ok(());
            }
            let mut did = self.machine().core_turn();
            let mut index = 0;
            while index < self.machine().threads.len() {
                let now = self.machine().clock.instant();
                did |= self.machine().threads.step(index, now);
                index += 1;
            }
            self.hear()?;
            if !did {
                let now = self.machine().clock.instant();
                let Some(due) = self.machine().next_due() else {
                    // Nothing would ever happen again.
                    return match is_so(self) {
                        true => Ok(()),
                        false => Err(else_.to_owned()),
                    };
                };
                let us = due.saturating_duration_since(now).as_micros() as u64 + 1;
                self.time_us.fetch_add(us, Ordering::Relaxed);
            }
        }
        Err(else_.to_owned())
    }

    /// All faults are over: everything that can be answered is, and everything is accounted for.
    fn end_quietly(&mut self) -> Result<(), String> {
        self.tell(|| "all faults are over".to_owned());
        self.disk.mend();
        self.machine().threads.wake_all();
        for client in &self.clients {
            client.wire.reads.set(true);
        }
        self.until("a request is never answered", |world| {
            world
                .clients
                .iter()
                .all(|client| world.model.unanswered(client.number) == 0 || client.has_ended)
        })?;
        while !self.clients.is_empty() {
            self.disconnect(0);
        }
        self.until("somebody who is gone leaves something behind", |world| {
            let machine = world.machine();
            let coordinator = &machine.coordinator;
            coordinator.queue_len() == 0
                && coordinator.budgets().requests.bytes() == 0
                && coordinator.budgets().replies.bytes() == 0
        })?;
        self.swap(false);
        self.until("the last version never serves", |world| {
            let machine = world.machine();
            machine.plugin_events.is_empty()
                && machine.coordinator.plugins_are_settled()
                && !machine.coordinator.readiness().serving.is_empty()
        })?;
        for (hall, type_name) in [(1, "books"), (2, "books2")] {
            self.connected += 1;
            let number = self.connected;
            let address = ([10, 0, 0, 99], 1_000);
            let machine = self.machine.as_mut().expect("a host runs between steps");
            let client = Client::connect(
                &mut machine.coordinator,
                Peer::Client(address.into()),
                (number, 0),
            );
            self.clients.push(client);
            let at = self.clients.len() - 1;
            let mut books = None;
            for _ in 0..QUIET_SECONDS_MAX {
                let key = self
                    .model
                    .add(|_| Request::new(Kind::Other, 0, type_name, "null".to_owned()));
                self.send(at, key, "");
                self.until("the books are never shown", |world| {
                    world.model.unanswered(number) == 0
                })?;
                books = self.model.requests[&key].answer().map(str::to_owned);
                if books.is_some() {
                    break;
                }
                // The state may still be on its way back from the disk.
                self.time_us.fetch_add(1_000_000, Ordering::Relaxed);
            }
            let books = books.ok_or("the books are refused though nothing is wrong any more")?;
            self.model.check_books(hall, &books)?;
        }
        for (code, count) in std::mem::take(&mut self.model.codes) {
            let gate = match code.as_str() {
                "ok" => "ok",
                "expired" => "expired",
                "timeout" => "timeout",
                "busy" => "busy",
                "jobber_panicked" => "panics",
                "storage_failed" => "storage_failed",
                "sold_out" => "sold_out",
                "cancelled" => "cancelled",
                "removed" => "removed",
                "quarantined" => "quarantined",
                _ => "other codes",
            };
            *self.gates.entry(gate).or_default() += count;
        }
        self.kill();
        Ok(())
    }
}

/// How long a request with this control data may take, in milliseconds, if nobody knows better.
fn patience_ms(meta: &str) -> u64 {
    let asked = meta.split_once("\"deadline_ms\":").map(|(_, rest)| {
        let digits = rest.split(|digit: char| !digit.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    });
    // The clock of the host counts milliseconds.
    asked.unwrap_or(DEADLINE_MS).min(WAIT_MS).saturating_sub(1)
}
