//! The versions that serve because an operator went back to them, while the plugin's file holds another: their files lie
//! in the data folder, so that a restart does not undo what was decided.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    image::Untaken,
    inspect::{Content, FileInspector, Taken},
    listing,
};
use crate::{
    data_folder,
    ownership::open_own,
    plugins::error::{CheckError, Step},
};

/// The folder of copies, below a data folder.
pub const ROLLED_BACK_FOLDER: &str = "rolled_back";

/// Of a file that is still being written.
const UNFINISHED_EXTENSION: &str = "new";

/// So much is copied at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Whether a file in that folder is still being written, or was when the host was killed.
pub fn is_unfinished_version(file: &Path) -> bool {
    file.extension() == Some(UNFINISHED_EXTENSION.as_ref())
}

/// A version that serves in the place of another, both as [`Content`] tells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBackTo {
    /// The content of the plugin's file, which does not serve.
    pub from: String,
    /// The content that serves in its place.
    pub to: String,
}

/// The two files of a version, as they were taken from the folder. It holds a descriptor of the private copy, which has
/// no name any more.
#[derive(Clone, Debug)]
pub struct Source {
    pub(super) library: Arc<File>,
    pub(super) config: Option<Arc<[u8]>>,
}

/// What has changed for one plugin.
#[derive(Debug)]
pub struct Decided {
    /// NAME of the file.
    pub name: String,
    /// With the files that serve; `None`: what its own file holds.
    pub rolled_back: Option<(RolledBackTo, Source)>,
}

/// Which plugins were rolled back, and where their files are.
#[derive(Debug, Default)]
pub struct RolledBack {
    folder: PathBuf,
    of: Mutex<BTreeMap<String, RolledBackTo>>,
    /// Hears nothing, until the latest thread ends, which waits for the one before it.
    at_work: Mutex<Option<mpsc::Receiver<()>>>,
}

impl RolledBack {
    /// Goes on with what was decided before.
    pub fn new(data: &Path, of: BTreeMap<String, RolledBackTo>) -> Self {
        Self {
            folder: data.join(ROLLED_BACK_FOLDER),
            of: Mutex::new(of),
            at_work: Mutex::default(),
        }
    }

    /// Follows what was decided, and has the files written, or taken away, on a thread of their own.
    pub fn follow(self: &Arc<Self>, decided: Decided) {
        let Decided { name, rolled_back } = decided;
        let source = match rolled_back {
            Some((to, source)) => {
                self.lock().insert(name.clone(), to);
                Some(source)
            }
            None => {
                self.lock().remove(&name);
                None
            }
        };
        let of = Arc::clone(self);
        // In the order in which they were told.
        let before = self.lock_at_work().take();
        let (ends, ended) = mpsc::channel();
        let told = name.clone();
        let started = thread::Builder::new()
            .name("rolled back".to_owned())
            .spawn(move || {
                let _ends: mpsc::Sender<()> = ends;
                if let Some(before) = before {
                    let _ = before.recv();
                }
                let done = match &source {
                    Some(source) => of.keep(&name, source),
                    None => of.drop_files(&name),
                };
                if let Err(error) = done {
                    let folder = of.folder.display();
                    tracing::error!(
                        plugin = %name,
                        "the files of the version that was rolled back to cannot be kept in {folder}: {error}; after a restart \
                         the plugin is refused: put that version into the plugin folder"
                    );
                }
            });
        match started {
            Ok(_) => *self.lock_at_work() = Some(ended),
            Err(error) => tracing::error!(
                plugin = %told,
                "no thread can be started to keep the version that was rolled back to: {error}"
            ),
        }
    }

    /// Waits until all files are written; false if that takes longer than `patience`.
    pub fn finish(&self, patience: Duration) -> bool {
        let at_work = self.lock_at_work().take();
        let ended = at_work.map(|at_work| at_work.recv_timeout(patience));
        ended != Some(Err(RecvTimeoutError::Timeout))
    }

    /// The version that serves in the place of this one, if there is one.
    pub(super) fn in_place_of(&self, name: &str, content: Content) -> Option<String> {
        let of = self.lock();
        let found = of.get(name).filter(|of| of.from == content.to_string());
        found.map(|of| of.to.clone())
    }

    /// Reads the files that serve in place of the plugin's own.
    pub(super) fn take(
        &self,
        inspector: &FileInspector,
        name: &str,
        to: &str,
    ) -> Result<Taken, CheckError> {
        let has_config = self.folder.join(listing::config_file(name)).exists();
        let taken = inspector.take(&self.folder, name, &library_file(name), has_config);
        let cause = match taken {
            Ok(taken) if taken.content().to_string() == to => return Ok(taken),
            Ok(_) => "they hold something else".to_owned(),
            Err(Untaken::Moving) => "they are not there".to_owned(),
            Err(Untaken::Refused(error)) => error.to_string(),
        };
        let folder = self.folder.display();
        Err(CheckError::new(
            Step::Read,
            format!(
                "an operator has rolled it back from what its file holds, and the files of the version that is to serve \
                 instead cannot be had from {folder}: {cause}"
            ),
            "put that version into the plugin folder; or take the file out of it and put it back, to have it served after all",
        ))
    }

    fn keep(&self, name: &str, source: &Source) -> io::Result<()> {
        data_folder::make_folder(&self.folder)?;
        let config = self.folder.join(listing::config_file(name));
        match &source.config {
            Some(text) => write_whole(&config, |file| file.write_all(text))?,
            None => remove(&config)?,
        }
        write_whole(&self.folder.join(library_file(name)), |file| {
            let mut piece = vec![0; PIECE_BYTES];
            let mut at = 0;
            loop {
                let read = source.library.read_at(&mut piece, at)?;
                if read == 0 {
                    return Ok(());
                }
                file.write_all(&piece[..read])?;
                at += read as u64;
            }
        })?;
        File::open(&self.folder)?.sync_all()
    }

    fn drop_files(&self, name: &str) -> io::Result<()> {
        remove(&self.folder.join(library_file(name)))?;
        remove(&self.folder.join(listing::config_file(name)))
    }

    fn lock_at_work(&self) -> MutexGuard<'_, Option<mpsc::Receiver<()>>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RolledBackTo>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn library_file(name: &str) -> String {
    format!("{name}.so")
}

/// Either the old file is there or the new one.
fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = path.with_added_extension(UNFINISHED_EXTENSION);
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = open_own(options, &unfinished)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_does_not_come_back_holds_up_no_end() {
        let rolled_back = RolledBack::default();
        assert!(rolled_back.finish(Duration::ZERO));
        let (ends, ended) = mpsc::channel();
        *rolled_back.lock_at_work() = Some(ended);
        assert!(!rolled_back.finish(Duration::ZERO));
        drop(ends);
    }

    #[test]
    fn what_is_kept_is_written_to_no_file_that_a_link_leads_to() {
        let data = tempfile::tempdir().unwrap();
        let target = data.path().join("target");
        fs::write(&target, "precious").unwrap();
        let rolled_back = RolledBack::new(data.path(), BTreeMap::new());
        fs::create_dir(&rolled_back.folder).unwrap();
        let link = rolled_back.folder.join("tickets.so.new");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let source = Source {
            library: Arc::new(File::open(&target).unwrap()),
            config: None,
        };
        rolled_back.keep("tickets", &source).unwrap_err();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        fs::remove_file(&link).unwrap();
        rolled_back.keep("tickets", &source).unwrap();
        let kept = rolled_back.folder.join(library_file("tickets"));
        assert_eq!(fs::read_to_string(kept).unwrap(), "precious");
    }
}
