//! One owner of all queues: a type never runs two jobs at once, types never wait for each other, first come is first
//! served, and every request that arrived whole gets exactly one reply, unless its client is gone.

use std::collections::HashSet;

use rm_tests::{Gate, RawClient, TestHost};
use serde_json::{Value, json};

#[test]
fn a_job_that_blocks_delays_only_its_own_type() {
    let host = TestHost::plan().fixture("gates").plugin("counter").start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("stop", gate.payload("first"));
    let first = gate.entered();
    // On its own connection and on another, of its own plugin and of another.
    for client in [&mut client, &mut other] {
        client.ask("cntResponse", Value::Null).ok();
        client.ask("add", Value::Null).ok();
        client.ask("ping", Value::Null).ok();
    }
    other.tell("stopToo", gate.payload("other type"));
    gate.entered().release();
    assert_eq!(other.reply().type_name, "stopToo");
    // Its own type waits.
    other.tell("stop", gate.payload("second"));
    other.sync();
    assert!(!gate.is_awaited());
    first.release();
    assert_eq!(client.reply().ok()["name"], "first");
    let second = gate.entered();
    assert_eq!(second.name, "second");
    second.release();
    assert_eq!(other.reply().ok()["name"], "second");
}

#[test]
fn types_that_share_nothing_are_in_work_at_the_same_time() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell_all([
        ("stop", gate.payload("stop")),
        ("stopToo", gate.payload("stopToo")),
        ("addAtGate", gate.payload("addAtGate")),
        ("stopBeforeLarge", gate.payload("stopBeforeLarge")),
    ]);
    let at_gate: Vec<_> = (0..4).map(|_| gate.entered()).collect();
    let names: HashSet<&str> = at_gate.iter().map(|job| &*job.name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    drop(at_gate);
    client.replies(4);
}

#[test]
fn first_come_is_first_served_across_clients() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut first) = (Gate::new(), host.connect());
    first.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    let mut clients: Vec<RawClient> = (0..10).map(|_| host.connect()).collect();
    for round in 0..5 {
        for client in &mut clients {
            client.tell("add", json!(round));
            // Only then the next one's.
            client.sync();
        }
    }
    entered.release();
    assert_eq!(first.reply().number("count"), 1);
    for round in 0..5 {
        for (at, client) in clients.iter_mut().enumerate() {
            let reply = client.reply();
            assert_eq!(reply.number("count"), 2 + round * 10 + at as u64);
        }
    }
}

#[test]
fn jobs_of_one_state_never_overlap_whatever_their_type_and_client() {
    let host = TestHost::with_fixture("gates");
    let mut clients: Vec<RawClient> = (0..8).map(|_| host.connect()).collect();
    for client in &mut clients {
        let types = ["alone", "aloneToo"].into_iter().cycle();
        client.tell_all(types.take(50).map(|type_name| (type_name, Value::Null)));
    }
    let mut numbers = HashSet::new();
    for client in &mut clients {
        let mut of_client = Vec::new();
        for reply in client.replies(50) {
            assert_eq!(reply.result["alone"], true);
            of_client.push(reply.number("number"));
        }
        assert!(
            of_client.is_sorted(),
            "one client's own order: {of_client:?}"
        );
        numbers.extend(of_client);
    }
    assert_eq!(numbers.len(), 400);
}

#[test]
fn a_finished_reply_is_not_held_by_a_later_job_of_its_batch() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client) = (Gate::new(), host.connect());
    for round in 0..20 {
        let quick = (0..10).map(|_| ("add", Value::Null));
        let blocking = [("addAtGate", gate.payload("")), ("count", Value::Null)];
        client.tell_all(quick.chain(blocking));
        // Nobody has let the blocking one go.
        for at in 1..=10 {
            assert_eq!(client.reply().number("count"), round * 11 + at);
        }
        gate.entered().release();
        client.replies(2);
    }
}

#[test]
fn a_client_that_sends_nothing_more_is_answered_what_is_in_work_and_no_more() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    client.tell_all((0..5).map(|_| ("add", Value::Null)));
    client.finish();
    host.log()
        .wait_from(0, &["queued requests went with it", "removed=5"]);
    other.tell("count", Value::Null);
    entered.release();
    assert_eq!(client.reply().number("count"), 1);
    client.expect_end();
    assert_eq!(other.reply().number("count"), 1, "what was queued has run");
}

#[test]
fn a_reset_takes_the_queued_requests_and_leaves_the_one_in_work() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    client.tell_all((0..5).map(|_| ("add", Value::Null)));
    client.sync();
    client.reset();
    host.log()
        .wait_from(0, &["queued requests went with it", "removed=5"]);
    other.tell("count", Value::Null);
    other.sync();
    assert_eq!(other.ask("srvQueuePrint", Value::Null).number("length"), 1);
    entered.release();
    assert_eq!(
        other.reply().number("count"),
        1,
        "the one in work counts, the others have not run"
    );
}

#[test]
fn a_client_that_goes_does_not_take_the_requests_of_another() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut going, mut staying) = (Gate::new(), host.connect(), host.connect());
    staying.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    for _ in 0..10 {
        going.tell("add", Value::Null);
        going.sync();
        staying.tell("add", Value::Null);
        staying.sync();
    }
    going.reset();
    host.log()
        .wait_from(0, &["queued requests went with it", "removed=10"]);
    entered.release();
    let counts: Vec<u64> = staying
        .replies(11)
        .iter()
        .map(|reply| reply.number("count"))
        .collect();
    assert_eq!(counts, Vec::from_iter(1..=11));
}

#[test]
fn a_request_that_tries_again_does_not_hold_up_others_of_its_type() {
    let host = TestHost::with_fixture("gates");
    let mut client = host.connect();
    let indexes = client.tell_all([
        ("flaky", json!({ "fails": 1 })),
        ("flaky", json!({ "fails": 0 })),
        ("flaky", json!({ "fails": 0 })),
    ]);
    let replies = client.replies(3);
    let order: Vec<&String> = replies.iter().map(|reply| &reply.query_index).collect();
    assert_eq!(order, [&indexes[1], &indexes[2], &indexes[0]]);
    let attempts: Vec<u64> = replies
        .iter()
        .map(|reply| reply.number("attempt"))
        .collect();
    assert_eq!(attempts, [1, 1, 2]);
    // What the failed run had changed is undone.
    assert_eq!(client.ask("flakyRuns", Value::Null).number("count"), 3);
}

#[test]
fn try_again_ends_after_six_runs_in_an_error() {
    let host = TestHost::with_fixture("gates");
    let mut client = host.connect();
    client.tell_all([
        ("flaky", json!({ "fails": 99 })),
        ("flaky", json!({ "fails": 5 })),
    ]);
    let (mut succeeded, mut failed) = (0, 0);
    for reply in client.replies(2) {
        if reply.query_index == "1" {
            let said = reply.refused("jobber_error");
            assert!(said.contains('6') && said.contains("jammed"), "{said}");
            failed += 1;
        } else {
            assert_eq!(reply.number("attempt"), 6);
            succeeded += 1;
        }
    }
    assert_eq!((succeeded, failed), (1, 1));
    // The log comes another way than the replies.
    for last in ["ok", "jobber_error"] {
        host.log().wait_from(0, &["served", "attempt=6", last]);
    }
    assert_eq!(host.log().lines_with(&["of a flaky job"]).len(), 12);
    assert_eq!(host.log().lines_with(&["run 7 of a flaky job"]), [""; 0]);
    host.log()
        .wait_from(0, &["WARN", "plugin=gates", "flaky", "jammed"]);
}

#[test]
fn a_client_that_goes_ends_its_tries() {
    let host = TestHost::with_fixture("gates");
    let (mut client, mut other) = (host.connect(), host.connect());
    client.tell("flaky", json!({ "fails": 99 }));
    host.log().wait_from(0, &["flaky", "try again"]);
    client.sync();
    assert_eq!(
        other.ask("srvQueuePrint", Value::Null).ok()["types"]["flaky"]["retrying"],
        1
    );
    client.reset();
    host.log().wait_from(0, &["queued requests went with it"]);
    assert_eq!(other.ask("srvQueuePrint", Value::Null).number("length"), 0);
}

#[test]
fn a_full_queue_is_answered_busy_and_tells_when_to_come_again() {
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--queue-max", "10"])
        .start();
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    // More than all that may lie between the socket and the jobber.
    let asked = 1_000;
    client.tell_all((0..asked).map(|_| ("add", Value::Null)));
    let mut indexes = HashSet::new();
    let first = client.reply();
    assert!(first.number("retry_after_ms") > 0);
    indexes.insert(first.query_index.clone());
    first.refused("busy");
    // Others than those of the full lane are served.
    let mut other = host.connect();
    other.ask("flaky", json!({ "fails": 0 })).ok();
    other.sync();
    entered.release();
    let mut served = 0;
    for reply in client.replies(asked) {
        assert!(
            indexes.insert(reply.query_index.clone()),
            "answered twice: {}",
            reply.text
        );
        match reply.code() {
            None => served += 1,
            Some(code) => assert_eq!(code, "busy"),
        }
    }
    assert!(served >= 11, "only {served} were served");
    assert_eq!(other.ask("count", Value::Null).number("count"), served);
}

#[test]
fn a_request_that_is_not_begun_in_time_expires_and_never_runs() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client) = (Gate::new(), host.connect());
    client.hello(&json!({}));
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    client.tell_with(&json!({ "deadline_ms": 40 }), "add", &Value::Null);
    client.tell("add", Value::Null);
    // While the job before it is still in work.
    let expired = client.reply();
    assert_eq!(expired.type_name, "add");
    expired.refused("expired");
    entered.release();
    assert_eq!(client.reply().number("count"), 1);
    assert_eq!(client.reply().number("count"), 2);
}

#[test]
fn a_job_that_ends_after_its_deadline_is_expired_and_changes_nothing() {
    let host = TestHost::with_fixture("gates");
    let mut client = host.connect();
    client.hello(&json!({}));
    client.tell_with(&json!({ "deadline_ms": 100 }), "addTooLate", &Value::Null);
    client.reply().refused("expired");
    assert_eq!(client.ask("count", Value::Null).number("count"), 0);
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival_when_something_comes_back() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\"]\n")
        .start();
    let mut clients: Vec<RawClient> = (0..5).map(|_| host.connect()).collect();
    assert_eq!(clients[0].ask("getProxy", Value::Null).number("id"), 1);
    for client in &mut clients[1..] {
        client.hello(&json!({ "wait": true }));
        client.tell("getProxy", Value::Null);
        client.sync();
    }
    let report = clients[0].ask("srvQueuePrint", Value::Null).ok();
    assert_eq!(report["types"]["getProxy"]["waiting"], 4, "{report}");
    for at in 0..4 {
        // A newcomer may not take what others stand in line for.
        let mut newcomer = host.connect();
        clients[at].tell_all([("returnProxy", json!({ "id": 1 }))]);
        clients[at].reply().ok();
        assert_eq!(clients[at + 1].reply().number("id"), 1);
        newcomer.ask("getProxy", Value::Null).refused("none_free");
    }
}

#[test]
fn a_newcomer_in_the_same_write_does_not_overtake_who_waits() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\"]\n")
        .start();
    let (mut holder, mut waiting) = (host.connect(), host.connect());
    holder.ask("getProxy", Value::Null).ok();
    waiting.hello(&json!({ "wait": true }));
    waiting.tell("getProxy", Value::Null);
    waiting.sync();
    holder.tell_all([
        ("returnProxy", json!({ "id": 1 })),
        ("getProxy", Value::Null),
    ]);
    let mut replies = holder.replies(2);
    replies.remove(1).refused("none_free");
    replies.remove(0).ok();
    assert_eq!(waiting.reply().number("id"), 1);
}

#[test]
fn who_waits_expires_at_its_deadline() {
    let host = TestHost::with_plugin("proxies");
    let mut client = host.connect();
    client.hello(&json!({ "wait": true }));
    client.tell_with(&json!({ "deadline_ms": 50 }), "getProxy", &Value::Null);
    client.reply().refused("expired");
    let report = client.ask("srvQueuePrint", Value::Null);
    assert_eq!(report.number("length"), 0);
    // What comes now is for the next one.
    client.ask("addProxy", json!({ "url": "a" })).ok();
    assert_eq!(client.ask("getProxy", Value::Null).number("id"), 1);
}

#[test]
fn who_waits_and_goes_is_forgotten() {
    let host = TestHost::with_plugin("proxies");
    let (mut gone, mut waiting, mut other) = (host.connect(), host.connect(), host.connect());
    for client in [&mut gone, &mut waiting] {
        client.hello(&json!({ "wait": true }));
        client.tell("getProxy", Value::Null);
        client.sync();
    }
    gone.reset();
    host.log()
        .wait_from(0, &["queued requests went with it", "removed=1"]);
    other.ask("addProxy", json!({ "url": "a" })).ok();
    assert_eq!(waiting.reply().number("id"), 1);
}

#[test]
fn the_queue_is_reported_by_type_and_printed_to_the_log() {
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--name", "SRV1"])
        .start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    other.tell_all([
        ("add", Value::Null),
        ("add", Value::Null),
        ("count", Value::Null),
        ("srvQueuePrint", Value::Null),
    ]);
    let report = other.reply();
    assert_eq!(report.type_name, "srvQueuePrint");
    assert_eq!(report.number("length"), 3);
    assert_eq!(report.result["types"]["add"]["queued"], 2);
    assert_eq!(report.result["types"]["count"]["queued"], 1);
    host.log().wait_from(0, &["SRV1", "queue:", "\"length\":3"]);
    entered.release();
    other.replies(3);
}

/// What has been handed to a lane's thread and has not been entered is queued as well.
#[test]
fn the_length_of_the_queue_counts_all_that_has_not_begun() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    for queued in 1..=100 {
        client.tell("add", Value::Null);
        client.sync();
        let length = other.ask("srvQueuePrint", Value::Null).number("length");
        assert_eq!(length, queued);
    }
    drop(entered);
}

#[test]
fn the_queues_length_is_logged_at_the_interval_that_is_asked_for() {
    let host = TestHost::plan()
        .flags(&["--queue-report", "10ms", "--name", "SRV1"])
        .start();
    let mut from = 0;
    for _ in 0..3 {
        host.log().wait_from(from, &["SRV1", "queue: 0 requests"]);
        from = host.log().len();
    }
}
