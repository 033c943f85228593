//! Who has said hello may send control data with a request: how long it is worth an answer, and whether to wait. What
//! a request leaves open, hello says, then the configuration of its type.

use rm_tests::{HostPlan, RawClient, TestHost};
use serde_json::{Value, json};

#[test]
fn before_hello_control_data_is_a_key_too_many_and_after_it_not() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    client.tell_with(&json!({}), "ping", &Value::Null);
    client.reply().refused("bad_message");
    let hello = client.ask("rm.hello", json!({ "v": 1 })).ok();
    assert_eq!(hello["v"], 1);
    assert!(
        hello["server"]
            .as_str()
            .is_some_and(|server| server.starts_with("rm-host ")),
        "{hello}"
    );
    assert!(hello["session"].is_string(), "{hello}");
    client.tell_with(
        &json!({ "deadline_ms": 5_000, "wait": false }),
        "getTickets",
        &Value::Null,
    );
    client.reply().ok();
    client.tell_with(&json!({}), "ping", &Value::Null);
    client.reply().ok();
    // Only who has said it is known.
    let mut other = host.connect();
    other.tell_with(&json!({}), "ping", &Value::Null);
    other.reply().refused("bad_message");
}

#[test]
fn control_data_that_nobody_honours_is_refused_by_name() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    client.hello(&json!({}));
    for (meta, says) in [
        (json!({ "id": "x" }), "`id`"),
        (json!({ "auth": "x" }), "`auth`"),
        (json!({ "session": "x" }), "`session`"),
        (json!({ "priority": 1 }), "`priority`"),
        (json!({ "deadline_ms": -5 }), "deadline_ms"),
        (json!({ "deadline_ms": 1.5 }), "deadline_ms"),
        (json!({ "deadline_ms": "5" }), "deadline_ms"),
        (json!({ "deadline_ms": u64::MAX }), "deadline_ms"),
        (json!({ "wait": 1 }), "wait"),
        (json!([]), "meta"),
        (Value::Null, "meta"),
    ] {
        let index = client.tell_with(&meta, "getTickets", &Value::Null);
        let reply = client.reply();
        assert_eq!(
            (&*reply.type_name, &reply.query_index),
            ("errMsgFromClient", &index),
            "{meta}"
        );
        let said = reply.refused("bad_message");
        assert!(said.contains(says), "{meta}: {said}");
    }
    // And nothing was taken.
    assert_eq!(
        client.ask("getTickets", Value::Null).ok()["tickets"],
        json!([1])
    );
}

#[test]
fn control_data_that_nobody_honours_is_refused_whoever_serves_the_type() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    client.hello(&json!({}));
    let year_and_a_day_ms = 366_u64 * 24 * 3600 * 1000;
    for type_name in [
        "ping",
        "srvQueuePrint",
        "rm.hello",
        "rm.plugins",
        "nobody serves this",
    ] {
        for (meta, says) in [
            (json!({ "id": "x" }), "`id`"),
            (json!({ "wait": true, "priority": 1 }), "`priority`"),
            (json!({ "deadline_ms": "5" }), "deadline_ms"),
            (json!({ "deadline_ms": year_and_a_day_ms }), "deadline_ms"),
        ] {
            let index = client.tell_with(&meta, type_name, &json!({ "v": 1 }));
            let reply = client.reply();
            assert_eq!(
                (&*reply.type_name, &reply.query_index),
                ("errMsgFromClient", &index),
                "{type_name} {meta}"
            );
            let said = reply.refused("bad_message");
            assert!(said.contains(says), "{type_name} {meta}: {said}");
        }
    }
    // Nothing of it was done.
    assert_eq!(client.ask("ping", Value::Null).number("pong"), 0);
}

#[test]
fn hello_is_refused_by_name_where_it_asks_for_more_than_there_is() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    for (payload, says) in [
        (json!({ "v": 2 }), "`v`"),
        (json!({ "v": "1" }), "`v`"),
        (json!({}), "`v`"),
        (json!({ "v": 1, "auth": "x" }), "`auth`"),
        (json!({ "v": 1, "session": 7 }), "`session`"),
        (json!({ "v": 1, "meta": { "id": 1 } }), "`id`"),
        (
            json!({ "v": 1, "meta": { "deadline_ms": "x" } }),
            "deadline_ms",
        ),
        (
            json!({ "v": 1, "meta": { "deadline_ms": 366_u64 * 24 * 3600 * 1000 } }),
            "deadline_ms",
        ),
        (
            json!({ "v": 1, "meta": { "deadline_ms": u64::MAX } }),
            "deadline_ms",
        ),
        (json!([1]), "object"),
        (Value::Null, "object"),
    ] {
        client.tell("rm.hello", payload.clone());
        let said = client.reply().refused("bad_message");
        assert!(said.contains(says), "{payload}: {said}");
    }
    // None of these counted as a hello.
    client.tell_with(&json!({}), "ping", &Value::Null);
    client.reply().refused("bad_message");
}

/// What is sold out is "not yet" to whoever waits: the way to see whether a request waits is that it is not answered.
fn sold_out_hall(plan: HostPlan) -> (TestHost, RawClient) {
    let host = plan.plugin("tickets").start();
    let mut seller = host.connect();
    seller.ask("getTickets", json!({ "count": 1 })).ok();
    (host, seller)
}

#[test]
fn waiting_and_deadlines_come_from_the_request_then_from_hello() {
    let (host, mut seller) = sold_out_hall(TestHost::plan().file("tickets.toml", "seats = 1\n"));
    let mut client = host.connect();
    client.hello(&json!({ "wait": true, "deadline_ms": 500 }));
    // Hello's: waits, and expires.
    client.ask("getTickets", Value::Null).refused("expired");
    // Its own: does not wait.
    let at_once = json!({ "wait": false, "deadline_ms": 60_000 });
    client.tell_with(&at_once, "getTickets", &Value::Null);
    client.reply().refused("sold_out");
    // Its own patience, hello's waiting: served when a ticket comes back.
    client.tell_with(&json!({ "deadline_ms": 0 }), "getTickets", &Value::Null);
    client.sync();
    seller.ask("returnTickets", json!({ "tickets": [1] })).ok();
    assert_eq!(client.reply().ok()["tickets"], json!([1]));
}

#[test]
fn the_configuration_of_a_type_holds_for_original_clients() {
    let toml = "seats = 1\n[host]\ndeadline = \"500ms\"\n[host.types.getTickets]\nwait = true\n";
    let (host, _seller) = sold_out_hall(TestHost::plan().file("tickets.toml", toml));
    let mut original = host.connect();
    original.ask("getTickets", Value::Null).refused("expired");
    // What the request or hello says goes before the configuration.
    let mut client = host.connect();
    client.hello(&json!({ "wait": false }));
    client.ask("getTickets", Value::Null).refused("sold_out");
}

#[test]
fn the_hosts_default_patience_is_what_its_flag_says() {
    for (flag, patience) in [
        ("20s", json!(20_000)),
        ("0", Value::Null),
        ("90s", json!(90_000)),
    ] {
        let host = TestHost::plan()
            .fixture("gates")
            .flags(&["--deadline", flag])
            .start();
        assert_eq!(
            host.connect().ask("who", Value::Null).ok()["patience_ms"],
            patience,
            "{flag}"
        );
    }
}

#[test]
fn a_deadline_can_be_set_by_the_configuration_of_a_single_type() {
    let toml = "[host]\ndeadline = \"5s\"\n[host.types.who]\ndeadline = \"7s\"\n";
    let host = TestHost::plan()
        .fixture("gates")
        .file("gates.toml", toml)
        .start();
    let mut client = host.connect();
    assert_eq!(client.ask("who", Value::Null).number("patience_ms"), 7_000);
    client.hello(&json!({ "deadline_ms": 8_000 }));
    assert_eq!(client.ask("who", Value::Null).number("patience_ms"), 8_000);
    client.tell_with(&json!({ "deadline_ms": 9_000 }), "who", &Value::Null);
    assert_eq!(client.reply().number("patience_ms"), 9_000);
    client.tell_with(&json!({ "deadline_ms": 0 }), "who", &Value::Null);
    assert_eq!(client.reply().ok()["patience_ms"], Value::Null);
}

#[test]
fn client_ids_are_never_used_twice() {
    let host = TestHost::with_fixture("gates");
    let mut ids: Vec<u64> = (0..20)
        .map(|_| host.connect().ask("who", Value::Null).number("client"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}
