//! A host that is told to stop gives back what it has not begun and answers what it has; one that cannot start says
//! why. Its exit code tells programs which of these it was.

use std::net::{TcpListener, TcpStream};

use rm_tests::{Gate, RawClient, TestHost, failed_start};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn term_and_int_end_an_idle_host_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let host = TestHost::with_plugin("tickets");
        let mut client = host.connect();
        client.sync();
        host.signal(signal);
        client.expect_end();
        let ended = host.wait();
        assert_eq!(ended.code, Some(0));
        assert_eq!(
            ended.more_stdout, "",
            "stdout gets the ready line and nothing else"
        );
    }
}

#[test]
fn what_is_in_work_is_answered_and_what_is_queued_is_given_back() {
    let host = TestHost::plan().fixture("gates").plugin("proxies").start();
    let (gate, mut client, mut waiting, mut idle) =
        (Gate::new(), host.connect(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    client.tell_all([
        ("add", Value::Null),
        ("count", Value::Null),
        ("flaky", json!({ "fails": 9 })),
    ]);
    host.log().wait_from(0, &["flaky", "try again"]);
    waiting.hello(&json!({ "wait": true }));
    waiting.tell("getProxy", Value::Null);
    waiting.sync();
    idle.sync();
    host.signal(Signal::TERM);
    // At once, while the job in work still is.
    for _ in 0..3 {
        client.reply().refused("shutting_down");
    }
    waiting.reply().refused("shutting_down");
    // Nobody new is let in, and who is in is told.
    idle.ask("add", Value::Null).refused("shutting_down");
    idle.sync();
    entered.release();
    assert_eq!(client.reply().number("count"), 1);
    client.expect_end();
    waiting.expect_end();
    idle.expect_end();
    let ended = host.wait();
    assert_eq!((ended.code, &*ended.more_stdout), (Some(0), ""));
}

#[test]
fn nobody_is_let_in_while_the_host_stops() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    host.signal(Signal::TERM);
    host.log().wait_from(0, &["TERM"]);
    // The signal's line is written before the listener is closed, but by the same turn of the core thread.
    assert!(client.ask("ping", Value::Null).code().is_none());
    assert!(TcpStream::connect(host.address()).is_err());
    entered.release();
    client.reply().ok();
    assert_eq!(host.wait().code, Some(0));
}

#[test]
fn a_second_signal_ends_at_once_with_2() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let _entered = gate.entered();
    host.signal(Signal::TERM);
    host.log().wait_from(0, &["TERM"]);
    host.signal(Signal::INT);
    let ended = host.wait();
    assert_eq!((ended.code, &*ended.more_stdout), (Some(2), ""));
}

#[test]
fn what_does_not_end_in_time_is_cut_off_with_3() {
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--drain-timeout", "50ms"])
        .start();
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let _entered = gate.entered();
    host.signal(Signal::TERM);
    client.expect_end();
    let ended = host.wait();
    assert_eq!((ended.code, &*ended.more_stdout), (Some(3), ""));
    ended.log.wait_from(0, &["ERROR", "cut off"]);
}

#[test]
fn a_client_that_does_not_go_does_not_keep_the_host() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    client.ask("getTickets", Value::Null).ok();
    // Half a message, and the connection stays open.
    client.send_bytes(b"{\"type\":");
    host.signal(Signal::TERM);
    assert_eq!(host.wait().code, Some(0));
}

#[test]
fn what_has_arrived_when_the_host_is_told_to_stop_is_answered() {
    let host = TestHost::with_plugin("tickets");
    let mut clients: Vec<_> = (0..5).map(|_| host.connect()).collect();
    clients.iter_mut().for_each(RawClient::sync);
    // While the host does not run, and no more than its side of a socket takes at first.
    host.signal(Signal::STOP);
    let text = "x".repeat(90);
    for client in &mut clients {
        client.tell_all((0..300).map(|_| ("ping", json!(text))));
    }
    host.signal(Signal::TERM);
    host.signal(Signal::CONT);
    for client in &mut clients {
        let replies = client.replies(300);
        assert!(replies.iter().all(|reply| reply.code().is_none()));
        client.expect_end();
    }
    assert_eq!(host.wait().code, Some(0));
}

/// A reply that tells of a change waits for the disk, while the host lets its client go.
#[test]
fn what_has_arrived_when_the_host_is_told_to_stop_is_answered_though_that_waits_for_the_disk() {
    let host = TestHost::with_plugin("tickets");
    let mut clients: Vec<_> = (0..5).map(|_| host.connect()).collect();
    for client in &mut clients {
        client.hello(&json!({}));
    }
    host.signal(Signal::STOP);
    let text = "x".repeat(90);
    for client in &mut clients {
        client.tell_all((0..300).map(|_| ("ping", json!(text))));
        client.tell("rm.cancel", json!({ "id": 7 }));
    }
    host.signal(Signal::TERM);
    host.signal(Signal::CONT);
    for client in &mut clients {
        client.replies(300);
        assert_eq!(client.reply().ok()["was"], "unknown");
        client.expect_end();
    }
    assert_eq!(host.wait().code, Some(0));
}

#[test]
fn a_missing_plugin_folder_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let missing = folder.path().join("no-such-folder");
    let (code, stdout, stderr) = failed_start(&missing, &[]);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(
        stderr.contains("no-such-folder") && stderr.contains("--plugins"),
        "{stderr}"
    );
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").expect("it can be written");
    let (code, stdout, stderr) = failed_start(&file, &[]);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(stderr.contains("a-file"), "{stderr}");
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (code, stdout, stderr) = failed_start(folder.path(), &["--listen", &address]);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(
        stderr.contains(&address) && stderr.contains("--listen"),
        "{stderr}"
    );
}

#[test]
fn a_wrong_flag_is_named_with_what_was_expected() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (flags, says) in [
        (&["--deadline", "soon"][..], ["--deadline", "20s"]),
        (&["--listen", "localhost"], ["--listen", "127.0.0.1:41969"]),
        (&["--listen", "0.0.0.0:0"], ["0.0.0.0:0", "--allow-remote"]),
        (&["--log", "loud"], ["--log", "`loud`"]),
        (&["--queue-max", "0"], ["--queue-max", "from 1"]),
        (&["--settle", "1ns"], ["--settle", "10 to"]),
        (&["--name", ""], ["--name", "1 to"]),
        (&["--plugin", "x"], ["--plugin", "--plugins"]),
        (&["--no-such-flag"], ["--no-such-flag", "--help"]),
        (&["surplus"], ["surplus", "--help"]),
    ] {
        let (code, stdout, stderr) = failed_start(folder.path(), flags);
        assert_eq!((code, &*stdout), (Some(1), ""), "{flags:?}");
        for word in says {
            assert!(stderr.contains(word), "{flags:?}: {stderr}");
        }
    }
}
