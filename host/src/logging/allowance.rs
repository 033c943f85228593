//! How much of the log those may fill who are not the host: its clients, by each line that tells of one, and plugins,
//! each by itself. What is beyond that is left out and counted, so that nobody pushes out what others have to say,
//! nor fills a disk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Level, Metadata};

use crate::limits::{
    CLIENT_LOG_BYTES_BURST, CLIENT_LOG_BYTES_PER_SECOND, CLIENT_LOG_LINES_BURST,
    CLIENT_LOG_LINES_PER_SECOND, PLUGIN_LOG_BYTES_BURST, PLUGIN_LOG_BYTES_PER_SECOND,
    PLUGIN_LOG_LINES_BURST, PLUGIN_LOG_LINES_PER_SECOND,
};

/// A line that bears one of these fields is one that a client can bring about.
const OF_CLIENTS: [&str; 3] = ["client", "peer", "session"];

/// All who have an allowance, and what it has come to.
#[derive(Debug, Default)]
pub(super) struct Allowances(Mutex<BTreeMap<Whose, Allowance>>);

/// Whose lines are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// Those that this place of the host writes of clients.
    Place {
        target: String,
        line: u32,
    },
    Plugin(String),
}

impl Whose {
    /// `None`: the host's own, which are not counted.
    pub(super) fn of_line(of: &Metadata<'_>) -> Option<Self> {
        let has_field = |name: &&str| of.fields().field(*name).is_some();
        // Details are there because somebody asked for all of them.
        if *of.level() > Level::INFO || !OF_CLIENTS.iter().any(has_field) {
            return None;
        }
        Some(Self::Place {
            target: of.target().to_owned(),
            line: of.line()?,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u64,
    per_second: u64,
}

#[derive(Debug)]
struct Allowance {
    lines: Bucket,
    bytes: Bucket,
    at: Instant,
    left_out: u64,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// In thousandths, so that a short time adds something too.
    left_thousandths: u64,
}

impl Allowances {
    /// Whether a line of so many bytes may stand in the log.
    pub(super) fn admit(&self, whose: Whose, bytes: usize, now: Instant) -> Admitted {
        let mut all = self.lock();
        let is_plugin = matches!(whose, Whose::Plugin(_));
        let allowance = all
            .entry(whose)
            .or_insert_with(|| Allowance::new(is_plugin, now));
        if allowance.admits(bytes as u64, now) {
            return Admitted::Yes;
        }
        allowance.left_out += 1;
        Admitted::No {
            is_first: allowance.left_out == 1,
        }
    }

    /// How many lines were left out since this was asked last, and whose they were.
    pub(super) fn take_left_out(&self) -> Vec<String> {
        let mut all = self.lock();
        let left_out = all.iter_mut().filter(|(_, of)| of.left_out > 0);
        left_out
            .map(|(whose, of)| {
                let count = std::mem::take(&mut of.left_out);
                match whose {
                    Whose::Place { target, .. } => format!(
                        "{count} lines like those before were left out: clients brought them about faster than {} a second \
                         of={target}",
                        of.lines.rate.per_second
                    ),
                    Whose::Plugin(name) => format!(
                        "{count} lines of the plugin were left out: it may write {} a second, and {} bytes plugin={name}",
                        of.lines.rate.per_second, of.bytes.rate.per_second
                    ),
                }
            })
            .collect()
    }

    /// Whether some were left out that nobody was told of.
    pub(super) fn have_left_out(&self) -> bool {
        self.lock().values().any(|of| of.left_out > 0)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Whose, Allowance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a line may stand in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    No {
        /// None was left out since that was told.
        is_first: bool,
    },
}

impl Allowance {
    fn new(is_plugin: bool, now: Instant) -> Self {
        let rate = |burst, per_second| Rate { burst, per_second };
        let (lines, bytes) = match is_plugin {
            true => (
                rate(PLUGIN_LOG_LINES_BURST, PLUGIN_LOG_LINES_PER_SECOND),
                rate(PLUGIN_LOG_BYTES_BURST, PLUGIN_LOG_BYTES_PER_SECOND),
            ),
            false => (
                rate(CLIENT_LOG_LINES_BURST, CLIENT_LOG_LINES_PER_SECOND),
                rate(CLIENT_LOG_BYTES_BURST, CLIENT_LOG_BYTES_PER_SECOND),
            ),
        };
        Self {
            lines: Bucket::full(lines),
            bytes: Bucket::full(bytes),
            at: now,
            left_out: 0,
        }
    }

    fn admits(&mut self, bytes: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at);
        self.at = now.max(self.at);
        self.lines.refill(passed);
        self.bytes.refill(passed);
        let fits = self.lines.has(1) && self.bytes.has(bytes);
        if fits {
            self.lines.take(1);
            self.bytes.take(bytes);
        }
        fits
    }
}

impl Bucket {
    fn full(rate: Rate) -> Self {
        Self {
            rate,
            left_thousandths: rate.burst * 1_000,
        }
    }

    fn refill(&mut self, passed: Duration) {
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let added = micros.saturating_mul(self.rate.per_second) / 1_000;
        let full = self.rate.burst * 1_000;
        self.left_thousandths = self.left_thousandths.saturating_add(added).min(full);
    }

    fn has(&self, units: u64) -> bool {
        self.left_thousandths >= units.saturating_mul(1_000)
    }

    fn take(&mut self, units: u64) {
        self.left_thousandths -= units * 1_000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> Whose {
        Whose::Plugin(name.to_owned())
    }

    #[test]
    fn a_burst_is_admitted_then_so_many_a_second_and_the_rest_is_counted() {
        let allowances = Allowances::default();
        let start = Instant::now();
        let admitted = |now| {
            let line = |_: &u64| allowances.admit(plugin("a"), 1, now) == Admitted::Yes;
            (0..2 * PLUGIN_LOG_LINES_BURST).filter(line).count() as u64
        };
        assert_eq!(admitted(start), PLUGIN_LOG_LINES_BURST);
        assert_eq!(
            admitted(start + Duration::from_secs(1)),
            PLUGIN_LOG_LINES_PER_SECOND
        );
        assert_eq!(
            allowances.admit(plugin("b"), 1, start),
            Admitted::Yes,
            "another's lines are its own"
        );
        let left_out = 3 * PLUGIN_LOG_LINES_BURST - PLUGIN_LOG_LINES_PER_SECOND;
        let told = allowances.take_left_out();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with(&format!("{left_out} lines of the plugin")),
            "{told:?}"
        );
        assert!(!allowances.have_left_out());
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let allowances = Allowances::default();
        let now = Instant::now();
        let bytes = 16 * 1024;
        let admitted = (0..PLUGIN_LOG_LINES_BURST)
            .filter(|_| allowances.admit(plugin("a"), bytes, now) == Admitted::Yes)
            .count() as u64;
        assert_eq!(admitted, PLUGIN_LOG_BYTES_BURST / bytes as u64);
        let no = allowances.admit(plugin("a"), bytes, now);
        assert_eq!(no, Admitted::No { is_first: false });
    }
}
