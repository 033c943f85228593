//! A request that bears an id counts once, however often it is asked: over a lost connection, a reload, a restart, a failing
//! disk.

use rm_tests::{AtGate, Disk, Gate, RawClient, TestHost};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A client that goes on with a session.
fn resumed(host: &TestHost, session: &str) -> RawClient {
    let mut client = host.connect();
    assert_eq!(client.resume(session).ok()["session"], session);
    client
}

/// A client whose requests with these ids are queued behind a job that stands at the gate, and the name of its session.
fn queued_behind(
    host: &TestHost,
    gate: &Gate,
    ids: &[u64],
) -> (RawClient, AtGate, RawClient, String) {
    let (mut blocker, mut client) = (host.connect(), host.connect());
    blocker.tell("addAtGate", gate.payload("blocker"));
    let at_gate = gate.entered();
    let session = client.session();
    for id in ids {
        client.tell_with(&json!({ "id": id }), "add", &Value::Null);
    }
    client.sync();
    (blocker, at_gate, client, session)
}

/// A client is lost, and so many queued requests with it, as the host knows from now on.
fn leaves(host: &TestHost, client: RawClient, removed: usize) {
    let from = host.log().len();
    client.reset();
    let removed = format!("removed={removed}");
    host.log()
        .wait_from(from, &["queued requests went with it", &removed]);
}

#[test]
fn a_repeated_id_gets_the_first_answer_under_its_new_number() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    let session = client.session();
    let first = client.ask_once(1, "getTickets", &Value::Null).ok();
    assert_eq!(first["tickets"], json!([1]));
    assert_eq!(client.ask_once(1, "getTickets", &Value::Null).ok(), first);
    let mut other = resumed(&host, &session);
    assert_eq!(other.ask_once(1, "getTickets", &Value::Null).ok(), first);
    let second = other.ask_once(2, "getTickets", &Value::Null).ok();
    assert_eq!(second["tickets"], json!([2]));
    // The same number in another session is another request.
    let mut stranger = host.connect();
    stranger.session();
    let third = stranger.ask_once(1, "getTickets", &Value::Null).ok();
    assert_eq!(third["tickets"], json!([3]));
}

#[test]
fn a_jobbers_refusal_is_an_answer_too_and_the_hosts_errors_are_none() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 1\n")
        .start();
    let mut client = host.connect();
    client.session();
    let two = json!({ "count": 2 });
    client.ask_once(1, "getTickets", &two).refused("sold_out");
    client.ask("addTickets", json!({ "count": 1 })).ok();
    client.ask_once(1, "getTickets", &two).refused("sold_out");
    client.ask_once(2, "getTickets", &two).ok();

    client
        .ask_once(3, "getTickets", &json!({ "count": "x" }))
        .refused("bad_payload");
    client
        .ask_once(4, "getTicket", &two)
        .refused("unknown_type");
    client.ask("addTickets", json!({ "count": 1 })).ok();
    for id in [3, 4] {
        let returned = json!({ "tickets": [id - 2] });
        client.ask_once(id, "returnTickets", &returned).ok();
    }
}

#[test]
fn an_id_that_was_used_for_something_else_is_refused_and_nothing_is_run() {
    let host = TestHost::plan().plugin("tickets").plugin("counter").start();
    let mut client = host.connect();
    client.session();
    client
        .ask_once(1, "getTickets", &json!({ "count": 1 }))
        .ok();
    for (type_name, payload) in [
        ("getTickets", json!({ "count": 2 })),
        ("getTickets", Value::Null),
        ("addTickets", json!({ "count": 1 })),
        ("cntResponse", json!({ "count": 1 })),
        ("no_such_type", json!({ "count": 1 })),
    ] {
        let reply = client.ask_once(1, type_name, &payload);
        assert_eq!(reply.type_name, type_name);
        reply.refused("id_conflict");
    }
    let left = client
        .ask_once(2, "getTickets", &Value::Null)
        .number("left");
    assert_eq!(left, 498);
}

#[test]
fn who_asks_again_while_the_first_still_runs_waits_for_its_answer() {
    let host = TestHost::with_fixture("gates");
    let gate = Gate::new();
    let mut client = host.connect();
    let session = client.session();
    let payload = gate.payload("first");
    client.tell_with(&json!({ "id": 1 }), "addAtGate", &payload);
    let at_gate = gate.entered();
    let mut again = resumed(&host, &session);
    let index = again.tell_with(&json!({ "id": 1 }), "addAtGate", &payload);
    again
        .ask_once(1, "addAtGate", &gate.payload("other"))
        .refused("id_conflict");
    // The first connection goes while its job runs.
    let from = host.log().len();
    client.reset();
    host.log().wait_from(from, &["disconnected"]);
    at_gate.release();
    let reply = again.reply();
    assert_eq!((reply.number("count"), reply.query_index), (1, index));
    assert_eq!(again.ask("add", Value::Null).number("count"), 2);
}

#[test]
fn what_a_lost_connection_had_queued_is_run_for_the_one_that_asked_again() {
    let host = TestHost::with_fixture("gates");
    let (gate, ids) = (Gate::new(), [1, 2, 3]);
    let (_blocker, at_gate, client, session) = queued_behind(&host, &gate, &ids);
    let mut again = resumed(&host, &session);
    for id in [1, 3] {
        again.tell_with(&json!({ "id": id }), "add", &Value::Null);
    }
    again.sync();
    leaves(&host, client, 3);
    at_gate.release();
    let counts: Vec<u64> = (again.replies(2).iter())
        .map(|reply| reply.number("count"))
        .collect();
    assert_eq!(counts, [2, 3]);
    assert_eq!(again.ask_once(2, "add", &Value::Null).number("count"), 4);
}

#[test]
fn an_answer_is_given_again_after_a_reload_a_removal_and_a_kill() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    let session = client.session();
    let first = client.ask_once(7, "getTickets", &Value::Null).ok();
    host.operate()
        .ask("rm.plugin", json!({ "name": "tickets", "do": "reload" }))
        .ok();
    assert_eq!(client.ask_once(7, "getTickets", &Value::Null).ok(), first);
    host.remove("tickets");
    assert_eq!(client.ask_once(7, "getTickets", &Value::Null).ok(), first);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.plugin("tickets").start();
    let mut client = resumed(&host, &session);
    assert_eq!(client.ask_once(7, "getTickets", &Value::Null).ok(), first);
    client
        .ask_once(7, "addTickets", &Value::Null)
        .refused("id_conflict");
    let second = client.ask_once(8, "getTickets", &Value::Null).ok();
    assert_eq!(second["tickets"], json!([2]));
}

#[test]
fn a_session_that_never_answered_goes_on_after_a_kill_and_those_of_others_are_forgotten() {
    let host = TestHost::with_plugin("tickets");
    let session = host.connect().session();
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.start();
    let mut client = resumed(&host, &session);
    client.ask_once(1, "getTickets", &Value::Null).ok();
    let elsewhere = TestHost::with_plugin("tickets");
    let mut stranger = elsewhere.connect();
    for name in [&*session, "", "0-0", "🦀"] {
        stranger.resume(name).refused("id_forgotten");
    }
    // It was not greeted, so nothing is run for it that might have been run before.
    stranger.tell_with(&json!({ "id": 1 }), "getTickets", &Value::Null);
    assert_eq!(stranger.reply().type_name, "errMsgFromClient");
}

#[test]
fn in_memory_a_session_ends_with_the_host() {
    let flags = ["--durability", "memory"];
    let host = TestHost::plan().plugin("tickets").flags(&flags).start();
    let mut client = host.connect();
    let session = client.session();
    let first = client.ask_once(1, "getTickets", &Value::Null).ok();
    let mut again = resumed(&host, &session);
    assert_eq!(again.ask_once(1, "getTickets", &Value::Null).ok(), first);
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    let host = plan.flags(&flags).start();
    host.connect().resume(&session).refused("id_forgotten");
}

#[test]
fn an_id_is_for_what_plugins_serve() {
    let host = TestHost::with_plugin("counter");
    let mut client = host.connect();
    client.session();
    for type_name in ["ping", "rm.plugins", "rm.hello", "rm.cancel"] {
        client.tell_with(&json!({ "id": 1 }), type_name, &Value::Null);
        let reply = client.reply();
        assert_eq!(reply.type_name, "errMsgFromClient");
        assert!(reply.text.contains("the key `id`"), "{}", reply.text);
    }
    // Also without a state: what was answered is kept.
    let first = client.ask_once(1, "cntResponse", &json!(0)).ok();
    client.ask("cntResponse", json!(0)).ok();
    assert_eq!(client.ask_once(1, "cntResponse", &json!(0)).ok(), first);
}

#[test]
fn no_repeated_answer_leaves_before_the_first_is_durable() {
    let disk = Disk::new();
    let host = TestHost::plan().plugin("tickets").disk(&disk).start();
    let mut client = host.connect();
    let session = client.session();
    client.ask("getTickets", Value::Null).ok();
    disk.begin("hold");
    client.tell_with(&json!({ "id": 1 }), "getTickets", &Value::Null);
    disk.wait_until_held();
    let mut again = resumed(&host, &session);
    again.tell_with(&json!({ "id": 1 }), "getTickets", &Value::Null);
    for _ in 0..100 {
        again.sync();
    }
    disk.end("hold");
    assert_eq!(again.reply().ok(), client.reply().ok());
}

#[test]
fn what_a_failing_disk_left_in_doubt_is_asked_again_under_its_id() {
    for fault in ["fail", "full"] {
        let disk = Disk::new();
        let host = TestHost::plan()
            .plugin("tickets")
            .plugin("counter")
            .disk(&disk)
            .start();
        let mut client = host.connect();
        client.session();
        client.ask_once(1, "getTickets", &Value::Null).ok();
        disk.begin(fault);
        let lost = client.ask_once(2, "getTickets", &Value::Null);
        assert_eq!(lost.result["outcome"], "unknown");
        lost.refused("storage_failed");
        let known = client.ask_once(1, "getTickets", &Value::Null);
        assert_eq!(known.result["outcome"], "unknown");
        known.refused("storage_failed");
        let new = client.ask_once(3, "cntResponse", &json!(0));
        assert_eq!(new.result["outcome"], "void");
        new.refused("storage_failed");
        host.recovers_from(&disk, fault);
        let again = client.ask_once(2, "getTickets", &Value::Null).ok();
        assert_eq!(again["tickets"], json!([2]), "{fault}");
        let first = client.ask_once(1, "getTickets", &Value::Null).ok();
        assert_eq!(first["tickets"], json!([1]), "{fault}");
        client.ask_once(3, "cntResponse", &json!(0)).ok();
    }
}

#[test]
fn a_type_without_a_state_answers_on_while_the_disk_fails_that_was_to_keep_its_answers() {
    let disk = Disk::new();
    let host = TestHost::plan()
        .plugin("tickets")
        .plugin("counter")
        .disk(&disk)
        .start();
    let (mut client, mut other) = (host.connect(), host.connect());
    client.session();
    disk.begin("hold");
    other.tell("getTickets", Value::Null);
    disk.wait_until_held();
    client.tell_with(&json!({ "id": 1 }), "cntResponse", &json!(0));
    disk.begin("fail");
    disk.end("hold");
    for lost in [client.reply(), other.reply()] {
        lost.refused("storage_failed");
    }
    client.ask("cntResponse", json!(0)).ok();
    let mut late = host.connect();
    late.session();
    host.recovers_from(&disk, "fail");
    client.ask_once(1, "cntResponse", &json!(0)).ok();
    late.ask_once(1, "getTickets", &Value::Null).ok();
}

#[test]
fn a_request_is_joined_by_so_many_and_those_that_have_gone_make_room() {
    let host = TestHost::with_fixture("gates");
    let gate = Gate::new();
    let mut client = host.connect();
    let session = client.session();
    let (payload, id) = (gate.payload("first"), json!({ "id": 1 }));
    client.tell_with(&id, "addAtGate", &payload);
    let at_gate = gate.entered();
    let mut again = resumed(&host, &session);
    for _ in 0..16 {
        again.tell_with(&id, "addAtGate", &payload);
    }
    again.ask_once(1, "addAtGate", &payload).refused("busy");
    let from = host.log().len();
    again.reset();
    host.log().wait_from(from, &["disconnected"]);
    let mut later = resumed(&host, &session);
    later.tell_with(&id, "addAtGate", &payload);
    later.sync();
    at_gate.release();
    for client in [&mut client, &mut later] {
        assert_eq!(client.reply().number("count"), 1);
    }
}

#[test]
fn what_is_handed_on_is_still_served_by_a_plugin_that_was_disabled() {
    let host = TestHost::with_fixture("gates");
    let gate = Gate::new();
    let (_blocker, at_gate, client, session) = queued_behind(&host, &gate, &[1]);
    let mut again = resumed(&host, &session);
    again.tell_with(&json!({ "id": 1 }), "add", &Value::Null);
    again.sync();
    host.operate()
        .ask("rm.plugin", json!({ "name": "gates", "do": "disable" }))
        .ok();
    leaves(&host, client, 1);
    at_gate.release();
    assert_eq!(again.reply().number("count"), 2);
}

#[test]
fn nothing_is_begun_under_an_id_while_its_answer_cannot_be_kept() {
    let disk = Disk::new();
    let host = TestHost::plan()
        .fixture("gates")
        .plugin("tickets")
        .disk(&disk)
        .start();
    let gate = Gate::new();
    let (mut blocker, mut client) = (host.connect(), host.connect());
    client.session();
    blocker.tell("stop", gate.payload("blocker"));
    let at_gate = gate.entered();
    client.tell_with(&json!({ "id": 1 }), "stop", &gate.payload("queued"));
    client.sync();
    disk.begin("fail");
    let mut buyer = host.connect();
    buyer
        .ask("getTickets", Value::Null)
        .refused("storage_failed");
    at_gate.release();
    let reply = client.reply();
    assert_eq!(reply.result["outcome"], "void");
    reply.refused("storage_failed");
    blocker.reply().ok();
    host.recovers_from(&disk, "fail");
    client.tell_with(&json!({ "id": 1 }), "stop", &gate.payload("queued"));
    let at_gate = gate.entered();
    assert_eq!(at_gate.name, "queued");
    at_gate.release();
    client.reply().ok();
}

/// More than all answers together may take.
#[test]
fn whoever_keeps_large_answers_does_not_push_out_those_of_others() {
    let host = TestHost::plan()
        .plugin("tickets")
        .fixture("answers")
        .flags(&["--log", "info"])
        .start();
    let mut client = host.connect();
    let session = client.session();
    let sold = client.ask_once(1, "getTickets", &Value::Null).ok();
    client.reset();
    let large = json!({ "bytes": 3_900_000 });
    for _ in 0..18 {
        let mut greedy = host.connect();
        greedy.session();
        for id in 1..=4 {
            greedy.ask_once(id, "padded", &large).ok();
        }
    }
    host.log()
        .wait_from(0, &["WARN", "forgotten for want of room"]);
    let mut client = resumed(&host, &session);
    assert_eq!(client.ask_once(1, "getTickets", &Value::Null).ok(), sold);
}

#[test]
fn what_has_not_begun_can_be_taken_back_and_is_never_run() {
    let host = TestHost::plan().fixture("gates").plugin("proxies").start();
    let gate = Gate::new();
    let mut client = host.connect();
    let session = client.session();
    let cancel =
        |client: &mut RawClient, id: u64| client.ask("rm.cancel", json!({ "id": id })).ok();
    client.tell_with(&json!({ "id": 1 }), "addAtGate", &gate.payload("first"));
    let at_gate = gate.entered();
    let queued = client.tell_with(&json!({ "id": 2 }), "add", &Value::Null);
    let waiting = client.tell_with(&json!({ "id": 3, "wait": true }), "getProxy", &Value::Null);
    client.sync();
    let mut other = resumed(&host, &session);
    for (id, was) in [
        (2, "queued"),
        (3, "waiting"),
        (4, "unknown"),
        (2, "cancelled"),
    ] {
        let done = cancel(&mut other, id);
        assert_eq!(done, json!({ "cancelled": true, "was": was }), "{id}");
    }
    let running = json!({ "cancelled": false, "was": "running" });
    assert_eq!(cancel(&mut other, 1), running);
    for index in [queued, waiting] {
        let reply = client.reply();
        assert_eq!(reply.query_index, index);
        reply.refused("cancelled");
    }
    at_gate.release();
    assert_eq!(client.reply().number("count"), 1);
    let answered = json!({ "cancelled": false, "was": "answered" });
    assert_eq!(cancel(&mut other, 1), answered);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.start();
    let mut client = resumed(&host, &session);
    client.ask_once(2, "add", &Value::Null).refused("cancelled");
    client.ask_once(4, "add", &Value::Null).refused("cancelled");
    assert_eq!(client.ask_once(5, "add", &Value::Null).number("count"), 2);
}

#[test]
fn only_a_session_has_something_to_take_back() {
    let host = TestHost::with_plugin("counter");
    let mut client = host.connect();
    let reply = client.ask("rm.cancel", json!({ "id": 1 }));
    assert!(reply.refused("bad_payload").contains("rm.hello"));
    client.session();
    client
        .ask("rm.cancel", json!({ "id": 0 }))
        .refused("bad_payload");
}
