//! A plugin with one configuration, its blocks open: one request at a time goes in, and what a host would make of
//! what comes back goes out.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;

use super::memory::{Entries, MemoryHost};
use crate::{
    Answer, Call, Refusal, RefusalKind,
    buffer::Buffer,
    description::{Description, StateDescription},
    export::{Definition, LaneCode, Plugin},
    limits::RETRIES_MAX,
    log_bridge::{guarded, panic_text},
    read_back, rules,
    state::Schemas,
};

/// All states of a plugin, by name, with those that its present version does not declare.
pub(super) type Stored = BTreeMap<String, (StateDescription, Entries)>;

/// One loaded version.
pub(super) struct Version {
    definition: Definition,
    lanes: Vec<Lane>,
    /// Lane and jobber of each request type.
    types: HashMap<String, (usize, u32)>,
    /// How long the code ran that was run last.
    took: Duration,
}

struct Lane {
    host: MemoryHost,
    code: Box<dyn LaneCode>,
}

/// How the run of a request ended.
pub(super) struct JobOutcome {
    pub(super) reply: Answer<Value>,
    /// The state is not what it was.
    pub(super) changed: bool,
}

impl Version {
    /// In the order and in the words of a host.
    pub(super) fn load<P: Plugin>(
        config: &impl Serialize,
        stored: &Stored,
        now: &Call,
    ) -> Result<Self, String> {
        let config = match serde_json::to_value(config) {
            Ok(Value::Null) => "{}".to_owned(),
            Ok(value) => value.to_string(),
            Err(error) => return Err(format!("the configuration has no JSON: {error}")),
        };
        let definition = unwound(|| Definition::new::<P>(config.as_bytes()))??;
        rules::offer::check(&definition.description).map_err(|fault| fault.to_string())?;
        let mut version = Self {
            types: types(&definition.description),
            lanes: Vec::new(),
            took: Duration::ZERO,
            definition,
        };
        let lanes = &version.definition.description.lanes;
        for asked in lanes.iter().flat_map(|lane| &lane.states) {
            if let Some((before, _)) = stored.get(&asked.name) {
                rules::stored::check(&before.kind, before.schema, asked)
                    .map_err(|fault| fault.to_string())?;
            }
        }
        for index in 0..lanes.len() {
            let host = MemoryHost::new();
            let mut schemas = Vec::new();
            for (state, description) in (0..).zip(version.states(index)) {
                let before = stored.get(&description.name);
                schemas.push(before.map(|(before, _)| before.schema));
                if let Some((_, entries)) = before {
                    host.set_entries(state, entries.clone());
                }
            }
            let code = version.open(index, &host, schemas, now)?;
            version.lanes.push(Lane { host, code });
        }
        Ok(version)
    }

    /// Puts its states into `stored`.
    pub(super) fn store(&self, stored: &mut Stored) {
        for (index, lane) in self.lanes.iter().enumerate() {
            for (state, description) in (0..).zip(self.states(index)) {
                let entries = lane.host.entries(state);
                stored.insert(description.name.clone(), (description.clone(), entries));
            }
        }
    }

    pub(super) fn description(&self) -> &Description {
        &self.definition.description
    }

    /// The block that serves a type, by its number.
    pub(super) fn lane_of(&self, type_name: &str) -> Option<usize> {
        self.types.get(type_name).map(|(lane, _)| *lane)
    }

    /// How often its blocks reached for their states.
    pub(super) fn state_calls(&self) -> u64 {
        let lanes = self.lanes.iter();
        lanes.map(|lane| lane.host.accesses().total()).sum()
    }

    pub(super) fn took(&self) -> Duration {
        self.took
    }

    fn states(&self, lane: usize) -> &[StateDescription] {
        &self.definition.description.lanes[lane].states
    }

    fn open(
        &self,
        lane: usize,
        host: &MemoryHost,
        schemas: Vec<Option<u32>>,
        now: &Call,
    ) -> Result<Box<dyn LaneCode>, String> {
        host.begin(now.clone());
        let mut code = self.open_anew(lane, host)?;
        let done = unwound(|| code.setup(&mut Schemas::new(schemas)));
        if let Some(fault) = host.fault() {
            return Err(fault.to_string());
        }
        done??;
        host.commit();
        Ok(code)
    }

    /// What the lane keeps was set up when it was first opened.
    fn open_anew(&self, lane: usize, host: &MemoryHost) -> Result<Box<dyn LaneCode>, String> {
        unwound(|| self.definition.open_lane(lane, host.access()))?
    }

    /// Runs one request as a transaction of its own.
    pub(super) fn run(&mut self, call: &Call, type_name: &str, payload: &[u8]) -> JobOutcome {
        let Some(&(index, jobber)) = self.types.get(type_name) else {
            let text = format!("no jobber serves `{type_name}`");
            return failed("unknown_type", text);
        };
        if call
            .deadline_ms
            .is_some_and(|deadline| call.now_ms > deadline)
        {
            return failed("expired", rules::EXPIRED_BEFORE_START);
        }
        let lane = &mut self.lanes[index];
        lane.host.begin(call.clone());
        let mut answer = Buffer::new();
        let handle = || unwound(|| lane.code.handle(jobber, payload, &mut answer));
        let start = Instant::now();
        let (handled, unreadable) = read_back::watched(handle);
        self.took = start.elapsed();
        assert!(unreadable.is_empty(), "{}", unreadable.join("\n"));
        let (fault, panicked) = (lane.host.fault(), handled.is_err());
        let reply = match (fault, handled) {
            (Some(fault), _) => Err(Refusal::new("jobber_error", rules::told(fault))),
            (None, Ok(Ok(()))) => answered(type_name, &mut answer),
            (None, Ok(Err(refusal))) => Err(refused(refusal, call.attempt)),
            (None, Err(text)) => Err(Refusal::new("jobber_panicked", text)),
        };
        let changed = match &reply {
            Ok(_) => lane.host.commit(),
            Err(_) => {
                lane.host.rollback();
                false
            }
        };
        if panicked && fault.is_none() {
            self.forget_memory(index);
        }
        JobOutcome { reply, changed }
    }

    /// What the code remembers may be half changed by a panic.
    fn forget_memory(&mut self, lane: usize) {
        let host = self.lanes[lane].host.clone();
        self.lanes[lane].code = self
            .open_anew(lane, &host)
            .expect("what could be opened before can be again");
    }
}

fn failed(code: &'static str, text: impl Into<String>) -> JobOutcome {
    JobOutcome {
        reply: Err(Refusal::new(code, text)),
        changed: false,
    }
}

/// By the rules of an offer no type and no state is there twice.
fn types(description: &Description) -> HashMap<String, (usize, u32)> {
    let lanes = description.lanes.iter().enumerate();
    let types = lanes.flat_map(|(lane, described)| {
        let types = (0..).zip(described.types());
        types.map(move |(jobber, name)| (name.to_owned(), (lane, jobber)))
    });
    types.collect()
}

/// The answer without its type, if a host takes it.
fn answered(type_name: &str, answer: &mut [u8]) -> Answer<Value> {
    let body = rules::answer::check(answer, type_name).map_err(|fault| {
        let code = match fault.is_type_mismatch() {
            true => "type_mismatch",
            false => "jobber_error",
        };
        Refusal::new(code, rules::told(fault))
    })?;
    Ok(serde_json::from_slice(body).unwrap_or_else(|error| {
        panic!(
            "the answer to `{type_name}` is JSON that a host passes on and most clients cannot read: {error}"
        )
    }))
}

/// What a client is told of a refusal, or that it is to be run again.
fn refused(refusal: Refusal, attempt: u32) -> Refusal {
    let message = rules::refusal::text(refusal.message.into()).into_owned();
    match refusal.kind {
        RefusalKind::TryAgain if attempt <= u32::from(RETRIES_MAX) => Refusal::try_again(message),
        RefusalKind::TryAgain => {
            let fault = rules::refusal::gave_up(attempt, &message);
            Refusal::new("jobber_error", rules::told(fault))
        }
        RefusalKind::BadPayload => Refusal::bad_payload(message),
        kind => match rules::refusal::code(&refusal.code) {
            Ok(()) => Refusal {
                kind,
                code: refusal.code,
                message,
            },
            Err(fault) => Refusal::new("jobber_error", rules::told(fault)),
        },
    }
}

/// Runs code of the plugin; a panic becomes its text.
fn unwound<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    guarded(f).map_err(|payload| format!("it panicked: {}", panic_text(payload)))
}
