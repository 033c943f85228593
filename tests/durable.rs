//! What was answered stays true, whatever becomes of the host and its disk; what the disk did not take was not answered.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use rm_tests::{Disk, GUARD, Gate, RawClient, TestHost, failed_start};
use rustix::process::Signal;
use serde_json::{Value, json};

fn ticket(client: &mut RawClient) -> u64 {
    let sold = client.ask("getTickets", Value::Null).ok();
    sold["tickets"][0].as_u64().expect("a number was sold")
}

#[test]
fn what_was_answered_is_still_sold_after_the_host_was_killed() {
    let mut host = TestHost::with_plugin("tickets");
    let mut sold = Vec::new();
    for _ in 0..3 {
        let mut client = host.connect();
        sold.extend((0..5).map(|_| ticket(&mut client)));
        host.signal(Signal::KILL);
        let (_, plan) = host.wait_and_plan();
        host = plan.start();
    }
    assert_eq!(sold, Vec::from_iter(1..=15));
    let token = host
        .connect()
        .ask("getTickets", Value::Null)
        .number("token");
    assert_eq!(token, 16, "tokens grow over all of it");
}

#[test]
fn a_change_of_the_configuration_is_kept_with_what_it_added() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 2\n")
        .start();
    let mut client = host.connect();
    ticket(&mut client);
    client.ask("addTickets", json!({ "count": 3 })).ok();
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.file("tickets.toml", "seats = 3\n").start();
    let left = host.connect().ask("getTickets", Value::Null).number("left");
    assert_eq!(
        left, 3,
        "five seats, the third of which had been added before, and two sold"
    );
}

#[test]
fn no_reply_leaves_before_its_sync_and_who_changes_nothing_waits_for_none() {
    let disk = Disk::new();
    let host = TestHost::plan()
        .plugin("tickets")
        .plugin("counter")
        .disk(&disk)
        .start();
    let (mut buyer, mut other) = (host.connect(), host.connect());
    ticket(&mut buyer);
    disk.begin("hold");
    buyer.tell("getTickets", Value::Null);
    disk.wait_until_held();
    // The whole way there and back, and again: what was ready to leave would have left.
    for _ in 0..100 {
        buyer.tell("ping", Value::Null);
        assert_eq!(buyer.reply().type_name, "ping");
        other.ask("cntResponse", json!(0)).ok();
    }
    // It may tell of the ticket that is not durable yet, so it waits as well.
    other.tell("returnTickets", json!({ "tickets": [77] }));
    other.sync();
    disk.end("hold");
    assert_eq!(buyer.reply().type_name, "getTickets");
    other.reply().refused("not_sold");
}

/// What operators see of the storage, of a plugin that needs it, and of one that does not.
fn expect_storage(client: &mut RawClient, storage: &str, with_state: &str) {
    let list = client.ask("rm.plugins", Value::Null).ok();
    let plugins = list["plugins"].as_array().expect("it is a list");
    let states: Vec<&Value> = plugins.iter().map(|plugin| &plugin["state"]).collect();
    assert_eq!(states, ["serving", with_state], "counter, tickets");
    let status = client.ask("rm.status", Value::Null).ok();
    assert_eq!(status["serving"], json!(["counter", "tickets"]));
    for told in [&list["storage"], &status["storage"]] {
        assert_eq!(told["state"], storage);
        assert_eq!(told["error"].is_string(), storage == "failed", "{told}");
    }
}

#[test]
fn a_disk_that_fails_is_told_and_what_it_did_not_take_was_never_sold() {
    for fault in ["fail", "full"] {
        let disk = Disk::new();
        let host = TestHost::plan()
            .plugin("tickets")
            .plugin("counter")
            .disk(&disk)
            .start();
        let mut client = host.connect();
        assert_eq!(ticket(&mut client), 1);

        disk.begin(fault);
        let reply = client.ask("getTickets", Value::Null);
        assert_eq!(reply.result["code"], "storage_failed", "{fault}");
        assert_eq!(reply.result["outcome"], "unknown", "{fault}");
        let reply = client.ask("getTickets", Value::Null);
        assert_eq!(reply.result["code"], "storage_failed", "{fault}");
        assert_eq!(reply.result["outcome"], "void", "{fault}");
        host.log()
            .wait_from(0, &["ERROR", "the state cannot be kept"]);
        client.ask("cntResponse", json!(0)).ok();
        expect_storage(&mut client, "failed", "degraded");

        host.recovers_from(&disk, fault);
        assert_eq!(ticket(&mut client), 2, "{fault}");
        expect_storage(&mut client, "sound", "serving");
        host.signal(Signal::KILL);
        let (_, plan) = host.wait_and_plan();
        assert_eq!(ticket(&mut plan.start().connect()), 3, "{fault}");
    }
}

#[test]
fn a_job_in_work_while_the_disk_fails_changes_nothing() {
    let disk = Disk::new();
    let host = TestHost::plan().plugin("tickets").disk(&disk).start();
    let mut clients: Vec<RawClient> = (0..4).map(|_| host.connect()).collect();
    disk.begin("hold");
    for client in &mut clients {
        client.tell_all((0..50).map(|_| ("getTickets", Value::Null)));
    }
    disk.wait_until_held();
    disk.begin("fail");
    disk.end("hold");
    for client in &mut clients {
        for reply in client.replies(50) {
            assert_eq!(reply.result["code"], "storage_failed");
        }
    }
    host.recovers_from(&disk, "fail");
    assert_eq!(ticket(&mut clients[0]), 1);
}

#[test]
fn jobs_without_a_state_that_wait_until_more_is_on_the_disk_are_answered_when_it_fails() {
    let disk = Disk::new();
    let host = TestHost::plan().fixture("gates").disk(&disk).start();
    let mut client = host.connect();
    client.session();
    disk.begin("hold");
    // Each answer is kept, and its reply waits for that: so many are more than may be on their way.
    let payload = json!({ "bytes": 3_900_000 });
    for id in 1..=30 {
        client.tell_with(&json!({ "id": id }), "large", &payload);
    }
    disk.wait_until_held();
    client.sync();
    disk.begin("fail");
    disk.end("hold");
    for reply in client.replies(30) {
        assert_eq!(reply.result["code"], "storage_failed");
    }
    host.recovers_from(&disk, "fail");
    client.ask_once(31, "large", &json!({ "bytes": 1 })).ok();
}

#[test]
fn a_snapshot_of_a_long_log_needs_little_memory() {
    let mut host = TestHost::plan().fixture("gates").start();
    let mut client = host.connect();
    client.session();
    // Old answers are forgotten, so the log grows and the state does not.
    let payload = json!({ "bytes": 1_000_000 });
    let mut ask = |ids: std::ops::RangeInclusive<u64>| {
        for id in ids {
            client.ask_once(id, "large", &payload).ok();
        }
    };
    ask(1..=30);
    host.limit_memory(56 * 1024 * 1024);
    // More than 64 MiB are closed then, and a snapshot is due.
    ask(31..=80);
    let state = host.beside().join("data/state");
    let has_snapshot = || {
        let files = fs::read_dir(&state).expect("it is there");
        let mut names = files.map(|file| file.expect("it is there").file_name());
        names.any(|name| name.to_string_lossy().ends_with(".rms"))
    };
    let until = Instant::now() + GUARD;
    while !has_snapshot() {
        host.expect_running();
        let refused = host.log().lines_with(&["no snapshot"]);
        assert!(refused.is_empty() && Instant::now() < until, "{refused:?}");
        thread::sleep(Duration::from_millis(10));
    }
    let states = host
        .log()
        .lines_with(&["INFO", "states_mib=", "next_start_mib="]);
    assert_eq!(states.len(), 1);
    let listed = client.ask("rm.plugins", Value::Null).ok();
    let memory = &listed["memory"];
    let states = memory["states_bytes"].as_u64().expect("it is known");
    assert!((1_000_000..40_000_000).contains(&states), "{memory}");
    assert!(
        memory["next_start_bytes"].as_u64() > Some(states),
        "{memory}"
    );
}

const DAY_S: u64 = 24 * 3600;

#[test]
fn a_clock_that_is_set_forward_is_followed_and_ends_no_request_early() {
    let disk = Disk::new();
    let host = TestHost::plan().fixture("gates").disk(&disk).start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload("add"));
    let at_gate = gate.entered();
    let patience = json!({ "deadline_ms": 3_600_000 });
    other.session();
    other.tell_with(&patience, "add", &Value::Null);
    other.sync();
    disk.set_clock(30 * DAY_S);
    host.log().wait_from(0, &["INFO", "clock went forward by"]);
    // Both are past any deadline by the system's clock.
    other.sync();
    let mut third = host.connect();
    third.session();
    third.tell_with(&patience, "who", &Value::Null);
    let left = third.reply().number("patience_ms");
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
    at_gate.release();
    assert_eq!(client.reply().number("count"), 1);
    assert_eq!(other.reply().number("count"), 2);
}

#[test]
fn one_host_at_a_time_has_a_data_folder() {
    let host = TestHost::with_plugin("tickets");
    let data = host.beside().join("data");
    let flags = ["--data", data.to_str().expect("it is text")];
    let (code, stdout, stderr) = failed_start(&host.folder(), &flags);
    assert_eq!((code, &*stdout), (Some(1), ""));
    let process = format!("process {}", host.process_id());
    for part in [&*process, "--data", "in use"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn damaged_state_is_not_served_and_the_place_is_named() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    for _ in 0..10 {
        ticket(&mut client);
    }
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let state = plan.data().join("state");
    let segment = fs::read_dir(&state).expect("it is there").next();
    let segment = segment
        .expect("there is a log")
        .expect("it can be read")
        .path();
    let mut bytes = fs::read(&segment).expect("it can be read");
    bytes[300] ^= 1;
    fs::write(&segment, bytes).expect("it can be written");
    let data = plan.data();
    let flags = ["--data", data.to_str().expect("it is text")];
    let (code, _, stderr) = failed_start(&plan.folder(), &flags);
    assert_eq!(code, Some(1));
    for part in [segment.to_str().expect("it is text"), "byte", "backup"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn state_on_the_disk_is_not_left_aside() {
    let host = TestHost::with_plugin("tickets");
    ticket(&mut host.connect());
    host.signal(Signal::TERM);
    let (ended, plan) = host.wait_and_plan();
    assert_eq!(ended.code, Some(0));
    let data = plan.data();
    let flags = [
        "--durability",
        "memory",
        "--data",
        data.to_str().expect("it is text"),
    ];
    let (code, _, stderr) = failed_start(&plan.folder(), &flags);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--durability sync"), "{stderr}");
}

#[test]
fn in_memory_nothing_is_written_and_the_start_says_so() {
    let host = TestHost::plan()
        .plugin("tickets")
        .flags(&["--durability", "memory"])
        .start();
    assert_eq!(ticket(&mut host.connect()), 1);
    host.log().wait_from(
        0,
        &["durability=\"memory: the state ends with this process\""],
    );
    host.signal(Signal::TERM);
    let (ended, plan) = host.wait_and_plan();
    assert_eq!(ended.code, Some(0));
    assert!(!plan.data().join("state").exists());
    assert_eq!(ticket(&mut plan.start().connect()), 1);
}

#[test]
fn synced_at_an_interval_what_was_answered_survives_the_host() {
    let host = TestHost::plan()
        .plugin("tickets")
        .flags(&["--durability", "interval"])
        .start();
    let mut client = host.connect();
    assert_eq!([ticket(&mut client), ticket(&mut client)], [1, 2]);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.flags(&["--durability", "interval"]).start();
    assert_eq!(ticket(&mut host.connect()), 3);
}

#[test]
fn synced_at_an_interval_a_sync_that_fails_while_more_is_written_is_one_failure() {
    let disk = Disk::new();
    let host = TestHost::plan()
        .plugin("tickets")
        .disk(&disk)
        .flags(&["--durability", "interval"])
        .start();
    let (mut client, mut later) = (host.connect(), host.connect());
    disk.begin("hold");
    ticket(&mut client);
    disk.wait_until_held();
    later.tell("getTickets", Value::Null);
    // Once it is answered, what stands before it has been sent on its way to the disk.
    for _ in 0..100 {
        client.sync();
    }
    disk.begin("fail");
    disk.end("hold");
    let refused = later.reply();
    assert_eq!(refused.result["code"], "storage_failed");
    disk.end("fail");
    host.log().wait_from(0, &["the state has been read back"]);
    let mut sold = BTreeSet::new();
    for _ in 0..200 {
        let ticket = ticket(&mut client);
        assert!(sold.insert(ticket), "{ticket} was sold twice");
    }
    let failures = host.log().lines_with(&["the state cannot be kept:"]);
    assert_eq!(failures.len(), 1, "{failures:?}");
}

#[test]
fn synced_at_an_interval_a_full_disk_takes_nothing_back_that_was_answered() {
    let disk = Disk::new();
    let host = TestHost::plan()
        .plugin("tickets")
        .disk(&disk)
        .flags(&["--durability", "interval"])
        .start();
    let mut client = host.connect();
    assert_eq!(ticket(&mut client), 1);
    disk.begin("full");
    let reply = client.ask("getTickets", Value::Null);
    assert_eq!(reply.result["code"], "storage_failed");
    disk.end("full");
    host.log().wait_from(0, &["the state has been read back"]);
    assert_eq!(ticket(&mut client), 2);
}

#[test]
fn a_disk_that_does_not_come_back_does_not_keep_the_host_from_ending() {
    for durability in ["sync", "interval"] {
        let disk = Disk::new();
        let host = TestHost::plan()
            .plugin("tickets")
            .disk(&disk)
            .flags(&["--durability", durability, "--drain-timeout", "300ms"])
            .start();
        let mut client = host.connect();
        disk.begin("hold");
        client.tell("getTickets", Value::Null);
        disk.wait_until_held();
        host.signal(Signal::TERM);
        let ended = host.wait();
        assert_eq!(ended.code, Some(3), "{durability}");
    }
}

#[test]
fn a_version_that_another_one_replaces_while_the_disk_fails_is_dropped_off_the_core_thread() {
    let disk = Disk::new();
    let notes = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let config = |number: u32| format!("file = {:?}\nnumber = {number}\n", notes.path());
    let host = TestHost::plan()
        .plugin("tickets")
        .fixture("dropped")
        .file("dropped.toml", config(1))
        .disk(&disk)
        .start();
    let noted = |what: &str| {
        let begin = format!("{} {what} on ", host.process_id());
        let until = Instant::now() + GUARD;
        loop {
            let all = fs::read_to_string(notes.path()).expect("it is there");
            if let Some(thread) = all.lines().find_map(|line| line.strip_prefix(&*begin)) {
                return thread.to_owned();
            }
            assert!(Instant::now() < until, "not `{what}`: {all}");
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut client = host.connect();
    ticket(&mut client);
    disk.begin("fail");
    client
        .ask("getTickets", Value::Null)
        .refused("storage_failed");
    for number in [2, 3] {
        let toml = host.folder().join("dropped.toml");
        fs::write(toml, config(number)).expect("the folder can be written");
        noted(&format!("made {number}"));
    }
    assert_eq!(noted("dropped 2"), "plugin drop");
    host.recovers_from(&disk, "fail");
    let until = Instant::now() + GUARD;
    while client.ask("getNumber", Value::Null).number("number") != 3 {
        assert!(Instant::now() < until, "the last version does not serve");
    }
}
