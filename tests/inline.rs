//! An inline jobber runs where all requests arrive: its jobs yield to others between two of them, and one that blocks
//! loses that place.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rm_tests::{Gate, RawClient, TestHost};
use serde_json::{Value, json};

fn served(client: &mut RawClient) -> u64 {
    let plugins = client.ask("rm.plugins", Value::Null).ok();
    let served = plugins["plugins"][0]["served"].as_u64();
    served.expect("a number")
}

#[test]
fn the_replies_of_a_long_inline_batch_do_not_wait_for_its_end() {
    // Together far longer than two clients need to take turns, on a busy machine too.
    const JOBS: u64 = 4_000;
    // In memory: a slow disk holds the first reply back for longer than all of it takes.
    let host = TestHost::plan()
        .fixture("blocks")
        .flags(&["--durability", "memory"])
        .start();
    let (mut client, mut other) = (host.connect(), host.connect());
    other.sync();
    client.tell_all((0..JOBS).map(|_| ("spin", json!({ "us": 200 }))));
    assert_eq!(client.reply().number("run"), 1);
    let after_the_first = served(&mut other);
    assert!(
        after_the_first < JOBS,
        "the first reply came after all were run"
    );
    // And the others get their turn again and again.
    let mut turns = 0;
    while served(&mut other) < JOBS {
        other.sync();
        turns += 1;
    }
    assert!(turns > 1, "in all the others had {turns} turns");
    for (reply, run) in client
        .replies(usize::try_from(JOBS).expect("a small number") - 1)
        .iter()
        .zip(2..)
    {
        assert_eq!(reply.number("run"), run);
    }
}

#[test]
fn an_inline_jobber_that_blocks_is_moved_to_a_thread_with_a_warning() {
    let host = TestHost::with_fixture("blocks");
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    let block = json!({ "us": 150_000 });
    assert_eq!(client.ask("block", block).number("run"), 1);
    host.log()
        .wait_from(0, &["WARN", "plugin=blocks", "a thread of its own"]);
    let moved = |client: &mut RawClient| {
        let lanes = client.plugin("blocks")["lanes"].clone();
        let why_of = |lane: usize| lanes[lane]["moved"]["why"].as_str().map(str::to_owned);
        (why_of(0), why_of(1))
    };
    let (spins, blocks) = moved(&mut other);
    assert_eq!(spins, None);
    let why = blocks.expect("the list says that it was moved");
    assert!(why.contains("an inline call took 1"), "{why}");
    // From now on it may take its time.
    client.tell("blockAtGate", gate.payload(""));
    let entered = gate.entered();
    client.tell("block", json!({ "us": 0 }));
    for client in [&mut client, &mut other] {
        client.ask("spin", json!({ "us": 1 })).ok();
        client.sync();
    }
    entered.release();
    // Its state has gone with it.
    assert_eq!(client.reply().number("run"), 2);
    assert_eq!(client.reply().number("run"), 3);
}

#[test]
fn what_stands_behind_an_inline_job_that_blocks_is_served_in_its_order() {
    let host = TestHost::with_fixture("blocks");
    let (mut client, mut other) = (host.connect(), host.connect());
    let quick = |count: usize| (0..count).map(|_| ("block", json!({ "us": 0 })));
    let blocking = ("block", json!({ "us": 150_000 }));
    client.tell_all(quick(10).chain([blocking]).chain(quick(100)));
    for (reply, run) in client.replies(111).iter().zip(1..) {
        assert_eq!(reply.number("run"), run);
    }
    other.ask("spin", json!({ "us": 1 })).ok();
}

#[test]
fn an_inline_jobber_that_waits_for_a_processor_stays_where_it_is() {
    // So many that want one that the host gets a small part of each 15 ms.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let ends = AtomicBool::new(false);
    let host = TestHost::with_fixture("blocks");
    let mut client = host.connect();
    client.ask("spin", json!({ "us": 1 })).ok();
    thread::scope(|scope| {
        for _ in 0..8 * processors {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let replies: Vec<_> = (0..6)
            .map(|_| client.ask("spin", json!({ "us": 15_000 })))
            .collect();
        ends.store(true, Ordering::Relaxed);
        for (reply, run) in replies.iter().zip(2..) {
            assert_eq!(reply.number("run"), run);
        }
    });
    let lanes = client.plugin("blocks")["lanes"].clone();
    assert_eq!(lanes[0]["moved"], Value::Null, "{lanes}");
}
