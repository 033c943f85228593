//! Whose sessions take how much, and which of them go first where there is no room for all.
//!
//! Sessions are grouped by where their clients come from, so that whoever begins many, or keeps large answers, loses its
//! own before anybody else's: of the origin that has most, the largest, or the one in the middle of those that were left. A session that takes no
//! more than [`limits::SESSION_SHARE_BYTES`] loses nothing to another's size.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    coordinator::peer::{Peer, peer_network},
    limits::{self, SESSION_SHARE_BYTES},
};

/// Where a session's clients come from: an IPv4 address, an IPv6 network of 64 bits, which one machine can have to itself,
/// or this machine. None of a session that was there before the host started, or of an operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Option<IpAddr>);

impl Origin {
    /// Nobody knows, see [`Origin`].
    pub(super) const UNKNOWN: Self = Self(None);

    /// Of whoever is at the other end.
    pub(in crate::coordinator) fn of(peer: Peer) -> Self {
        let Peer::Client(address) = peer else {
            return Self::UNKNOWN;
        };
        let address = address.ip();
        // Each process of this machine has all of its addresses.
        Self(Some(match address.to_canonical().is_loopback() {
            true => Ipv4Addr::LOCALHOST.into(),
            false => peer_network(address),
        }))
    }

    #[cfg(test)]
    pub(super) fn test(number: u32) -> Self {
        Self(Some(IpAddr::V4(number.into())))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("an operator, or from before the start"),
        }
    }
}

/// A session that nobody is in, as it is found among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    /// Something was changed for it, so that it matters whether it is known.
    pub(super) matters: bool,
    /// Since when nobody is in it, on the host's clock.
    pub(super) since_ms: u64,
    pub(super) session: u64,
}

impl Idle {
    fn place(self) -> Place {
        (self.since_ms, self.session)
    }
}

/// Since when nobody is in a session, and which it is.
type Place = (u64, u64);

/// See the file's head. Sizes are in bytes, and sorted by KiB so that most answers move nothing.
#[derive(Debug, Default)]
pub(super) struct Shares {
    bytes: usize,
    origins: HashMap<Origin, OfOrigin>,
    origins_by_size: BTreeSet<(usize, Origin)>,
    origins_by_idle: BTreeSet<(usize, Origin)>,
    sessions_by_size: BTreeSet<(usize, u64)>,
    /// All sessions that nobody is in, those to be forgotten first in front.
    idle: BTreeSet<Place>,
}

#[derive(Debug, Default)]
struct OfOrigin {
    bytes: usize,
    by_size: BTreeSet<(usize, u64)>,
    /// The idle ones for which something was changed.
    idle_that_matter: Halves,
    /// The sessions that nobody is in of all other origins.
    idle_others: Halves,
}

impl OfOrigin {
    fn idle_len(&self) -> usize {
        self.idle_that_matter.len() + self.idle_others.len()
    }

    fn idle_like(&mut self, idle: Idle) -> &mut Halves {
        match idle.matters {
            true => &mut self.idle_that_matter,
            false => &mut self.idle_others,
        }
    }
}

/// Idle sessions in the order in which they were left, parted so that the one in the middle is at hand.
#[derive(Debug, Default)]
struct Halves {
    left_first: BTreeSet<Place>,
    /// The half that is forgotten last: as many as in the other one, or one more.
    left_last: BTreeSet<Place>,
}

impl Halves {
    fn len(&self) -> usize {
        self.left_first.len() + self.left_last.len()
    }

    fn insert(&mut self, place: Place) {
        match self.left_last.first() {
            Some(middle) if place < *middle => self.left_first.insert(place),
            _ => self.left_last.insert(place),
        };
        self.level();
    }

    fn remove(&mut self, place: Place) {
        if !self.left_first.remove(&place) {
            self.left_last.remove(&place);
        }
        self.level();
    }

    fn level(&mut self) {
        while self.left_first.len() > self.left_last.len() {
            self.left_last.extend(self.left_first.pop_last());
        }
        while self.left_last.len() > self.left_first.len() + 1 {
            self.left_first.extend(self.left_last.pop_first());
        }
    }

    fn middle(&self) -> Option<u64> {
        self.left_last.first().map(|(_, session)| *session)
    }
}

impl Shares {
    /// What all sessions take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many sessions nobody is in.
    pub(super) fn idle_len(&self) -> usize {
        self.idle.len()
    }

    /// A session takes `now` bytes; 0: it is not there, or no more.
    pub(super) fn resize(&mut self, origin: Origin, session: u64, before: usize, now: usize) {
        self.bytes = self.bytes - before + now;
        let of = self.origins.entry(origin).or_default();
        let origin_before = of.bytes;
        of.bytes = of.bytes - before + now;
        let origin_now = of.bytes;
        move_in(&mut of.by_size, session, size(before), size(now));
        move_in(&mut self.sessions_by_size, session, size(before), size(now));
        let (before, now) = (size(origin_before), size(origin_now));
        move_in(&mut self.origins_by_size, origin, before, now);
        self.drop_empty(origin);
    }

    /// Nobody is in a session any more.
    pub(super) fn add_idle(&mut self, origin: Origin, idle: Idle) {
        self.idle.insert(idle.place());
        self.change_idle(origin, |of| of.idle_like(idle).insert(idle.place()));
    }

    /// Somebody is, or it is there no more.
    pub(super) fn remove_idle(&mut self, origin: Origin, idle: Idle) {
        self.idle.remove(&idle.place());
        self.change_idle(origin, |of| of.idle_like(idle).remove(idle.place()));
        self.drop_empty(origin);
    }

    /// The session that was left first of all.
    pub(super) fn left_first(&self) -> Option<Place> {
        self.idle.first().copied()
    }

    /// The session that goes where too many were left: of the origin that has left most, the one in the middle of those for
    /// which nothing was changed, or else of the others. So who leaves many takes the place neither of whoever left before
    /// it, from the same address, nor at once of whoever leaves meanwhile.
    pub(super) fn least_missed(&self) -> Option<u64> {
        let (_, origin) = self.origins_by_idle.last()?;
        let of = self.origins.get(origin)?;
        of.idle_others
            .middle()
            .or_else(|| of.idle_that_matter.middle())
    }

    /// The session that loses answers where all are too large: the largest of the origin that has most, unless it has but
    /// small ones.
    pub(super) fn largest(&self, may_lose: impl Fn(u64) -> bool) -> Option<u64> {
        let of_most = self.origins_by_size.last();
        let of_most = of_most.and_then(|(_, origin)| self.origins.get(origin));
        let find = |sessions: &BTreeSet<(usize, u64)>| {
            let large = sessions.range((size(SESSION_SHARE_BYTES) + 1, 0)..);
            let mut large = large.rev().map(|(_, session)| *session);
            large.find(|session| may_lose(*session))
        };
        of_most
            .and_then(|of| find(&of.by_size))
            .or_else(|| find(&self.sessions_by_size))
    }

    fn change_idle(&mut self, origin: Origin, change: impl FnOnce(&mut OfOrigin)) {
        let of = self.origins.entry(origin).or_default();
        let before = of.idle_len();
        change(of);
        let now = of.idle_len();
        move_in(&mut self.origins_by_idle, origin, before, now);
    }

    fn drop_empty(&mut self, origin: Origin) {
        let of = self.origins.get(&origin);
        if of.is_some_and(|of| of.bytes == 0 && of.idle_len() == 0) {
            self.origins.remove(&origin);
        }
    }
}

/// What an answer takes beside its key and its value, in bytes: measured on the map that it stands in.
pub(super) const ANSWER_BYTES: usize = 96;

/// What a session takes beside its answers, in bytes, with its places in the orders of this file.
pub(super) const SESSION_BYTES: usize = 256;

const _: () = assert!(
    (limits::SESSIONS_IDLE_MAX + limits::CONNECTIONS_MAX) * SESSION_SHARE_BYTES
        < limits::ANSWERS_KEPT_BYTES_ALL_MAX,
    "where there is too much, one of them has more than its share"
);

/// In KiB, rounded up: 0 only of what is not there.
fn size(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

/// Moves an entry that is sorted by a number; under 0 there is none.
fn move_in<T: Ord + Copy>(sorted: &mut BTreeSet<(usize, T)>, of: T, before: usize, now: usize) {
    if before == now {
        return;
    }
    if before > 0 {
        sorted.remove(&(before, of));
    }
    if now > 0 {
        sorted.insert((now, of));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_is_one_origin() {
        let of = |address: &str| Origin::of(Peer::Client(address.parse().expect("an address")));
        let this = of("127.0.0.1:1");
        for address in [
            "127.0.0.1:2",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.2]:1",
        ] {
            assert_eq!(of(address), this, "{address}");
        }
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:0:0:2]:9"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("[::ffff:10.0.0.1]:1"), of("10.0.0.1:7"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
    }

    #[test]
    fn whoever_leaves_many_costs_none_that_was_left_before_though_it_be_from_the_same_address() {
        let mut shares = Shares::default();
        let idle = |session| Idle {
            matters: true,
            since_ms: session,
            session,
        };
        let forget = |shares: &mut Shares, count| -> Vec<u64> {
            let one = |_| {
                let session = shares.least_missed().expect("there are more");
                shares.remove_idle(Origin::test(1), idle(session));
                session
            };
            (0..count).map(one).collect()
        };
        for session in 1..=1_000 {
            shares.add_idle(Origin::test(1), idle(session));
        }
        for session in 1_001..=9_000 {
            shares.add_idle(Origin::test(1), idle(session));
            let forgotten = forget(&mut shares, 1)[0];
            let just_before = session.saturating_sub(500);
            assert!(
                (500..=just_before).contains(&forgotten),
                "{session}: {forgotten}"
            );
        }
        let rest = forget(&mut shares, 1_000);
        assert_eq!((rest.last(), shares.idle_len()), (Some(&1), 0));
    }

    #[test]
    fn the_middle_is_that_of_a_sorted_list_whatever_comes_and_goes() {
        let (mut halves, mut sorted) = (Halves::default(), BTreeSet::new());
        let mut number: u64 = 1;
        for step in 0..2_000 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let place = (number >> 58, step);
            halves.insert(place);
            sorted.insert(place);
            if number & 0x30_0000 == 0 {
                let gone = *sorted.iter().nth(sorted.len() / 3).expect("one is there");
                sorted.remove(&gone);
                halves.remove(gone);
            }
            let middle = sorted.iter().nth(sorted.len() / 2);
            assert_eq!(
                halves.middle(),
                middle.map(|(_, session)| *session),
                "{step}"
            );
            assert_eq!(halves.len(), sorted.len());
        }
    }
}
