//! States of which nobody needs anything any more.

use std::path::Path;

use super::{StateError, inspection, title};
use crate::{
    data_folder::{DataFolder, Wanted},
    state::{
        effects,
        log::{Log as _, Recovered, RecoveredState},
    },
};

/// Drops a plugin's states, or the one of that name, from a data folder that no host has. Returns what was dropped, for
/// people.
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
    let (mut log, recovered, _) = folder.open_log()?;
    // A host may have served since.
    let meant = meant(data, &recovered, plugin, state)?;
    let mut dropped = Vec::new();
    for found in &meant {
        effects::drop_state(&mut dropped, found.id);
    }
    log.append(recovered.last.next(), recovered.now_ms, &dropped)?;
    log.sync()?;
    folder.close_log(log)?;
    Ok(titles(&meant))
}

/// Those that an order speaks of, which are some.
fn meant<'a>(
    data: &Path,
    recovered: &'a Recovered,
    plugin: &str,
    state: Option<&str>,
) -> Result<Vec<&'a RecoveredState>, StateError> {
    // The host's own have a plugin without a name, and are not to be named.
    let of_plugins = (recovered.states.iter()).filter(|found| !found.plugin.is_empty());
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
