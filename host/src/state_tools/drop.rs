//! States of which nobody needs anything any more.

use std::{path::Path, sync::Arc};

use super::{StateError, holds_something, title};
use crate::{
    data_folder::{DataFolder, STATE_FOLDER},
    state::{
        disk::RealDisk,
        effects,
        log::{FileLog, Log as _, RecoveredState},
    },
};

/// Drops a plugin's states, or the one of that name, from a data folder that no host has. Returns what was dropped, for
/// people.
///
/// # Errors
/// There is no such state; a host has the folder; it is not `confirmed`; the disk fails.
pub fn drop_states(
    data: &Path,
    plugin: &str,
    state: Option<&str>,
    confirmed: bool,
) -> Result<Vec<String>, StateError> {
    if !holds_something(&data.join(STATE_FOLDER))? {
        return Err(StateError::NoState(data.to_owned()));
    }
    let folder = DataFolder::open(data)?;
    let state_folder = folder.path().join(STATE_FOLDER);
    let (mut log, recovered) = FileLog::open(Arc::new(RealDisk), &state_folder)?;
    // The host's own have a plugin without a name, and are not to be named.
    let is_meant = |found: &&RecoveredState| {
        !plugin.is_empty() && found.plugin == plugin && state.is_none_or(|name| found.name == name)
    };
    let meant: Vec<_> = recovered.states.iter().filter(is_meant).collect();
    let told = |found: &RecoveredState| {
        let entries = found.map.iter().count();
        format!("{}, {entries} entries", title(&found.plugin, &found.name))
    };
    let titles: Vec<String> = meant.iter().map(|found| told(found)).collect();
    if meant.is_empty() {
        let known = (recovered.states.iter()).filter(|found| !found.plugin.is_empty());
        let known: Vec<String> = known.map(told).collect();
        return Err(StateError::Unknown {
            wanted: state.map_or_else(
                || format!("a state of the plugin `{plugin}`"),
                |state| format!("the state `{state}` of the plugin `{plugin}`"),
            ),
            folder: data.to_owned(),
            known: known.join("; "),
        });
    }
    if !confirmed {
        return Err(StateError::NotConfirmed(titles.join("; ")));
    }
    let mut dropped = Vec::new();
    for found in meant {
        effects::drop_state(&mut dropped, found.id);
    }
    log.append(recovered.last.next(), recovered.now_ms, &dropped)?;
    log.sync()?;
    Ok(titles)
}
