//! The example plugins, asked over the wire as their own pages promise.

use std::fs;

use rm_tests::{SERVES, TestHost, example_plugin};
use serde_json::{Value, json};

#[test]
fn counter_counts_two_numbers_side_by_side() {
    let host = TestHost::with_plugin("counter");
    let mut client = host.connect();
    for n in 0..3 {
        assert_eq!(
            client.ask("cntResponse", json!(0)).ok(),
            json!({ "cnt": n })
        );
        assert_eq!(
            client.ask("getIp", json!(0)).ok(),
            json!({ "ip": 1000 + n })
        );
    }
}

#[test]
fn counter_with_a_delay_still_counts_and_delays_nobody_else() {
    let host = TestHost::plan()
        .plugin("counter")
        .plugin("tickets")
        .file("counter.toml", "delay_ms = 2000\n")
        .start();
    let (mut client, mut other) = (host.connect(), host.connect());
    client.tell_all([
        ("cntResponse", json!(0)),
        ("getTickets", Value::Null),
        ("ping", Value::Null),
    ]);
    // The one that sleeps is the last to answer. Of the others one waits for the disk.
    let mut types: Vec<String> = client
        .replies(2)
        .into_iter()
        .map(|reply| reply.type_name)
        .collect();
    types.sort();
    assert_eq!(types, ["getTickets", "ping"]);
    other.ask("getTickets", Value::Null).ok();
    assert_eq!(client.reply().number("cnt"), 0);
}

#[test]
fn tickets_are_sold_for_good_until_none_is_left() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 5\n")
        .start();
    let mut client = host.connect();
    let first = client.ask("getTickets", json!(0)).ok();
    assert_eq!(
        (&first["tickets"], &first["left"]),
        (&json!([1]), &json!(4))
    );
    let second = client.ask("getTickets", json!({ "count": 3 })).ok();
    assert_eq!(
        (&second["tickets"], &second["left"]),
        (&json!([2, 3, 4]), &json!(1))
    );
    assert!(second["token"].as_u64() > first["token"].as_u64());
    client
        .ask("getTickets", json!({ "count": 2 }))
        .refused("sold_out");
    assert!(
        client
            .ask("getTickets", json!({ "count": 0 }))
            .refused("bad_payload")
            .contains("`count`")
    );
    assert_eq!(
        client
            .ask("returnTickets", json!({ "tickets": [2, 4] }))
            .ok(),
        json!({ "left": 3 })
    );
    client
        .ask("returnTickets", json!({ "tickets": [2] }))
        .refused("not_sold");
    assert_eq!(
        client.ask("addTickets", json!({ "count": 10 })).ok(),
        json!({ "left": 13 })
    );
    assert_eq!(
        client.ask("getTickets", json!({ "count": 4 })).ok()["tickets"],
        json!([2, 4, 5, 6])
    );
}

#[test]
fn tickets_are_500_unless_configured_and_a_hundred_million_cost_nothing() {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    assert_eq!(client.ask("getTickets", Value::Null).number("left"), 499);
    host.configure("tickets", "seats = 100_000_000\n", SERVES);
    assert_eq!(
        client.ask("getTickets", Value::Null).number("left"),
        99_999_998
    );
}

#[test]
fn proxies_are_lent_to_one_at_a_time() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"http://a:1\"]\n")
        .start();
    let (mut client, mut other) = (host.connect(), host.connect());
    let id = client
        .ask("addProxy", json!({ "url": "http://b:2" }))
        .number("id");
    assert_eq!(
        client
            .ask("addProxy", json!({ "url": "http://b:2" }))
            .number("id"),
        id
    );
    let a = client.ask("getProxy", json!(0)).ok();
    assert_eq!(a["url"], "http://a:1");
    let b = other.ask("getProxy", json!(0)).ok();
    assert_eq!((&b["url"], &b["id"]), (&json!("http://b:2"), &json!(id)));
    assert!(b["token"].as_u64() > a["token"].as_u64());
    other.ask("getProxy", json!(0)).refused("none_free");
    client
        .ask("returnProxy", json!({ "id": 77 }))
        .refused("not_taken");
    assert_eq!(
        client.ask("returnProxy", json!({ "id": a["id"] })).ok(),
        json!({})
    );
    client
        .ask("returnProxy", json!({ "id": a["id"] }))
        .refused("not_taken");
    assert!(
        client
            .ask("addProxy", json!({ "url": " " }))
            .refused("bad_payload")
            .contains("`url`")
    );
}

#[test]
fn a_client_that_says_wait_gets_the_proxy_that_comes_back() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"http://a:1\"]\n")
        .start();
    let (mut client, mut waiting) = (host.connect(), host.connect());
    client.ask("getProxy", Value::Null).ok();
    waiting.hello(&json!({}));
    waiting.tell_with(&json!({ "wait": true }), "getProxy", &json!(0));
    waiting.sync();
    client.ask("returnProxy", json!({ "id": 1 })).ok();
    assert_eq!(waiting.reply().number("id"), 1);
}

#[test]
fn rooms_are_booked_half_open_and_a_clash_is_named() {
    let host = TestHost::plan()
        .plugin("rooms")
        .file("rooms.toml", "rooms = [\"red\", \"blue\"]\n")
        .start();
    let mut client = host.connect();
    let book = |room: &str, from: &str, to: &str| json!({ "room": room, "from": format!("2026-05-04T{from}:00Z"), "to": format!("2026-05-04T{to}:00Z") });
    let first = client
        .ask("bookRoom", book("red", "09:00", "10:00"))
        .number("booking");
    // It ends just before.
    client.ask("bookRoom", book("red", "10:00", "11:00")).ok();
    client.ask("bookRoom", book("blue", "09:00", "10:00")).ok();
    for (from, to) in [
        ("09:30", "09:40"),
        ("08:00", "09:01"),
        ("09:59", "12:00"),
        ("08:00", "12:00"),
    ] {
        let said = client
            .ask("bookRoom", book("red", from, to))
            .refused("taken");
        assert!(
            said.contains("red") && said.contains("2026-05-04T"),
            "{said}"
        );
    }
    client
        .ask("bookRoom", book("green", "09:00", "10:00"))
        .refused("unknown_room");
    client
        .ask("bookRoom", book("red", "12:00", "12:00"))
        .refused("bad_payload");
    let said = client
        .ask(
            "bookRoom",
            json!({ "room": "red", "from": "noon", "to": "x" }),
        )
        .refused("bad_payload");
    assert!(said.contains("`from`"), "{said}");
    assert_eq!(
        client.ask("cancelRoom", json!({ "booking": first })).ok(),
        json!({})
    );
    client
        .ask("cancelRoom", json!({ "booking": first }))
        .refused("no_booking");
    client.ask("bookRoom", book("red", "09:30", "10:00")).ok();
    let of_red = client.ask("listRooms", json!({ "room": "red" })).ok();
    assert_eq!(
        of_red["bookings"].as_array().map(Vec::len),
        Some(2),
        "{of_red}"
    );
    let all = client.ask("listRooms", json!(0)).ok();
    assert_eq!(all["bookings"].as_array().map(Vec::len), Some(3), "{all}");
}

/// A line of the log without what is another one each time: its time, and the hashes.
fn shape(line: &str) -> String {
    let (_, rest) = line.split_once(' ').expect("it begins with its time");
    let word = |word: &str| match word.split_once('=') {
        Some((field @ ("hash" | "replaces"), _)) => format!("{field}=…"),
        _ => word.to_owned(),
    };
    rest.split(' ').map(word).collect::<Vec<String>>().join(" ")
}

/// The lines of a page that say that tickets serves.
fn quoted(page: &str) -> Vec<String> {
    let lines = page.lines().filter(|line| {
        line.contains(": serves getTickets") && line.starts_with(|c: char| c.is_ascii_digit())
    });
    lines.map(shape).collect()
}

#[test]
fn the_lines_of_the_log_that_the_pages_show_are_those_that_are_written() {
    let host = TestHost::with_plugin("tickets");
    let first = host.said_of(0, "tickets", SERVES);
    // A byte behind the library's end makes it another file.
    let mut library = fs::read(example_plugin("tickets")).expect("it was built");
    library.push(0);
    let another = host.beside().join("another.so");
    fs::write(&another, library).expect("the folder can be written");
    let second = host.drop_in("tickets", &another, SERVES);
    let readme = include_str!("../README.md");
    assert_eq!(quoted(readme), [shape(&second)]);
    let operations = include_str!("../docs/operations.md");
    assert_eq!(quoted(operations), [shape(&first)]);
}
