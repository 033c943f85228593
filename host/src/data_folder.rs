//! The folder of what outlives the process. One process has it at a time.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Below a data folder: what its host's jobs changed.
pub const STATE_FOLDER: &str = "state";

/// Beside it, what is being imported or copied there: not whole yet, or never.
pub const UNFINISHED_FOLDER: &str = "state.new";

/// There, writable, and nobody else's while this lives.
#[derive(Debug)]
pub struct DataFolder {
    folder: PathBuf,
    /// The system lets go of it when the process ends, however that comes.
    _lock: File,
}

/// Why a folder is of no use for data.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// It is not there, or not for this process.
    #[error(
        "the data folder {} cannot be {failed}: {cause}; let the user that the host runs as write there, or \
         name another with --data DIR",
        folder.display()
    )]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        failed: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// Another process has it.
    #[error(
        "the data folder {} is in use by the process {other}: end that one, or name another folder with --data DIR",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other's process id, as far as it can be told.
        other: String,
    },
}

impl DataFolder {
    /// Opens the folder; one that is missing is made, for the host's user alone.
    ///
    /// # Errors
    /// It cannot be made or written, or something else lies there.
    pub fn open(folder: &Path) -> Result<Self, DataFolderError> {
        let because = |failed| {
            move |cause| DataFolderError::Unusable {
                folder: folder.to_owned(),
                failed,
                cause,
            }
        };
        if !fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
            make_folder(folder).map_err(because("made"))?;
        }
        // What is found out now need not be found out by the first crash.
        tempfile::tempfile_in(folder).map_err(because("written"))?;
        // The working folder may be another one later.
        let absolute = std::path::absolute(folder).map_err(because("found"))?;
        let Some(lock) = lock(&absolute).map_err(because("locked"))? else {
            return Err(DataFolderError::InUse {
                folder: folder.to_owned(),
                other: holder(&absolute),
            });
        };
        Ok(Self {
            folder: absolute,
            _lock: lock,
        })
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

/// Makes a folder and those above it that are missing, for the host's user alone. They are there after a loss of power too.
///
/// # Errors
/// What the system says.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    let missing = |folder: &&Path| !folder.is_dir();
    let missing: Vec<_> = folder.ancestors().take_while(missing).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&folder)?;
    missing.into_iter().try_for_each(sync_name)
}

/// Makes durable that a file or a folder is there.
///
/// # Errors
/// What the system says.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match std::path::absolute(path)?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// In it stands who holds the lock, for people.
const LOCK: &str = "lock";

/// Locks the folder; `None` if somebody else has.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut lock = options.mode(0o600).open(folder.join(LOCK))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            lock.set_len(0)?;
            writeln!(lock, "{}", std::process::id())?;
            Ok(Some(lock))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn holder(folder: &Path) -> String {
    let mut text = String::new();
    let read =
        File::open(folder.join(LOCK)).and_then(|file| file.take(64).read_to_string(&mut text));
    match text.trim() {
        process if read.is_ok() && !process.is_empty() => process.to_owned(),
        _ => "that holds its file `lock`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_folder_is_made_for_the_host_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/data");
        for _ in 0..2 {
            assert_eq!(DataFolder::open(&data).unwrap().path(), data);
        }
        for made in [&*data, data.parent().unwrap()] {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[test]
    fn a_folder_of_no_use_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for data in [file.clone(), file.join("data")] {
            let refusal = DataFolder::open(&data).unwrap_err().to_string();
            for part in [&*data.display().to_string(), "cannot be made", "--data DIR"] {
                assert!(refusal.contains(part), "{refusal}");
            }
        }
    }
}
