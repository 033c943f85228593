//! What a swap costs: how soon the new code answers, how long its lanes stand still, whether others do, and what a
//! version leaves in memory.
//!
//! `cargo bench -p rm-tests --bench swaps`, or with `-- 300` for so many swaps in place of 100. It looks at a host of
//! the same build from outside, with the default `--settle`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

mod load;

use std::{
    env,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use load::{Asked, Came, Shared, press};
use rm_tests::{GUARD, HostPlan, Numbered, TestHost, Usage, fixture};
use serde_json::Value;

/// What is swapped, and then what is not.
const ASKED: [Asked; 4] = [
    Asked {
        type_name: "getNumber",
        key: "number",
    },
    Asked {
        type_name: "getNumberInline",
        key: "number",
    },
    Asked {
        type_name: "getVersion",
        key: "version",
    },
    Asked {
        type_name: "getVersionInline",
        key: "version",
    },
];
const SWAPPED: usize = 2;

/// Looked at before and after the time in which a lane stands still.
const MARGIN: Duration = Duration::from_millis(1);

fn main() {
    let mut counts = env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let swaps: u64 = counts.next_back().unwrap_or(100);
    let numbered = Numbered::built();
    println!("{swaps} swaps each; {}", machine());
    println!("\n| milliseconds | median | p90 | p99 | max |\n|---|---|---|---|---|");
    let (first_answers, usages) = alone(&numbered, swaps);
    row(
        "file's last byte to the first new answer, one client",
        first_answers,
    );
    under_full_load(&numbered, swaps);
    let [before, after] = usages;
    let kib = |of: fn(&Usage) -> u64| of(&after).saturating_sub(of(&before)) as f64 / swaps as f64;
    println!("\n| a retained version, KiB | |\n|---|---|");
    println!("| resident | {:.0} |", kib(Usage::resident_kib));
    println!(
        "| of that, memory of its own | {:.0} |",
        kib(|usage| usage.anonymous_kib)
    );
    println!(
        "| of that, pages of its file | {:.0} |",
        kib(|usage| usage.of_files_kib)
    );
    println!("| its file | {} |", numbered.bytes() / 1024);
}

/// In memory: with a log, the silences would be those of the disk.
fn plan(numbered: &Numbered) -> HostPlan {
    TestHost::plan()
        .file("libnumbered.so", numbered.library(1))
        .flags(&[
            "--settle",
            "200ms",
            "--log",
            "info",
            "--durability",
            "memory",
        ])
}

/// With one client that asks one request after the other.
fn alone(numbered: &Numbered, swaps: u64) -> (Vec<Duration>, [Usage; 2]) {
    let host = plan(numbered).start();
    let mut client = host.connect();
    let mut swap = |number| {
        numbered.put(&host.folder(), number);
        let dropped = Instant::now();
        while client.ask("getNumber", Value::Null).number("number") != number {
            assert!(dropped.elapsed() < GUARD, "version {number} never serves");
        }
        dropped.elapsed()
    };
    // The first ones also pay for what the host needs once.
    (2..5).map(&mut swap).for_each(drop);
    let before = Usage::of(host.process_id());
    let first_answers = (5..5 + swaps).map(swap).collect();
    (first_answers, [before, Usage::of(host.process_id())])
}

/// One swap as it was seen by the clients.
struct Swap {
    dropped: Duration,
    number: u64,
}

fn under_full_load(numbered: &Numbered, swaps: u64) {
    let host = plan(numbered)
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (began, shared, address) = (Instant::now(), Shared::default(), host.address());
    let (seen, came) = thread::scope(|scope| {
        let load = scope.spawn(|| press(address, &ASKED, began, &shared));
        let seen: Vec<Swap> = (2..2 + swaps)
            .map(|number| {
                // So long nothing happens, to be compared with.
                thread::sleep(Duration::from_millis(100));
                numbered.put(&host.folder(), number);
                let dropped = began.elapsed();
                while shared.number.load(Ordering::Relaxed) < number {
                    if load.is_finished() || began.elapsed() > dropped + GUARD {
                        shared.enough.store(true, Ordering::Relaxed);
                        panic!("version {number} never serves");
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                Swap { dropped, number }
            })
            .collect();
        thread::sleep(Duration::from_millis(100));
        shared.enough.store(true, Ordering::Relaxed);
        (seen, load.join().expect("the load ends in order"))
    });
    report(&seen, &came);
    let answers: usize = came.iter().map(Vec::len).sum();
    println!(
        "\n{answers} reads of answers in {:.0} s, {} types at once.",
        began.elapsed().as_secs_f64(),
        ASKED.len()
    );
}

fn report(seen: &[Swap], came: &[Vec<Came>]) {
    // The swap of a plugin is one: the first of its lanes that stands still begins it, the last one ends it.
    let spans: Vec<[Span; SWAPPED]> = seen
        .iter()
        .map(|swap| std::array::from_fn(|nth| Span::of(&came[nth], swap.number)))
        .collect();
    let first = |[one, other]: &[Span; SWAPPED]| one.end.min(other.end);
    let first_answers = seen.iter().zip(&spans);
    row(
        "the same under full load",
        first_answers.map(|(swap, spans)| first(spans).saturating_sub(swap.dropped)),
    );
    for nth in 0..ASKED.len() {
        let type_name = ASKED[nth].type_name;
        if nth < SWAPPED {
            row(
                &format!("`{type_name}`: last old to first new answer"),
                spans.iter().map(|spans| spans[nth].end - spans[nth].begin),
            );
        }
        for (what, moment) in [
            ("around the swap", Moment::Swap),
            ("as the file was checked", Moment::Check),
            ("before the file came", Moment::Quiet),
        ] {
            let gaps = seen.iter().zip(&spans).map(|(swap, spans)| {
                let whole = Span {
                    begin: spans[0].begin.min(spans[1].begin),
                    end: spans[0].end.max(spans[1].end),
                };
                longest_gap(&came[nth], &moment.window(swap, &whole))
            });
            row(&format!("`{type_name}`: longest silence {what}"), gaps);
        }
    }
}

/// Where a silence is looked for, in windows of the same length.
#[derive(Clone, Copy)]
enum Moment {
    Quiet,
    Check,
    Swap,
}

impl Moment {
    fn window(self, swap: &Swap, whole: &Span) -> Span {
        let length = whole.end - whole.begin + 2 * MARGIN;
        let end = match self {
            Self::Quiet => swap.dropped.saturating_sub(Duration::from_millis(20)),
            Self::Check => whole.begin.saturating_sub(2 * MARGIN),
            Self::Swap => whole.end + MARGIN,
        };
        Span {
            begin: end.saturating_sub(length),
            end,
        }
    }
}

#[derive(Clone, Copy)]
struct Span {
    begin: Duration,
    end: Duration,
}

impl Span {
    /// From the last answer before version `number` to its first.
    fn of(came: &[Came], number: u64) -> Self {
        let first = came.partition_point(|came| came.number < number);
        Self {
            begin: came[first - 1].at,
            end: came[first].at,
        }
    }
}

/// The longest time without an answer that reaches into the window.
fn longest_gap(came: &[Came], window: &Span) -> Duration {
    let from = came.partition_point(|came| came.at < window.begin);
    let until = came.partition_point(|came| came.at <= window.end);
    let within = &came[from.saturating_sub(1)..came.len().min(until + 1)];
    let gaps = within.windows(2).map(|pair| pair[1].at - pair[0].at);
    gaps.max().unwrap_or_default()
}

fn row(what: &str, durations: impl IntoIterator<Item = Duration>) {
    let mut sorted: Vec<Duration> = durations.into_iter().collect();
    sorted.sort_unstable();
    let at = |share: usize| {
        let rank = (sorted.len() * share).div_ceil(100).max(1);
        sorted[rank - 1].as_secs_f64() * 1_000.0
    };
    let figures = [50, 90, 99, 100].map(|share| format!("{:.1}", at(share)));
    println!("| {what} | {} |", figures.join(" | "));
}

/// Who else was busy meanwhile tells how much the figures are worth.
fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load average before: {}", load.trim())
}
