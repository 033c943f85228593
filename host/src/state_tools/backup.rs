//! A copy of the state that a host can be started on.

use std::{fs, path::Path};

use super::{StateError, UNFINISHED, holds_something, inspection, refuse_within, verify::Verified};
use crate::{
    data_folder::{STATE_FOLDER, make_folder, mark_as_meant, sync_name},
    plugins::ROLLED_BACK_FOLDER,
    state::{
        disk::{Disk as _, RealDisk},
        log::LogId,
    },
};

/// Copies the state of a data folder into another one, which is made, and must be empty. A host may serve from the first: the
/// copy is the state after one batch, with everything in it that was answered before this began.
///
/// # Errors
/// There is no state, or it is not whole; the other folder is not empty, or cannot be written.
pub fn backup(data: &Path, to: &Path) -> Result<Verified, StateError> {
    let inspection = inspection(data)?;
    refuse_within(data, to)?;
    if holds_something(to)? {
        return Err(StateError::NotEmpty {
            folder: to.to_owned(),
            remedy: "name a folder that is not there, or is empty",
        });
    }
    let because = |done| StateError::io(to.display().to_string(), done);
    // What is in it is nobody's but the host's.
    make_folder(to).map_err(because("made"))?;
    let absolute = fs::canonicalize(to).map_err(because("found"))?;
    // Whoever made it just now need not have seen to that.
    sync_name(&absolute).map_err(because("synced"))?;
    // No host takes it for a state before it is whole.
    let (unfinished, state) = (absolute.join(UNFINISHED), absolute.join(STATE_FOLDER));
    // The copy is a log of its own: whoever serves from it goes on otherwise than the first.
    let id = LogId::random().map_err(because("given an identity"))?;
    let copied = inspection.copy(&unfinished, id)?;
    fs::rename(&unfinished, &state)
        .and_then(|()| RealDisk.sync_folder(&absolute))
        .map_err(because("put in its place"))?;
    copy_rolled_back(data, &absolute)
        .map_err(because("given the versions that were rolled back to"))?;
    mark_as_meant(&absolute, id, copied.report.end)?;
    Ok(Verified::of(&copied))
}

/// The files of plugins' versions that serve by an operator's decision, which is part of the state.
fn copy_rolled_back(data: &Path, to: &Path) -> std::io::Result<()> {
    let from = data.join(ROLLED_BACK_FOLDER);
    if !from.is_dir() {
        return Ok(());
    }
    let to = to.join(ROLLED_BACK_FOLDER);
    make_folder(&to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
        fs::File::open(to.join(file.file_name()))?.sync_all()?;
    }
    RealDisk.sync_folder(&to)
}
