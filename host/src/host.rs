//! The running host: starts everything, drives the coordinator, and stops in order.

use std::{
    io::Write as _,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::sleep_until,
};

use crate::{
    blame,
    clock::{Clock, Seen},
    clock_watch::ClockWatch,
    config::Config,
    coordinator::{Coordinator, SessionKey, Settings},
    crash_list::CrashList,
    crash_mark,
    data_folder::{DataFolder, Wanted},
    kept_state::KeptState,
    lane::{Opened, Opener, Signal},
    limits,
    net::{Admission, Hub, Listeners, OperatorsSocket, Patience, SocketFile, core_runtime},
    outcome::Outcome,
    plugins::{PluginEvent, RolledBack, Watcher},
    ready::Readiness,
    signals::{SignalAction, Signals},
    state::{Durability, Kept},
    threads::SystemThreads,
    ticker::Ticker,
    watchdog,
};

/// What other threads tell the core thread, beside the lanes' signal.
enum FromThreads {
    Plugin(PluginEvent),
    Opened(Opened),
    Kept(Kept),
}

/// Everything that the core loop waits for.
struct Host {
    config: Config,
    hub: Rc<Hub>,
    signal: Arc<Signal>,
    from_threads: UnboundedReceiver<FromThreads>,
    ticker: Ticker,
    signals: Signals,
    acceptors: Vec<JoinHandle<()>>,
    /// All plugin files of the start have been looked at.
    looked: bool,
    /// The ready line, until it is said.
    ready: Option<String>,
    /// The host ends because it is not what it was to be.
    unready: bool,
    next_report: Option<Instant>,
    clock: ClockWatch,
    stopping: Option<Stopping>,
    watcher: Watcher,
    rolled_back: Arc<RolledBack>,
    /// Operators are let in until the host ends.
    _operators: Option<SocketFile>,
    /// No other host is to have it while this one is there.
    _data: DataFolder,
}

struct Stopping {
    cut_at: Instant,
    /// All is answered, and the clients were told to go.
    dismissed: bool,
    /// All is sent as well: who has not gone by then is cut off.
    linger_until: Option<Instant>,
}

/// How often it is looked whether dismissed clients have read what they were sent.
const DISMISSED_LOOK: Duration = Duration::from_millis(20);

/// Runs a host until it is told to stop.
///
/// # Errors
/// Why it could not start.
pub fn run(config: Config) -> anyhow::Result<Outcome> {
    let runtime = core_runtime().context("the core thread's runtime cannot be made")?;
    let ended = runtime.block_on(async {
        let mut host = Host::start(config)?;
        let ended = host.serve().await;
        Ok(host.close_storage(ended))
    });
    // A plugin's thread may be stuck for good; nothing waits for it.
    runtime.shutdown_background();
    ended
}

impl Host {
    fn start(config: Config) -> anyhow::Result<Self> {
        // First of all: whoever starts the host may stop it at once.
        let signals = Signals::catch().context("signals cannot be caught")?;
        let wanted = match config.durability {
            Durability::Memory => Wanted::NoState,
            Durability::Sync | Durability::Interval => Wanted::State,
        };
        let data = DataFolder::open(&config.data, wanted)?;
        let crashes = guard_against_plugins(&config, &data)?;
        let signal = Arc::new(Signal::default());
        let (to_core, from_threads) = unbounded_channel();
        let state = KeptState::open(&config, &data, {
            let to_core = to_core.clone();
            move |kept| tell(&to_core, FromThreads::Kept(kept))
        })?;
        let clock = state.clock;
        let opener = opener(&config, clock, &signal, &to_core);
        let coordinator = Coordinator::new(
            settings(&config),
            clock,
            Arc::clone(&signal),
            opener,
            (state.store, state.commits),
            new_session_key()?,
        );
        let rolled_back = Arc::new(rolled_back(&coordinator, &data));
        let patience = Patience {
            message: config.message_timeout,
            idle: config.idle,
        };
        let hub = Hub::new(coordinator, patience);
        let listeners = Listeners::bind(&config.listen, config.listen_is_default)?;
        let addresses = listeners.addresses();
        let ready = addresses
            .first()
            .map(|address| format!("ready: listening on {address}"))
            .context("none of the addresses to listen on can be had; name one with --listen")?;
        let operators = OperatorsSocket::bind_or_warn(data.path());
        log_start(&config, &addresses);
        let admission = Rc::new(Admission::raised(config.clients_per_address));
        let watcher = watch_plugins(&config, crashes, &rolled_back, to_core)?;
        let acceptors = listeners.accept(&hub, &admission);
        // Its task ends with the runtime.
        let operators = operators.map(|socket| socket.accept(&hub, &admission).1);
        Ok(Self {
            hub,
            signal,
            from_threads,
            ticker: Ticker::new().context("no timer can be had")?,
            signals,
            acceptors,
            looked: false,
            ready: Some(ready),
            unready: false,
            next_report: config
                .queue_report
                .map(|interval| Instant::now() + interval),
            clock: ClockWatch::new(clock, &config.data),
            stopping: None,
            watcher,
            rolled_back,
            config,
            _operators: operators,
            _data: data,
        })
    }

    async fn serve(&mut self) -> Outcome {
        let bell = self.hub.coordinator.borrow().bell();
        loop {
            let due = self.next_due();
            tokio::select! {
                biased;
                asked = self.signals.next() => if let Some(ended) = self.asked(asked) { return ended },
                // Before the bell: while a lane has a queue, that rings without end.
                told = self.from_threads.recv() => self.told(told.expect("the watcher keeps a sender")),
                () = self.ticker.ticked() => self.hub.coordinator.borrow_mut().look_at_threads(),
                () = bell.notified() => {}
                () = self.signal.raised() => {}
                () = self.clock.is_due() => self.clock.look(Seen::now()),
                () = until(due) => {}
            }
            if let Some(ended) = self.advance() {
                return ended;
            }
            if self.hub.coordinator.borrow().has_marked() {
                // There is more to do at once; the sockets have their turn first.
                tokio::task::yield_now().await;
            }
        }
    }

    fn told(&mut self, told: FromThreads) {
        let mut coordinator = self.hub.coordinator.borrow_mut();
        match told {
            FromThreads::Opened(opened) => coordinator.opened(opened),
            FromThreads::Kept(kept) => coordinator.kept(kept),
            FromThreads::Plugin(PluginEvent::Looked) => self.looked = true,
            FromThreads::Plugin(event) => coordinator.plugin_event(event),
        }
    }

    /// Does what has come to be done; the end, if that is it.
    fn advance(&mut self) -> Option<Outcome> {
        let mut coordinator = self.hub.coordinator.borrow_mut();
        coordinator.advance();
        coordinator.flush();
        for decided in coordinator.take_decided() {
            self.rolled_back.follow(decided);
        }
        for standing in coordinator.take_standings() {
            self.watcher.stands(standing);
        }
        if coordinator.has_loaded_threads() {
            self.ticker.arm(limits::REPLY_HELD_MAX);
        }
        if self.next_report.is_some_and(|at| at <= Instant::now()) {
            tracing::info!(name = %self.config.name, "queue: {} requests", coordinator.queue_len());
            let interval = self.config.queue_report.unwrap_or(Duration::MAX);
            self.next_report = Instant::now().checked_add(interval);
        }
        let settled = self.ready.is_some() && self.looked && coordinator.plugins_are_settled();
        let readiness = settled.then(|| coordinator.readiness());
        drop(coordinator);
        if let Some(readiness) = readiness
            && let Some(line) = self.ready.take()
            && self.stopping.is_none()
        {
            self.get_ready(&line, &readiness);
        }
        self.advance_stop()
    }

    /// Says that it is so, or ends.
    fn get_ready(&mut self, line: &str, readiness: &Readiness) {
        let Some(missing) = readiness.missing(&self.config.require) else {
            return say_ready(&format!("{line}{}", readiness.rest_of_line()));
        };
        for line in missing.lines() {
            tracing::error!("not ready: {line}");
        }
        self.unready = true;
        self.stop("not ready");
    }

    fn advance_stop(&mut self) -> Option<Outcome> {
        let stopping = self.stopping.as_mut()?;
        let mut coordinator = self.hub.coordinator.borrow_mut();
        let now = Instant::now();
        if !stopping.dismissed && coordinator.is_idle() {
            coordinator.dismiss_clients();
            stopping.dismissed = true;
        }
        if stopping.dismissed {
            let ended = match self.unready {
                true => Outcome::Unready,
                false => Outcome::Drained,
            };
            if !coordinator.has_clients() {
                return Some(ended);
            }
            if coordinator.has_unsent() {
                stopping.linger_until = None;
            } else {
                let until = *stopping.linger_until.get_or_insert(now + limits::LINGER);
                if until <= now {
                    return Some(ended);
                }
            }
        }
        (stopping.cut_at <= now).then(|| {
            let patience = self.config.drain_timeout;
            tracing::error!(
                "jobs were still in work, or replies not read, after {patience:?}: they are cut off"
            );
            Outcome::Cut
        })
    }

    fn asked(&mut self, asked: SignalAction) -> Option<Outcome> {
        match asked {
            SignalAction::Stop(name) => return self.stop(name),
            SignalAction::LookAnew if self.stopping.is_some() => {
                tracing::info!("HUP: nothing is looked at anew, for the host is stopping");
            }
            SignalAction::LookAnew => {
                tracing::info!(
                    "HUP: each file in the plugin folder is read anew; the log is stderr, and there is nothing to be reopened"
                );
                self.watcher.look_anew();
            }
            SignalAction::Nothing(name) => tracing::info!(
                "{name}: is ignored; TERM and INT stop the host, HUP has it read the plugins' files anew"
            ),
        }
        None
    }

    /// The first signal drains, the second ends at once.
    fn stop(&mut self, name: &str) -> Option<Outcome> {
        if self.stopping.is_some() {
            tracing::warn!("{name} again: ending at once");
            return Some(Outcome::Forced);
        }
        tracing::info!(
            "{name}: no new connections, jobs in work are answered, the others are given back"
        );
        for acceptor in self.acceptors.drain(..) {
            acceptor.abort();
        }
        self.stopping = Some(Stopping {
            cut_at: Instant::now() + self.config.drain_timeout,
            dismissed: false,
            linger_until: None,
        });
        self.hub.coordinator.borrow_mut().stop();
        None
    }

    /// A disk that does not come back holds up the end no longer than a job that does not.
    fn close_storage(&self, ended: Outcome) -> Outcome {
        let patience = match ended {
            Outcome::Drained | Outcome::Unready => self.config.drain_timeout,
            Outcome::Cut | Outcome::Forced => Duration::ZERO,
        };
        let closed = self.hub.coordinator.borrow_mut().close_storage(patience);
        if !self.rolled_back.finish(patience) {
            tracing::error!(
                "the files of a version that was rolled back to are not written yet: should they not be whole, its plugin is \
                 refused after the restart"
            );
        }
        if closed || ended != Outcome::Drained {
            return ended;
        }
        tracing::error!(
            "the disk has not taken the state within {patience:?}: what was answered is with the system only"
        );
        Outcome::Cut
    }

    fn next_due(&self) -> Option<Instant> {
        let stopping = self.stopping.as_ref();
        // How far the clients have come with reading is not told, but looked at.
        let stopping = stopping.map(|stopping| match stopping.dismissed {
            true => stopping.cut_at.min(Instant::now() + DISMISSED_LOOK),
            false => stopping.cut_at,
        });
        let job = self.hub.coordinator.borrow().next_due();
        [job, self.next_report, stopping]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What the coordinator goes by.
fn settings(config: &Config) -> Settings {
    Settings {
        name: config.name.clone(),
        deadline: config.deadline,
        queue_jobs_max: config.queue_jobs_max,
        wait_max: config.wait_max,
        quarantine: config.quarantine,
        drain_timeout: config.drain_timeout,
        durability: config.durability.name(),
        operators_over_tcp: config.operators_over_tcp,
    }
}

/// What opens the lanes of versions, and tells the core thread of it.
fn opener(
    config: &Config,
    clock: Clock,
    signal: &Arc<Signal>,
    to_core: &UnboundedSender<FromThreads>,
) -> Opener {
    let to_core = to_core.clone();
    Opener::new(
        Arc::new(SystemThreads),
        clock,
        Arc::clone(signal),
        config.migration_timeout,
        move |opened| tell(&to_core, FromThreads::Opened(opened)),
    )
}

/// What operators have decided to serve in the place of what the plugins' files hold.
fn rolled_back(coordinator: &Coordinator, data: &DataFolder) -> RolledBack {
    let decided = coordinator.decisions().filter_map(|(name, decision)| {
        let rolled_back = decision.rolled_back.clone();
        rolled_back.map(|rolled_back| (name.to_owned(), rolled_back))
    });
    RolledBack::new(data.path(), decided.collect())
}

/// From now on the core thread is told what happens in the plugins' folder.
fn watch_plugins(
    config: &Config,
    crashes: Arc<CrashList>,
    rolled_back: &Arc<RolledBack>,
    to_core: UnboundedSender<FromThreads>,
) -> anyhow::Result<Watcher> {
    let folder = &config.plugins;
    let told = move |event| tell(&to_core, FromThreads::Plugin(event));
    Watcher::start(
        folder.clone(),
        crashes,
        Arc::clone(rolled_back),
        config.settle,
        told,
    )
    .with_context(|| format!("the plugin folder {} cannot be watched", folder.display()))
}

/// What the sessions' names are made with, should the state have nothing to make them with yet.
fn new_session_key() -> anyhow::Result<SessionKey> {
    let mut key = [0; SessionKey::BYTES];
    let filled = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty());
    let filled = filled.context("the system has no random bytes")?;
    anyhow::ensure!(
        filled == key.len(),
        "the system gave {filled} random bytes of {}",
        key.len()
    );
    Ok(SessionKey(key))
}

/// From now on what a plugin does to the process is remembered. To be called on the core thread.
fn guard_against_plugins(config: &Config, data: &DataFolder) -> anyhow::Result<Arc<CrashList>> {
    let crashes = CrashList::open(data.path(), config.retry_crashed)
        .and_then(|crashes| {
            crash_mark::install(crashes.file()?)?;
            blame::watch_this_thread();
            watchdog::start(config.inline_stuck)?;
            Ok(crashes)
        })
        .with_context(|| {
            let data = data.path().display();
            format!("the crash marks in the data folder {data} cannot be kept")
        })?;
    Ok(Arc::new(crashes))
}

fn tell(to_core: &UnboundedSender<FromThreads>, told: FromThreads) {
    // The core loop ends only with the process.
    let _ = to_core.send(told);
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn log_start(config: &Config, addresses: &[std::net::SocketAddr]) {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    tracing::info!(
        name = %config.name,
        version = crate::VERSION,
        process = std::process::id(),
        listen = addresses.join(", "),
        plugins = %config.plugins.display(),
        data = %config.data.display(),
        deadline = ?config.deadline,
        queue_max = config.queue_jobs_max,
        durability = config.durability.meaning(),
        "starting"
    );
}

/// stdout is for programs that wait for the host: this one line is all that it ever gets.
fn say_ready(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!("the ready line cannot be written to stdout: {error}");
    }
    tracing::info!("{line}");
}
