//! How many clients the host takes, and what those hear that are too many.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{ErrorCode, encoder};
use rustix::{
    net::Shutdown,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::transport::Stream;
use crate::{
    coordinator::{Peer, peer_network},
    limits,
};

/// What goes on for long is told this often: a log that nobody can read any more is none.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How often it is read from who is turned away at once, 1 KiB each.
const TURNED_AWAY_READS_MAX: usize = 16;

/// Who is connected. Shared by all listeners.
pub struct Admission {
    clients: Room,
    operators: Room,
    /// Where one address may have a share of the clients' places.
    shares: Option<Shares>,
    /// Peers that were turned away, and are being told so.
    being_told: Cell<usize>,
    failures: Repeated,
}

/// The places of one kind of peers.
struct Room {
    max: usize,
    /// What the log calls those who have places here.
    of: &'static str,
    connected: Cell<usize>,
    turned_away: Repeated,
}

/// One peer's. Dropped, another one may have it.
pub(super) struct Permit {
    admission: Rc<Admission>,
    peer: Peer,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.leave(self.peer);
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
    /// for the log of the states and for whatever else must not fail because there are many clients. One address may have
    /// `per_address` clients.
    pub fn raised(per_address: Option<usize>) -> Self {
        let wanted = limits::CONNECTIONS_MAX + limits::FILES_KEPT;
        let files = raise_to(wanted).unwrap_or(wanted);
        let kept = limits::FILES_KEPT.min(files / 2);
        let max = (files - kept).min(limits::CONNECTIONS_MAX);
        if max < limits::CONNECTIONS_MAX {
            tracing::warn!(
                "the host may open {files} files only: it takes {max} clients, and not {}; raise the hard limit, to \
                 {wanted} at least (`ulimit -Hn`, LimitNOFILE= of a service)",
                limits::CONNECTIONS_MAX
            );
        }
        Self {
            clients: Room::new("clients", max),
            operators: Room::new("operators", limits::OPERATORS_MAX.min(kept / 4).max(1)),
            shares: per_address.map(Shares::new),
            being_told: Cell::new(0),
            failures: Repeated::default(),
        }
    }

    /// A place, if there is one; else the peer is told why.
    pub(super) fn admit(self: &Rc<Self>, stream: Stream, peer: Peer) -> Option<(Stream, Permit)> {
        let Err(text) = self.enter(peer) else {
            let admission = Rc::clone(self);
            return Some((stream, Permit { admission, peer }));
        };
        let mut words = Vec::new();
        let code = ErrorCode::Busy.as_str();
        encoder::error(&mut words, encoder::BAD_MESSAGE_TYPE, "0", code, &text);
        if self.being_told.get() < limits::TURNED_AWAY_TOLD_MAX {
            self.being_told.set(self.being_told.get() + 1);
            let admission = Rc::clone(self);
            tokio::task::spawn_local(async move {
                // A peer that has gone by itself need not hear it.
                let _ = timeout(limits::LINGER, tell(stream, &words)).await;
                admission.being_told.set(admission.being_told.get() - 1);
            });
        } else {
            // It is only a courtesy: a peer that it does not reach sees its connection closed.
            let _ = tell_at_once(&stream, &words);
        }
        None
    }

    /// Takes a place; the reason, if there is none.
    fn enter(&self, peer: Peer) -> Result<(), String> {
        self.room(peer).enter(peer)?;
        if let (Peer::Client(address), Some(shares)) = (peer, &self.shares)
            && let Err(reason) = shares.enter(address.ip())
        {
            let room = self.room(peer);
            room.leave();
            room.turned_away(peer, &reason);
            return Err(reason);
        }
        Ok(())
    }

    fn leave(&self, peer: Peer) {
        if let (Peer::Client(address), Some(shares)) = (peer, &self.shares) {
            shares.leave(address.ip());
        }
        self.room(peer).leave();
    }

    /// Operators have places that no client can take.
    fn room(&self, peer: Peer) -> &Room {
        match peer.is_operator() {
            true => &self.operators,
            false => &self.clients,
        }
    }

    /// The system could not accept one.
    pub(super) fn failed(&self, error: &io::Error) {
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
        self.turned_away(peer, &text);
        Err(text)
    }

    fn turned_away(&self, peer: Peer, text: &str) {
        if let Some(count) = self.turned_away.happened() {
            tracing::warn!(%peer, count, "turned away: {text}");
        }
    }

    /// Somebody has gone, so a place is free.
    fn leave(&self) {
        self.connected.set(self.connected.get() - 1);
        if let Some(count) = self.turned_away.untold() {
            tracing::warn!(
                count,
                "turned away since that was told last; {} {} are connected",
                self.connected.get(),
                self.of
            );
        }
    }
}

/// The places of clients, by address.
struct Shares {
    max: usize,
    taken: RefCell<HashMap<IpAddr, usize>>,
}

impl Shares {
    fn new(max: usize) -> Self {
        Self {
            max,
            taken: RefCell::default(),
        }
    }

    fn enter(&self, address: IpAddr) -> Result<(), String> {
        let of = peer_network(address);
        let mut taken = self.taken.borrow_mut();
        let taken = taken.entry(of).or_default();
        if *taken < self.max {
            *taken += 1;
            return Ok(());
        }
        let network = if of.is_ipv6() { "/64" } else { "" };
        Err(format!(
            "{taken} clients are connected from {of}{network} already, as many as this host takes from one address \
             (--clients-per-address); close some of them, or try again later"
        ))
    }

    fn leave(&self, address: IpAddr) {
        let mut all = self.taken.borrow_mut();
        let of = peer_network(address);
        if let Some(taken) = all.get_mut(&of) {
            *taken -= 1;
            if *taken == 0 {
                all.remove(&of);
            }
        }
    }
}

/// Says the words to who is turned away, and waits until it has gone: what it has sent would reset the connection under
/// them.
async fn tell(stream: Stream, words: &[u8]) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(words).await?;
    writer.shutdown().await?;
    let mut thrown_away = [0; 1024];
    while reader.read(&mut thrown_away).await? > 0 {}
    Ok(())
}

/// The same without waiting: only what has come already does not reset the connection.
fn tell_at_once(stream: &Stream, words: &[u8]) -> rustix::io::Result<()> {
    rustix::io::write(stream, words)?;
    rustix::net::shutdown(stream, Shutdown::Write)?;
    let mut thrown_away = [0; 1024];
    for _ in 0..TURNED_AWAY_READS_MAX {
        if rustix::io::read(stream, &mut thrown_away)? == 0 {
            break;
        }
    }
    Ok(())
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
