//! Drives the plugins: looks at the folder when something happened there, or when it may have, and leads
//! what came to rest through its preparation.
//!
//! It owns the thread "plugins", the watch on the folder, and what was last prepared under each name. Events
//! are hints to look and nothing else: they get lost, they come in any order, and the watch of a folder that
//! is removed and made anew is silent for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use notify::{RecursiveMode, Watcher as _};

use super::{
    PluginEvent,
    candidate::{Content, Outcome, Preparation},
    folder::{Folder, Listing, Moment},
    listing,
    signals::Signals,
};
use crate::{crash_list::CrashList, limits::LOOK_INTERVAL};

/// Events come in swarms: this long after the first, one look answers them all.
const GATHER: Duration = Duration::from_millis(20);

/// How often a folder that is not there is looked for.
const LOOK_INTERVAL_AWAY: Duration = Duration::from_millis(200);

/// How long the start waits for files that do not come to rest, unless two settle times are more.
const START_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long stopping waits for the thread, which a plugin that is just being made may hold up.
const STOP_WAIT_MAX: Duration = Duration::from_millis(500);

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there, or is no folder.
    #[error("the plugin folder {} does not exist: make it, or name another with --plugins", .0.display())]
    Missing(PathBuf),
    /// It is there.
    #[error("the plugin folder {} cannot be read: {cause}; let the user that the host runs as read it", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The system has no thread left.
    #[error("the thread that watches the plugin folder cannot be started: {0}")]
    Thread(io::Error),
}

/// Watches a folder of plugins, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    signals: Signals,
    // Without a sender once the thread has ended.
    ended: Receiver<()>,
}

impl Watcher {
    /// Starts with what is in `folder` and is not among `crashes`. A file counts once it stood still for
    /// `settle`.
    ///
    /// `emit` is called on the watcher's thread, for one event at a time; while it runs, nothing is watched.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read now. If it vanishes later, what was prepared from it stays, and it is
    /// watched again when it is back.
    pub fn start(
        folder: PathBuf,
        crashes: Arc<CrashList>,
        settle: Duration,
        emit: impl Fn(PluginEvent) + Send + 'static,
    ) -> Result<Self, FolderError> {
        let unreadable = |cause| FolderError::Unreadable {
            folder: folder.clone(),
            cause,
        };
        // Not resolved further: a link in the path may be turned to another folder meanwhile.
        let absolute = std::path::absolute(&folder).map_err(unreadable)?;
        if listing::read(&absolute).map_err(unreadable)?.is_none() {
            return Err(FolderError::Missing(folder));
        }
        let preparation = Preparation::new(absolute, crashes);
        let (signals, woken) = Signals::new();
        let (running, ended) = mpsc::channel();
        let watch = Watch {
            preparation,
            emit,
            settle,
            started: Instant::now(),
            signals: signals.clone(),
            woken,
            eyes: None,
            is_away: false,
            folder: Folder::new(settle),
            last: BTreeMap::new(),
            refused: BTreeSet::new(),
            awaited: Awaited::Unknown,
        };
        let run = move || {
            watch.run();
            drop::<mpsc::Sender<()>>(running);
        };
        thread::Builder::new()
            .name("plugins".into())
            .spawn(run)
            .map_err(FolderError::Thread)?;
        Ok(Self { signals, ended })
    }

    /// What was last prepared under `name` does not serve. From now on even the same content is something
    /// new, once the file changes.
    pub fn forget(&self, name: &str) {
        self.signals.forget(name);
    }
}

impl Drop for Watcher {
    /// Stops, and waits for the thread for a moment; no event is emitted after that.
    fn drop(&mut self) {
        self.signals.stop();
        let _ = self.ended.recv_timeout(STOP_WAIT_MAX);
    }
}

/// Tells one folder from another that has taken its place. Inode numbers are used again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Identity {
    fn of(folder: &Path) -> Option<Self> {
        let seen = fs::metadata(folder).ok()?;
        Some(Self {
            device: seen.dev(),
            inode: seen.ino(),
            created: seen.created().ok(),
        })
    }
}

/// The names whose preparation the start waits for.
#[derive(Debug)]
enum Awaited {
    /// Before the first look.
    Unknown,
    Names(BTreeSet<String>),
    /// All were told of.
    None,
}

struct Watch<E> {
    preparation: Preparation,
    emit: E,
    settle: Duration,
    started: Instant,
    signals: Signals,
    woken: Receiver<()>,
    /// The watch, and on which folder. Without it only the looks at intervals are left.
    eyes: Option<(notify::RecommendedWatcher, Identity)>,
    is_away: bool,
    folder: Folder,
    /// What was last prepared under each name that is there.
    last: BTreeMap<String, Content>,
    /// Names whose files were refused since.
    refused: BTreeSet<String>,
    awaited: Awaited,
}

impl<E: Fn(PluginEvent)> Watch<E> {
    fn run(mut self) {
        while !self.signals.is_stopped() {
            let wait = self.look();
            match self.woken.recv_timeout(wait) {
                Ok(()) => self.gather(),
                Err(RecvTimeoutError::Timeout) => {}
                // Not while `signals` holds a sender.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for name in self.signals.take_forgotten() {
                self.last.remove(&name);
            }
        }
    }

    fn gather(&self) {
        let until = Instant::now() + GATHER;
        while !self.signals.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if self.woken.recv_timeout(left).is_err() {
                break;
            }
        }
    }

    /// One look and all that follows from it. Returns how long nothing more is to be done.
    fn look(&mut self) -> Duration {
        // Before the folder is read: what happens between the two is seen once more, not missed.
        self.open_eyes();
        let listing = self.list();
        let now = self.moment();
        let findings = self.folder.look(now, listing.as_ref());
        if let Awaited::Unknown = self.awaited {
            let names = listing.iter().flat_map(BTreeMap::keys);
            self.awaited = Awaited::Names(names.cloned().collect());
        }
        for name in findings.gone {
            self.last.remove(&name);
            self.refused.remove(&name);
            self.emit(PluginEvent::Gone { name });
        }
        let mut look_again_in = findings.look_again_in;
        for name in findings.settled {
            if self.signals.is_stopped() {
                break;
            }
            if !self.prepare(&name) {
                self.folder.unsettle(&name, self.moment());
                look_again_in = Some(self.settle);
            }
        }
        self.tell_of_the_start();
        let interval = match listing {
            Some(_) => LOOK_INTERVAL,
            None => LOOK_INTERVAL_AWAY,
        };
        let spent = self.started.elapsed().saturating_sub(now.elapsed);
        let due = look_again_in.map_or(interval, |wait| wait.saturating_sub(spent));
        due.min(interval)
    }

    fn open_eyes(&mut self) {
        let died = self.signals.take_watch_died();
        let identity = Identity::of(self.preparation.folder());
        let is_open = self.eyes.as_ref().map(|(_, watched)| *watched) == identity;
        if is_open && !died {
            return;
        }
        self.eyes = None;
        let Some(identity) = identity else {
            return;
        };
        let folder = self.preparation.folder().to_owned();
        let signals = self.signals.clone();
        let watched = folder.clone();
        let watcher = notify::recommended_watcher(move |event| signals.note(&watched, event));
        let opened = watcher.and_then(|mut watcher| {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match opened {
            Ok(watcher) => self.eyes = Some((watcher, identity)),
            Err(error) => tracing::warn!(
                folder = %folder.display(),
                "changes in the plugin folder are not announced ({error}); it is looked at every {} s",
                LOOK_INTERVAL.as_secs()
            ),
        }
    }

    fn list(&mut self) -> Option<Listing> {
        let folder = self.preparation.folder();
        let (listing, cause) = match listing::read(folder) {
            Ok(Some(listing)) => (Some(listing), None),
            Ok(None) => (None, Some("it is not there".to_owned())),
            Err(error) => (None, Some(error.to_string())),
        };
        if listing.is_none() != self.is_away {
            self.is_away = listing.is_none();
            let folder = folder.display();
            match cause {
                Some(cause) => tracing::warn!(
                    %folder,
                    "the plugin folder cannot be read: {cause}; what was loaded from it serves on"
                ),
                None => tracing::info!(%folder, "the plugin folder is back"),
            }
        }
        listing
    }

    /// `false` if the file moved meanwhile.
    fn prepare(&mut self, name: &str) -> bool {
        let Some(entry) = self.folder.entry(name).cloned() else {
            return true;
        };
        let last = self.last.get(name).copied();
        match self.preparation.prepare(name, &entry, last) {
            Outcome::Moving => return false,
            Outcome::Same if self.refused.remove(name) => {
                tracing::info!(
                    plugin = name,
                    "its files are again those that were loaded last"
                );
            }
            Outcome::Same => {
                tracing::debug!(plugin = name, "its files hold what was loaded last");
            }
            Outcome::Refused(error) => {
                self.refused.insert(name.to_owned());
                self.emit(PluginEvent::Refused {
                    name: name.to_owned(),
                    file: self.preparation.folder().join(&entry.file),
                    error,
                });
            }
            Outcome::Prepared(prepared, content) => {
                self.refused.remove(name);
                self.last.insert(name.to_owned(), content);
                self.emit(PluginEvent::Prepared(prepared));
            }
        }
        true
    }

    fn tell_of_the_start(&mut self) {
        let Awaited::Names(names) = &mut self.awaited else {
            return;
        };
        names.retain(|name| self.folder.is_unsettled(name));
        if !names.is_empty() {
            if self.started.elapsed() < START_WAIT_MAX.max(2 * self.settle) {
                return;
            }
            tracing::warn!(
                plugins = Vec::from_iter(std::mem::take(names)).join(", "),
                "these files keep changing; the start does not wait for them"
            );
        }
        self.awaited = Awaited::None;
        self.emit(PluginEvent::Looked);
    }

    fn emit(&self, event: PluginEvent) {
        if !self.signals.is_stopped() {
            (self.emit)(event);
        }
    }

    fn moment(&self) -> Moment {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Moment {
            elapsed: self.started.elapsed(),
            wall: wall.as_nanos().cast_signed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(40);
    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn no_crashes() -> Arc<CrashList> {
        let data = tempfile::tempdir().unwrap();
        Arc::new(CrashList::open(data.path(), false).unwrap())
    }

    struct Watched {
        folder: tempfile::TempDir,
        events: Receiver<String>,
        watcher: Watcher,
    }

    impl Watched {
        fn start(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let plugins = folder.path().join("plugins");
            fs::create_dir(&plugins).unwrap();
            for file in files {
                fs::write(plugins.join(file), "text").unwrap();
            }
            let (told, events) = mpsc::channel();
            let emit = move |event| {
                // A test that has seen enough listens no more.
                let _ = told.send(match event {
                    PluginEvent::Prepared(prepared) => format!("prepared {}", prepared.name),
                    PluginEvent::Refused { name, error, .. } => format!("refused {name} {error}"),
                    PluginEvent::Gone { name } => format!("gone {name}"),
                    PluginEvent::Looked => "looked".to_owned(),
                });
            };
            let watcher = Watcher::start(plugins, no_crashes(), SETTLE, emit).unwrap();
            Self {
                folder,
                events,
                watcher,
            }
        }

        fn path(&self, file: &str) -> PathBuf {
            self.folder.path().join("plugins").join(file)
        }

        fn expect(&self, beginning: &str) {
            let event = self.events.recv_timeout(PATIENCE).expect(beginning);
            assert!(event.starts_with(beginning), "{event:?}, not {beginning:?}");
        }
    }

    #[test]
    fn the_start_is_over_once_every_file_was_told_of() {
        let watched = Watched::start(&["libb.so", "liba.so", ".libc.so", "notes.txt"]);
        watched.expect("refused a ");
        watched.expect("refused b ");
        watched.expect("looked");
        Watched::start(&[]).expect("looked");
    }

    #[test]
    fn a_file_is_told_of_when_it_comes_changes_and_goes() {
        let watched = Watched::start(&[]);
        watched.expect("looked");
        fs::write(watched.path("liba.so"), "text").unwrap();
        watched.expect("refused a ");
        fs::write(watched.path("a.toml"), "changed").unwrap();
        watched.expect("refused a ");
        fs::write(watched.path("b.so.part"), "").unwrap();
        fs::rename(watched.path("b.so.part"), watched.path("liba.so")).unwrap();
        watched.expect(
            "refused a is not a plugin of this machine: expected a shared library, found an empty",
        );
        fs::remove_file(watched.path("liba.so")).unwrap();
        watched.expect("gone a");
    }

    #[test]
    fn a_folder_that_was_removed_and_made_anew_is_watched_on() {
        let watched = Watched::start(&["liba.so"]);
        watched.expect("refused a ");
        watched.expect("looked");
        for _ in 0..3 {
            fs::remove_dir_all(watched.path("")).unwrap();
            fs::create_dir(watched.path("")).unwrap();
            fs::write(watched.path("liba.so"), "text").unwrap();
            watched.expect("refused a ");
            // Announced by the new watch: it comes long before the next look at an interval.
            let written = Instant::now();
            fs::write(watched.path("liba.so"), "").unwrap();
            watched.expect("refused a ");
            assert!(written.elapsed() < LOOK_INTERVAL);
        }
    }

    #[test]
    fn once_it_is_dropped_nothing_more_is_told() {
        let watched = Watched::start(&[]);
        watched.expect("looked");
        let library = watched.path("liba.so");
        let Watched {
            watcher,
            events,
            folder: _folder,
        } = watched;
        drop(watcher);
        fs::write(library, "text").unwrap();
        // The thread has ended, and with it the sender.
        assert!(events.recv_timeout(PATIENCE).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap().path().join("plugins");
        let error = Watcher::start(folder.clone(), no_crashes(), SETTLE, |_| {}).unwrap_err();
        assert!(error.to_string().contains(&folder.display().to_string()));
    }
}
