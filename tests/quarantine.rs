//! What a fault costs: first the client whose requests bring it about, then the type, and the plugin only where that
//! does not help. All of it ends by itself, or as soon as an operator says so.

use std::time::Instant;

use rm_tests::{AtGate, GUARD, Gate, RawClient, Reply, SERVES, TestHost};
use serde_json::{Value, json};

fn panics() -> Value {
    json!({ "how": "resumed" })
}

/// Has a type panic so often for a client. Returns how often it did; what is left was refused.
fn panic_for(client: &mut RawClient, type_name: &str, times: usize) -> usize {
    client.tell_all((0..times).map(|_| (type_name, panics())));
    let replies = client.replies(times);
    // A reply that waits for the disk may come behind one that does not.
    let panicked = |reply: &Reply| reply.code() == Some("jobber_panicked");
    let (panicked, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(panicked);
    for reply in refused {
        let left = reply.number("retry_after_ms");
        assert!((1..=60_001).contains(&left), "{left}");
        reply.refused("quarantined");
    }
    panicked.len()
}

/// Has a type panic for so many clients that it goes out of service.
fn panic_for_many(host: &TestHost, type_name: &str) {
    let all: usize = (0..12)
        .map(|_| panic_for(&mut host.connect(), type_name, 10))
        .sum();
    assert_eq!(all, 101, "one more than may be");
}

/// What is said of the types of a plugin that are out of service.
fn out_of_service(client: &mut RawClient, name: &str) -> Vec<Value> {
    let seen = client.plugin(name);
    let out = seen["out_of_service"].as_array();
    out.expect("it is a list").clone()
}

/// Has a job stand at the gate until it has timed out; it still stands there.
fn time_out(client: &mut RawClient, gate: &Gate, type_name: &str) -> AtGate {
    client.tell(type_name, gate.payload("late"));
    let late = gate.entered();
    client.reply().refused("timeout");
    late
}

fn late() -> TestHost {
    TestHost::plan()
        .fixture("late")
        .file("late.toml", "[host]\ntime_limit = \"400ms\"\n")
        .start()
}

#[test]
fn requests_that_panic_cost_their_client_and_nobody_else() {
    let host = TestHost::with_fixture("answers");
    let (mut other, mut operator) = (host.connect(), host.operate());
    for (number, (panic, runs)) in [("panic", "runs"), ("panicOnThread", "runsOnThread")]
        .into_iter()
        .enumerate()
    {
        let mut client = host.connect();
        assert_eq!(panic_for(&mut client, panic, 120), 11, "{panic}");
        let said = client.ask(panic, panics()).refused("quarantined");
        assert!(said.contains("requests of this client"), "{said}");
        // Types that share its state, for the same client; and the same type for another one.
        assert_eq!(client.ask(runs, Value::Null).number("runs"), 0);
        other.ask(panic, panics()).refused("jobber_panicked");
        let seen = operator.plugin("answers");
        assert_eq!(
            (&seen["state"], &seen["shut_out"], &seen["out_of_service"]),
            (&json!("serving"), &json!(number + 1), &json!([]))
        );
    }
    // An operator has it forgotten.
    let mut client = host.connect();
    assert_eq!(panic_for(&mut client, "panic", 20), 11);
    let enabled = operator.ask("rm.plugin", json!({ "name": "answers", "do": "enable" }));
    assert_eq!(enabled.ok()["shut_out"], 0);
    client.ask("panic", panics()).refused("jobber_panicked");
}

#[test]
fn a_session_pays_for_what_it_did_over_another_connection() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    let session = client.session();
    assert_eq!(panic_for(&mut client, "panic", 20), 11);
    let mut again = host.connect();
    again.resume(&session).ok();
    again.ask("panic", panics()).refused("quarantined");
    host.connect()
        .ask("panic", panics())
        .refused("jobber_panicked");
}

#[test]
fn a_client_is_served_again_after_a_time() {
    let host = TestHost::plan()
        .fixture("answers")
        .flags(&["--quarantine", "200ms"])
        .start();
    let mut client = host.connect();
    let panicked =
        |client: &mut RawClient| client.ask("panic", panics()).code() == Some("jobber_panicked");
    // It may be over again before the last of them is asked.
    while panicked(&mut client) {}
    let until = Instant::now() + GUARD;
    while !panicked(&mut client) {
        assert!(Instant::now() < until, "it is never over");
    }
}

#[test]
fn panics_for_many_clients_cost_the_type_until_an_operator_brings_it_back() {
    let host = TestHost::with_fixture("answers");
    let (mut client, mut operator) = (host.connect(), host.operate());
    panic_for_many(&host, "panic");
    let said = client.ask("panic", panics()).refused("quarantined");
    assert!(
        said.contains("the type was taken out of service for 60s"),
        "{said}"
    );
    assert_eq!(client.ask("runs", Value::Null).number("runs"), 0);
    client
        .ask("panicOnThread", panics())
        .refused("jobber_panicked");
    let out = out_of_service(&mut operator, "answers");
    let [out] = &out[..] else {
        panic!("one type is out of service: {out:?}");
    };
    assert_eq!(out["type"], "panic");
    assert!(out["until_ms"].as_u64() > out["since_ms"].as_u64(), "{out}");
    assert!(
        out["why"]
            .to_string()
            .contains("panicked more than 100 times"),
        "{out}"
    );
    let enable = json!({ "name": "answers", "do": "enable" });
    let enabled = operator.ask("rm.plugin", enable).ok();
    assert_eq!(enabled["out_of_service"], json!([]));
    client.ask("panic", panics()).refused("jobber_panicked");
}

#[test]
fn a_type_is_back_after_a_time() {
    let host = TestHost::plan()
        .fixture("answers")
        .flags(&["--quarantine", "1s"])
        .start();
    panic_for_many(&host, "panic");
    host.log()
        .wait_from(0, &["ERROR", "type=panic", "out of service for 1s"]);
    host.log()
        .wait_from(0, &["INFO", "type=panic", "in service again"]);
    let mut client = host.connect();
    client.ask("panic", panics()).refused("jobber_panicked");
    assert_eq!(out_of_service(&mut client, "answers"), Vec::<Value>::new());
}

#[test]
fn three_jobs_that_hang_cost_their_type_and_no_other() {
    let host = late();
    let (gate, mut client, mut operator) = (Gate::new(), host.connect(), host.operate());
    client.ask("add", Value::Null).ok();
    let mut late = Vec::new();
    late.push(time_out(&mut client, &gate, "addLate"));
    late.push(time_out(&mut client, &gate, "addInDrop"));
    late.push(time_out(&mut client, &gate, "addLate"));
    assert_eq!(out_of_service(&mut operator, "late"), Vec::<Value>::new());
    // What stands behind the third is of another type, or hears why it is not run.
    client.tell_all([
        ("addLate", gate.payload("late")),
        ("add", Value::Null),
        ("addLate", gate.payload("never")),
    ]);
    late.push(gate.entered());
    client.reply().refused("timeout");
    // A reply that waits for the disk may come behind one that does not.
    let (added, refused): (Vec<_>, Vec<_>) = client
        .replies(2)
        .into_iter()
        .partition(|reply| reply.type_name == "add");
    assert_eq!(added[0].number("count"), 2);
    let said = refused[0].clone().refused("quarantined");
    assert!(said.contains("did not end in time within 10 min"), "{said}");
    for type_name in ["add", "remember", "inTime"] {
        client.ask(type_name, Value::Null).ok();
    }
    let out = out_of_service(&mut operator, "late");
    assert_eq!((out.len(), &out[0]["type"]), (1, &json!("addLate")));
    assert_eq!(operator.plugin("late")["state"], "stuck");
}

#[test]
fn a_plugin_of_which_three_types_are_out_goes_and_an_operator_brings_it_back() {
    let host = late();
    let (gate, mut client, mut operator) = (Gate::new(), host.connect(), host.operate());
    client.ask("add", Value::Null).ok();
    let _late: Vec<AtGate> = ["addLate", "addInDrop", "rememberLate"]
        .iter()
        .flat_map(|type_name| [type_name; 3])
        .map(|type_name| time_out(&mut client, &gate, type_name))
        .collect();
    for type_name in ["add", "inTime"] {
        let reply = client.ask(type_name, Value::Null);
        assert!((1..=60_001).contains(&reply.number("retry_after_ms")));
        let said = reply.refused("quarantined");
        assert!(said.contains("3 of its types are out of service"), "{said}");
    }
    let seen = operator.plugin("late");
    assert_eq!(seen["state"], "quarantined");
    assert!(
        seen["back_ms"].as_u64() > seen["since_ms"].as_u64(),
        "{seen}"
    );
    let enable = json!({ "name": "late", "do": "enable" });
    let from = host.log().len();
    operator.ask("rm.plugin", enable).ok();
    host.said_of(from, "late", SERVES);
    assert_eq!(client.ask("add", Value::Null).number("count"), 2);
    let seen = operator.plugin("late");
    assert_eq!(
        (&seen["back_ms"], &seen["error"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_plugin_whose_code_cannot_be_made_anew_is_opened_again_after_a_time() {
    let host = TestHost::plan()
        .fixture("fragile")
        .flags(&["--quarantine", "1s"])
        .start();
    let mut client = host.connect();
    let touch = |breaks: bool| json!({ "breaks": breaks });
    client.ask("touch", touch(false)).ok();
    client.ask("touch", touch(true)).refused("jobber_panicked");
    client.ask("touch", touch(false)).refused("quarantined");
    host.log()
        .wait_from(0, &["ERROR", "plugin=fragile", "quarantined for 1s"]);
    host.log()
        .wait_from(0, &["plugin=fragile", "its time out of service is over"]);
    let until = Instant::now() + GUARD;
    while client.plugin("fragile")["state"] != "serving" {
        assert!(Instant::now() < until, "it does not come back");
    }
    client.ask("touch", touch(false)).ok();
    client.ask("calm", Value::Null).ok();
}
