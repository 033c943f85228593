//! The thread that makes batches durable, and reads the state back where that has failed.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::log::{BatchNo, Log, LogEnd, LogError, Recovered, SnapshotDone};
use crate::{
    clock::Clock,
    limits::FOLDER_LOOK,
    planted::{Fault, planted},
    threads::{Once, Step, Threads, Worker},
};

/// When a batch counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// Once the disk has it: what was answered survives a loss of power
    Sync,
    /// Once the system has it, which writes it to the disk within a second: what was answered survives the
    /// host's end, and all but the last second a loss of power
    Interval,
    /// At once: the state ends with the host
    Memory,
}

impl Durability {
    /// The level in words, for the log.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Sync => "sync: what is answered is on the disk",
            Self::Interval => "interval: what is answered is on the disk within a second",
            Self::Memory => "memory: the state ends with this process",
        }
    }

    /// As it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval => "interval",
            Self::Memory => "memory",
        }
    }
}

/// What the committer's thread tells the core thread.
pub enum Kept {
    /// The batch that it was given is durable.
    Committed {
        /// What the effects were in, to be used again.
        buffer: Vec<u8>,
    },
    /// It cannot be said to be durable, and nothing after it will be before [`Committer::rebuild`].
    Failed(LogError),
    /// The state as it is on the disk.
    Rebuilt(Recovered),
}

/// Where a log lies, as far as whoever writes it has to see to that.
pub trait FolderGuard: Send {
    /// Whether it is what was opened, and nobody else's.
    ///
    /// # Errors
    /// What became of it.
    fn look(&self) -> Result<(), LogError>;

    /// The same once a look has found that it is not: what keeps others out is made anew, if nobody can have come meanwhile.
    ///
    /// # Errors
    /// What became of it.
    fn hold_again(&self) -> Result<(), LogError>;

    /// Notes where the log ends, of which nothing is to be added any more.
    ///
    /// # Errors
    /// Why that cannot be noted.
    fn note_end(&self, end: LogEnd) -> Result<(), String>;
}

/// The place of a log that ends with the process.
impl FolderGuard for () {
    fn look(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn hold_again(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn note_end(&self, _: LogEnd) -> Result<(), String> {
        Ok(())
    }
}

/// The coordinator's end of the thread.
pub struct Committer {
    threads: Arc<dyn Threads>,
    work: mpsc::Sender<Work>,
    /// Hears at the thread's end whether all that was answered is kept.
    last: mpsc::Receiver<bool>,
}

enum Work {
    Commit {
        number: BatchNo,
        now_ms: u64,
        effects: Vec<u8>,
    },
    Rebuild,
    Snapshot(Result<SnapshotDone, LogError>),
    Close,
}

/// How long a batch may be with the system alone, where not every one is synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long it takes until it is tried again to read the state back; doubled each time, up to 16 times this.
const REBUILD_PAUSE: Duration = Duration::from_millis(500);

impl Committer {
    /// Starts the thread, for a log that lies at `place`. `told` hears what became of each batch.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        threads: Arc<dyn Threads>,
        clock: Clock,
        (log, place): (impl Log + 'static, impl FolderGuard + 'static),
        durability: Durability,
        told: impl Fn(Kept) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, incoming) = mpsc::channel();
        let (ends, last) = mpsc::channel();
        let keeping = Keeping {
            threads: Arc::clone(&threads),
            clock,
            log: Box::new(log),
            place: Box::new(place),
            standing: Standing::Kept,
            look_due: clock.instant() + FOLDER_LOOK,
            synced_at_once: durability == Durability::Sync,
            sync_due: None,
            work: work.clone(),
            incoming,
            ends,
            told,
        };
        threads.start("state", None, Box::new(keeping))?;
        Ok(Self {
            threads,
            work,
            last,
        })
    }

    /// Has a batch made durable. The one before it has been.
    pub fn commit(&self, number: BatchNo, now_ms: u64, effects: Vec<u8>) {
        self.tell(Work::Commit {
            number,
            now_ms,
            effects,
        });
    }

    /// After a failure: has the state read back from what is durable, as often as it takes.
    pub fn rebuild(&self) {
        self.tell(Work::Rebuild);
    }

    /// Ends the thread once all that it was given is done and synced; false if that fails, or takes longer than `patience`: then it
    /// is left to itself.
    pub fn close(self, patience: Duration) -> bool {
        self.tell(Work::Close);
        match self.threads.wait(&self.last, patience) {
            Ok(all_is_kept) => all_is_kept,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                tracing::error!("the thread that keeps the state has ended with a panic");
                false
            }
        }
    }

    fn tell(&self, work: Work) {
        // The thread ends only when it is told so.
        let _ = self.work.send(work);
    }
}

struct Keeping<T> {
    threads: Arc<dyn Threads>,
    clock: Clock,
    log: Box<dyn Log>,
    place: Box<dyn FolderGuard>,
    standing: Standing,
    /// When it is looked next whether the log is still where it was opened.
    look_due: Instant,
    synced_at_once: bool,
    /// When the system has to bring to the disk what it was given.
    sync_due: Option<Instant>,
    /// To come back from a thread that makes a snapshot.
    work: mpsc::Sender<Work>,
    incoming: mpsc::Receiver<Work>,
    ends: mpsc::Sender<bool>,
    told: T,
}

/// How the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// What it is given is kept.
    Kept,
    /// Nothing is kept until the state was read back, which nobody has asked for yet.
    Failed,
    /// The state is read back, with the next try at this moment, and so much time between that and the one after it.
    Rebuilding { at: Instant, pause: Duration },
}

impl<T: Fn(Kept) + Send> Worker for Keeping<T> {
    fn run(mut self: Box<Self>) {
        loop {
            self.time_passed();
            let left = (self.due()).saturating_duration_since(self.clock.instant());
            let work = self.incoming.recv_timeout(left);
            if self.deal_with(work) == Step::Ended {
                return;
            }
        }
    }

    fn step(&mut self) -> Step {
        if self.due() <= self.clock.instant() {
            self.time_passed();
            return Step::Did;
        }
        match self.incoming.try_recv() {
            Ok(work) => self.deal_with(Ok(work)),
            Err(TryRecvError::Empty) => Step::Idle(Some(self.due())),
            Err(TryRecvError::Disconnected) => self.deal_with(Err(RecvTimeoutError::Disconnected)),
        }
    }
}

impl<T: Fn(Kept) + Send> Keeping<T> {
    /// When time alone gives it something to do.
    fn due(&self) -> Instant {
        match self.standing {
            Standing::Rebuilding { at, .. } => at,
            Standing::Kept | Standing::Failed => self
                .sync_due
                .map_or(self.look_due, |sync| sync.min(self.look_due)),
        }
    }

    fn time_passed(&mut self) {
        let now = self.clock.instant();
        if let Standing::Rebuilding { at, pause } = self.standing {
            if at <= now {
                self.rebuild(pause);
            }
            return;
        }
        if self.look_due <= now {
            self.look_due = now + FOLDER_LOOK;
            self.look();
        }
        if self.sync_due.is_some_and(|due| due <= now)
            && let Err(error) = self.sync_what_is_due()
        {
            self.fail(error);
        }
    }

    fn deal_with(&mut self, work: Result<Work, RecvTimeoutError>) -> Step {
        let is_rebuilding = matches!(self.standing, Standing::Rebuilding { .. });
        match work {
            Ok(Work::Snapshot(done)) => self.snapshot_made(done),
            Err(RecvTimeoutError::Timeout) => {}
            // The host ends while the state is read back: nothing else can come meanwhile.
            Ok(_) | Err(RecvTimeoutError::Disconnected) if is_rebuilding => {
                let _ = self.ends.send(false);
                return Step::Ended;
            }
            Ok(Work::Commit {
                number,
                now_ms,
                effects,
            }) => self.commit(number, now_ms, effects),
            Ok(Work::Rebuild) => {
                self.standing = Standing::Rebuilding {
                    at: self.clock.instant(),
                    pause: REBUILD_PAUSE,
                };
            }
            Ok(Work::Close) | Err(RecvTimeoutError::Disconnected) => {
                let all_is_kept = self.close();
                // Nobody to hear it: the host has not waited.
                let _ = self.ends.send(all_is_kept);
                return Step::Ended;
            }
        }
        Step::Did
    }

    fn has_failed(&self) -> bool {
        self.standing != Standing::Kept
    }

    fn commit(&mut self, number: BatchNo, now_ms: u64, effects: Vec<u8>) {
        match self.append(number, now_ms, &effects) {
            Ok(()) => {
                (self.told)(Kept::Committed { buffer: effects });
                self.make_snapshot();
            }
            Err(error) => self.fail(error),
        }
    }

    fn append(&mut self, number: BatchNo, now_ms: u64, effects: &[u8]) -> Result<(), LogError> {
        if self.has_failed() {
            return Err(LogError::Poisoned);
        }
        self.log.append(number, now_ms, effects)?;
        if planted(Fault::SyncSkipped) {
            return Ok(());
        }
        if self.synced_at_once {
            self.log.sync()?;
        } else {
            self.sync_due
                .get_or_insert_with(|| self.clock.instant() + SYNC_INTERVAL);
        }
        self.log.look(false)
    }

    /// What is written to a file that nobody can open any more is not kept.
    fn look(&mut self) {
        if self.has_failed() {
            return;
        }
        if let Err(error) = self.place.look().and_then(|()| self.log.look(true)) {
            self.fail(error);
        }
    }

    fn sync_what_is_due(&mut self) -> Result<(), LogError> {
        match self.sync_due.take() {
            Some(_) => self.log.sync(),
            None => Ok(()),
        }
    }

    /// Nobody hears any more what becomes of it, so the log has to say it. Says whether all is kept.
    fn close(&mut self) -> bool {
        if self.has_failed() {
            return false;
        }
        let closed = (self.sync_what_is_due())
            .and_then(|()| self.place.look())
            .and_then(|()| self.log.look(true));
        if let Err(error) = closed {
            tracing::error!("what was answered in the last second may not be kept: {error}");
            return false;
        }
        if let Some(end) = self.log.end()
            && let Err(error) = self.place.note_end(end)
        {
            tracing::error!("that the host was stopped in order cannot be noted: {error}");
        }
        true
    }

    fn fail(&mut self, error: LogError) {
        self.standing = Standing::Failed;
        self.sync_due = None;
        (self.told)(Kept::Failed(error));
    }

    /// Tries to read the state back, and has it tried again after `pause` if that fails.
    fn rebuild(&mut self, pause: Duration) {
        match self.recover() {
            Ok(recovered) => {
                self.standing = Standing::Kept;
                self.look_due = self.clock.instant() + FOLDER_LOOK;
                (self.told)(Kept::Rebuilt(recovered));
            }
            Err(error) => {
                tracing::error!(
                    "the state cannot be kept still: {error}; it is tried again in {} ms",
                    pause.as_millis()
                );
                self.standing = Standing::Rebuilding {
                    at: self.clock.instant() + pause,
                    pause: (pause * 2).min(REBUILD_PAUSE * 16),
                };
            }
        }
    }

    /// Nothing is written before it is certain that it goes where it would be looked for.
    fn recover(&mut self) -> Result<Recovered, LogError> {
        self.place.hold_again()?;
        self.log.look(true)?;
        self.log.recover_after_failure()
    }

    /// Snapshots bound what has to be read at a start. They are made beside the commits, from files that do not
    /// change any more.
    fn make_snapshot(&mut self) {
        let Some(task) = self.log.snapshot_task() else {
            return;
        };
        let work = self.work.clone();
        let make = move || {
            // Nobody to hear it: the host has ended.
            let _ = work.send(Work::Snapshot(task.run()));
        };
        let started = (self.threads).start("snapshot", None, Box::new(Once::new(make)));
        if let Err(error) = started {
            tracing::warn!("no thread can be started for a snapshot of the state: {error}");
        }
    }

    fn snapshot_made(&mut self, done: Result<SnapshotDone, LogError>) {
        if self.has_failed() {
            // Where files would be removed is not certain. The next snapshot takes its place.
            return;
        }
        if let Err(error) = done.and_then(|done| self.log.snapshot_done(done)) {
            tracing::error!(
                "no snapshot of the state can be made: {error}; the log grows, and the next start takes longer"
            );
        }
    }
}
