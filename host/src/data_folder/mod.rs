//! The folder of what outlives the process. One process has it at a time. It is made once, and knows that it was: what is missing
//! in it later is never read as "nothing was given out".

mod error;
mod evidence;
mod init;
mod lock;
mod marker;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use error::DataFolderError;
pub use evidence::Wanted;
use evidence::{Evidence, Verdict};
pub use init::init;
use lock::Lock;
use marker::Mark;

use crate::{
    ownership,
    state::{
        FolderGuard,
        disk::RealDisk,
        log::{Expected, FileLog, Log as _, LogEnd, LogError, LogId, Recovered},
    },
};

/// Below a data folder: what its host's jobs changed.
pub const STATE_FOLDER: &str = "state";

/// Beside it, what is being imported or copied there: not whole yet, or never.
pub const UNFINISHED_FOLDER: &str = "state.new";

/// There, writable, and nobody else's while this lives.
#[derive(Debug)]
pub struct DataFolder {
    folder: PathBuf,
    lock: Arc<Mutex<Lock>>,
}

/// How an opened state came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was just begun.
    Begun,
    /// It was there.
    WentOn,
    /// It was there, and no mark told of it.
    MarkedAnew,
    /// An earlier host made it, which left no marks.
    TakenOver,
}

impl DataFolder {
    /// Opens the folder; one that is missing and was never there is made, for the host's user alone.
    ///
    /// # Errors
    /// It cannot be made or written, or something else lies there; it is in use, or others can change what is in it; what should be
    /// in it is missing, unless the operator says what is to be there.
    pub fn open(folder: &Path, wanted: Wanted) -> Result<Self, DataFolderError> {
        let because = |failed| unusable(folder, failed);
        if !fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
            refuse_if_gone(folder, wanted)?;
            make(folder).map_err(because("made"))?;
        }
        // The working folder may be another one later.
        let absolute = std::path::absolute(folder).map_err(because("found"))?;
        // Before anything is written: it may be the mount point of a volume that is not mounted.
        let evidence = Evidence::of(&absolute)?;
        match wanted {
            Wanted::State => evidence.judge().map(drop)?,
            Wanted::NoState => evidence.judge_without_state()?,
            Wanted::NewState => {}
        }
        Self::take(absolute)
    }

    /// Takes a folder that is there.
    fn take(folder: PathBuf) -> Result<Self, DataFolderError> {
        ownership::check_data(&folder)?;
        // What is found out now need not be found out by the first crash.
        tempfile::tempfile_in(&folder).map_err(unusable(&folder, "written"))?;
        let lock = Lock::take(&folder)?;
        Ok(Self {
            folder,
            lock: Arc::new(Mutex::new(lock)),
        })
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Opens the state: begins it where none was ever begun, and else reads the one that was there.
    ///
    /// # Errors
    /// It is missing, in whole or in part, or another one is there; it is damaged.
    pub fn open_log(&self) -> Result<(FileLog, Recovered, Origin), DataFolderError> {
        let evidence = Evidence::of(&self.folder)?;
        let random = || LogId::random().map_err(unusable(&self.folder, "given an identity"));
        let (id, end, origin) = match evidence.judge()? {
            Verdict::Begin(id) => (id, None, Origin::Begun),
            Verdict::TakeOver => (random()?, None, Origin::TakenOver),
            Verdict::GoOn(Expected { id, end }) => {
                let origin = match evidence.inside {
                    Some(_) => Origin::WentOn,
                    None => Origin::MarkedAnew,
                };
                (id.map_or_else(random, Ok)?, end, origin)
            }
        };
        let state = self.folder.join(STATE_FOLDER);
        make_folder(&state).map_err(unusable(&state, "made"))?;
        let lock = self.lock.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
            .take_log(&state)?;
        let (log, recovered) = FileLog::open(Arc::new(RealDisk), &state, id, end)?;
        self.mark(id, None)?;
        self.mark_beside(id);
        Ok((log, recovered, origin))
    }

    /// Notes that the folder holds the state `id`, and where its log ends, if nothing is added to it any more.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub fn mark(&self, id: LogId, stopped: Option<LogEnd>) -> Result<(), DataFolderError> {
        mark(&self.folder, id, stopped)
    }

    /// Notes the same beside the folder, as far as that can be written there: whoever cannot cannot remove the folder either.
    fn mark_beside(&self, id: LogId) {
        let Some(file) = marker::beside(&self.folder) else {
            return;
        };
        let mark = Mark {
            id,
            has_state: true,
            stopped: None,
        };
        if Mark::read(&file).is_ok_and(|found| found == Some(mark)) {
            return;
        }
        if let Err(cause) = mark.write(&file) {
            tracing::info!(
                file = %file.display(),
                "nothing can be left beside the data folder to tell that it was there, should it be removed as a whole: {cause}"
            );
        }
    }

    /// Notes that an order to change the state is done, and where its log ends now.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub fn close_log(&self, log: FileLog) -> Result<(), DataFolderError> {
        self.mark(log.id(), log.end())
    }

    /// For the thread that writes the log of this folder.
    pub fn place(&self, log: &FileLog) -> impl FolderGuard + use<> {
        LogFolderGuard {
            folder: self.folder.clone(),
            lock: Arc::clone(&self.lock),
            id: log.id(),
        }
    }
}

/// See [`DataFolder::place`].
struct LogFolderGuard {
    folder: PathBuf,
    lock: Arc<Mutex<Lock>>,
    id: LogId,
}

impl LogFolderGuard {
    fn lock(&self) -> MutexGuard<'_, Lock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FolderGuard for LogFolderGuard {
    fn look(&self) -> Result<(), LogError> {
        self.lock().look()
    }

    fn hold_again(&self) -> Result<(), LogError> {
        self.lock().hold_again()
    }

    fn note_end(&self, end: LogEnd) -> Result<(), String> {
        mark(&self.folder, self.id, Some(end)).map_err(|error| error.to_string())
    }
}

fn unusable(folder: &Path, failed: &'static str) -> impl FnOnce(io::Error) -> DataFolderError {
    let folder = folder.to_owned();
    move |cause| DataFolderError::Unusable {
        folder,
        failed,
        cause,
    }
}

/// What is known of the state in a folder, for who only reads it; `None` if there is none, and there never was. Only what is in the
/// folder counts: it may be a copy.
///
/// # Errors
/// It is missing, or another is there.
pub fn expected_within(folder: &Path) -> Result<Option<Expected>, DataFolderError> {
    match Evidence::within(folder)?.judge() {
        Ok(Verdict::GoOn(expected)) => Ok(Some(expected)),
        Ok(Verdict::TakeOver) => Ok(Some(Expected::default())),
        Ok(Verdict::Begin(_)) | Err(DataFolderError::NotMade(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes that a folder holds the state `id`, of which the log ends at `stopped`, and that whatever lay beside it tells of that one from
/// now on: an operator has put it there.
///
/// # Errors
/// A mark cannot be written.
pub fn mark_as_meant(
    folder: &Path,
    id: LogId,
    stopped: Option<LogEnd>,
) -> Result<(), DataFolderError> {
    mark(folder, id, stopped)?;
    let Some(file) = marker::beside(folder).filter(|file| file.exists()) else {
        return Ok(());
    };
    let beside = Mark {
        id,
        has_state: true,
        stopped: None,
    };
    let because = unusable(&file, "written");
    beside.write(&file).map_err(because)
}

fn mark(folder: &Path, id: LogId, stopped: Option<LogEnd>) -> Result<(), DataFolderError> {
    let file = folder.join(marker::INSIDE);
    let mark = Mark {
        id,
        has_state: true,
        stopped,
    };
    mark.write(&file).map_err(unusable(folder, "marked"))
}

/// A folder that is not there, and was, is not made.
fn refuse_if_gone(folder: &Path, wanted: Wanted) -> Result<(), DataFolderError> {
    if wanted == Wanted::NewState {
        return Ok(());
    }
    match marker::read_beside(folder)? {
        Some((_, witness)) => Err(DataFolderError::Gone {
            folder: folder.to_owned(),
            witness,
        }),
        None => Ok(()),
    }
}

/// Makes a data folder that holds no state yet. It is there with its mark or not at all.
fn make(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(parent)?;
    let id = LogId::random()?;
    let unfinished = parent.join(format!(".rm-host-{id}.new"));
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let mark = Mark {
        id,
        has_state: false,
        stopped: None,
    };
    let made = (mark.write(&unfinished.join(marker::INSIDE)))
        .and_then(|()| fs::rename(&unfinished, &folder));
    match made {
        Ok(()) => sync_name(&folder),
        Err(cause) => {
            // What is left of it is in nobody's way.
            let _ = fs::remove_dir_all(&unfinished);
            // Somebody else was faster.
            match folder.is_dir() {
                true => Ok(()),
                false => Err(cause),
            }
        }
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

/// Makes durable that a file or a folder is there, or is not.
///
/// # Errors
/// What the system says.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match std::path::absolute(path)?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
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
            let opened = DataFolder::open(&data, Wanted::State).unwrap();
            assert_eq!(opened.path(), data);
        }
        for made in [&*data, data.parent().unwrap()] {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert_eq!(fs::read_dir(data.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_no_use_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for data in [file.clone(), file.join("data")] {
            let refusal = DataFolder::open(&data, Wanted::State).unwrap_err();
            let refusal = refusal.to_string();
            for part in [&*data.display().to_string(), "cannot be made", "--data DIR"] {
                assert!(refusal.contains(part), "{refusal}");
            }
        }
    }

    #[test]
    fn whoever_keeps_no_state_needs_none_and_leaves_none_aside() {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("bare");
        fs::create_dir(&bare).unwrap();
        DataFolder::open(&bare, Wanted::NoState).unwrap();
        assert!(DataFolder::open(&bare, Wanted::State).is_err());
        let data = folder.path().join("data");
        DataFolder::open(&data, Wanted::NoState).unwrap();
        let opened = DataFolder::open(&data, Wanted::State).unwrap();
        let (log, _, origin) = opened.open_log().unwrap();
        assert_eq!(origin, Origin::Begun);
        opened.close_log(log).unwrap();
        drop(opened);
        for _ in 0..2 {
            let refusal = DataFolder::open(&data, Wanted::NoState).unwrap_err();
            assert!(
                refusal.to_string().contains("--durability memory")
                    || !data.join(STATE_FOLDER).exists()
            );
            let _ = fs::remove_dir_all(data.join(STATE_FOLDER));
        }
    }

    #[test]
    fn a_folder_whose_making_was_cut_off_is_made_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let data = folder.path().join(name);
            make(&data).unwrap();
            data
        };
        let [bare, empty, torn, begun] = ["a", "b", "c", "d"].map(made);
        fs::create_dir(empty.join(STATE_FOLDER)).unwrap();
        fs::write(empty.join("identity.new"), "half").unwrap();
        fs::create_dir(torn.join(STATE_FOLDER)).unwrap();
        fs::write(torn.join("state/log-00000000000000000001.rml.new"), "half").unwrap();
        // The log is there, and neither mark tells of it.
        let id = Mark::read(&begun.join(marker::INSIDE)).unwrap().unwrap().id;
        drop(FileLog::open(Arc::new(RealDisk), &begun.join(STATE_FOLDER), id, None).unwrap());
        for data in [bare, empty, torn, begun] {
            for _ in 0..2 {
                let opened = DataFolder::open(&data, Wanted::State).unwrap();
                assert_eq!(opened.open_log().unwrap().1.last.0, 0);
            }
            fs::remove_dir_all(data.join(STATE_FOLDER)).unwrap();
            let gone = DataFolder::open(&data, Wanted::State).unwrap_err();
            assert!(matches!(gone, DataFolderError::StateGone { .. }), "{gone}");
        }
    }

    #[test]
    fn another_folder_does_not_lead_to_a_log_that_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let [data, other] = ["data", "other"].map(|name| folder.path().join(name));
        let held = DataFolder::open(&data, Wanted::State).unwrap();
        let _log = held.open_log().unwrap();
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(data.join(STATE_FOLDER), other.join(STATE_FOLDER)).unwrap();
        let opened = DataFolder::open(&other, Wanted::State).unwrap();
        let refusal = opened.open_log().unwrap_err();
        assert!(
            matches!(refusal, DataFolderError::InUse { .. }),
            "{refusal}"
        );
    }

    #[test]
    fn who_has_a_folder_is_known_also_without_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let _held = DataFolder::open(&data, Wanted::State).unwrap();
        fs::remove_file(data.join("lock")).unwrap();
        let refusal = DataFolder::open(&data, Wanted::State).unwrap_err();
        let process = format!("process {}", std::process::id());
        assert!(refusal.to_string().contains(&process), "{refusal}");
        assert!(!data.join("lock").exists(), "nothing is written");
    }
}
