//! How many clients the host takes, and what those hear that are too many.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{ErrorCode, encoder};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::limits;

/// What goes on for long is told this often: a log that nobody can read any more is none.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The clients that are connected. Shared by all listeners.
pub struct Admission {
    max: usize,
    connected: Cell<usize>,
    turned_away: Repeated,
    failures: Repeated,
}

/// One client's. Dropped, another one may have it.
pub(super) struct Place(Rc<Admission>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Something that is told now and then, with how often it happened since.
#[derive(Default)]
struct Repeated {
    count: Cell<u64>,
    told: Cell<Option<Instant>>,
}

impl Admission {
    /// Raises the process's limit of open files as far as it may and as is of use. Some of them are kept for plugins,
    /// for the log of the states and for whatever else must not fail because there are many clients.
    pub fn raised() -> Self {
        let wanted = limits::CONNECTIONS_MAX + limits::FILES_KEPT;
        let files = raise_to(wanted).unwrap_or(wanted);
        let max = (files - limits::FILES_KEPT.min(files / 2)).min(limits::CONNECTIONS_MAX);
        if max < limits::CONNECTIONS_MAX {
            tracing::warn!(
                "the host may open {files} files only: it takes {max} clients, and not {}; raise the hard limit, to \
                 {wanted} at least (`ulimit -Hn`, LimitNOFILE= of a service)",
                limits::CONNECTIONS_MAX
            );
        }
        Self {
            max,
            connected: Cell::new(0),
            turned_away: Repeated::default(),
            failures: Repeated::default(),
        }
    }

    /// A place for a client, if there is one; else the client is told why.
    pub(super) fn admit(self: &Rc<Self>, stream: &TcpStream, peer: SocketAddr) -> Option<Place> {
        if self.connected.get() < self.max {
            self.connected.set(self.connected.get() + 1);
            return Some(Place(Rc::clone(self)));
        }
        let max = self.max;
        let text = format!(
            "{max} clients are connected already, as many as this host takes; try again later"
        );
        if let Some(count) = self.turned_away.happened() {
            tracing::warn!(%peer, count, "turned away: {text}");
        }
        let mut words = Vec::new();
        let code = ErrorCode::Busy.as_str();
        encoder::error(&mut words, encoder::BAD_MESSAGE_TYPE, "0", code, &text);
        // It is only a courtesy: a client that it does not reach sees its connection closed.
        let _ = stream.try_write(&words);
        None
    }

    /// A client has gone.
    fn leave(&self) {
        self.connected.set(self.connected.get() - 1);
        if let Some(count) = self.turned_away.untold() {
            tracing::warn!(
                count,
                "turned away since that was told last: {} clients were connected",
                self.max
            );
        }
    }

    /// The system could not accept one.
    pub(super) fn failed(&self, error: &std::io::Error) {
        if let Some(count) = self.failures.happened() {
            tracing::warn!(count, "a client could not be accepted: {error}");
        }
    }
}

impl Repeated {
    /// How often it happened since it was told, if that is to be told now.
    fn happened(&self) -> Option<u64> {
        self.count.set(self.count.get() + 1);
        self.untold()
    }

    /// The same where it did not happen just now: the last of many are to be told, too.
    fn untold(&self) -> Option<u64> {
        let is_told = |told: Instant| told.elapsed() < TOLD_EVERY;
        if self.count.get() == 0 || self.told.get().is_some_and(is_told) {
            return None;
        }
        self.told.set(Some(Instant::now()));
        Some(self.count.take())
    }
}

/// Raises the limit of open files, and returns what it is then; `None`: there is none.
fn raise_to(wanted: usize) -> Option<usize> {
    let wanted = wanted as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut now = current?;
    if now < wanted {
        let most = maximum.map_or(wanted, |most| most.min(wanted));
        let raised = Rlimit {
            current: Some(most),
            maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => now = most,
            Err(error) => tracing::warn!("the limit of open files cannot be raised: {error}"),
        }
    }
    Some(usize::try_from(now).unwrap_or(usize::MAX))
}
