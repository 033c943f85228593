//! The host beside Redis and beside a loop that does nothing, in turn, as ratios of medians.
//!
//! `cargo bench -p rm-tests --bench compare`, or with `-- 9` for so many rounds in place of 5; with `-- --write` the
//! tables are put into `docs/benchmarks.md`. A `redis-server` is taken where there is one.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

mod load;
mod servers;

use std::{
    collections::HashMap, env, fmt::Write as _, fs, path::Path, process::Command, thread,
    time::Duration,
};

use load::{Came, check, press};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use servers::{CEILING, Servers, be_the_ceiling};

const CONNECTIONS: usize = 50;
const IN_FLIGHT: [usize; 3] = [1, 16, 64];
const TIME: Duration = Duration::from_millis(1_000);

/// What is divided by what, and how much it is to be at least, for each of [`IN_FLIGHT`].
const RATIOS: [(&str, &str, [f64; 3]); 7] = [
    ("counter", "Redis INCR", [1.0, 1.0, 1.0]),
    ("counter", "ceiling", [0.85, 0.75, 0.6]),
    ("counter, own thread", "Redis INCR", [0.7, 0.75, 0.8]),
    ("tickets, memory", "Redis grant, memory", [1.5, 4.0, 5.0]),
    ("tickets, memory", "Redis number and token", [1.0, 1.0, 1.0]),
    ("tickets, sync", "Redis grant, always", [1.5, 4.0, 6.0]),
    ("tickets, memory", "counter", [0.85, 0.85, 0.65]),
];

/// The most that the round trip of a single request may be, of that of Redis.
const ROUND_TRIP: f64 = 1.1;

/// What was measured of one server with so many requests in flight on each connection.
type Measured = HashMap<(&'static str, usize), Vec<Came>>;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|argument| argument == CEILING)
    {
        return be_the_ceiling(|address| println!("{address}"));
    }
    let mut numbers = arguments
        .iter()
        .filter_map(|argument| argument.parse().ok());
    let rounds: usize = numbers.next_back().unwrap_or(5);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cores = cores();
    // What is started has the first core, this thread the last one.
    pin(&cores[..1]);
    let servers = Servers::start(folder.path());
    pin(&cores[cores.len() - 1..]);
    let mut measured = Measured::new();
    for round in 1..=rounds {
        eprint_round(round, rounds);
        for in_flight in IN_FLIGHT {
            // Each round begins with another one: what one leaves behind is not always the same next one's burden.
            for row in servers
                .rows
                .iter()
                .cycle()
                .skip(round)
                .take(servers.rows.len())
            {
                check(row.address, &row.talk, row.name);
                let came = press(row.address, &row.talk, CONNECTIONS, in_flight, TIME);
                check(row.address, &row.talk, row.name);
                rest(cores[0]);
                measured
                    .entry((row.name, in_flight))
                    .or_default()
                    .push(came);
            }
        }
        // One connection with one request in flight is not in the tables, but for its round trip.
        for row in &servers.rows {
            let came = press(row.address, &row.talk, 1, 1, TIME / 2);
            measured.entry((row.name, 0)).or_default().push(came);
        }
    }
    let text = report(&servers, &measured, rounds, cores.len());
    println!("{text}");
    if arguments.iter().any(|argument| argument == "--write") {
        write_into_docs(&text);
    }
}

fn eprint_round(round: usize, rounds: usize) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "round {round} of {rounds}");
}

fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("Linux has it");
    (0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .collect()
}

/// Waits until what was asked has done what it does afterwards, such as writing a snapshot: the next one is not to pay for
/// it. No longer than some seconds.
fn rest(core: usize) {
    let idle_ticks = || -> Option<u64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let name = format!("cpu{core} ");
        let line = text.lines().find(|line| line.starts_with(&name))?;
        line.split_whitespace().nth(4)?.parse().ok()
    };
    // A tick is 10 ms.
    const LOOK: Duration = Duration::from_millis(100);
    for _ in 0..50 {
        let before = idle_ticks();
        thread::sleep(LOOK);
        let idle = idle_ticks().zip(before).map(|(now, before)| now - before);
        if idle.is_none_or(|ticks| ticks >= 9) {
            return;
        }
    }
}

fn pin(cores: &[usize]) {
    let mut wanted = CpuSet::new();
    cores.iter().for_each(|core| wanted.set(*core));
    sched_setaffinity(None, &wanted).expect("this process may run there");
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

fn report(servers: &Servers, measured: &Measured, rounds: usize, cores: usize) -> String {
    let per_second = |name, in_flight| {
        let came = measured.get(&(name, in_flight))?;
        Some(median(came.iter().map(|came| came.per_second).collect()))
    };
    let mut text = format!(
        "{}\n\nThousands of requests per second, medians of {rounds} rounds of {} s each, {CONNECTIONS} connections:\n\n",
        machine(servers, cores),
        TIME.as_secs_f64()
    );
    text += "| in flight on each connection | 1 | 16 | 64 |\n|---|---|---|---|\n";
    for row in &servers.rows {
        let cells = IN_FLIGHT.map(|in_flight| per_second(row.name, in_flight).unwrap_or(0.0) / 1e3);
        let [one, some, many] = cells;
        let _ = writeln!(text, "| {} | {one:.0} | {some:.0} | {many:.0} |", row.name);
    }
    text += "\n| ratio | 1 | 16 | 64 | at least |\n|---|---|---|---|---|\n";
    let mut bars = String::new();
    for (of, by, aims) in RATIOS {
        let ratios = IN_FLIGHT
            .map(|in_flight| Some(per_second(of, in_flight)? / per_second(by, in_flight)?));
        let [Some(one), Some(some), Some(many)] = ratios else {
            continue;
        };
        let [a, b, c] = aims;
        let _ = writeln!(
            text,
            "| {of} to {by} | {one:.2} | {some:.2} | {many:.2} | {a} / {b} / {c} |"
        );
        for ((in_flight, ratio), aim) in IN_FLIGHT.iter().zip([one, some, many]).zip(aims) {
            let share = ratio / aim;
            let bar = "█".repeat((share * 10.0).round().clamp(0.0, 50.0) as usize);
            let name = format!("{of} to {by}");
            let _ = writeln!(bars, "{name:<41} {in_flight:>2}  {bar} {share:.2}");
        }
    }
    let round_trip = |name| {
        let came = measured.get(&(name, 0))?;
        Some(median(
            came.iter()
                .map(|came| came.round_trip.as_secs_f64() * 1e6)
                .collect(),
        ))
    };
    text += "\n| one connection, one request in flight: median round trip, µs | |\n|---|---|\n";
    for row in &servers.rows {
        let _ = writeln!(
            text,
            "| {} | {:.1} |",
            row.name,
            round_trip(row.name).unwrap_or(0.0)
        );
    }
    if let (Some(own), Some(redis)) = (round_trip("counter"), round_trip("Redis INCR")) {
        let _ = writeln!(
            text,
            "| counter to Redis INCR, at most {ROUND_TRIP} | {:.2} |",
            own / redis
        );
    }
    let _ = write!(
        text,
        "\nEach ratio as a share of its aim, which is ten blocks long:\n\n```text\n{bars}```"
    );
    text
}

fn machine(servers: &Servers, cores: usize) -> String {
    let first_of = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map_or("unknown".to_owned(), |line| {
            line.trim_matches([' ', '\t', ':']).to_owned()
        })
    };
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
        text.map_or("unknown".to_owned(), |text| text.trim().to_owned())
    };
    let redis = servers.redis.as_deref().unwrap_or("not there");
    format!(
        "{cores} cores of {}, Linux {}, {}, Redis {redis}, load average {}; {}.",
        first_of("/proc/cpuinfo", "model name"),
        first_of("/proc/sys/kernel/osrelease", ""),
        said("rustc", &["--version"]),
        first_of("/proc/loadavg", ""),
        said("date", &["-u", "+%Y-%m-%d"]),
    )
}

/// Between its marks.
fn write_into_docs(text: &str) {
    const BEGIN: &str = "<!-- compare: begin -->\n";
    const END: &str = "\n<!-- compare: end -->";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("it lies in the workspace");
    let path = root.join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has its mark");
    let (_, after) = rest.split_once(END).expect("the page has its mark");
    fs::write(&path, format!("{before}{BEGIN}\n{text}\n{END}{after}"))
        .expect("the page can be written");
}
