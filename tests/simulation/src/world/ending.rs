//! The quiet end of a run: all faults are over, and everything has to come right.

use std::sync::atomic::Ordering;

use host::coordinator::Peer;
use serde_json::{Value, json};

use super::World;
use crate::{
    client::Client,
    jobbers::{Ask, Then},
    model::{Kind, Request},
};

/// So soon, in seconds, the state is back once the disk is.
const QUIET_SECONDS_MAX: usize = 60;

impl World {
    /// All faults are over: everything that can be answered is, and everything is accounted for.
    pub(super) fn end_quietly(&mut self) -> Result<(), String> {
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
        for hall in [1, 2] {
            let books = self.books(hall)?;
            self.model.check_books(hall, &books)?;
            self.check_line(hall, &books)?;
            let books = self.books(hall)?;
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

    /// Somebody who asks what nobody else knows of. Returns its place among the clients.
    fn stranger(&mut self) -> Result<usize, String> {
        self.connected += 1;
        let address = ([10, 0, 0, 99], 1_000);
        let machine = self.machine.as_mut().expect("a host runs between steps");
        let peer = Peer::Client(address.into());
        let client = Client::connect(&mut machine.coordinator, peer, (self.connected, 0));
        self.clients.push(client);
        let at = self.clients.len() - 1;
        let hello = json!({ "v": 1 }).to_string();
        let key = (self.model).add(|_| Request::new(Kind::Other, 0, "rm.hello", hello));
        self.answered(at, key, "")?;
        Ok(at)
    }

    /// Asks, and waits for the answer, which may be an error.
    fn answered(&mut self, at: usize, key: u64, meta: &str) -> Result<Option<String>, String> {
        let number = self.clients[at].number;
        self.send(at, key, meta);
        self.until("a last request is never answered", |world| {
            world.model.unanswered(number) == 0
        })?;
        Ok(self.model.requests[&key].answer().map(str::to_owned))
    }

    /// What a hall's books say.
    fn books(&mut self, hall: u8) -> Result<String, String> {
        let at = self.stranger()?;
        let type_name = if hall == 1 { "books" } else { "books2" };
        for _ in 0..QUIET_SECONDS_MAX {
            let books = || Request::new(Kind::Other, 0, type_name, "null".to_owned());
            let key = self.model.add(|_| books());
            if let Some(books) = self.answered(at, key, "")? {
                self.disconnect(at);
                return Ok(books);
            }
            // The state may still be on its way back from the disk.
            self.time_us.fetch_add(1_000_000, Ordering::Relaxed);
        }
        Err("the books are refused though nothing is wrong any more".to_owned())
    }

    /// Who waits for a seat gets it once somebody gives one back, whatever happened in that line before.
    fn check_line(&mut self, hall: u8, books: &str) -> Result<(), String> {
        let books: Value = serde_json::from_str(books).map_err(|error| error.to_string())?;
        let held = books["held"].as_array().map_or(0, Vec::len) as u64;
        let free = self.seats.saturating_sub(held);
        if free == 0 {
            return Ok(());
        }
        let (has, waits) = (self.stranger()?, self.stranger()?);
        let all = self.request(hall, Kind::Take, free);
        let got = self.answered(has, all, "")?;
        got.ok_or_else(|| format!("the {free} free seats of hall {hall} are refused"))?;
        let one = self.request(hall, Kind::Take, 1);
        self.send(waits, one, ",\"meta\":{\"wait\":true}");
        let token = self.model.requests[&all]
            .grant
            .as_ref()
            .map_or(0, |(_, token)| *token);
        let back = self.request(hall, Kind::Back { token }, token);
        let is_back = self.answered(has, back, "")?;
        is_back.ok_or_else(|| format!("{all} cannot be given back"))?;
        let number = self.clients[waits].number;
        self.until("who waits is never answered", |world| {
            world.model.unanswered(number) == 0
        })?;
        match self.model.requests[&one].answer() {
            Some(_) => Ok(()),
            None => Err(format!(
                "{one} waited for a seat of hall {hall}, and got none though {free} came back"
            )),
        }
    }

    fn request(&mut self, hall: u8, kind: Kind, n: u64) -> u64 {
        let type_name = match (kind, hall) {
            (Kind::Take, 1) => "take",
            (Kind::Take, _) => "take2",
            (_, 1) => "back",
            _ => "back2",
        };
        self.model.add(|key| {
            let ask = Ask {
                key,
                n,
                then: Then::Answer,
                us: 1,
            };
            let payload = serde_json::to_string(&ask).expect("numbers");
            Request {
                n,
                ..Request::new(kind, hall, type_name, payload)
            }
        })
    }
}
