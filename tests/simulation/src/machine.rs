//! One process of the host on the simulated machine: the real coordinator, lanes, committer and log, and a core loop that wakes
//! only when the real one would.

use std::{
    collections::VecDeque,
    future::Future as _,
    path::Path,
    pin::pin,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use host::{
    clock::{Clock, Seen},
    coordinator::{Commits, Coordinator, SessionKey, Settings},
    lane::{Opened, Opener, Signal},
    limits,
    plugins::PluginEvent,
    state::{
        Committer, Durability, Kept, Store,
        log::{FileLog, LogId, Policy},
        sim_disk::SimDisk,
    },
};

use crate::threads::SimThreads;

/// Small enough that a run of some thousand steps sees many segments and snapshots.
const POLICY: Policy = Policy {
    segment_bytes: 4_000,
    snapshot_due_bytes: 8_000,
    zeroed_ahead_bytes: 2_048,
    snapshot_piece_bytes: 2_000,
    snapshot_runs_max: 4,
};

/// How long a request may take that says nothing of it, in milliseconds.
pub const DEADLINE_MS: u64 = 20_000;
/// How long a request may wait, in milliseconds.
pub const WAIT_MS: u64 = 60_000;

/// How long an opening may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What workers tell the core loop.
enum Told {
    Opened(Opened),
    Kept(Kept),
}

type Queue = Arc<Mutex<VecDeque<Told>>>;

/// A host that runs.
pub struct Machine {
    pub coordinator: Coordinator,
    pub threads: Arc<SimThreads>,
    pub clock: Clock,
    signal: Arc<Signal>,
    told: Queue,
    /// When the core loop looks at loaded threads next.
    ticker: Option<Instant>,
    /// What the plugins' folder has told and the core loop has not taken.
    pub plugin_events: VecDeque<PluginEvent>,
}

/// What a start is made with.
pub struct Start<'a> {
    pub disk: &'a SimDisk,
    pub time_us: &'static AtomicU64,
    pub wall_ms: u64,
    pub durability: Durability,
    pub queue_jobs_max: usize,
}

impl Machine {
    /// Starts a host on what the disk holds.
    ///
    /// # Errors
    /// Why the log cannot be opened.
    pub fn start(start: &Start<'_>) -> Result<Self, String> {
        let threads = Arc::new(SimThreads::default());
        let told = Queue::default();
        let tell = |told: &Queue, what| {
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(what);
        };
        let id = LogId::from_str("5100a7e5100a7e5100a7e5100a7e5100").expect("it is one");
        let disk = Arc::new(start.disk.clone());
        let (log, recovered) = FileLog::open_with(disk, Path::new("/data"), POLICY, id, None)
            .map_err(|error| error.to_string())?;
        let seen = Seen {
            wall_ms: start.wall_ms,
            slept: Duration::ZERO,
        };
        let clock = Clock::simulated(start.time_us, seen, recovered.now_ms);
        let committer = Committer::start(
            Arc::clone(&threads) as _,
            clock,
            (log, ()),
            start.durability,
            {
                let told = Arc::clone(&told);
                move |kept| tell(&told, Told::Kept(kept))
            },
        )
        .map_err(|error| error.to_string())?;
        let signal = Arc::new(Signal::default());
        let opener = Opener::new(
            Arc::clone(&threads) as _,
            clock,
            Arc::clone(&signal),
            Some(PATIENCE),
            {
                let told = Arc::clone(&told);
                move |opened| tell(&told, Told::Opened(opened))
            },
        );
        let settings = Settings {
            name: "sim".to_owned(),
            deadline: Some(Duration::from_millis(DEADLINE_MS)),
            queue_jobs_max: start.queue_jobs_max,
            wait_max: Some(Duration::from_millis(WAIT_MS)),
            quarantine: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
            durability: start.durability.name(),
            operators_over_tcp: true,
        };
        let commits = Commits::new(Some(committer), recovered.last.next());
        let store = Store::recovered(recovered.states, recovered.next_state);
        let key = SessionKey([7; SessionKey::BYTES]);
        let coordinator = Coordinator::new(
            settings,
            clock,
            Arc::clone(&signal),
            opener,
            (store, commits),
            key,
        );
        Ok(Self {
            coordinator,
            threads,
            clock,
            signal,
            told,
            ticker: None,
            plugin_events: VecDeque::new(),
        })
    }

    /// What the core loop waits for comes: it takes one thing that was told, or is woken otherwise, and does what has come to be
    /// done. Says whether it was woken.
    pub fn core_turn(&mut self) -> bool {
        let told = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let now = self.clock.instant();
        let mut woken = true;
        if let Some(told) = told {
            match told {
                Told::Opened(opened) => self.coordinator.opened(opened),
                Told::Kept(kept) => self.coordinator.kept(kept),
            }
        } else if let Some(event) = self.plugin_events.pop_front() {
            self.coordinator.plugin_event(event);
        } else if self.ticker.take_if(|at| *at <= now).is_some() {
            self.coordinator.look_at_threads();
        } else {
            woken = self.is_rung()
                || self.coordinator.has_marked()
                || self.coordinator.next_due().is_some_and(|due| due <= now);
        }
        if woken {
            self.coordinator.advance();
            self.coordinator.flush();
            self.coordinator.take_decided();
            self.coordinator.take_standings();
            if self.coordinator.has_loaded_threads() {
                self.ticker = Some(now + limits::REPLY_HELD_MAX);
            }
        }
        woken
    }

    /// When time alone wakes anything.
    pub fn next_due(&self) -> Option<Instant> {
        let dues = [
            self.coordinator.next_due(),
            self.threads.next_due(),
            self.ticker,
        ];
        dues.into_iter().flatten().min()
    }

    /// Whether the bell or the lanes' signal was rung since the last time.
    fn is_rung(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let bell = self.coordinator.bell();
        let bell = pin!(bell.notified()).poll(&mut context).is_ready();
        let signal = pin!(self.signal.raised()).poll(&mut context).is_ready();
        bell || signal
    }
}
