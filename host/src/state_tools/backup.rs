//! A copy of the state that a host can be started on.

use std::{fs, io, path::Path};

use super::{StateError, UNFINISHED, holds_something, inspection, refuse_within, verify::Verified};
use crate::{
    data_folder::{STATE_FOLDER, make_folder, mark_as_meant, sync_name},
    plugins::{ROLLED_BACK_FOLDER, is_unfinished_version},
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
    copy_rolled_back(data, &absolute)
        .map_err(because("given the versions that were rolled back to"))?;
    fs::rename(&unfinished, &state)
        .and_then(|()| RealDisk.sync_folder(&absolute))
        .map_err(because("put in its place"))?;
    mark_as_meant(&absolute, id, copied.report.end)?;
    Ok(Verified::of(&copied))
}

/// The files of plugins' versions that serve by an operator's decision, which is part of the state. The host may be writing
/// there: what has no name of its own yet, or goes meanwhile, is of no decision that the copy knows.
fn copy_rolled_back(data: &Path, to: &Path) -> io::Result<()> {
    let from = data.join(ROLLED_BACK_FOLDER);
    if !from.is_dir() {
        return Ok(());
    }
    let to = to.join(ROLLED_BACK_FOLDER);
    make_folder(&to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if is_unfinished_version(&file.path()) {
            continue;
        }
        let copy = to.join(file.file_name());
        match fs::copy(file.path(), &copy) {
            Ok(_) => fs::File::open(copy)?.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    RealDisk.sync_folder(&to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_is_still_writing_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let [data, copy] = ["data", "copy"].map(|name| folder.path().join(name));
        let from = data.join(ROLLED_BACK_FOLDER);
        fs::create_dir_all(&from).unwrap();
        fs::create_dir(&copy).unwrap();
        for name in ["tickets.so", "tickets.toml", "tickets.so.new"] {
            fs::write(from.join(name), name).unwrap();
        }
        copy_rolled_back(&data, &copy).unwrap();
        let copied = fs::read_dir(copy.join(ROLLED_BACK_FOLDER)).unwrap();
        let mut copied: Vec<_> = copied.map(|file| file.unwrap().file_name()).collect();
        copied.sort();
        assert_eq!(copied, ["tickets.so", "tickets.toml"]);
    }
}
