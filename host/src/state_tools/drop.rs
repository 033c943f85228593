//! States of which nobody needs anything any more.

use std::path::Path;

use super::{StateError, inspection, title};
use crate::{
    coordinator::{Untrue, forget_untrue},
    data_folder::{DataFolder, Wanted},
    limits::IMPORTED_AT_ONCE_BYTES,
    state::{
        BatchNo,
        effects::{self, Declared, StateId},
        log::{FileLog, Log as _, LogError, Recovered, RecoveredState},
        tokens,
    },
};

/// Drops a plugin's states, or the one of that name, from a data folder that no host has, and with them the answers that they made
/// untrue. Tokens go on growing. Returns what was dropped, for people.
///
/// # Errors
/// There is no such state, or it is not `confirmed`: nothing in the folder is touched then. A host has the folder; the disk fails.
pub fn drop_states(
    data: &Path,
    plugin: &str,
    state: Option<&str>,
    confirmed: bool,
) -> Result<Vec<String>, StateError> {
    // Whoever opens the log to write cuts off its torn end, so that comes last.
    let seen = inspection(data)?.read()?;
    let titles_seen = titles(&meant(data, &seen, plugin, state)?);
    if !confirmed {
        return Err(StateError::NotConfirmed(titles_seen.join("; ")));
    }
    drop(seen);
    let folder = DataFolder::open(data, Wanted::State)?;
    let (log, recovered, _) = folder.open_log()?;
    // A host may have served since.
    let meant = meant(data, &recovered, plugin, state)?;
    let mut told = titles(&meant);
    let mut drop = Drop::new(log, &recovered);
    let untrue = drop.answers(&meant)?;
    drop.tokens(&meant)?;
    for found in &meant {
        effects::drop_state(&mut drop.effects, found.id);
    }
    drop.append()?;
    drop.log.sync()?;
    folder.close_log(drop.log)?;
    told.extend(told_of(untrue));
    Ok(told)
}

/// A drop under way. What is forgotten before the states are is asked for in vain, and nothing more, should it be cut off.
struct Drop<'a> {
    log: FileLog,
    recovered: &'a Recovered,
    last: BatchNo,
    effects: Vec<u8>,
}

impl<'a> Drop<'a> {
    fn new(log: FileLog, recovered: &'a Recovered) -> Self {
        Self {
            log,
            recovered,
            last: recovered.last,
            effects: Vec::new(),
        }
    }

    /// Forgets the answers to requests whose effects are dropped: what they say is not so any more.
    fn answers(&mut self, dropped: &[&RecoveredState]) -> Result<Untrue, LogError> {
        let Some(answers) = of_host(self.recovered, "answers") else {
            return Ok(Untrue::default());
        };
        let ids: Vec<StateId> = dropped.iter().map(|state| state.id).collect();
        let mut done = Ok(());
        let untrue = forget_untrue(&answers.map, answers.id, &ids, |effect| {
            effect(&mut self.effects);
            if done.is_ok() && self.effects.len() > IMPORTED_AT_ONCE_BYTES {
                done = self.append();
            }
        });
        done.map(|()| untrue)
    }

    /// Keeps the last tokens of what is dropped.
    fn tokens(&mut self, dropped: &[&RecoveredState]) -> Result<(), LogError> {
        let described = tokens::tokens_state();
        let kept = of_host(self.recovered, &described.name);
        let id = kept.map_or(self.recovered.next_state, |kept| kept.id);
        let mut is_declared = kept.is_some();
        for state in dropped {
            let before = kept.map_or(0, |kept| {
                tokens::kept(&kept.map, &state.plugin, &state.name)
            });
            let token = tokens::last(&state.kind, &state.map);
            if token <= before {
                continue;
            }
            if !is_declared {
                is_declared = true;
                let declared = Declared {
                    plugin: tokens::HOST,
                    name: &described.name,
                    kind: &described.kind,
                    schema: described.schema,
                };
                effects::declare(&mut self.effects, id, &declared);
            }
            let key = tokens::key(&state.plugin, &state.name);
            effects::put(&mut self.effects, id, &key, &tokens::value(token));
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), LogError> {
        let next = self.last.next();
        self.log
            .append(next, self.recovered.now_ms, &self.effects)?;
        self.effects.clear();
        self.last = next;
        Ok(())
    }
}

/// A state of the host's own.
fn of_host<'a>(recovered: &'a Recovered, name: &str) -> Option<&'a RecoveredState> {
    let mut states = recovered.states.iter();
    states.find(|state| state.plugin == tokens::HOST && state.name == name)
}

fn told_of(untrue: Untrue) -> Option<String> {
    let Untrue { answers, unknown } = untrue;
    match (answers, unknown) {
        (0, 0) => None,
        (answers, 0) => Some(format!(
            "{answers} answers to requests that changed it: whoever asks again under their ids gets `id_forgotten`"
        )),
        (answers, unknown) => Some(format!(
            "{answers} answers to requests that changed it, and {unknown} of an earlier host, which may be of such: whoever asks \
             again under their ids gets `id_forgotten`"
        )),
    }
}

/// Those that an order speaks of, which are some.
fn meant<'a>(
    data: &Path,
    recovered: &'a Recovered,
    plugin: &str,
    state: Option<&str>,
) -> Result<Vec<&'a RecoveredState>, StateError> {
    // The host's own have a plugin without a name, and are not to be named.
    let of_plugins = (recovered.states.iter()).filter(|found| found.plugin != tokens::HOST);
    let (meant, others): (Vec<_>, Vec<_>) = of_plugins
        .partition(|found| found.plugin == plugin && state.is_none_or(|name| found.name == name));
    if !meant.is_empty() {
        return Ok(meant);
    }
    Err(StateError::Unknown {
        wanted: state.map_or_else(
            || format!("a state of the plugin `{plugin}`"),
            |state| format!("the state `{state}` of the plugin `{plugin}`"),
        ),
        folder: data.to_owned(),
        known: titles(&others).join("; "),
    })
}

/// For people.
fn titles(states: &[&RecoveredState]) -> Vec<String> {
    let told = |found: &&RecoveredState| {
        let entries = found.map.iter().count();
        format!("{}, {entries} entries", title(&found.plugin, &found.name))
    };
    states.iter().map(told).collect()
}
