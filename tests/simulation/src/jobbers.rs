//! What the simulated hosts serve: a pool and a count of what was run, once where requests arrive and once on a thread.

use std::{
    cell::Cell,
    collections::BTreeMap,
    panic::PanicHookInfo,
    sync::atomic::{AtomicU64, Ordering},
};

use host::plugins::SimulatedModule;
use plugin_api::prelude::*;

thread_local! {
    /// The simulated time, in microseconds.
    static TIME_US: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
    /// A jobber was told an earlier time than the one before it.
    static WENT_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Jobbers take their time from this clock.
pub fn take_time_from(us: &'static AtomicU64) {
    TIME_US.set(Some(us));
    WENT_BACK.set(false);
}

/// Whether a panic is a jobber's own.
pub fn is_own(panic: &PanicHookInfo<'_>) -> bool {
    panic
        .location()
        .is_some_and(|place| place.file() == file!())
}

/// Whether the host's time went back.
pub fn time_went_back() -> bool {
    WENT_BACK.get()
}

#[derive(Deserialize)]
pub struct Config {
    pub seats: u64,
    pub inline: bool,
}

/// What a request wants of its jobber beside the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    #[default]
    Answer,
    Refuse,
    Panic,
    Again,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Ask {
    /// Which request it is: no other has it.
    pub key: u64,
    /// How many seats, or which token.
    pub n: u64,
    pub then: Then,
    /// How long the jobber takes, in microseconds.
    pub us: u64,
}

#[derive(Serialize)]
pub struct Taken {
    ids: Vec<u64>,
    token: Token,
}

#[derive(Serialize)]
pub struct Done {
    runs: u64,
}

#[derive(Serialize)]
pub struct Books {
    held: Vec<u64>,
    runs: BTreeMap<u64, u64>,
}

/// No request has this key: under it stands which time a jobber was told last, in milliseconds since 1970.
const TOLD_MS: u64 = 0;

type State = (Numbers, Map<u64, u64>);

/// Notes the run, takes its time and, if that is wanted, fails.
fn runs(ask: &Ask, runs: &mut Map<u64, u64>, call: &Call) -> Result<u64, Refusal> {
    // It stands in the state, so that it outlives the host, and one whose job is given up notes nothing.
    let told_before = runs.get(&TOLD_MS).unwrap_or(0);
    if call.now_ms < told_before {
        WENT_BACK.set(true);
    }
    runs.insert(&TOLD_MS, &call.now_ms);
    let count = runs.get(&ask.key).unwrap_or(0) + 1;
    runs.insert(&ask.key, &count);
    if let Some(time) = TIME_US.get() {
        time.fetch_add(ask.us, Ordering::Relaxed);
    }
    match ask.then {
        Then::Answer => Ok(count),
        Then::Refuse => Err(Refusal::new("refused", "as it was asked to")),
        Then::Again if call.attempt < 3 => Err(Refusal::try_again("as it was asked to")),
        Then::Again => Ok(count),
        Then::Panic => {
            panic!("as it was asked to");
        }
    }
}

fn take(ask: Ask, state: &mut State, call: &Call) -> Answer<Taken> {
    let (hall, done) = state;
    let grant = hall.take(ask.n).or_code("sold_out")?;
    runs(&ask, done, call)?;
    Ok(Taken {
        ids: grant.ids(),
        token: grant.token,
    })
}

fn back(ask: Ask, state: &mut State, call: &Call) -> Answer<Done> {
    let (hall, done) = state;
    let runs = runs(&ask, done, call)?;
    let token: Token = serde_json::from_value(ask.n.into())
        .map_err(|_| Refusal::bad_payload("expected a token"))?;
    hall.release(token)?;
    Ok(Done { runs })
}

fn add(ask: Ask, state: &mut State, call: &Call) -> Answer<Done> {
    let runs = runs(&ask, &mut state.1, call)?;
    Ok(Done { runs })
}

fn books(state: &mut State) -> Answer<Books> {
    let (hall, done) = state;
    let held = (1..=hall.len())
        .filter(|seat| hall.is_held(*seat))
        .collect();
    Ok(Books {
        held,
        runs: done.range(TOLD_MS + 1..).collect(),
    })
}

fn echo(ask: Ask) -> Answer<Done> {
    match ask.then {
        Then::Panic => {
            panic!("as it was asked to");
        }
        Then::Refuse => Err(Refusal::new("refused", "as it was asked to")),
        Then::Answer | Then::Again => Ok(Done { runs: ask.key }),
    }
}

plugin! {
    name "booth";
    config Config;
    state |c| (Numbers::range("hall", 1..=c.seats), Map::named("done"))
        => inline(|c| c.inline) { "take" => take, "back" => back, "add" => add, "books" => books }
    state |c| (Numbers::range("hall_2", 1..=c.seats), Map::named("done_2"))
        => { "take2" => take, "back2" => back, "add2" => add, "books2" => books }
    stateless { "echo" => echo }
}

/// The plugin's code.
pub fn module() -> SimulatedModule {
    SimulatedModule::of::<RmPlugin>("booth")
}
