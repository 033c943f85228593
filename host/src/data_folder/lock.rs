//! What keeps other hosts out of a data folder: a lock on the folder itself, which cannot be replaced unseen, and one on a file in
//! it, in which stands whose it is, and which earlier hosts look at.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::DataFolderError;
use crate::{
    ownership::open_own,
    state::{disk::FileId, log::LogError},
};

/// In it stands who holds the lock, for people.
const LOCK: &str = "lock";

/// A data folder that no other host has while this lives. The system lets go of it when the process ends, however that comes.
#[derive(Debug)]
pub(super) struct Lock {
    folder: PathBuf,
    held: Held,
    file: Held,
    /// The folder of the log, once it is open: another data folder may lead there by a link.
    log: Option<File>,
    /// Some network file systems lock no folders.
    folder_is_locked: bool,
}

/// Something that is open, and locked if it could be.
#[derive(Debug)]
struct Held {
    _open: File,
    id: FileId,
}

impl Held {
    fn new(open: File) -> io::Result<Self> {
        let id = FileId::of(&open.metadata()?);
        Ok(Self { _open: open, id })
    }
}

impl Lock {
    /// Locks a folder, given absolute.
    pub(super) fn take(folder: &Path) -> Result<Self, DataFolderError> {
        let failed = |cause| DataFolderError::Unusable {
            folder: folder.to_owned(),
            failed: "locked",
            cause,
        };
        let in_use = || DataFolderError::InUse {
            folder: folder.to_owned(),
            other: holder(folder),
        };
        let opened = File::open(folder).map_err(failed)?;
        let folder_is_locked = match try_lock(&opened) {
            Ok(true) => true,
            Ok(false) => return Err(in_use()),
            Err(cause) => {
                tracing::warn!(
                    folder = %folder.display(),
                    "the folder itself cannot be locked here: {cause}; other hosts are kept out by its file `lock` alone, which \
                     must not be removed"
                );
                false
            }
        };
        let file = lock_file(folder).map_err(failed)?.ok_or_else(in_use)?;
        Ok(Self {
            folder: folder.to_owned(),
            held: Held::new(opened).map_err(failed)?,
            file,
            log: None,
            folder_is_locked,
        })
    }

    /// Locks the folder of the log as well, which is there.
    pub(super) fn take_log(&mut self, log: &Path) -> Result<(), DataFolderError> {
        let opened = File::open(log).map_err(|cause| DataFolderError::Unusable {
            folder: log.to_owned(),
            failed: "locked",
            cause,
        })?;
        if matches!(try_lock(&opened), Ok(false)) {
            return Err(DataFolderError::InUse {
                folder: log.to_owned(),
                other: holder_by_system(log).unwrap_or_else(|| "that serves from it".to_owned()),
            });
        }
        self.log = Some(opened);
        Ok(())
    }

    /// Whether the folder, and the file in it, are those that were locked.
    pub(super) fn look(&self) -> Result<(), LogError> {
        same(&self.folder, fs::metadata(&self.folder), self.held.id)?;
        let file = self.folder.join(LOCK);
        same(&file, fs::symlink_metadata(&file), self.file.id)
    }

    /// Locks the file anew, should it be gone. Nobody else can have come meanwhile, because the folder is locked.
    pub(super) fn hold_again(&mut self) -> Result<(), LogError> {
        same(&self.folder, fs::metadata(&self.folder), self.held.id)?;
        let is_gone = fs::symlink_metadata(self.folder.join(LOCK))
            .is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound);
        if is_gone
            && self.folder_is_locked
            && let Ok(Some(file)) = lock_file(&self.folder)
        {
            self.file = file;
        }
        self.look()
    }
}

fn same(path: &Path, found: io::Result<fs::Metadata>, expected: FileId) -> Result<(), LogError> {
    let what = match found {
        Ok(found) if FileId::of(&found).is_same(&expected) => return Ok(()),
        Ok(_) => "another is in its place".to_owned(),
        Err(cause) => cause.to_string(),
    };
    Err(LogError::NotTheSame {
        path: path.to_owned(),
        what,
    })
}

/// False: somebody else has it.
fn try_lock(file: &File) -> Result<bool, Errno> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `None`: somebody else has it.
fn lock_file(folder: &Path) -> io::Result<Option<Held>> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = open_own(options.mode(0o600), &folder.join(LOCK))?;
    if !try_lock(&file)? {
        return Ok(None);
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Held::new(file).map(Some)
}

/// Who has the folder, as far as it can be told.
fn holder(folder: &Path) -> String {
    let opened = open_own(File::options().read(true), &folder.join(LOCK));
    let mut text = String::new();
    let read = opened.and_then(|file| file.take(64).read_to_string(&mut text));
    match text.trim() {
        process if read.is_ok() && !process.is_empty() => process.to_owned(),
        _ => holder_by_system(folder).unwrap_or_else(|| "that holds its file `lock`".to_owned()),
    }
}

/// The process that the system says has locked the folder.
fn holder_by_system(folder: &Path) -> Option<String> {
    let inode = fs::metadata(folder).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK ADVISORY WRITE 4711 08:01:123 0 EOF
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = fields[..] else {
            return None;
        };
        let found = file.rsplit(':').next()?;
        (found == inode.to_string()).then(|| process.to_owned())
    })
}
