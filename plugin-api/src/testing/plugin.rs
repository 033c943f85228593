//! A plugin, loaded as a host would, and its clients.

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
};

use serde::Serialize;
use serde_json::Value;

use super::memory::{Entries, MemoryHost};
use crate::{
    Answer, Call, Refusal,
    abi::Buffer,
    description::{Description, StateDescription},
    export::{Definition, LaneCode, Plugin},
    log_bridge::{guarded, panic_text},
    read_back,
};

/// 2026-01-01T00:00Z, so that what subtracts from the time has something to subtract from.
const NOW_MS_AT_FIRST: u64 = 1_767_225_600_000;

/// A plugin without a host. See [the module](super) for an example.
pub struct TestPlugin<P: Plugin> {
    version: Version,
    now_ms: u64,
    plugin: PhantomData<fn() -> P>,
}

/// One client of a [`TestPlugin`], and the circumstances of its next request.
#[must_use = "a client does nothing until it requests something"]
pub struct TestClient<'a, P: Plugin> {
    plugin: &'a mut TestPlugin<P>,
    call: Call,
}

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
    /// What the host would log: the configuration cannot be read, a type or a state is there twice, the code
    /// panicked.
    pub fn load(config: impl Serialize) -> Result<Self, String> {
        Ok(Self {
            version: Version::load::<P>(&config, &BTreeMap::new())?,
            now_ms: NOW_MS_AT_FIRST,
            plugin: PhantomData,
        })
    }

    /// Loads the plugin anew with this configuration, on the state that there is.
    ///
    /// # Errors
    /// As [`load`](Self::load), or the stored state cannot be used. The version before goes on then.
    pub fn reload(&mut self, config: impl Serialize) -> Result<(), String> {
        self.version = Version::load::<P>(&config, &self.version.stored())?;
        Ok(())
    }

    /// The client with this number, about to ask for the first time, with a patience that never ends.
    pub fn client(&mut self, client: u64) -> TestClient<'_, P> {
        let call = Call {
            client,
            attempt: 1,
            now_ms: self.now_ms,
            deadline_ms: None,
        };
        TestClient { plugin: self, call }
    }

    /// Sets the clock, in milliseconds since 1970-01-01T00:00Z. It starts at 2026-01-01T00:00Z.
    ///
    /// # Panics
    /// The clock would go back, which a host's never does.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        assert!(
            now_ms >= self.now_ms,
            "the clock stands at {}, {now_ms} would be back in time",
            self.now_ms
        );
        self.now_ms = now_ms;
    }

    /// Sets the clock forward, in milliseconds.
    pub fn advance_ms(&mut self, by_ms: u64) {
        self.now_ms += by_ms;
    }

    /// How often the plugin has reached for what the host keeps, since it was loaded: reads, look-ups and
    /// writes. It is most of what a short request costs; a test that counts keeps it from creeping up.
    pub fn state_calls(&self) -> u64 {
        let lanes = self.version.lanes.iter();
        lanes.map(|lane| lane.host.accesses().total()).sum()
    }

    /// What the plugin says of itself with its present configuration: its types, its states, what is inline.
    pub fn description(&self) -> &Description {
        &self.version.definition.description
    }
}

impl<P: Plugin> TestClient<'_, P> {
    /// The request has been run `attempt - 1` times before and is tried again.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.call.attempt = attempt;
        self
    }

    /// The client's patience ends then, on the clock of the plugin. Requests are served after it, too.
    pub fn deadline_ms(mut self, deadline_ms: u64) -> Self {
        self.call.deadline_ms = Some(deadline_ms);
        self
    }

    /// Sends a request and returns the answer without its `type`, as a client gets it. `()` stands for no
    /// payload.
    ///
    /// # Errors
    /// The jobber's refusal; or what the host makes of a fault: `unknown_type`, `jobber_panicked`,
    /// `jobber_error`, `type_mismatch`. Nothing stays changed then.
    ///
    /// # Panics
    /// `payload` has no JSON; or the plugin stored what it cannot read again.
    pub fn request(self, type_name: &str, payload: impl Serialize) -> Answer<Value> {
        let payload = serde_json::to_vec(&payload).expect("a payload that has JSON");
        self.request_text(type_name, &payload)
    }

    /// The same with the payload's JSON text, empty if absent.
    pub(super) fn request_text(self, type_name: &str, payload: &[u8]) -> Answer<Value> {
        self.plugin.version.serve(self.call, type_name, payload)
    }
}

/// The plugin with one configuration, its lanes open.
struct Version {
    definition: Definition,
    lanes: Vec<Lane>,
    /// Lane and jobber of each request type.
    types: HashMap<String, (usize, u32)>,
}

struct Lane {
    host: MemoryHost,
    code: Box<dyn LaneCode>,
}

/// All states of a plugin, by name.
type Stored = BTreeMap<String, (StateDescription, Entries)>;

impl Version {
    fn load<P: Plugin>(config: &impl Serialize, stored: &Stored) -> Result<Self, String> {
        let config = match serde_json::to_value(config) {
            Ok(Value::Null) => "{}".to_owned(),
            Ok(value) => value.to_string(),
            Err(error) => return Err(format!("the configuration has no JSON: {error}")),
        };
        let definition = unwound(|| Definition::new::<P>(config.as_bytes()))??;
        let mut version = Self {
            types: types(&definition.description)?,
            lanes: Vec::new(),
            definition,
        };
        for index in 0..version.definition.description.lanes.len() {
            let host = MemoryHost::new();
            for (state, description) in version.states(index).iter().enumerate() {
                if let Some((before, entries)) = stored.get(&description.name) {
                    check_stored(before, description)?;
                    host.set_entries(state as u32, entries.clone());
                }
            }
            let code = version.open(index, &host)?;
            version.lanes.push(Lane { host, code });
        }
        Ok(version)
    }

    fn states(&self, lane: usize) -> &[StateDescription] {
        &self.definition.description.lanes[lane].states
    }

    fn stored(&self) -> Stored {
        let mut stored = Stored::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            for (state, description) in self.states(index).iter().enumerate() {
                let entries = lane.host.entries(state as u32);
                stored.insert(description.name.clone(), (description.clone(), entries));
            }
        }
        stored
    }

    fn open(&self, lane: usize, host: &MemoryHost) -> Result<Box<dyn LaneCode>, String> {
        let mut code = self.open_anew(lane, host)?;
        unwound(|| code.setup())??;
        host.commit();
        Ok(code)
    }

    /// What the lane keeps was set up when it was first opened.
    fn open_anew(&self, lane: usize, host: &MemoryHost) -> Result<Box<dyn LaneCode>, String> {
        unwound(|| self.definition.open_lane(lane, host.access()))?
    }

    fn serve(&mut self, call: Call, type_name: &str, payload: &[u8]) -> Answer<Value> {
        let Some(&(index, jobber)) = self.types.get(type_name) else {
            let text = format!("no jobber serves `{type_name}`");
            return Err(Refusal::new("unknown_type", text));
        };
        let lane = &mut self.lanes[index];
        lane.host.begin(call);
        let mut answer = Buffer::new();
        let handle = || unwound(|| lane.code.handle(jobber, payload, &mut answer));
        let (handled, unreadable) = read_back::watched(handle);
        assert!(unreadable.is_empty(), "{}", unreadable.join("\n"));
        let reply = match handled {
            Ok(done) => done.and_then(|()| check_answer(type_name, &answer)),
            Err(text) => Err(Refusal::new("jobber_panicked", text)),
        };
        match &reply {
            Ok(_) => lane.host.commit(),
            Err(_) => lane.host.rollback(),
        }
        if matches!(&reply, Err(refusal) if refusal.code() == "jobber_panicked") {
            self.forget_memory(index);
        }
        reply
    }

    /// What the code remembers may be half changed by a panic.
    fn forget_memory(&mut self, lane: usize) {
        let host = self.lanes[lane].host.clone();
        self.lanes[lane].code = self
            .open_anew(lane, &host)
            .expect("what could be opened before can be again");
    }
}

fn types(description: &Description) -> Result<HashMap<String, (usize, u32)>, String> {
    let mut types = HashMap::new();
    let mut states = HashMap::new();
    for (index, lane) in description.lanes.iter().enumerate() {
        for (jobber, type_name) in lane.types().enumerate() {
            if types
                .insert(type_name.to_owned(), (index, jobber as u32))
                .is_some()
            {
                return Err(format!("type `{type_name}` has two jobbers"));
            }
        }
        for state in &lane.states {
            if states.insert(&state.name, index).is_some() {
                return Err(format!("state `{}` is declared twice", state.name));
            }
        }
    }
    Ok(types)
}

fn check_stored(before: &StateDescription, now: &StateDescription) -> Result<(), String> {
    if before.kind != now.kind {
        return Err(format!(
            "state `{}` is stored as `{}` and cannot be opened as `{}`",
            now.name, before.kind, now.kind
        ));
    }
    if before.schema > now.schema {
        return Err(format!(
            "state `{}` is stored with schema {} and this version has {}",
            now.name, before.schema, now.schema
        ));
    }
    Ok(())
}

/// The answer without its type, if it is an object that bears the right one.
fn check_answer(type_name: &str, answer: &[u8]) -> Answer<Value> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(answer) else {
        let text = String::from_utf8_lossy(answer);
        let text = format!("the answer is no JSON object: {text}");
        return Err(Refusal::new("jobber_error", text));
    };
    match fields.remove("type") {
        Some(Value::String(found)) if found == type_name => Ok(Value::Object(fields)),
        found => {
            let found = found.map_or("none".to_owned(), |found| found.to_string());
            let text = format!("the answer to `{type_name}` bears the type {found}");
            Err(Refusal::new("type_mismatch", text))
        }
    }
}

/// Runs code of the plugin; a panic becomes its text.
fn unwound<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    guarded(f).map_err(|payload| format!("it panicked: {}", panic_text(payload)))
}
