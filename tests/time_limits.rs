//! A job that does not end in time no longer counts: its client is told, nothing that it did or still does stays, and
//! its lane serves on. A type that does so again and again is taken out of service.

use std::fs;

use rm_tests::{AtGate, Gate, RawClient, Reply, SERVES, TestHost, fixture};
use serde_json::{Value, json};

/// Long enough for a job that does next to nothing to end in time, on a busy machine too.
const TIME_LIMIT: &str = "[host]\ntime_limit = \"400ms\"\n";

fn start() -> TestHost {
    TestHost::plan()
        .fixture("late")
        .file("late.toml", TIME_LIMIT)
        .start()
}

/// Has a job stand at the gate until it has timed out; it still stands there.
fn time_out(client: &mut RawClient, gate: &Gate, type_name: &str) -> AtGate {
    client.tell(type_name, gate.payload("late"));
    let late = gate.entered();
    client.reply().refused("timeout");
    late
}

/// Lets it go on, and returns once it has left.
fn let_it_leave(late: AtGate, gate: &Gate) {
    late.release();
    let leaves = gate.entered();
    assert_eq!(leaves.name, "leaves");
    leaves.release();
}

fn total(client: &mut RawClient) -> u64 {
    client.ask("count", Value::Null).number("count")
}

/// Waits until no thread of a plugin is stuck any more.
fn await_serving(client: &mut RawClient, name: &str) {
    loop {
        let state = client.plugin(name)["state"].clone();
        if state == "serving" {
            return;
        }
        assert_eq!(state, "stuck");
    }
}

#[test]
fn nothing_that_a_late_job_did_or_does_counts() {
    let host = start();
    let (gate, mut client) = (Gate::new(), host.connect());
    assert_eq!(client.ask("add", Value::Null).number("count"), 1);
    let late = time_out(&mut client, &gate, "addLate");
    // While it still runs, and has written.
    assert_eq!(total(&mut client), 1);
    assert_eq!(client.ask("add", Value::Null).number("count"), 2);
    let_it_leave(late, &gate);
    assert_eq!(total(&mut client), 2);
}

#[test]
fn what_stands_behind_a_late_job_is_served_in_its_order() {
    let host = start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell_all([
        ("addLate", gate.payload("late")),
        ("add", Value::Null),
        ("add", Value::Null),
    ]);
    let late = gate.entered();
    other.tell("add", Value::Null);
    other.sync();
    client.reply().refused("timeout");
    assert_eq!(client.reply().number("count"), 1);
    assert_eq!(client.reply().number("count"), 2);
    assert_eq!(other.reply().number("count"), 3);
    let_it_leave(late, &gate);
    assert_eq!(total(&mut other), 3);
}

#[test]
fn the_lane_goes_on_with_a_new_instance_and_other_lanes_with_theirs() {
    let host = start();
    let (gate, mut client) = (Gate::new(), host.connect());
    let remember = |client: &mut RawClient| client.ask("remember", Value::Null).number("count");
    assert_eq!(remember(&mut client), 1);
    let late = time_out(&mut client, &gate, "addLate");
    assert_eq!(remember(&mut client), 2);
    let_it_leave(late, &gate);
    let late = time_out(&mut client, &gate, "rememberLate");
    assert_eq!(remember(&mut client), 1);
    late.release();
    assert_eq!(remember(&mut client), 2);
    assert_eq!(client.plugin("late")["stuck"], 2);
    await_serving(&mut client, "late");
}

#[test]
fn a_late_job_that_touches_the_state_on_its_way_out_does_not_end_the_host() {
    for type_name in ["addInDrop", "onlyInDrop"] {
        let mut host = start();
        let (gate, mut client) = (Gate::new(), host.connect());
        let late = time_out(&mut client, &gate, type_name);
        let_it_leave(late, &gate);
        assert_eq!(client.ask("add", Value::Null).number("count"), 1);
        host.expect_running();
    }
}

#[test]
fn a_late_job_whose_client_has_gone_counts_as_little() {
    let host = start();
    let (gate, mut gone, mut client) = (Gate::new(), host.connect(), host.connect());
    gone.tell("addLate", gate.payload("late"));
    let late = gate.entered();
    let from = host.log().len();
    gone.reset();
    host.log()
        .wait_from(from, &["ERROR", "plugin=late", "did not end in time"]);
    assert_eq!(total(&mut client), 0);
    let_it_leave(late, &gate);
    assert_eq!(client.ask("add", Value::Null).number("count"), 1);
}

#[test]
fn at_the_third_late_job_its_type_is_out_of_service_until_the_file_changes() {
    let host = start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.ask("add", Value::Null).ok();
    let _late: Vec<AtGate> = (0..3)
        .map(|_| time_out(&mut client, &gate, "addLate"))
        .collect();
    // For everybody; and why.
    let said = other
        .ask("addLate", gate.payload("never"))
        .refused("quarantined");
    assert!(said.contains("did not end in time"), "{said}");
    assert_eq!(client.ask("add", Value::Null).number("count"), 2);
    let seen = other.plugin("late");
    assert_eq!(
        (&seen["state"], &seen["stuck"]),
        (&json!("stuck"), &json!(3))
    );
    // A byte behind the library's end changes nothing but its content.
    let mut library = fs::read(fixture("late")).expect("it was built");
    library.push(0);
    let another = host.beside().join("another.so");
    fs::write(&another, library).expect("the folder can be written");
    host.drop_in("late", &another, SERVES);
    assert_eq!(total(&mut other), 2);
    let seen = other.plugin("late");
    assert_eq!(
        (&seen["state"], &seen["stuck"]),
        (&json!("serving"), &json!(0))
    );
    assert_eq!(seen["out_of_service"], json!([]));
    time_out(&mut other, &gate, "addLate");
}

#[test]
fn a_quarantine_ends_with_a_change_of_the_configuration_too() {
    let host = start();
    let (gate, mut client) = (Gate::new(), host.connect());
    client.ask("add", Value::Null).ok();
    let _late: Vec<AtGate> = (0..3)
        .map(|_| time_out(&mut client, &gate, "addLate"))
        .collect();
    client
        .ask("addLate", gate.payload("never"))
        .refused("quarantined");
    host.configure("late", "[host]\ntime_limit = \"0\"\n", SERVES);
    client.tell("addLate", gate.payload("late"));
    gate.entered().release();
}

/// How long a new version waits for the jobs of the old one.
const DRAIN: &[&str] = &["--drain-timeout", "200ms"];

#[test]
fn a_swap_gives_up_the_job_that_it_has_waited_for_long_enough() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .flags(DRAIN)
        .start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell_all([
        ("getVersionAtGate", gate.payload("stuck")),
        ("getVersion", Value::Null),
    ]);
    let stuck = gate.entered();
    other.tell("getVersion", Value::Null);
    other.sync();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    client.reply().refused("timeout");
    let numbers = |reply: Reply| (reply.number("version"), reply.number("asked"));
    assert_eq!(numbers(client.reply()), (2, 1));
    assert_eq!(numbers(other.reply()), (2, 2));
    stuck.release();
    assert_eq!(numbers(other.ask("getVersion", Value::Null)), (2, 3));
    // What was stuck was the old version's.
    assert_eq!(other.plugin("versioned")["stuck"], 0);
}

#[test]
fn a_swap_that_fails_after_it_gave_up_a_job_leaves_the_old_version_serving() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .flags(DRAIN)
        .start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell_all([
        ("getVersionAtGate", gate.payload("stuck")),
        ("getVersion", Value::Null),
    ]);
    let stuck = gate.entered();
    host.drop_in("versioned", &fixture("versioned_unopened"), &["refused"]);
    client.reply().refused("timeout");
    let numbers = |reply: Reply| (reply.number("version"), reply.number("asked"));
    assert_eq!(numbers(client.reply()), (1, 1));
    stuck.release();
    assert_eq!(numbers(other.ask("getVersion", Value::Null)), (1, 2));
    await_serving(&mut other, "versioned");
}
