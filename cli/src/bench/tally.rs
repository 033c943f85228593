//! What is counted while a benchmark runs, and what may still be sent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use protocol::Refusal;

use super::{options::Until, pace::Pace, unique::Unique};

/// What comes before the measuring and does not count.
const WARM_UP: Duration = Duration::from_millis(300);

/// Requests that are due and not sent for so long count as such: a timer may be late.
const OVERDUE: Duration = Duration::from_millis(10);

/// Error codes that are told apart at most; a plugin may make up any number of them.
const CODES_MAX: usize = 100;
const OTHER_CODES: &str = "(others)";

/// One for all connections of one measurement.
pub(super) struct Tally {
    /// From when on is counted, and until when, if that is known.
    start: Instant,
    until: Option<Instant>,
    /// How many may still be sent, if that is bounded.
    unsent: Option<u64>,
    stopped: Option<Instant>,
    last_reply: Instant,
    /// Since when there has been something in flight all the time.
    waits_since: Instant,
    pub(super) in_flight: u64,
    pub(super) counts: Counts,
    pub(super) unique: Option<Unique>,
}

/// What has come of it.
pub(super) struct Counts {
    /// Replies within the time.
    pub(super) replies: u64,
    /// Within the time, with separators.
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Nanoseconds from when a request was sent, or was due, to its reply.
    pub(super) times_ns: Histogram<u64>,
    /// Nanoseconds by which requests with a due time were sent late though there was room for them.
    pub(super) lag_ns: Histogram<u64>,
    /// All error replies by code, with the sentence of the first one.
    pub(super) errors: BTreeMap<String, (u64, String)>,
    /// Replies that nobody waited for.
    pub(super) strangers: u64,
    /// Requests that were due and could not be sent by the end.
    pub(super) overdue: u64,
    /// Connections that were lost, and why the first one was.
    pub(super) lost: Option<(u64, String)>,
}

impl Tally {
    pub(super) fn new(until: Until, unique: Option<Unique>) -> Self {
        let now = Instant::now();
        let (start, end, unsent) = match until {
            Until::Elapsed(time) => (now + WARM_UP, Some(now + WARM_UP + time), None),
            Until::Answered(requests) => (now, None, Some(requests)),
        };
        let histogram = || Histogram::new(3).expect("three digits are within its bounds");
        Self {
            start,
            until: end,
            unsent,
            stopped: None,
            last_reply: now,
            waits_since: now,
            in_flight: 0,
            counts: Counts {
                replies: 0,
                sent_bytes: 0,
                received_bytes: 0,
                times_ns: histogram(),
                lag_ns: histogram(),
                errors: BTreeMap::new(),
                strangers: 0,
                overdue: 0,
                lost: None,
            },
            unique,
        }
    }

    /// Whether one more request may be sent at `now`, which is then counted.
    pub(super) fn sends(&mut self, now: Instant, bytes: usize) -> bool {
        if self.is_over(now) {
            return false;
        }
        if let Some(unsent) = &mut self.unsent {
            *unsent -= 1;
        }
        if self.in_flight == 0 {
            self.waits_since = now;
        }
        self.in_flight += 1;
        if now >= self.start {
            self.counts.sent_bytes += bytes as u64;
        }
        true
    }

    /// Whether nothing more is to be sent.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.stopped.is_some() || self.unsent == Some(0) || self.until.is_some_and(|end| now >= end)
    }

    /// Sends nothing more.
    pub(super) fn stop(&mut self) {
        self.stopped.get_or_insert_with(Instant::now);
    }

    /// Something has come at `now`.
    pub(super) fn received(&mut self, now: Instant, bytes: usize) {
        self.last_reply = now;
        if self.counts_at(now) {
            self.counts.received_bytes += bytes as u64;
        }
    }

    /// A request that was sent, or due, at `since` is answered at `now`.
    pub(super) fn answered(&mut self, since: Instant, now: Instant) {
        self.in_flight -= 1;
        if self.counts_at(now) {
            self.counts.replies += 1;
        }
        // Those that are answered after the end belong to it: leaving out what was slow would flatter.
        if since >= self.start {
            record(&mut self.counts.times_ns, now - since);
        }
    }

    pub(super) fn refused(&mut self, refusal: &Refusal<'_>) {
        let errors = &mut self.counts.errors;
        let code = match errors.contains_key(&*refusal.code) || errors.len() < CODES_MAX {
            true => refusal.code.as_ref(),
            false => OTHER_CODES,
        };
        match errors.get_mut(code) {
            Some((count, _)) => *count += 1,
            None => {
                let text = refusal.message().chars().take(200).collect();
                errors.insert(code.to_owned(), (1, text));
            }
        }
    }

    pub(super) fn lost(&mut self, in_flight: u64, reason: String) {
        self.in_flight -= in_flight;
        self.counts.lost.get_or_insert((0, reason)).0 += 1;
    }

    pub(super) fn sent_late(&mut self, due: Instant, now: Instant) {
        record(&mut self.counts.lag_ns, now.saturating_duration_since(due));
    }

    /// What was due before the end and has not been sent: each had waited at least until then.
    pub(super) fn left_unsent(&mut self, pace: &Pace) {
        // One that is due in the last moment is sent in the next one.
        let Some(end) = self.end().and_then(|end| end.checked_sub(OVERDUE)) else {
            return;
        };
        for (due, count) in pace.untaken(self.start, end) {
            self.counts.overdue += count;
            let waited = end + OVERDUE - due;
            let _ = self.counts.times_ns.record_n(nanos(waited), count);
        }
    }

    /// How long nothing has come although something is due.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        match self.in_flight {
            0 => Duration::ZERO,
            _ => now.saturating_duration_since(self.last_reply.max(self.waits_since)),
        }
    }

    /// How much of it is done, from 0 to 1.
    pub(super) fn progress(&self, now: Instant, until: Until) -> f64 {
        match until {
            Until::Answered(requests) => self.counts.replies as f64 / requests as f64,
            Until::Elapsed(time) => {
                now.saturating_duration_since(self.start).as_secs_f64() / time.as_secs_f64()
            }
        }
    }

    /// For how long was counted.
    pub(super) fn measured(&self) -> Duration {
        // As many as were wanted: it ended with the last reply.
        let end = self.end().unwrap_or(self.last_reply);
        end.saturating_duration_since(self.start)
    }

    /// When it was over by the clock.
    fn end(&self) -> Option<Instant> {
        let until = self.until?;
        Some(self.stopped.map_or(until, |stopped| until.min(stopped)))
    }

    /// For how long was counted up to `now`.
    pub(super) fn measured_so_far(&self, now: Instant) -> Duration {
        let now = self.until.map_or(now, |until| until.min(now));
        now.saturating_duration_since(self.start)
    }

    fn counts_at(&self, now: Instant) -> bool {
        now >= self.start
            && self.until.is_none_or(|until| now < until)
            && (self.until.is_none() || self.stopped.is_none())
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    // It grows as it must; what lies beyond 584 years is no time.
    let _ = histogram.record(nanos(time));
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
