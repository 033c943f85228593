//! A plugin changes while several connections keep it busy: each request is answered once, by the version before or
//! after the swap, and what a version leaves behind is bounded.
//!
//! `RM_TEST_SWAPS=1000` makes it more swaps.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    net::SocketAddr,
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rm_tests::{GUARD, HostPlan, Numbered, RawClient, SERVES, TestHost, Usage};
use serde_json::Value;

const CONNECTIONS: usize = 4;

/// Requests that each connection has in flight, at least.
const IN_FLIGHT: usize = 16;

/// One for a lane with a thread of its own, one for one without.
const TYPES: [&str; 2] = ["getNumber", "getNumberInline"];

/// What everybody knows of the versions.
#[derive(Debug, Default)]
struct Versions {
    /// The highest number that was put into the folder.
    dropped: AtomicU64,
    /// The highest number that was said to serve.
    announced: AtomicU64,
    enough: AtomicBool,
}

/// Lets the connections come to their end, also if a check fails.
struct Enough<'a>(&'a Versions);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.enough.store(true, Ordering::Relaxed);
    }
}

/// What one connection was answered: each number that it met, and the place in line of each of its requests.
#[derive(Debug, Default)]
struct Answered {
    numbers: Vec<u64>,
    asked: [Vec<u64>; TYPES.len()],
}

/// A connection that always has requests in flight. Whenever it meets a new number it says so.
struct Pressing<'a> {
    client: RawClient,
    versions: &'a Versions,
    met: Sender<u64>,
    /// The type of each request that is not answered, and the number that its answer has at least.
    in_flight: HashMap<String, (usize, u64)>,
    answered: Answered,
}

impl Pressing<'_> {
    fn until_it_is_enough(mut self) -> Answered {
        self.tell();
        while !self.versions.enough.load(Ordering::Relaxed) {
            self.tell();
            self.take(IN_FLIGHT);
        }
        self.take(self.in_flight.len());
        // Whatever came twice would come now.
        self.client.sync();
        self.client.finish();
        self.client.expect_end();
        self.answered
    }

    fn tell(&mut self) {
        // Read before the requests leave: what is announced has taken over.
        let at_least = self.versions.announced.load(Ordering::SeqCst);
        let types = (0..IN_FLIGHT).map(|nth| nth % TYPES.len());
        let told = types.clone().map(|of| (TYPES[of], Value::Null));
        for (index, of) in self.client.tell_all(told).into_iter().zip(types) {
            self.in_flight.insert(index, (of, at_least));
        }
    }

    fn take(&mut self, count: usize) {
        for reply in self.client.replies(count) {
            let Some((of, at_least)) = self.in_flight.remove(&reply.query_index) else {
                panic!("answered twice, or never asked: {}", reply.text);
            };
            assert_eq!(reply.type_name, TYPES[of]);
            let (number, asked) = (reply.number("number"), reply.number("asked"));
            let at_most = self.versions.dropped.load(Ordering::SeqCst);
            assert!(
                (at_least..=at_most).contains(&number),
                "expected a number from {at_least} to {at_most}: {}",
                reply.text
            );
            let last = self.answered.numbers.last().copied();
            if last != Some(number) {
                assert!(last < Some(number), "{number} after {last:?}");
                self.answered.numbers.push(number);
                // Nobody waits for it once it is enough.
                let _ = self.met.send(number);
            }
            self.answered.asked[of].push(asked);
        }
    }
}

/// The test's hand on the versions, while the connections press.
struct Swapping<'a> {
    host: &'a TestHost,
    numbered: &'a Numbered,
    versions: &'a Versions,
    met: Receiver<u64>,
}

impl Swapping<'_> {
    /// Has version `number` put into the folder, and returns once each connection was answered by it.
    #[track_caller]
    fn to(&self, number: u64, put: impl FnOnce(&[u8])) {
        let from = self.host.log().len();
        self.versions.dropped.store(number, Ordering::SeqCst);
        put(&self.numbered.library(number));
        self.host.said_of(from, "numbered", SERVES);
        self.versions.announced.store(number, Ordering::SeqCst);
        self.await_all(number);
    }

    #[track_caller]
    fn await_all(&self, number: u64) {
        for _ in 0..CONNECTIONS {
            let met = self.met.recv_timeout(GUARD);
            assert_eq!(met, Ok(number), "each connection meets each version");
        }
    }
}

fn press(address: SocketAddr, versions: &Versions, met: Sender<u64>) -> Answered {
    let pressing = Pressing {
        client: RawClient::connect(address),
        versions,
        met,
        in_flight: HashMap::new(),
        answered: Answered::default(),
    };
    pressing.until_it_is_enough()
}

/// Runs `swaps` while the connections press, from version 1 on, and checks that nothing was lost and nothing was run twice.
#[track_caller]
fn under_load(
    host: &TestHost,
    numbered: &Numbered,
    swaps: impl FnOnce(&Swapping),
) -> Vec<Answered> {
    let versions = Versions::default();
    versions.dropped.store(1, Ordering::SeqCst);
    versions.announced.store(1, Ordering::SeqCst);
    let (sender, met) = mpsc::channel();
    let answered: Vec<Answered> = thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (address, versions, met) = (host.address(), &versions, sender.clone());
                scope.spawn(move || press(address, versions, met))
            })
            .collect();
        let enough = Enough(&versions);
        let swapping = Swapping {
            host,
            numbered,
            versions: &versions,
            met,
        };
        swapping.await_all(1);
        swaps(&swapping);
        drop(enough);
        let joined = connections.into_iter().map(|connection| connection.join());
        joined
            .map(|answered| answered.expect("each request is answered"))
            .collect()
    });
    for (of, type_name) in TYPES.iter().enumerate() {
        let asked = answered.iter().flat_map(|answered| &answered.asked[of]);
        let mut asked: Vec<u64> = asked.copied().collect();
        asked.sort_unstable();
        let each_once = Vec::from_iter(1..=asked.len() as u64);
        assert!(asked == each_once, "lost or run twice: {type_name}");
    }
    answered
}

fn plan(numbered: &Numbered) -> HostPlan {
    TestHost::plan()
        .file("libnumbered.so", numbered.library(1))
        .flags(&["--settle", "10ms", "--log", "info"])
}

fn swaps() -> u64 {
    let more = std::env::var("RM_TEST_SWAPS").ok();
    more.map_or(200, |swaps| swaps.parse().expect("a whole number"))
}

/// Threads and files that a host may have more at one moment than at another: a snapshot that is made, an inline lane that was
/// moved to a thread because the machine is busy. Far fewer than there were swaps.
const FEW: u64 = 10;

/// The host's use of the machine, once it is at rest: threads of a retired version end a moment after it.
fn usage_at_rest(host: &TestHost, threads: u64) -> Usage {
    let until = Instant::now() + GUARD;
    loop {
        let usage = Usage::of(host.process_id());
        if usage.threads <= threads + FEW || Instant::now() > until {
            return usage;
        }
        // Only so as not to spin: nobody tells when a thread of another process ends.
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn swaps_under_load_answer_each_request_once_and_leave_little_behind() {
    let swaps = swaps();
    let numbered = Numbered::built();
    let mut host = plan(&numbered).start();
    let mut left = None;
    let answered = under_load(&host, &numbered, |swapping| {
        let before = Usage::of(host.process_id());
        for number in 2..=swaps + 1 {
            swapping.to(number, |_| numbered.put(&host.folder(), number));
        }
        left = Some((before.clone(), usage_at_rest(&host, before.threads)));
    });
    for answered in answered {
        assert_eq!(answered.numbers, Vec::from_iter(1..=swaps + 1));
    }
    host.expect_running();
    let (before, after) = left.expect("it was looked at");
    assert_eq!(after.copies.len() as u64, swaps + 1);
    expect_little_left(&before, &after, &numbered);
}

/// Checks what the versions between two looks have left behind, all but the one that serves.
#[track_caller]
fn expect_little_left(before: &Usage, after: &Usage, numbered: &Numbered) {
    for (what, before, after) in [
        ("threads", before.threads, after.threads),
        (
            "open files",
            before.open_files as u64,
            after.open_files as u64,
        ),
    ] {
        assert!(after <= before + FEW, "{after} {what}, {before} before");
    }
    // Code is never unmapped; each version has a copy of its own, and none of those is left on the disk.
    let copies = after.copies.len() - before.copies.len();
    for copy in &after.copies {
        let folder = copy.parent().expect("a copy lies in a folder");
        assert!(!folder.exists(), "{}", folder.display());
    }
    // Of 65,530 that Linux allows a process by default; a library has one for each of its segments.
    let mappings = after.mappings - before.mappings;
    assert!(mappings <= 8 * copies, "{mappings} of {copies} versions");
    let kib = |of: fn(&Usage) -> u64| of(after).saturating_sub(of(before)) / copies as u64;
    let anonymous_kib = kib(|usage| usage.anonymous_kib);
    // Mostly the pointers that the loader writes into it.
    assert!(anonymous_kib <= 256, "{anonymous_kib} KiB of a version");
    // No more than the whole file can be resident of it, and of an unoptimized build nearly that is.
    let (resident_kib, file_kib) = (kib(Usage::resident_kib), numbered.bytes() as u64 / 1_024);
    assert!(
        resident_kib <= file_kib + 256,
        "{resident_kib} KiB of a version, whose file has {file_kib} KiB"
    );
}

/// Writes over a file that is there, from its beginning, and leaves the rest as it is.
fn overwrite(path: &Path, pieces: &[(usize, &[u8])]) {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("it is there");
    for (at, piece) in pieces {
        file.seek(SeekFrom::Start(*at as u64))
            .expect("a file can be sought in");
        file.write_all(piece).expect("the folder can be written");
    }
}

/// Writes a library over the one that is loaded.
type Over = fn(path: &Path, library: &[u8]);

const OVER: [Over; 4] = [
    |path, library| overwrite(path, &[(0, library)]),
    |path, library| {
        let half = library.len() / 2;
        overwrite(path, &[(half, &library[half..]), (0, &library[..half])]);
    },
    // As `cp` does: cut to nothing first.
    |path, library| fs::write(path, library).expect("the folder can be written"),
    |path, library| overwrite(path, &[(0, &vec![0; library.len()]), (0, library)]),
];

/// What is no plugin, and what is said of it.
const SPOILT: [(Over, &str); 4] = [
    (
        |path, library| overwrite(path, &[(0, &vec![0; library.len()])]),
        "expected a 64-bit",
    ),
    (
        |path, library| overwrite(path, &[(0, &vec![0x7f; library.len() / 2])]),
        "expected a 64-bit",
    ),
    (
        |path, library| fs::write(path, &library[..library.len() / 2]).expect("cp"),
        "cut short",
    ),
    (|path, _| fs::write(path, "").expect("cp"), "empty"),
];

#[test]
fn a_loaded_file_is_overwritten_in_place_under_load_and_each_request_is_answered_once() {
    const ROUNDS: u64 = 6;
    let numbered = Numbered::built();
    let mut host = plan(&numbered).start();
    let path = host.folder().join("libnumbered.so");
    let mut last = 1;
    let answered = under_load(&host, &numbered, |swapping| {
        for round in 0..ROUNDS {
            for (over, (spoil, said)) in OVER.iter().zip(SPOILT) {
                if round % 2 == 1 {
                    let from = host.log().len();
                    spoil(&path, &numbered.library(last));
                    let refused = ["refused: ", said, "the version that serves goes on"];
                    host.said_of(from, "numbered", &refused);
                }
                last += 1;
                swapping.to(last, |library| over(&path, library));
            }
        }
    });
    for answered in answered {
        assert_eq!(answered.numbers, Vec::from_iter(1..=last));
    }
    for type_name in TYPES {
        let reply = host.connect().ask(type_name, Value::Null);
        assert_eq!(reply.number("number"), last);
    }
    host.expect_running();
}

#[test]
fn a_client_that_never_lets_a_lane_come_to_rest_keeps_no_new_version_waiting() {
    let numbered = Numbered::built();
    let host = plan(&numbered).start();
    let versions = Versions::default();
    let mut flood = host.connect();
    let mut drain = flood.reader();
    let request = r#"{"type":"getNumberInline","queryIndex":1}🦀"#.repeat(1_000);
    thread::scope(|scope| {
        scope.spawn(|| while drain.skip().is_some() {});
        scope.spawn(|| {
            while !versions.enough.load(Ordering::Relaxed) {
                flood.send_bytes(request.as_bytes());
            }
            flood.finish();
        });
        let enough = Enough(&versions);
        // What comes during the first swap is queued, and from then on there is always something queued.
        for number in 2..=4 {
            let from = host.log().len();
            numbered.put(&host.folder(), number);
            host.said_of(from, "numbered", SERVES);
        }
        drop(enough);
    });
    assert_eq!(
        host.connect().ask(TYPES[1], Value::Null).number("number"),
        4
    );
}
