//! What a log should hold: random batches, and the states after each of them, kept apart from the log.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::state::{
    effects::{self, Declared, StateId},
    log::{BatchNo, FileLog, Log, LogError, LogId, OpenError, Policy, Recovered, RecoveredState},
    sim_disk::{Random, SimDisk},
};

pub const FOLDER: &str = "/data/state";

/// The identity of the log, and of copies of it.
pub const ID: LogId = LogId::of([7; 16]);
pub const COPY: LogId = LogId::of([8; 16]);

/// So small that a few batches make segments and snapshots.
pub const TINY: Policy = Policy {
    segment_bytes: 900,
    snapshot_due_bytes: 2000,
    zeroed_ahead_bytes: 2048,
    snapshot_piece_bytes: 1000,
    snapshot_runs_max: 4,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    states: BTreeMap<StateId, ModelState>,
    next_state: StateId,
    now_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelState {
    schema: u32,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Makes batches, and keeps the model after each.
#[derive(Debug)]
pub struct Author {
    random: Random,
    /// By batch number; at 0 the empty one.
    pub history: Vec<Model>,
}

const TOKEN: &[u8] = b"token";

impl Author {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(!seed),
            history: vec![Model::default()],
        }
    }

    pub fn last(&self) -> BatchNo {
        BatchNo(self.history.len() as u64 - 1)
    }

    /// Forgets the batches after `last`.
    pub fn go_back_to(&mut self, last: BatchNo) {
        self.history.truncate(last.0 as usize + 1);
    }

    /// The effects of the next batch, and its time.
    pub fn write(&mut self) -> (Vec<u8>, u64) {
        let random = &mut self.random;
        let mut model = self.history.last().expect("there is the empty one").clone();
        let mut out = Vec::new();
        for _ in 0..1 + random.below(3) {
            let exists = |id| model.states.contains_key(&StateId(id));
            match random.below(20) {
                // The first that is made, a declaration anew, and the next one.
                0 => model.declare(random.below(u64::from(model.next_state.0) + 1), &mut out),
                1 if model.states.len() > 2 => {
                    let id = StateId(random.below(u64::from(model.next_state.0)) as u32);
                    if model.states.remove(&id).is_some() {
                        effects::drop_state(&mut out, id);
                    }
                }
                _ => {
                    let id = random.below(4);
                    if !exists(id as u32) {
                        model.declare(id.min(model.next_state.0.into()), &mut out);
                    }
                    model.change(StateId(id as u32), random, &mut out);
                }
            }
        }
        model.now_ms += random.below(3);
        let now_ms = model.now_ms;
        self.history.push(model);
        (out, now_ms)
    }

    /// Holds what was found against the model of its last batch.
    pub fn check(&self, found: &Recovered) {
        let model = &self.history[found.last.0 as usize];
        let mut states = BTreeMap::new();
        for state in &found.states {
            assert_eq!((&*state.plugin, &*state.kind), ("plugin", "map"));
            assert_eq!(state.name, name(state.id));
            states.insert(state.id, model_of(state));
        }
        let found = Model {
            states,
            next_state: found.next_state,
            now_ms: found.now_ms,
        };
        assert_eq!(&found, model);
    }
}

fn model_of(state: &RecoveredState) -> ModelState {
    let entries = state.map.iter();
    ModelState {
        schema: state.schema,
        entries: entries
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect(),
    }
}

fn name(id: StateId) -> String {
    format!("state {id}")
}

impl Model {
    fn declare(&mut self, id: u64, out: &mut Vec<u8>) {
        let id = StateId(id as u32);
        let state = self.states.entry(id).or_default();
        state.schema += 1;
        self.next_state = self.next_state.max(StateId(id.0 + 1));
        let declared = Declared {
            plugin: "plugin",
            name: &name(id),
            kind: "map",
            schema: state.schema,
        };
        effects::declare(out, id, &declared);
    }

    fn change(&mut self, id: StateId, random: &mut Random, out: &mut Vec<u8>) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        let token = state.entries.get(TOKEN).map_or(0, |token| token[0]);
        let token = vec![token.wrapping_add(1)];
        effects::put(out, id, TOKEN, &token);
        state.entries.insert(TOKEN.to_vec(), token);
        let key = vec![random.below(30) as u8; random.below(4) as usize];
        if random.percent(30) {
            effects::remove(out, id, &key);
            state.entries.remove(&key);
        } else {
            // Also such as a disk might have left unwritten, and many sectors of it.
            let length = *random.one_of(&[0, 1, 7, 30, 600, 1500]);
            let value = vec![*random.one_of(&[0, 0, 7]); length];
            effects::put(out, id, &key, &value);
            state.entries.insert(key, value);
        }
    }
}

pub fn open(disk: &SimDisk) -> Result<(FileLog, Recovered), OpenError> {
    FileLog::open_with(Arc::new(disk.clone()), Path::new(FOLDER), TINY, ID, None)
}

/// Adds batches until there are `until`; every one is synced if `each_synced`, else now and then. Whenever snapshots are due
/// they are made; one that fails is of no account.
pub fn run(
    log: &mut FileLog,
    author: &mut Author,
    until: u64,
    each_synced: bool,
) -> Result<(), LogError> {
    while author.last().0 < until {
        let (effects, now_ms) = author.write();
        log.append(author.last(), now_ms, &effects)?;
        if each_synced || author.random.percent(40) || author.last().0 == until {
            log.sync()?;
            assert_eq!(log.durable(), author.last());
        }
        snapshot(log);
    }
    Ok(())
}

pub fn snapshot(log: &mut FileLog) {
    if let Some(task) = log.snapshot_task()
        && let Ok(done) = task.run()
    {
        let _ = log.snapshot_done(done);
    }
}
