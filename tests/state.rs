//! The host owns the state: it outlives the versions that work on it, follows their configuration without taking back
//! what is granted, and is opened only by who can read it.

use rm_tests::{SERVES, TestHost, fixture};
use serde_json::{Value, json};

#[test]
fn the_state_is_kept_across_a_reload() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    for asked in 1..=5 {
        for type_name in ["getVersion", "getVersionInline", "onlyInVersion1"] {
            assert_eq!(client.ask(type_name, Value::Null).number("asked"), asked);
        }
    }
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    for type_name in ["getVersion", "getVersionInline"] {
        let reply = client.ask(type_name, Value::Null);
        assert_eq!(
            (reply.number("version"), reply.number("asked")),
            (2, 6),
            "{type_name}"
        );
    }
    assert_eq!(client.ask("onlyInVersion2", Value::Null).number("asked"), 1);
    // Also that of a type which only the earlier version serves.
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
    assert_eq!(client.ask("onlyInVersion1", Value::Null).number("asked"), 6);
}

#[test]
fn the_state_of_a_removed_plugin_is_there_when_it_comes_back() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    let first = client.ask("getTickets", json!({ "count": 3 })).ok();
    host.remove("tickets");
    client
        .ask("getTickets", Value::Null)
        .refused("unknown_type");
    host.drop_in("tickets", &rm_tests::example_plugin("tickets"), SERVES);
    let second = client.ask("getTickets", json!({ "count": 2 })).ok();
    assert_eq!(second["tickets"], json!([4, 5]));
    assert_eq!(second["left"], 495);
    assert!(
        second["token"].as_u64() > first["token"].as_u64(),
        "tokens only grow: {first} {second}"
    );
}

#[test]
fn the_own_memory_of_a_plugin_ends_with_its_version() {
    let host = TestHost::with_plugin("counter");
    let mut client = host.connect();
    for cnt in 0..3 {
        assert_eq!(client.ask("cntResponse", Value::Null).number("cnt"), cnt);
    }
    host.configure("counter", "delay_ms = 1\n", SERVES);
    assert_eq!(client.ask("cntResponse", Value::Null).number("cnt"), 0);
    assert_eq!(client.ask("getIp", Value::Null).number("ip"), 1000);
}

#[test]
fn an_older_schema_than_the_stored_one_is_refused_and_a_newer_one_takes_over() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    client.ask("getVersion", Value::Null).ok();
    host.drop_in("versioned", &fixture("versioned_3"), SERVES);
    let reply = client.ask("getVersion", Value::Null);
    assert_eq!((reply.number("version"), reply.number("asked")), (3, 2));
    for older in ["versioned_1", "versioned_2"] {
        let line = host.drop_in("versioned", &fixture(older), &["ERROR", "refused"]);
        for word in ["`asked`", "schema 1", "schema 2", "goes on"] {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert_eq!(client.ask("getVersion", Value::Null).number("version"), 3);
    }
    // Not even after it was removed.
    host.remove("versioned");
    host.drop_in(
        "versioned",
        &fixture("versioned_1"),
        &["refused", "schema 2"],
    );
    client
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    host.drop_in("versioned", &fixture("versioned_3"), SERVES);
    assert_eq!(client.ask("getVersion", Value::Null).number("asked"), 5);
}

#[test]
fn more_seats_are_added_and_fewer_are_drained_as_they_return() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 3\n")
        .start();
    let mut client = host.connect();
    assert_eq!(
        client.ask("getTickets", json!({ "count": 3 })).ok()["tickets"],
        json!([1, 2, 3])
    );
    client.ask("getTickets", Value::Null).refused("sold_out");
    host.configure("tickets", "seats = 5\n", SERVES);
    assert_eq!(
        client.ask("getTickets", Value::Null).ok()["tickets"],
        json!([4])
    );
    host.configure("tickets", "seats = 2\n", SERVES);
    // 5 was free and is gone, 3 and 4 are sold and stay so until they return.
    client.ask("getTickets", Value::Null).refused("sold_out");
    assert_eq!(
        client
            .ask("returnTickets", json!({ "tickets": [4, 2] }))
            .number("left"),
        1
    );
    assert_eq!(
        client.ask("getTickets", Value::Null).ok()["tickets"],
        json!([2])
    );
    assert_eq!(
        client
            .ask("returnTickets", json!({ "tickets": [3] }))
            .number("left"),
        0
    );
    client
        .ask("returnTickets", json!({ "tickets": [3] }))
        .refused("not_sold");
}

#[test]
fn seats_that_were_added_by_hand_stay_whatever_the_configuration_says() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 2\n")
        .start();
    let mut client = host.connect();
    assert_eq!(
        client
            .ask("addTickets", json!({ "count": 2 }))
            .number("left"),
        4
    );
    host.configure("tickets", "seats = 1\n", SERVES);
    assert_eq!(
        client.ask("getTickets", json!({ "count": 3 })).ok()["tickets"],
        json!([1, 3, 4])
    );
}

#[test]
fn a_pool_follows_its_list_and_takes_nothing_from_who_holds_it() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\", \"b\"]\n")
        .start();
    let mut client = host.connect();
    assert_eq!(client.ask("getProxy", Value::Null).ok()["url"], "a");
    host.configure("proxies", "urls = [\"b\", \"c\"]\n", SERVES);
    assert_eq!(client.ask("getProxy", Value::Null).ok()["url"], "b");
    assert_eq!(client.ask("getProxy", Value::Null).ok()["url"], "c");
    client.ask("getProxy", Value::Null).refused("none_free");
    // It leaves once it is back.
    client.ask("returnProxy", json!({ "id": 1 })).ok();
    client.ask("getProxy", Value::Null).refused("none_free");
    client
        .ask("returnProxy", json!({ "id": 1 }))
        .refused("not_taken");
}

#[test]
fn who_waits_survives_a_reload_and_is_served_by_what_it_adds() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = []\n")
        .start();
    let mut client = host.connect();
    client.hello(&json!({ "wait": true }));
    client.tell("getProxy", Value::Null);
    client.sync();
    host.configure("proxies", "urls = [\"a\"]\n", SERVES);
    assert_eq!(client.reply().ok()["url"], "a");
}

#[test]
fn nothing_of_a_refused_request_stays_in_a_pool() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 4\n")
        .start();
    let mut client = host.connect();
    client
        .ask("getTickets", json!({ "count": 5 }))
        .refused("sold_out");
    client
        .ask("getTickets", json!({ "count": 0 }))
        .refused("bad_payload");
    client
        .ask("getTickets", json!({ "count": -1 }))
        .refused("bad_payload");
    assert_eq!(
        client.ask("getTickets", json!({ "count": 2 })).ok()["tickets"],
        json!([1, 2])
    );
    // One of them is not sold: none is returned.
    client
        .ask("returnTickets", json!({ "tickets": [1, 4] }))
        .refused("not_sold");
    client
        .ask("returnTickets", json!({ "tickets": [1, 1] }))
        .refused("not_sold");
    assert_eq!(
        client.ask("getTickets", json!({ "count": 2 })).ok()["tickets"],
        json!([3, 4])
    );
}
