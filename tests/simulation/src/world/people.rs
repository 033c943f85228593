//! What people do, and what they hear.

use std::sync::atomic::Ordering;

use host::coordinator::Peer;
use serde_json::json;

use super::{CLIENTS_MAX, PEOPLE, Person, World};
use crate::{
    client::Client,
    jobbers::{self, Ask, Then},
    machine::{DEADLINE_MS, WAIT_MS},
    model::{Kind, Request},
};

impl World {
    pub(super) fn connect(&mut self) {
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

    pub(super) fn send(&mut self, at: usize, key: u64, meta: &str) {
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

    pub(super) fn ask(&mut self) {
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

    pub(super) fn meta(&mut self, id: Option<u64>) -> String {
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
    pub(super) fn repeat(&mut self, at: usize) {
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

    pub(super) fn leave(&mut self) {
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

    pub(super) fn disconnect(&mut self, at: usize) {
        let client = self.clients.swap_remove(at);
        self.note("gone");
        self.tell(|| format!("client {} is gone", client.number));
        self.model.gone(client.number);
        let coordinator = &mut self.machine().coordinator;
        coordinator.disconnected(client.slot);
        coordinator.flush();
    }

    /// What clients read.
    pub(super) fn hear(&mut self) -> Result<(), String> {
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

    pub(super) fn greeted(&mut self, at: usize, key: u64, person: usize, code: Option<&str>) {
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
