//! The threads that open the lanes of a new version and drop the code of old ones, so that a swap does not run a
//! plugin's constructors and destructors on the core thread. Each has one thing to do, so that one that hangs holds
//! up no other. Only after a panic is an inline lane's code made anew where it ran: its next request needs it at
//! once.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{
    code::{LaneCode, OpenLane},
    job::LaneId,
    runner::Runner,
    signal::Signal,
    thread::LaneThread,
};
use crate::{
    clock::Clock,
    limits::{self, PLUGIN_STACK_BYTES},
    state::{Access, LentState, SharedAccess, TooMuch},
    threads::{Once, Step, Threads, Worker},
};

/// Lanes that are to be opened on the states that they asked for: all of a version, or a single one anew.
pub struct Opening {
    /// The plugin, by the name of its file.
    pub name: String,
    /// The plugin's way to open one of its lanes.
    pub open: OpenLane,
    /// In the order of its description.
    pub lanes: Vec<OpeningLane>,
    /// The lane, if it is only one that is opened anew.
    pub anew: Option<LaneId>,
    /// Somebody keeps what the lanes' jobs change.
    pub kept: bool,
}

/// One lane of a version that is to be opened.
pub struct OpeningLane {
    /// Its number in the plugin's description.
    pub index: u32,
    /// The request type of each jobber.
    pub types: Arc<[Box<str>]>,
    /// Whether the lane is to run on the core thread.
    pub inline: bool,
    /// Its states, in the order of its description.
    pub states: Vec<LentState>,
}

/// What became of an [`Opening`].
pub struct Opened {
    /// The plugin, by the name of its file.
    pub name: String,
    /// The lane, if it is only one that was opened anew.
    pub anew: Option<LaneId>,
    /// Its lanes, ready to serve, in the order of the opening; or why there are none.
    pub result: Result<Vec<OpenedLane>, OpenFailed>,
}

/// One lane of a version, ready to serve.
pub struct OpenedLane {
    /// The lane's access to its states.
    pub access: SharedAccess,
    /// What runs the lane's jobs.
    pub runner: Runner,
    /// The effects of its setup, which no batch has yet.
    pub effects: Vec<u8>,
}

/// Why a version cannot serve, and the states that it was lent, as they were.
pub struct OpenFailed {
    /// Why it could not be opened, in one line.
    pub reason: String,
    /// The states of each lane, as they were lent.
    pub states: Vec<Vec<LentState>>,
}

/// What the coordinator has it done by.
#[derive(Clone)]
pub struct Opener {
    threads: Arc<dyn Threads>,
    clock: Clock,
    signal: Arc<Signal>,
    /// How long an opening may take; `None` for as long as it takes.
    patience: Option<Duration>,
    done: Arc<dyn Fn(Opened) + Send + Sync>,
}

impl Opener {
    /// `done` gets what was opened. What takes longer than `patience` is given up.
    pub fn new(
        threads: Arc<dyn Threads>,
        clock: Clock,
        signal: Arc<Signal>,
        patience: Option<Duration>,
        done: impl Fn(Opened) + Send + Sync + 'static,
    ) -> Self {
        Self {
            threads,
            clock,
            signal,
            patience,
            done: Arc::new(done),
        }
    }

    /// Has the lanes of a version opened, on a thread of their own.
    pub fn open(&self, mut opening: Opening) {
        let lanes = opening.lanes.iter_mut();
        let accesses = lanes.map(|lane| {
            let states = std::mem::take(&mut lane.states);
            SharedAccess::new(Access::new(states, opening.kept))
        });
        let run = OpeningRun {
            name: opening.name.clone(),
            anew: opening.anew,
            accesses: accesses.collect(),
        };
        // Whoever sets it first tells what became of the opening.
        let decided = Arc::new(Mutex::new(false));
        // Disconnected as soon as the thread ends, in whatever way.
        let (at_work, ended) = mpsc::channel();
        let started = self.threads.start(
            "opener",
            Some(PLUGIN_STACK_BYTES),
            Box::new(Once::new({
                let (opener, run) = (self.clone(), run.clone());
                let decided = Arc::clone(&decided);
                move || {
                    let _at_work: mpsc::Sender<()> = at_work;
                    let opened = opening.open_all(&run.accesses, &opener);
                    if decide(&decided) {
                        (opener.done)(match opened {
                            Ok(runners) => run.succeed(runners),
                            Err(reason) => run.fail(reason),
                        });
                    } else {
                        drop(opened);
                        tracing::warn!(plugin = %opening.name, "the opening that was given up has come to an end");
                    }
                }
            })),
        );
        if let Err(error) = started {
            let reason = format!("no thread can be started to open it: {error}");
            return (self.done)(run.fail(reason));
        }
        let due = self.patience.and_then(|patience| {
            let now = self.clock.instant();
            now.checked_add(patience)
        });
        let guard = Guard {
            opener: self.clone(),
            ended,
            decided,
            run: Some(run),
            due,
        };
        let guarded = self.threads.start("opener guard", None, Box::new(guard));
        if let Err(error) = guarded {
            tracing::warn!("no thread can be started to give an opening up that hangs: {error}");
        }
    }

    /// Has a lane's code run on a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start_lane(&self, plugin: &str, code: LaneCode) -> std::io::Result<LaneThread> {
        let signal = Arc::clone(&self.signal);
        LaneThread::start(&*self.threads, plugin, code, self.clock, signal)
    }

    /// Has a plugin, or code of one, dropped.
    pub fn drop_off_thread(&self, code: Box<dyn Send>) {
        // Without a thread for it, it is dropped with the closure, here.
        let _ = self.threads.start(
            "plugin drop",
            Some(PLUGIN_STACK_BYTES),
            Box::new(Once::new(move || drop(code))),
        );
    }
}

/// Gives an opening up that takes too long: the states do not wait for it, and its thread is left to itself. It
/// stands beside the way of the opening, whose lanes are held meanwhile.
struct Guard {
    opener: Opener,
    /// Disconnected as soon as the opening's thread ends, in whatever way.
    ended: Receiver<()>,
    /// Whoever sets it first tells what became of the opening.
    decided: Arc<Mutex<bool>>,
    /// What is being opened; gone once the guard has seen its end.
    run: Option<OpeningRun>,
    /// When the opening is given up; `None` for never.
    due: Option<Instant>,
}

impl Guard {
    fn end(&mut self, timed_out: bool) {
        let Some(run) = self.run.take().filter(|_| decide(&self.decided)) else {
            return;
        };
        let reason = match (timed_out, self.opener.patience) {
            (true, Some(patience)) => format!(
                "its code did not end within {patience:?} when it was opened on its state, see --migration-timeout; \
                 its thread is left to itself"
            ),
            _ => "its code ended the thread that opened it".to_owned(),
        };
        (self.opener.done)(run.fail(reason));
    }
}

impl Worker for Guard {
    fn run(mut self: Box<Self>) {
        let end = match self.due {
            Some(due) => {
                let left = due.saturating_duration_since(self.opener.clock.instant());
                self.ended.recv_timeout(left)
            }
            None => self.ended.recv().map_err(RecvTimeoutError::from),
        };
        self.end(end == Err(RecvTimeoutError::Timeout));
    }

    fn step(&mut self) -> Step {
        let is_due = self
            .due
            .is_some_and(|due| due <= self.opener.clock.instant());
        match self.ended.try_recv() {
            Err(TryRecvError::Empty) if !is_due => return Step::Idle(self.due),
            end => self.end(end == Err(TryRecvError::Empty)),
        }
        Step::Ended
    }
}

impl Opening {
    /// Opens all lanes of a version, or none.
    fn open_all(&self, accesses: &[SharedAccess], opener: &Opener) -> Result<Vec<Runner>, String> {
        let plugin: Arc<str> = self.name.as_str().into();
        let opened = accesses.iter().zip(&self.lanes).map(|(access, lane)| {
            let (open, types) = (Arc::clone(&self.open), Arc::clone(&lane.types));
            let code = LaneCode::open(
                Arc::clone(&plugin),
                lane.index,
                open,
                access.clone(),
                types,
                &opener.clock,
            )?;
            if lane.inline {
                return Ok(Runner::Inline(Box::new(code)));
            }
            let thread = opener
                .start_lane(&plugin, code)
                .map_err(|error| format!("no thread can be started for a lane: {error}"))?;
            Ok(Runner::Thread(thread))
        });
        opened.collect()
    }
}

/// What is being opened, as seen by who waits for it.
#[derive(Clone)]
struct OpeningRun {
    name: String,
    anew: Option<LaneId>,
    accesses: Vec<SharedAccess>,
}

impl OpeningRun {
    /// What the setup of the lanes has changed stays, unless that is too much for one batch.
    fn succeed(self, runners: Vec<Runner>) -> Opened {
        let told = match self.tell() {
            Ok(told) => told,
            Err(too_much) => {
                drop(runners);
                return self.fail(format!("when it was opened on its state, it {too_much}"));
            }
        };
        let lanes = self.accesses.into_iter().zip(runners).zip(told);
        let lanes = lanes.map(|((access, runner), effects)| {
            access.lock().commit_told();
            OpenedLane {
                access,
                runner,
                effects,
            }
        });
        Opened {
            name: self.name,
            anew: self.anew,
            result: Ok(lanes.collect()),
        }
    }

    /// What the setup of each lane has changed. All lanes are opened in one transaction, which is one batch.
    fn tell(&self) -> Result<Vec<Vec<u8>>, TooMuch> {
        let bytes_max = limits::OPENING_EFFECTS_BYTES_MAX;
        let mut left = bytes_max;
        let lanes = self.accesses.iter().map(|access| {
            let mut effects = Vec::new();
            let told = access.lock().tell(&mut effects, left);
            told.map_err(|_| TooMuch { bytes_max })?;
            left -= effects.len();
            Ok(effects)
        });
        lanes.collect()
    }

    /// Nothing of it stays, and its code reaches the states no more.
    fn fail(self, reason: String) -> Opened {
        let states = self.accesses.iter().map(|access| {
            let mut access = access.lock();
            access.revoke();
            access.take_states()
        });
        let states = states.collect();
        Opened {
            name: self.name,
            anew: self.anew,
            result: Err(OpenFailed { reason, states }),
        }
    }
}

/// Whether nobody has decided before.
fn decide(decided: &Mutex<bool>) -> bool {
    let mut decided = decided.lock().unwrap_or_else(PoisonError::into_inner);
    !std::mem::replace(&mut *decided, true)
}
