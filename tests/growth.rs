//! What many clients, many requests and many types cost the host: memory and threads are bounded, and it serves on.

use std::time::Instant;

use rm_tests::{GUARD, Gate, RawClient, TestHost, Usage, fixture};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

const IDLE_CLIENT_KIB_MAX: f64 = 8.0;
const QUEUED_REQUEST_BYTES_MAX: f64 = 250.0;

/// As many open files as this process may have.
fn raise_own_files() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).expect("up to the maximum it is allowed");
    maximum.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

/// Checks that something was not made anew for each request or client. What the host has at one moment is not exact: a
/// thread that makes a snapshot comes and goes, and an inline lane is moved to one where the machine is busy.
#[track_caller]
fn expect_no_more(before: u64, after: u64, what: &str) {
    const FEW: u64 = 10;
    assert!(after <= before + FEW, "{after} {what}, {before} before");
}

#[test]
fn ten_thousand_clients_are_served_and_idle_cost_little() {
    // Where a machine allows fewer files, with as many as there can be.
    let count = raise_own_files().saturating_sub(1_000).min(10_000);
    assert!(
        count >= 1_000,
        "raise the hard limit of open files, `ulimit -Hn`"
    );
    let host = TestHost::plan().start();
    let mut first = host.connect();
    first.ask("ping", Value::Null).ok();
    let before = Usage::of(host.process_id());
    let mut clients: Vec<RawClient> = (1..count).map(|_| host.connect()).collect();
    for client in &mut clients {
        client.tell("ping", Value::Null);
    }
    for client in &mut clients {
        client.reply().ok();
    }
    let after = Usage::of(host.process_id());
    let each = (after.anonymous_kib - before.anonymous_kib) as f64 / clients.len() as f64;
    assert!(each <= IDLE_CLIENT_KIB_MAX, "{each:.1} KiB for each client");
    expect_no_more(before.threads, after.threads, "threads");
    first.ask("ping", Value::Null).ok();
}

#[test]
fn a_host_that_may_open_few_files_takes_fewer_clients_and_serves_on() {
    let host = TestHost::plan()
        .plugin("tickets")
        .open_files_max(100)
        .start();
    host.log()
        .wait_from(0, &["WARN", "takes 50 clients", "ulimit -Hn"]);
    let mut clients: Vec<RawClient> = (0..50).map(|_| host.connect()).collect();
    for client in &mut clients {
        client.ask("ping", Value::Null).ok();
    }
    for _ in 0..30 {
        let said = host.connect().reply();
        assert_eq!(said.type_name, "errMsgFromClient");
        let text = said.refused("busy");
        assert!(text.contains("50 clients are connected"), "{text}");
    }
    host.log().wait_from(0, &["turned away"]);
    // Once in ten seconds, so a few times on a machine that takes long.
    let told = host.log().lines_with(&["turned away"]).len();
    assert!(
        told < 10,
        "a log is to be read, and this is told {told} times"
    );
    // What needs files still has them.
    let counter = rm_tests::example_plugin("counter");
    host.drop_in("counter", &counter, rm_tests::SERVES);
    let mut last = clients.pop().expect("there are fifty");
    last.ask("cntResponse", Value::Null).ok();
    assert_eq!(
        last.ask("getTickets", Value::Null).ok()["tickets"],
        json!([1])
    );
    drop(last);
    let began = Instant::now();
    while host.connect().ask("ping", Value::Null).code().is_some() {
        assert!(began.elapsed() < GUARD, "whose place is free takes it");
    }
}

#[test]
fn a_queued_request_costs_little_more_than_its_bytes() {
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--log", "info"])
        .start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    other.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    client.sync();
    let before = Usage::of(host.process_id());
    let count = 100_000;
    for from in (0..count).step_by(1_000) {
        let messages = (from..from + 1_000).map(|index| {
            // 60 bytes with the separator.
            let message = format!(
                r#"{{"type":"add","queryIndex":{index:07},"payload":"{:8}"}}"#,
                ""
            );
            message.replacen(":0", ":1", 1) + "🦀"
        });
        let messages: String = messages.collect();
        assert_eq!(messages.len(), 60 * 1_000);
        client.send_bytes(messages.as_bytes());
    }
    client.sync();
    let after = Usage::of(host.process_id());
    let bytes = (after.anonymous_kib - before.anonymous_kib) as f64 * 1024.0 / f64::from(count);
    assert!(bytes <= QUEUED_REQUEST_BYTES_MAX, "{bytes:.0} bytes each");
    drop(client);
    entered.release();
    other.reply().ok();
}

#[test]
fn memory_is_flat_while_requests_come_and_go() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 100_000_000\n")
        .flags(&["--log", "info", "--durability", "memory"])
        .start();
    let mut client = host.connect();
    let mut ask = |rounds| {
        for _ in 0..rounds {
            client.tell_all((0..1_000).map(|_| ("getTickets", Value::Null)));
            for reply in client.replies(1_000) {
                reply.ok();
            }
        }
        Usage::of(host.process_id())
    };
    let before = ask(20);
    let after = ask(60);
    let grown = after.anonymous_kib.saturating_sub(before.anonymous_kib);
    assert!(grown <= 1_024, "{grown} KiB more after 60,000 requests");
    expect_no_more(before.threads, after.threads, "threads");
    let files = [before, after].map(|usage| usage.open_files as u64);
    expect_no_more(files[0], files[1], "open files");
}

/// How many plugins there are of [`fixture`] `many_types`, and how many types each has.
const PLUGINS: usize = 100;
const TYPES: u64 = 10;

#[test]
fn a_thousand_types_of_a_hundred_plugins_are_served() {
    let library = rm_tests::stripped(&fixture("many_types"));
    let mut plan = TestHost::plan().flags(&["--log", "info"]);
    for plugin in 0..PLUGINS {
        let number = format!("{plugin:03}");
        let mut library = library.clone();
        for at in places_of(&library, b"many000") {
            library[at + 4..][..3].copy_from_slice(number.as_bytes());
        }
        plan = plan.file(&format!("libmany{number}.so"), library);
    }
    let host = plan.start();
    let mut client = host.connect();
    for plugin in 0..PLUGINS {
        for of in 0..TYPES {
            let type_name = format!("many{plugin:03}type{of}");
            let answer = client.ask(&type_name, Value::Null);
            assert_eq!(answer.number("count"), of + 1, "{type_name}");
        }
    }
    let usage = Usage::of(host.process_id());
    // A thread for each lane, and some of the host's own, of which more come while it loads; none for each type.
    assert!(
        usage.threads < 2 * PLUGINS as u64,
        "{} threads",
        usage.threads
    );
}

fn places_of(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    windows
        .filter_map(|(at, window)| (window == wanted).then_some(at))
        .collect()
}
