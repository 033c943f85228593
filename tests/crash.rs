//! What a process cannot contain ends the host, once: at the next start the plugin that it came from is left out
//! until it changes or an operator says so, and all others serve. Who did not crash is not blamed.

use std::{fs, path::PathBuf};

use rm_tests::{Disk, Ended, HostPlan, TestHost, failed_start, fixture};
use rustix::process::Signal;
use serde_json::{Value, json};

const LEFT_OUT: &str = "is left out";

/// With the plugin that crashes, and one that does not.
fn plan() -> HostPlan {
    TestHost::plan().fixture("crashes").fixture("gates")
}

fn how(how: &str) -> Value {
    json!({ "how": how })
}

/// Sends the request that ends the host, and waits for its end.
fn crash(host: TestHost, type_name: &str, payload: &str) -> (Ended, HostPlan) {
    let mut client = host.connect();
    client.tell(type_name, how(payload));
    host.wait_and_plan()
}

/// Checks that the plugin is left out for this reason, and that the other one serves.
fn expect_left_out(host: &TestHost, reason: &str) {
    let line = host.said_of(0, "crashes", &[LEFT_OUT, reason]);
    for part in [" on 20", "replace the file", "--retry-crashed"] {
        assert!(line.contains(part), "{line}");
    }
    let mut client = host.connect();
    client.ask("crash", how("notAtAll")).refused("unknown_type");
    client.ask("who", Value::Null).ok();
}

fn expect_serving(host: &TestHost) {
    for type_name in ["crash", "crashOnThread"] {
        host.connect().ask(type_name, how("notAtAll")).ok();
    }
    let refusals = host.log().lines_with(&[LEFT_OUT]);
    assert!(refusals.is_empty(), "{refusals:?}");
}

/// The fixture with a byte behind its end, which changes nothing but its content.
fn another_version(host: &TestHost) -> PathBuf {
    let mut library = fs::read(fixture("crashes")).expect("it was built");
    library.push(0);
    let path = host.beside().join("another");
    fs::write(&path, library).expect("the folder can be written");
    path
}

#[test]
fn after_a_crash_the_next_start_leaves_the_plugin_out_and_says_why() {
    for type_name in ["crash", "crashOnThread"] {
        for (payload, signal, reason) in [
            ("abort", Signal::ABORT, "ended the host with SIGABRT"),
            ("segfault", Signal::SEGV, "ended the host with SIGSEGV"),
            // The overflow is a fault at the stack's end, where std says so and aborts.
            ("overflow", Signal::ABORT, "ended the host with SIGSEGV"),
        ] {
            let (ended, plan) = crash(plan().start(), type_name, payload);
            assert_eq!(ended.signal, Some(signal.as_raw()), "{payload}");
            if payload == "overflow" {
                let said = ended.log.lines_with(&["has overflowed its stack"]);
                assert_eq!(said.len(), 1);
            }
            expect_left_out(&plan.start(), reason);
        }
    }
}

#[test]
fn it_stays_left_out_until_an_operator_says_so() {
    let (_, mut plan) = crash(plan().start(), "crash", "abort");
    for _ in 0..2 {
        let host = plan.start();
        expect_left_out(&host, "SIGABRT");
        host.signal(Signal::TERM);
        plan = host.wait_and_plan().1;
    }
    let host = plan.flags(&["--retry-crashed"]).start();
    host.said_of(0, "crashes", &["is tried again", "SIGABRT"]);
    expect_serving(&host);
    host.signal(Signal::TERM);
    // Said once, it holds until the next crash.
    let host = host.wait_and_plan().1.start();
    expect_serving(&host);
    let (_, plan) = crash(host, "crash", "abort");
    expect_left_out(&plan.start(), "SIGABRT");
}

#[test]
fn another_version_of_the_file_is_taken_and_ends_the_mark() {
    let (_, plan) = crash(plan().start(), "crash", "segfault");
    let host = plan.start();
    expect_left_out(&host, "SIGSEGV");
    host.drop_in("crashes", &fixture("crashes"), &[LEFT_OUT]);
    host.drop_in("crashes", &another_version(&host), &["serves"]);
    host.connect().ask("crash", how("notAtAll")).ok();
    host.drop_in("crashes", &fixture("crashes"), &["serves"]);
    host.signal(Signal::TERM);
    expect_serving(&host.wait_and_plan().1.start());
}

#[test]
fn another_configuration_is_another_version() {
    let (_, plan) = crash(plan().start(), "crash", "segfault");
    let host = plan.start();
    expect_left_out(&host, "SIGSEGV");
    host.configure("crashes", "[host]\ndeadline = \"5s\"\n", &["serves"]);
    host.connect().ask("crash", how("notAtAll")).ok();
}

#[test]
fn an_inline_call_that_does_not_return_ends_the_host_and_is_blamed() {
    let host = plan().flags(&["--inline-stuck", "1s"]).start();
    let (ended, plan) = crash(host, "crash", "forever");
    assert_eq!(ended.code, Some(70));
    let said = ended
        .log
        .lines_with(&["ERROR", "crashes", "did not return within 1s"]);
    assert_eq!(said.len(), 1, "{}", ended.log);
    expect_left_out(&plan.start(), "with a call that did not return");
}

#[test]
fn who_is_killed_from_outside_during_a_call_is_not_blamed() {
    for signal in [Signal::KILL, Signal::ABORT, Signal::SEGV] {
        for type_name in ["crash", "crashOnThread"] {
            let host = plan().start();
            let mut client = host.connect();
            client.tell(type_name, how("forever"));
            host.log().wait_from(0, &["goes on for ever"]);
            host.signal(signal);
            let (ended, plan) = host.wait_and_plan();
            assert_eq!(ended.signal, Some(signal.as_raw()));
            expect_serving(&plan.start());
        }
    }
}

#[test]
fn memory_that_runs_out_is_blamed_on_nobody_and_told() {
    for type_name in ["crash", "crashOnThread"] {
        let host = plan().start();
        let mut client = host.connect();
        client.ask(type_name, how("notAtAll")).ok();
        host.limit_memory(64 * 1024 * 1024);
        // A thread of another lane that is still to begin may be the one that gets no memory.
        let _ = client.try_tell(type_name, &how("outOfMemory"));
        let (ended, plan) = host.wait_and_plan();
        assert_eq!(
            ended.signal,
            Some(Signal::ABORT.as_raw()),
            "{:?} {}",
            ended.code,
            ended.log
        );
        let said = ended
            .log
            .lines_with(&["memory has run out", "no plugin is blamed"]);
        assert_eq!(said.len(), 1, "{}", ended.log);
        expect_serving(&plan.start());
    }
}

#[test]
fn who_asks_for_more_memory_than_there_can_be_is_blamed() {
    let (_, plan) = crash(plan().start(), "crash", "tooMuchMemory");
    expect_left_out(&plan.start(), "ended the host with SIGABRT");
}

#[test]
fn a_thread_that_a_plugin_has_started_is_blamed_on_nobody() {
    let (ended, plan) = crash(plan().start(), "crashOnThread", "onOwnThread");
    assert_eq!(ended.signal, Some(Signal::ABORT.as_raw()));
    expect_serving(&plan.start());
}

#[test]
fn a_plugin_that_calls_exit_is_named_and_left_out_and_the_end_is_no_success() {
    for type_name in ["crash", "crashOnThread"] {
        let (ended, plan) = crash(plan().start(), type_name, "exit");
        assert_eq!(ended.code, Some(70), "{}", ended.log);
        let said = ["ERROR", "called exit", "plugin=crashes"];
        assert_eq!(ended.log.lines_with(&said).len(), 1, "{}", ended.log);
        expect_left_out(&plan.start(), "ended the host with exit");
    }
    let (ended, plan) = crash(plan().start(), "crash", "exitOnOwnThread");
    assert_eq!(ended.code, Some(70), "{}", ended.log);
    let said = [
        "ERROR",
        "called exit",
        "may be a thread that a plugin has started",
    ];
    assert_eq!(ended.log.lines_with(&said).len(), 1, "{}", ended.log);
    expect_serving(&plan.start());
}

#[test]
fn a_panic_of_the_hosts_own_in_a_connection_ends_it_and_blames_nobody() {
    let host = plan().disk(&Disk::new()).start();
    let mut client = host.connect();
    // More than there is room for, as the system says: no code can go on with that.
    client.tell("crash", how("OVERLONG"));
    let (ended, plan) = host.wait_and_plan();
    expect_own_fault(&ended, "main");
    expect_serving(&plan.start());
}

#[test]
fn a_panic_of_the_thread_that_keeps_the_state_ends_the_host() {
    let disk = Disk::new();
    let host = TestHost::plan()
        .plugin("tickets")
        .disk(&disk)
        .flags(&["--durability", "interval"])
        .start();
    let mut client = host.connect();
    let first = client.ask("getTickets", Value::Null).ok();
    disk.begin("no_time");
    client.tell("getTickets", Value::Null);
    let (ended, plan) = host.wait_and_plan();
    expect_own_fault(&ended, "state");
    let host = plan.start();
    let next = host.connect().ask("getTickets", Value::Null).ok();
    assert_ne!(first["tickets"], next["tickets"]);
}

fn expect_own_fault(ended: &Ended, thread: &str) {
    assert_eq!(ended.code, Some(70), "{}", ended.log);
    let thread = format!("on the thread `{thread}`");
    let said = ["ERROR", "a fault of the host's own", &*thread, ".rs:"];
    assert_eq!(ended.log.lines_with(&said).len(), 1, "{}", ended.log);
}

#[test]
fn marks_that_cannot_be_read_are_passed_over() {
    let (_, plan) = crash(plan().start(), "crash", "abort");
    let marks = plan.folder().with_file_name("data").join("crashed");
    let mut text = fs::read(&marks).expect("there is a mark");
    let torn = text[..text.len() / 2].to_vec();
    text.splice(0..0, torn);
    fs::write(&marks, text).expect("the folder can be written");
    let host = plan.start();
    expect_left_out(&host, "SIGABRT");
    host.log()
        .wait_from(0, &["WARN", "1 crash marks cannot be read"]);
}

#[test]
fn a_data_folder_of_no_use_is_an_error_of_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("the folder can be written");
    let data = file.display().to_string();
    let (code, stdout, stderr) = failed_start(folder.path(), &["--data", &data]);
    assert_eq!((code, &*stdout), (Some(1), ""));
    for part in [&*data, "cannot be made", "--data DIR"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}
