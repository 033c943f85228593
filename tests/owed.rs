//! A client that is let go, because of what it sent or because the host stops, first gets what it is owed: a reply to
//! every request that came whole.

use std::{collections::HashSet, thread, time::Duration};

use rm_tests::{Gate, RawClient, TestHost};
use rustix::process::Signal;
use serde_json::{Value, json};

const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Sends more than any message may have, and returns once the host knows.
fn break_off(host: &TestHost, client: &mut RawClient) {
    let from = host.log().len();
    client.send_bytes(&vec![b'x'; MESSAGE_BYTES_MAX + 1]);
    host.log().wait_from(from, &["disconnected:", "1048576"]);
}

fn expect_too_large(client: &mut RawClient) {
    client.reply().refused("too_large");
    client.expect_end();
}

#[test]
fn who_breaks_off_still_gets_the_reply_to_what_is_in_work() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("stop", gate.payload("in work"));
    let entered = gate.entered();
    break_off(&host, &mut client);
    entered.release();
    assert_eq!(client.reply().ok()["name"], "in work");
    expect_too_large(&mut client);
}

#[test]
fn who_breaks_off_still_gets_the_reply_to_what_is_tried_again() {
    let host = TestHost::with_fixture("gates");
    let mut client = host.connect();
    client.tell("flaky", json!({ "fails": 2 }));
    host.log().wait_from(0, &["flaky", "try again"]);
    break_off(&host, &mut client);
    // The second run fails too, and there is nobody yet to be let go.
    assert_eq!(client.reply().number("attempt"), 3);
    expect_too_large(&mut client);
}

#[test]
fn who_breaks_off_still_gets_the_reply_to_what_waits_inline() {
    let host = TestHost::with_plugin("tickets");
    let (mut client, mut other) = (host.connect(), host.connect());
    other.ask("getTickets", json!({ "count": 500 })).ok();
    client.hello(&json!({ "wait": true }));
    client.tell("getTickets", json!({ "count": 2 }));
    host.log().wait_from(0, &["getTickets", "not yet"]);
    break_off(&host, &mut client);
    // One is too few: it is tried in vain, and waits on.
    for ticket in [7, 8] {
        other
            .ask("returnTickets", json!({ "tickets": [ticket] }))
            .ok();
    }
    assert_eq!(client.reply().ok()["tickets"], json!([7, 8]));
    expect_too_large(&mut client);
}

#[test]
fn who_breaks_off_still_gets_the_reply_to_what_waits_for_a_lane_thread() {
    let host = TestHost::with_fixture("shelf");
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.hello(&json!({ "wait": true }));
    let mut payload = gate.payload("two");
    payload["count"] = 2.into();
    client.tell("takeAtGate", payload);
    let entered = gate.entered();
    // Broken off before it is known that it has to wait.
    break_off(&host, &mut client);
    entered.release();
    for _ in 0..2 {
        other.tell("put", json!({ "count": 1 }));
        gate.entered().release();
        other.reply().ok();
    }
    assert_eq!(client.reply().number("turn"), 1);
    expect_too_large(&mut client);
}

#[test]
fn who_breaks_off_still_hears_that_what_waits_has_expired() {
    let host = TestHost::with_plugin("proxies");
    let mut client = host.connect();
    client.hello(&json!({ "wait": true, "deadline_ms": 500 }));
    client.tell("getProxy", Value::Null);
    break_off(&host, &mut client);
    client.reply().refused("expired");
    expect_too_large(&mut client);
}

/// Asks for all kinds of things in one write, and returns how many.
fn ask_for_much(client: &mut RawClient) -> usize {
    let round = [
        ("who", Value::Null),
        ("alone", Value::Null),
        ("ping", Value::Null),
        ("add", Value::Null),
        ("flaky", json!({ "fails": 1 })),
        ("nobody serves this", Value::Null),
    ];
    client.tell_all(round.into_iter().cycle().take(1_200)).len()
}

/// Checks that every request is answered once: served, or given back.
fn expect_all_answered(client: &mut RawClient, asked: usize) {
    let mut indexes = HashSet::new();
    for reply in client.replies(asked) {
        let code = reply.code();
        assert!(
            matches!(code, None | Some("shutting_down" | "unknown_type")),
            "{}",
            reply.text
        );
        assert!(indexes.insert(reply.query_index), "answered twice");
    }
    client.expect_end();
}

/// What has come, and what has been read of it, when the signal does, is not left to chance: the host stands still.
#[test]
fn whatever_came_whole_before_a_stop_is_answered() {
    let host = TestHost::plan().fixture("gates").fixture("blocks").start();
    let (gate, mut blocking) = (Gate::new(), host.connect());
    let mut clients: Vec<RawClient> = (0..6).map(|_| host.connect()).collect();
    for client in &mut clients {
        client.sync();
    }
    let mut read: Vec<usize> = clients.iter_mut().map(ask_for_much).collect();
    clients[0].reply();
    read[0] -= 1;
    // An inline job that does not return keeps the core thread.
    blocking.tell("blockAtGate", gate.payload(""));
    let entered = gate.entered();
    let unread: Vec<usize> = clients.iter_mut().map(ask_for_much).collect();
    host.signal(Signal::TERM);
    entered.release();
    assert_eq!(blocking.reply().number("run"), 1);
    for ((client, read), unread) in clients.iter_mut().zip(read).zip(unread) {
        expect_all_answered(client, read + unread);
    }
    assert_eq!(host.wait().code, Some(0));
}

#[test]
fn whatever_came_whole_is_answered_by_a_host_that_still_works_on_another_request() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut blocking) = (Gate::new(), host.connect());
    blocking.tell("stop", gate.payload("in work"));
    let entered = gate.entered();
    let mut clients: Vec<RawClient> = (0..6).map(|_| host.connect()).collect();
    let asked: Vec<usize> = clients.iter_mut().map(ask_for_much).collect();
    host.signal(Signal::TERM);
    host.log().wait_from(0, &["TERM"]);
    entered.release();
    assert_eq!(blocking.reply().ok()["name"], "in work");
    blocking.expect_end();
    for (client, asked) in clients.iter_mut().zip(asked) {
        expect_all_answered(client, asked);
    }
    assert_eq!(host.wait().code, Some(0));
}

#[test]
fn who_reads_slowly_but_steadily_gets_all_of_its_replies_after_a_stop() {
    const REPLIES: usize = 40;
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--drain-timeout", "60s"])
        .start();
    let mut slow = host.connect();
    slow.tell_all((0..REPLIES).map(|_| ("large", json!({ "bytes": 1_000_000 }))));
    host.log()
        .wait_from(0, &["served", "type=large", "query_index=\"40\""]);
    host.signal(Signal::TERM);
    for _ in 0..REPLIES {
        // Its slowness is what this is about: longer in all than the host lingers for who reads nothing.
        thread::sleep(Duration::from_millis(75));
        let reply = slow.reply();
        let padding = reply.result["padding"].as_str().map(str::len);
        assert_eq!(padding, Some(1_000_000));
    }
    slow.expect_end();
    assert_eq!(host.wait().code, Some(0));
}
