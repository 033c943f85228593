//! A copy of the state that a host can be started on.

use std::{fs, path::Path};

use super::{StateError, UNFINISHED, holds_something, inspection, verify::Verified};
use crate::{
    data_folder::{STATE_FOLDER, make_folder, sync_name},
    state::disk::{Disk as _, RealDisk},
};

/// Copies the state of a data folder into another one, which is made, and must be empty. A host may serve from the first: the
/// copy is the state after one batch, with everything in it that was answered before this began.
///
/// # Errors
/// There is no state, or it is not whole; the other folder is not empty, or cannot be written.
pub fn backup(data: &Path, to: &Path) -> Result<Verified, StateError> {
    let inspection = inspection(data)?;
    if holds_something(to)? {
        return Err(StateError::NotEmpty {
            folder: to.to_owned(),
            remedy: "name a folder that is not there, or is empty",
        });
    }
    let because = |done| StateError::io(to.display().to_string(), done);
    let of_source = std::path::absolute(data.join(STATE_FOLDER)).map_err(because("found"))?;
    if std::path::absolute(to).is_ok_and(|to| to.starts_with(of_source)) {
        return Err(StateError::NotEmpty {
            folder: data.join(STATE_FOLDER),
            remedy: "it is what is to be copied: name a folder outside of it",
        });
    }
    // What is in it is nobody's but the host's.
    make_folder(to).map_err(because("made"))?;
    let absolute = fs::canonicalize(to).map_err(because("found"))?;
    // Whoever made it just now need not have seen to that.
    sync_name(&absolute).map_err(because("synced"))?;
    // No host takes it for a state before it is whole.
    let (unfinished, state) = (absolute.join(UNFINISHED), absolute.join(STATE_FOLDER));
    let copied = inspection.copy(&unfinished)?;
    fs::rename(&unfinished, &state)
        .and_then(|()| RealDisk.sync_folder(&absolute))
        .map_err(because("put in its place"))?;
    Ok(Verified::of(&copied))
}
