//! What each part of a request's way costs by itself: for finding out where time goes, and what a change gave.
//!
//! `cargo bench -p rm-tests --bench micro`, or with `-- decoder` for those whose names hold that word.
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::{Arc, mpsc},
    time::Duration,
};

use abi_stable::{
    sabi_trait::TD_Opaque,
    std_types::{RSlice, RVec},
};
use criterion::{BatchSize, Criterion, Throughput};
use host::{
    clock::Clock,
    coordinator::parts::Schedule,
    crash_list::CrashList,
    lane::{
        ClientSlot, Fetched, Handed, Job, LaneCode, LaneThread, Output, RequestRef, Signal, TypeId,
        Verdict,
    },
    plugins::{PluginEvent, Prepared, Watcher, trial},
    state::{
        Access, BatchNo, CallFacts, Committer, Durability, Kept, LentState, SharedAccess, StateMap,
        disk::RealDisk,
        effects::{self, Declared, StateId},
        log::{FileLog, LogId, MemoryLog},
    },
    threads::SystemThreads,
};
use plugin_api::{
    abi::{AbiHost_TO, AbiHostObject},
    rules::answer,
};
use protocol::{Decoder, Request, encoder};
use rm_tests::{SEPARATOR, example_plugin};

/// As clients write them, with their separator 60 bytes long.
const MESSAGE: &str = r#"{"type":"getTickets","queryIndex":12345,"payload":null}"#;
const PER_READ: usize = 64;

fn main() {
    let mut words = std::env::args_os().skip(1);
    // Plugins are tried in a child process of the one that loads them.
    if words.next().is_some_and(|word| word == trial::COMMAND) {
        trial::run_inside(words.next().unwrap_or_default().into());
        return;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    wire(&mut criterion);
    queue(&mut criterion);
    state(&mut criterion);
    commit(&mut criterion);
    lanes(&mut criterion);
    criterion.final_summary();
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decoder");
    group.throughput(Throughput::Elements(PER_READ as u64));
    let read = format!("{MESSAGE}{SEPARATOR}").repeat(PER_READ);
    group.bench_function("64 messages of 60 B in one read", |bench| {
        let mut decoder = Decoder::new();
        bench.iter(|| {
            let mut frames = decoder.feed(read.as_bytes());
            while let Ok(Some(frame)) = frames.next() {
                black_box(frame);
            }
        });
    });
    group.finish();
    criterion.bench_function("read a request", |bench| {
        bench.iter(|| Request::parse(black_box(MESSAGE.as_bytes()), false));
    });
    let answered = br#"{"type":"getTickets","tickets":[123456],"left":99876544,"token":123456}"#;
    criterion.bench_function("check an answer", |bench| {
        bench.iter_batched_ref(
            || answered.to_vec(),
            |answer| answer::check(answer, "getTickets").map(<[u8]>::len),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("write a reply", |bench| {
        let mut out = Vec::new();
        bench.iter(|| {
            out.clear();
            encoder::reply(&mut out, "getTickets", "12345", &answered[20..]);
        });
    });
}

fn asked() -> RequestRef<'static> {
    RequestRef {
        client: 1,
        session: 0,
        attempt: 1,
        wait: false,
        deadline_ms: u64::MAX,
        once: None,
        query_index: "12345",
        payload: "",
    }
}

fn job() -> Job {
    Job::new(ClientSlot(0), 1, TypeId(0), &asked())
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for queued in [10, 1_000_000] {
        group.bench_function(format!("one in, one out, with {queued} queued"), |bench| {
            let mut schedule = Schedule::new(usize::MAX, u64::MAX);
            let lane = schedule.open_lane();
            for _ in 0..queued {
                schedule.queue(lane, job());
            }
            bench.iter(|| {
                schedule.queue(lane, job());
                schedule.next(lane)
            });
        });
    }
    group.finish();
}

/// A lane's access to one state with so many entries, and what it calls for them.
fn access(entries: u64) -> SharedAccess {
    let mut map = StateMap::default();
    for number in 0..entries {
        map.write(&key(number), &[7; 16], |_| ());
    }
    let lent = LentState {
        id: StateId(1),
        map,
        schema: Some(1),
    };
    SharedAccess::new(Access::new(vec![lent], true))
}

fn key(number: u64) -> [u8; 9] {
    let mut key = [16; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn state(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state");
    for entries in [10, 1_000_000] {
        let access = access(entries);
        let host: AbiHostObject = AbiHost_TO::from_value(access.for_code(), TD_Opaque);
        let (middle, mut effects) = (key(entries / 2), Vec::new());
        group.bench_function(
            format!("one transaction: a read and a write over the ABI, of {entries} entries"),
            |bench| {
                let mut value = RVec::new();
                bench.iter(|| {
                    effects.clear();
                    access.lock().begin(0, CallFacts::default(), usize::MAX);
                    host.state_read(0, RSlice::from_slice(&middle), &mut value);
                    host.state_write(0, RSlice::from_slice(&middle), value.as_rslice());
                    access.lock().commit(0, Some(&mut effects), b"")
                });
            },
        );
    }
    group.finish();
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let disk = Arc::new(RealDisk);
    let id = LogId::random().expect("the system has random bytes");
    let (log, _) = FileLog::open(disk, folder.path(), id, None).expect("the folder is empty");
    for jobs in [1, 1_000] {
        commits(
            &mut group,
            &format!("{jobs} grants, in memory"),
            MemoryLog::default(),
            jobs,
            None,
        );
    }
    let mut number = None;
    let committer = Committing::start(log);
    for jobs in [1, 1_000] {
        number =
            Some(committer.measure(&mut group, &format!("{jobs} grants, synced"), jobs, number));
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn commits(group: &mut Group<'_>, name: &str, log: MemoryLog, jobs: usize, number: Option<u64>) {
    Committing::start(log).measure(group, name, jobs, number);
}

struct Committing {
    committer: Committer,
    told: mpsc::Receiver<Kept>,
}

impl Committing {
    fn start(log: impl host::state::log::Log + 'static) -> Self {
        let (tell, told) = mpsc::channel();
        let (threads, clock) = (Arc::new(SystemThreads), Clock::new());
        let committer =
            Committer::start(threads, clock, (log, ()), Durability::Sync, move |kept| {
                let _ = tell.send(kept);
            });
        let committer = committer.expect("a thread can be started");
        Self { committer, told }
    }

    /// Returns the number of the next batch.
    fn measure(&self, group: &mut Group<'_>, name: &str, jobs: usize, number: Option<u64>) -> u64 {
        let mut declared = Vec::new();
        if number.is_none() {
            let state = Declared {
                plugin: "tickets",
                name: "hall",
                kind: "numbers",
                schema: 1,
            };
            effects::declare(&mut declared, StateId(1), &state);
        }
        let mut grants = Vec::new();
        for _ in 0..jobs {
            effects::put(&mut grants, StateId(1), &[0], &[7; 57]);
        }
        let mut number = number.unwrap_or(1);
        group.throughput(Throughput::Elements(jobs as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut effects = std::mem::take(&mut declared);
                effects.extend_from_slice(&grants);
                self.committer.commit(BatchNo(number), 0, effects);
                number += 1;
                match self.told.recv().expect("the committer's thread runs") {
                    Kept::Committed { buffer } => buffer.len(),
                    Kept::Failed(error) => panic!("{error}"),
                    Kept::Rebuilt(_) => panic!("nobody asked for it"),
                }
            });
        });
        number
    }
}

/// Loads a plugin as the host does.
fn prepared(name: &str) -> Prepared {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join(format!("lib{name}.so"));
    std::fs::copy(example_plugin(name), file).expect("it was built");
    let crashes = CrashList::open(folder.path(), false).expect("the folder can be read");
    let (tell, told) = mpsc::channel();
    let settle = Duration::from_millis(10);
    let path = folder.path().to_owned();
    let _watcher = Watcher::start(
        path,
        Arc::new(crashes),
        Arc::default(),
        settle,
        move |event| {
            let _ = tell.send(event);
        },
    )
    .expect("the folder is there");
    for event in told {
        match event {
            PluginEvent::Prepared(prepared) => return *prepared,
            PluginEvent::Refused { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    panic!("the watcher has ended");
}

/// The number of the lane that serves `type_name`, and that of the jobber in it.
fn lane_of(prepared: &Prepared, type_name: &str) -> Option<(usize, u32)> {
    let lanes = prepared.description.lanes.iter().enumerate();
    let of = |lane: &&_| lane_types(lane).iter().position(|of| &**of == type_name);
    let mut found = lanes.filter_map(|(index, lane)| Some((index, of(&lane)?)));
    found.next().map(|(index, jobber)| (index, jobber as u32))
}

fn assert_became(verdict: &Verdict, word: &str) {
    match verdict {
        Verdict::Replied { result, .. } => assert_eq!(result.word(), word),
        other => panic!("expected `{word}`, got {other:?}"),
    }
}

/// The code of the lane of a plugin that serves `type_name`, and the jobber's number.
fn code(prepared: &Prepared, type_name: &str, clock: &Clock) -> (LaneCode, u32) {
    let lanes = &prepared.description.lanes;
    let (index, jobber) = lane_of(prepared, type_name).expect("it serves this type");
    let states = lanes[index]
        .states
        .iter()
        .zip(1..)
        .map(|(_, id)| LentState {
            id: StateId(id),
            ..LentState::default()
        });
    let access = SharedAccess::new(Access::new(states.collect(), true));
    let plugin = Arc::clone(&prepared.plugin);
    let code = LaneCode::open(
        "measured".into(),
        index as u32,
        Arc::new(move |lane, host| plugin.open_lane(lane, host)),
        access.clone(),
        lane_types(&&lanes[index]).into(),
        clock,
    );
    let code = code.expect("it opens on an empty state");
    access.lock().commit_told();
    (code, jobber)
}

fn lane_types(lane: &&plugin_api::description::LaneDescription) -> Vec<Box<str>> {
    let names = lane.jobbers.iter().map(|jobber| (*jobber.type_name).into());
    names.collect()
}

fn lanes(criterion: &mut Criterion) {
    let clock = Clock::new();
    let (counter, tickets) = (prepared("counter"), prepared("tickets"));
    let mut group = criterion.benchmark_group("a job");
    for (name, plugin, type_name, payload, becomes) in [
        (
            "a call over the ABI, memory of its own",
            &counter,
            "cntResponse",
            "",
            "ok",
        ),
        (
            "a refused grant",
            &tickets,
            "getTickets",
            r#"{"count":1000}"#,
            "sold_out",
        ),
        (
            "a grant given and taken back",
            &tickets,
            "getTickets",
            "",
            "ok",
        ),
    ] {
        let (mut code, jobber) = code(plugin, type_name, &clock);
        let returned = r#"{"tickets":[1]}"#;
        let (mut reply, mut effects) = (Vec::new(), Vec::new());
        group.bench_function(name, |bench| {
            let mut run = |jobber, payload| {
                reply.clear();
                effects.clear();
                let asked = RequestRef { payload, ..asked() };
                let out = Output {
                    reply: &mut reply,
                    effects: Some(&mut effects),
                };
                code.run(jobber, &asked, &clock, clock.read(), out)
            };
            let (_, taking_back) = lane_of(plugin, "returnTickets").unwrap_or_default();
            let takes_back = name == "a grant given and taken back";
            // What is measured is what its name says.
            assert_became(&run(jobber, payload), becomes);
            if takes_back {
                assert_became(&run(taking_back, returned), "ok");
            }
            bench.iter(|| {
                black_box(run(jobber, payload));
                if takes_back {
                    black_box(run(taking_back, returned));
                }
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("a lane's thread");
    group.throughput(Throughput::Elements(PER_READ as u64));
    let (code, jobber) = code(&counter, "cntResponse", &clock);
    let signal = Arc::new(Signal::default());
    let thread = LaneThread::start(&SystemThreads, "measured", code, clock, signal);
    let thread = thread.expect("a thread can be started");
    group.bench_function("a batch of 64 jobs, there and back", |bench| {
        let (mut fetched, mut jobs) = (Fetched::default(), VecDeque::new());
        bench.iter(|| {
            jobs.extend((0..PER_READ).map(|_| Handed { job: job(), jobber }));
            thread.hand(&mut jobs);
            let mut finished = 0;
            while finished < PER_READ {
                thread.fetch(&mut fetched);
                finished += fetched.finished.len();
                fetched.finished.clear();
                fetched.replies.clear();
                fetched.effects.clear();
                std::thread::yield_now();
            }
        });
    });
    group.finish();
}
