//! How many clients the host takes, and what those hear that are too many.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{ErrorCode, encoder};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::transport::Stream;
use crate::{coordinator::Peer, limits};

/// What goes on for long is told this often: a log that nobody can read any more is none.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Who is connected. Shared by all listeners.
pub struct Admission {
    clients: Room,
    operators: Room,
    failures: Repeated,
}

/// The places of one kind of peers.
struct Room {
    max: usize,
    /// What its peers are called.
    of: &'static str,
    connected: Cell<usize>,
    turned_away: Repeated,
}

/// One peer's. Dropped, another one may have it.
pub(super) struct Place {
    admission: Rc<Admission>,
    peer: Peer,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.room(self.peer).leave();
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
            clients: Room::new("clients", max),
            operators: Room::new("operators", limits::OPERATORS_MAX),
            failures: Repeated::default(),
        }
    }

    /// A place, if there is one; else the peer is told why.
    pub(super) fn admit(self: &Rc<Self>, stream: &Stream, peer: Peer) -> Option<Place> {
        let Err(text) = self.room(peer).enter(peer) else {
            let admission = Rc::clone(self);
            return Some(Place { admission, peer });
        };
        let mut words = Vec::new();
        let code = ErrorCode::Busy.as_str();
        encoder::error(&mut words, encoder::BAD_MESSAGE_TYPE, "0", code, &text);
        // It is only a courtesy: a peer that it does not reach sees its connection closed.
        let _ = stream.try_write(&words);
        None
    }

    /// Operators have places that no client can take.
    fn room(&self, peer: Peer) -> &Room {
        match peer.is_operator() {
            true => &self.operators,
            false => &self.clients,
        }
    }

    /// The system could not accept one.
    pub(super) fn failed(&self, error: &std::io::Error) {
        if let Some(count) = self.failures.happened() {
            tracing::warn!(count, "a client could not be accepted: {error}");
        }
    }
}

impl Room {
    fn new(of: &'static str, max: usize) -> Self {
        Self {
            max,
            of,
            connected: Cell::new(0),
            turned_away: Repeated::default(),
        }
    }

    /// Takes a place; the reason, if there is none.
    fn enter(&self, peer: Peer) -> Result<(), String> {
        if self.connected.get() < self.max {
            self.connected.set(self.connected.get() + 1);
            return Ok(());
        }
        let text = format!(
            "{} {} are connected already, as many as this host takes; try again later",
            self.max, self.of
        );
        if let Some(count) = self.turned_away.happened() {
            tracing::warn!(%peer, count, "turned away: {text}");
        }
        Err(text)
    }

    /// Somebody has gone.
    fn leave(&self) {
        self.connected.set(self.connected.get() - 1);
        if let Some(count) = self.turned_away.untold() {
            tracing::warn!(
                count,
                "turned away since that was told last: {} {} were connected",
                self.max,
                self.of
            );
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
