//! Drives the plugins: looks at the folder when something happened there, or when it may have, and has what
//! came to rest prepared.
//!
//! It owns the thread "plugins", and what was last prepared under each name. Events are hints to look and
//! nothing else: they get lost, they come in any order, and the watch of a folder that is removed and made anew
//! is silent for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

mod anew;

use anew::{Anew, Found};

use super::{
    PluginEvent, Standing,
    folder::{Folder, Listing, Moment},
    folder_watch::FolderWatch,
    inspect::Content,
    listing,
    preparation_pool::{Finished, PreparationPool},
    prepare::{Outcome, Preparation},
    rolled_back::RolledBack,
    signals::Signals,
    stray::{self, Stray},
};
use crate::{
    crash_list::CrashList,
    limits::{LOOK_INTERVAL, START_HELD_MAX},
};

/// Events come in swarms: this long after the first, one look answers them all.
const GATHER: Duration = Duration::from_millis(20);

/// How often a folder that is not there is looked for.
const LOOK_INTERVAL_AWAY: Duration = Duration::from_millis(200);

/// How long the start waits for files that do not come to rest, unless two settle times are more.
const START_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long stopping waits for the threads, which a plugin that is just being made may hold up.
const STOP_WAIT_MAX: Duration = Duration::from_millis(500);

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there, or is no folder.
    #[error("the plugin folder {} does not exist: make it, or name another with --plugins", .0.display())]
    Missing(PathBuf),
    /// The folder is there and cannot be read.
    #[error("the plugin folder {} cannot be read: {cause}; let the user that the host runs as read it", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The system has no thread left.
    #[error("a thread that watches the plugin folder cannot be started: {0}")]
    Thread(io::Error),
}

/// Watches a folder of plugins, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    signals: Signals,
    // Without a sender once the thread and those of the pool have ended.
    ended: Receiver<()>,
}

impl Watcher {
    /// Starts with what is in `folder` and is not among `crashes`, or with what was `rolled_back` to. A file counts once it stood still for
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
        rolled_back: Arc<RolledBack>,
        settle: Duration,
        emit: impl Fn(PluginEvent) + Send + 'static,
    ) -> Result<Self, FolderError> {
        Self::start_looking(folder, crashes, rolled_back, (settle, LOOK_INTERVAL), emit)
    }

    /// The same with another time between two looks at a folder of which nothing is heard.
    fn start_looking(
        folder: PathBuf,
        crashes: Arc<CrashList>,
        rolled_back: Arc<RolledBack>,
        (settle, interval): (Duration, Duration),
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
        let preparation = Arc::new(Preparation::new(absolute, crashes, rolled_back));
        let (signals, woken) = Signals::new();
        let (running, ended) = mpsc::channel();
        let pool = PreparationPool::new(&preparation, &signals, &running);
        let watch = Watch {
            preparation,
            pool,
            emit,
            settle,
            interval,
            started: Instant::now(),
            signals: signals.clone(),
            woken,
            folder_watch: FolderWatch::default(),
            is_away: false,
            is_refused: false,
            folder: Folder::new(settle),
            last: BTreeMap::new(),
            refused: BTreeSet::new(),
            awaited: Awaited::Unknown,
            held: BTreeMap::new(),
            is_holding: true,
            anew: None,
            strays: BTreeSet::new(),
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

    /// Not what was last prepared under a name serves. From now on that is something new, once the file
    /// changes, and what serves is not.
    pub fn stands(&self, standing: Standing) {
        self.signals.stands(standing);
    }

    /// Reads all files anew, those too that do not seem to have changed: what differs from what serves is taken, and what was
    /// refused is looked at again. The log says how that went.
    pub fn look_anew(&self) {
        self.signals.look_anew();
    }
}

impl Drop for Watcher {
    /// Stops, and waits for the thread for a moment; no event is emitted after that.
    fn drop(&mut self) {
        self.signals.stop();
        let _ = self.ended.recv_timeout(STOP_WAIT_MAX);
    }
}

/// The names whose preparation the start waits for.
#[derive(Debug)]
enum Awaited {
    /// Nothing is known before the first look.
    Unknown,
    Names(BTreeSet<String>),
    /// All files of the start were told of.
    None,
}

struct Watch<E> {
    preparation: Arc<Preparation>,
    pool: PreparationPool,
    emit: E,
    settle: Duration,
    /// Between two looks at a folder of which nothing is heard.
    interval: Duration,
    started: Instant,
    signals: Signals,
    woken: Receiver<()>,
    folder_watch: FolderWatch,
    is_away: bool,
    /// Everything in the folder is refused because of the folder.
    is_refused: bool,
    folder: Folder,
    /// What was last prepared under each name that is there, or serves since.
    last: BTreeMap<String, Content>,
    /// Names whose files were refused since.
    refused: BTreeSet<String>,
    awaited: Awaited,
    /// What is told a moment after the start, by name: which of two that clash comes first must not depend on
    /// which was done first, as far as both are done by then.
    held: BTreeMap<String, Vec<PluginEvent>>,
    /// What is told is held. One that hangs is not waited for by all.
    is_holding: bool,
    /// A look at all files that was asked for and is not over.
    anew: Option<Anew>,
    /// Configurations that nothing reads, and that were told of.
    strays: BTreeSet<Stray>,
}

impl<E: Fn(PluginEvent)> Watch<E> {
    fn run(mut self) {
        while !self.signals.is_stopped() {
            let work_due = self.pool.advance(Instant::now());
            self.take_finished();
            let wait = self.look();
            let wait = work_due.map_or(wait, |due| {
                wait.min(due.saturating_duration_since(Instant::now()))
            });
            match self.woken.recv_timeout(wait) {
                Ok(()) if self.take_finished() => {}
                Ok(()) => self.gather(),
                Err(RecvTimeoutError::Timeout) => {}
                // Not while `signals` holds a sender.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.take_standings();
        }
        self.preparation.stop();
    }

    fn take_standings(&mut self) {
        for (name, standing) in self.signals.take_standings() {
            // Otherwise it is not known yet what was told since.
            if self.last.get(&name).copied() == standing.latest {
                match standing.serving {
                    Some(serving) => self.last.insert(name, serving),
                    None => self.last.remove(&name),
                };
            }
        }
    }

    fn gather(&mut self) {
        let until = Instant::now() + GATHER;
        while !self.signals.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if self.woken.recv_timeout(left).is_err() {
                break;
            }
            self.take_finished();
        }
    }

    /// One look and all that follows from it. Returns how long nothing more is to be done.
    fn look(&mut self) -> Duration {
        // Before the folder is read: what happens between the two is seen once more, not missed.
        self.folder_watch
            .keep_open(self.preparation.folder(), &self.signals);
        let listing = self.list();
        self.look_at_the_folder_itself();
        self.tell_of_strays(listing.as_ref());
        if self.signals.take_look_anew() {
            self.begin_anew(listing.as_ref());
        }
        let now = self.moment();
        let findings = self.folder.look(now, listing.as_ref());
        if let Awaited::Unknown = self.awaited {
            let names = listing.iter().flat_map(BTreeMap::keys);
            self.awaited = Awaited::Names(names.cloned().collect());
        }
        for name in findings.gone {
            self.pool.abandon(&name);
            self.last.remove(&name);
            self.refused.remove(&name);
            self.found_anew(&name, Found::Gone);
            self.tell(&name.clone(), PluginEvent::Gone { name });
        }
        for name in findings.passed {
            self.found_anew(&name, Found::Gone);
        }
        for name in findings.settled {
            self.prepare(&name);
        }
        self.tell_of_the_start();
        let interval = match listing {
            Some(_) => self.interval,
            None => LOOK_INTERVAL_AWAY,
        };
        let spent = self.started.elapsed().saturating_sub(now.elapsed);
        let due = findings
            .look_again_in
            .map_or(interval, |wait| wait.saturating_sub(spent));
        let held = START_HELD_MAX.saturating_sub(self.started.elapsed());
        due.min(interval)
            .min(if self.is_holding { held } else { interval })
    }

    fn tell_of_strays(&mut self, listing: Option<&Listing>) {
        let Some(listing) = listing else {
            return;
        };
        let strays = stray::strays(self.preparation.folder(), listing);
        for stray in strays.difference(&self.strays) {
            tracing::warn!(plugin = %stray.plugin(), "{stray}");
        }
        self.strays = strays;
    }

    /// What was refused because of the folder is looked at again once that is mended.
    fn look_at_the_folder_itself(&mut self) {
        let was_refused = std::mem::replace(
            &mut self.is_refused,
            !self.is_away && self.preparation.folder_is_refused(),
        );
        if was_refused && !self.is_refused {
            let now = self.moment();
            for name in &self.refused {
                self.folder.unsettle(name, now);
            }
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

    fn prepare(&mut self, name: &str) {
        if let Some(entry) = self.folder.entry(name) {
            let last = self.last.get(name).copied();
            self.pool.order(name, entry, last);
        }
    }

    /// Takes in what was prepared; `false` if that is nothing.
    fn take_finished(&mut self) -> bool {
        let mut took_any = false;
        while let Some(finished) = self.pool.take_finished() {
            took_any = true;
            self.finished(finished);
        }
        took_any
    }

    fn finished(&mut self, finished: Finished) {
        let Finished {
            name,
            entry,
            outcome,
            again,
            ..
        } = finished;
        match outcome {
            Outcome::Moving => self.unsettle(&name),
            // What it is the same as was forgotten meanwhile, or the name was gone for a while.
            Outcome::Same if !self.last.contains_key(&name) => self.unsettle(&name),
            Outcome::Same => {
                self.refused.remove(&name);
                self.found_anew(&name, Found::Same);
                tracing::debug!(plugin = %name, "its files hold what was loaded last");
                let unchanged = PluginEvent::Unchanged { name: name.clone() };
                self.tell(&name, unchanged);
            }
            Outcome::Refused(error) => {
                self.refused.insert(name.clone());
                self.found_anew(&name, Found::Refused);
                let refused = PluginEvent::Refused {
                    name: name.clone(),
                    file: self.preparation.folder().join(&entry.file),
                    error,
                };
                self.tell(&name, refused);
            }
            Outcome::Prepared(prepared, content) => {
                self.refused.remove(&name);
                self.last.insert(name.clone(), content);
                self.found_anew(&name, Found::Taken);
                self.tell(&name, PluginEvent::Prepared(prepared));
            }
        }
        if again {
            self.prepare(&name);
        }
    }

    fn begin_anew(&mut self, listing: Option<&Listing>) {
        let now = self.moment();
        // Of a folder that is away nothing can be read; it is looked at once it is back.
        let names: BTreeSet<_> = listing
            .into_iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect();
        for name in &names {
            self.folder.unsettle(name, now);
        }
        self.anew = Anew::begin(names);
    }

    fn found_anew(&mut self, name: &str, found: Found) {
        if let Some(anew) = &mut self.anew
            && anew.found(name, found)
        {
            self.anew = None;
        }
    }

    fn unsettle(&mut self, name: &str) {
        let now = self.moment();
        self.folder.unsettle(name, now);
    }

    fn tell_of_the_start(&mut self) {
        let Awaited::Names(names) = &mut self.awaited else {
            return;
        };
        let (folder, pool) = (&self.folder, &self.pool);
        names.retain(|name| folder.is_unsettled(name) || pool.is_in_work(name));
        if !names.is_empty() && self.started.elapsed() >= START_WAIT_MAX.max(2 * self.settle) {
            // What is in work comes to an end by itself.
            let moving: Vec<_> = names
                .extract_if(.., |name| !pool.is_in_work(name))
                .collect();
            if !moving.is_empty() {
                tracing::warn!(
                    plugins = moving.join(", "),
                    "these files keep changing; the start does not wait for them"
                );
            }
        }
        let is_over = names.is_empty();
        if is_over || self.started.elapsed() >= START_HELD_MAX {
            self.is_holding = false;
            for event in std::mem::take(&mut self.held).into_values().flatten() {
                self.emit(event);
            }
        }
        if is_over {
            self.awaited = Awaited::None;
            self.emit(PluginEvent::Looked);
        }
    }

    /// Tells of the plugin `name`, now or a moment after the start.
    fn tell(&mut self, name: &str, event: PluginEvent) {
        if self.is_holding {
            self.held.entry(name.to_owned()).or_default().push(event);
        } else {
            self.emit(event);
        }
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
mod tests;
