//! What the code of one request type does wrong, and who pays for that: first the client whose requests make it panic,
//! then the type, each for a time. Pure: time comes as an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::limits::{
    PANIC_WINDOW, PANICS_CLIENT_MAX, PANICS_MAX, QUARANTINE_MAX, SHUT_OUT_MAX, STUCK_JOBS_MAX,
    STUCK_WINDOW,
};

/// The faults of one type, and what was done about them: see the file's head.
#[derive(Debug, Default)]
pub struct TypeFaults {
    /// Panics within [`PANIC_WINDOW`] for clients that are not shut out: when, and for whom.
    panics: VecDeque<(Instant, u64)>,
    /// Clients whose requests are refused, and until when.
    shut_out: BTreeMap<u64, Instant>,
    /// Jobs past their time limit within [`STUCK_WINDOW`].
    stuck: VecDeque<Instant>,
    /// How often the type was taken out of service.
    outages: Outages,
    /// The time out of service that the type is in.
    out: Option<Out>,
}

/// A time in which a type is out of service.
#[derive(Clone, Debug)]
pub struct Out {
    /// When the type comes back by itself.
    pub until: Instant,
    /// Since when, on the host's clock.
    pub since_ms: u64,
    /// The sentence that its clients are told.
    pub why: String,
}

/// What is to be done after a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing: there were too few faults as yet.
    Nothing,
    /// The client's requests for the type are refused from now on.
    ShutOut,
    /// The type goes out of service, for this reason.
    Out(String),
}

/// How long something is out of service: each time for twice as long, unless it was well for long.
#[derive(Debug, Default)]
pub struct Outages {
    in_a_row: u32,
    until: Option<Instant>,
}

impl Outages {
    /// Begins one, which lasts for `first` if there was none before. Returns when it ends.
    pub fn begin(&mut self, first: Duration, now: Instant) -> Instant {
        let was_well = |until: Instant| is_past(until, QUARANTINE_MAX, now);
        if self.until.is_some_and(was_well) {
            self.in_a_row = 0;
        }
        let times = 2_u32.saturating_pow(self.in_a_row);
        self.in_a_row += 1;
        let longest = QUARANTINE_MAX.max(first);
        let until = now + first.saturating_mul(times).min(longest);
        self.until = Some(until);
        until
    }
}

impl TypeFaults {
    /// It has panicked on a request of this client, which may be shut out `for_so_long`.
    pub fn panicked(&mut self, who: u64, for_so_long: Duration, now: Instant) -> Follows {
        if self.shut_out_until(who, now).is_some() {
            // Of jobs that had run before that was known.
            return Follows::Nothing;
        }
        forget(&mut self.panics, |(at, _)| is_past(*at, PANIC_WINDOW, now));
        self.panics.push_back((now, who));
        let of_client = self.panics.iter().filter(|(_, of)| *of == who).count();
        if of_client > PANICS_CLIENT_MAX {
            // The panics of that client are paid for.
            self.panics.retain(|(_, of)| *of != who);
            self.shut_out.retain(|_, until| *until > now);
            self.shut_out.insert(who, now + for_so_long);
            return match self.shut_out.len() > SHUT_OUT_MAX {
                true => Follows::Out(format!(
                    "it panicked again and again for each of more than {SHUT_OUT_MAX} clients"
                )),
                false => Follows::ShutOut,
            };
        }
        match self.panics.len() > PANICS_MAX {
            true => Follows::Out(format!(
                "it panicked more than {PANICS_MAX} times within {} s, for several clients",
                PANIC_WINDOW.as_secs()
            )),
            false => Follows::Nothing,
        }
    }

    /// A job of it did not end in time. `many`: so many threads are lost already that one more is enough.
    pub fn got_stuck(&mut self, many: bool, now: Instant) -> Follows {
        forget(&mut self.stuck, |at| is_past(*at, STUCK_WINDOW, now));
        self.stuck.push_back(now);
        let stuck = self.stuck.len();
        match many || stuck >= STUCK_JOBS_MAX {
            true => Follows::Out(format!(
                "{stuck} of its jobs did not end in time within {} min",
                STUCK_WINDOW.as_secs() / 60
            )),
            false => Follows::Nothing,
        }
    }

    /// Until when this client's requests for the type are refused, if they are.
    pub fn shut_out_until(&self, who: u64, now: Instant) -> Option<Instant> {
        self.shut_out
            .get(&who)
            .copied()
            .filter(|until| *until > now)
    }

    /// How many clients the type refuses at the moment.
    pub fn shut_out(&self, now: Instant) -> usize {
        self.shut_out.values().filter(|until| **until > now).count()
    }

    /// The type goes out of service, for `first` if it was not out before.
    pub fn goes_out(&mut self, why: String, first: Duration, now: Instant, now_ms: u64) -> &Out {
        self.out.insert(Out {
            until: self.outages.begin(first, now),
            since_ms: now_ms,
            why,
        })
    }

    /// Since when it is out of service, and why.
    pub fn out(&self) -> Option<&Out> {
        self.out.as_ref()
    }

    /// It is in service again, and begins anew.
    pub fn comes_back(&mut self) {
        self.out = None;
        self.panics.clear();
        self.shut_out.clear();
        self.stuck.clear();
    }
}

/// Drops the times at the front that are old.
fn forget<T>(times: &mut VecDeque<T>, is_old: impl Fn(&T) -> bool) {
    while times.front().is_some_and(&is_old) {
        times.pop_front();
    }
}

pub(in crate::coordinator) fn is_past(at: Instant, window: Duration, now: Instant) -> bool {
    now.saturating_duration_since(at) > window
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FIRST: Duration = Duration::from_secs(60);

    #[test]
    fn a_client_whose_requests_panic_is_shut_out_and_the_type_serves_the_others() {
        let (mut faults, now) = (TypeFaults::default(), Instant::now());
        for _ in 0..PANICS_CLIENT_MAX {
            assert_eq!(faults.panicked(1, FIRST, now), Follows::Nothing);
        }
        assert_eq!(faults.panicked(2, FIRST, now), Follows::Nothing);
        assert_eq!(faults.panicked(1, FIRST, now), Follows::ShutOut);
        for _ in 0..10 * PANICS_MAX {
            assert_eq!(faults.panicked(1, FIRST, now), Follows::Nothing);
        }
        assert_eq!(faults.shut_out_until(1, now), Some(now + FIRST));
        assert_eq!(faults.shut_out_until(2, now), None);
        assert_eq!(faults.shut_out(now), 1);
        let later = now + FIRST;
        assert_eq!(faults.shut_out_until(1, later), None);
        assert_eq!(faults.shut_out(later), 0);
    }

    #[test]
    fn panics_for_many_clients_take_the_type_out() {
        let (mut faults, now) = (TypeFaults::default(), Instant::now());
        let follows: Vec<_> = (0..=PANICS_MAX as u64)
            .map(|panic| faults.panicked(panic % 20, FIRST, now))
            .collect();
        let (last, before) = follows.split_last().unwrap();
        assert!(before.iter().all(|follows| *follows == Follows::Nothing));
        assert!(matches!(last, Follows::Out(_)));
    }

    #[test]
    fn as_many_over_a_long_time_do_not() {
        let (mut faults, now) = (TypeFaults::default(), Instant::now());
        for panic in 0..10 * PANICS_MAX as u64 {
            let at = now + u32::try_from(panic).unwrap() * SECOND;
            assert_eq!(faults.panicked(panic % 20, FIRST, at), Follows::Nothing);
        }
        for job in 0..100 {
            let at = now + job * STUCK_WINDOW * 2 / 3;
            assert_eq!(faults.got_stuck(false, at), Follows::Nothing);
        }
    }

    #[test]
    fn shutting_out_many_clients_does_not_help_so_the_type_goes() {
        let (mut faults, now) = (TypeFaults::default(), Instant::now());
        let mut follows = Vec::new();
        for client in 0..=SHUT_OUT_MAX as u64 {
            for _ in 0..=PANICS_CLIENT_MAX {
                follows.push(faults.panicked(client, FIRST, now));
            }
        }
        let outs = follows
            .iter()
            .filter(|follows| matches!(follows, Follows::Out(_)));
        assert_eq!(outs.count(), 1);
        assert!(matches!(follows.last(), Some(Follows::Out(_))));
    }

    #[test]
    fn jobs_that_hang_take_the_type_out_for_longer_each_time() {
        let (mut faults, mut now) = (TypeFaults::default(), Instant::now());
        let mut lasted = Vec::new();
        for _ in 0..8 {
            let many = (1..STUCK_JOBS_MAX).map(|_| faults.got_stuck(false, now));
            assert!(many.into_iter().all(|follows| follows == Follows::Nothing));
            let Follows::Out(why) = faults.got_stuck(false, now) else {
                panic!("it goes on");
            };
            let until = faults.goes_out(why, FIRST, now, 0).until;
            lasted.push(until - now);
            now = until;
            faults.comes_back();
        }
        assert_eq!(lasted[..2], [FIRST, 2 * FIRST]);
        assert_eq!(lasted.last(), Some(&QUARANTINE_MAX));
        assert!(matches!(faults.got_stuck(true, now), Follows::Out(_)));
        now += QUARANTINE_MAX + SECOND;
        let until = faults.goes_out(String::new(), FIRST, now, 0).until;
        assert_eq!(until - now, FIRST, "it was well for long");
    }
}
