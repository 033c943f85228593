//! Who gives back names a grant that is current and its own: anything else changes nothing.

use rm_tests::{RawClient, TestHost};
use rustix::process::Signal;
use serde_json::{Value, json};

fn lent(client: &mut RawClient) -> (u64, u64) {
    let reply = client.ask("getProxy", Value::Null);
    (reply.number("id"), reply.number("token"))
}

#[test]
fn a_repeated_give_back_leaves_the_next_holder_its_proxy() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\"]\n")
        .start();
    let (mut ann, mut bob, mut eve) = (host.connect(), host.connect(), host.connect());
    assert_eq!(lent(&mut ann), (1, 1));
    ann.ask("returnProxy", json!({ "id": 1 })).ok();
    ann.ask("returnProxy", json!({ "id": 1 }))
        .refused("not_taken");
    assert_eq!(lent(&mut bob), (1, 2));
    ann.ask("returnProxy", json!({ "id": 1 }))
        .refused("not_yours");
    for stale in [
        json!({ "token": 1 }),
        json!({ "id": 1, "token": 1 }),
        json!({ "id": 2, "token": 2 }),
    ] {
        ann.ask("returnProxy", stale).refused("stale_token");
    }
    ann.ask("returnProxy", json!({})).refused("bad_payload");
    eve.ask("getProxy", Value::Null).refused("none_free");
    bob.ask("returnProxy", json!({ "id": 1 })).ok();
    assert_eq!(lent(&mut eve), (1, 3));
}

#[test]
fn a_repeated_return_leaves_the_next_buyer_his_tickets() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 3\n")
        .start();
    let (mut ann, mut bob) = (host.connect(), host.connect());
    let two = json!({ "count": 2 });
    assert_eq!(ann.ask("getTickets", two.clone()).number("token"), 1);
    let all = json!({ "tickets": [1, 2] });
    ann.ask("returnTickets", all.clone()).ok();
    assert_eq!(bob.ask("getTickets", two).number("token"), 2);
    ann.ask("returnTickets", all).refused("not_yours");
    // One of them is nobody's: none is returned.
    ann.ask("returnTickets", json!({ "tickets": [3] }))
        .refused("not_sold");
    for stale in [json!({ "token": 1 }), json!({ "token": 1, "tickets": [2] })] {
        ann.ask("returnTickets", stale).refused("stale_token");
    }
    ann.ask("returnTickets", json!({})).refused("bad_payload");
    // A part of a grant, by its token, over another connection.
    let part = json!({ "token": 2, "tickets": [2] });
    assert_eq!(ann.ask("returnTickets", part.clone()).number("left"), 2);
    ann.ask("returnTickets", part).refused("stale_token");
    bob.ask("returnTickets", json!({ "tickets": [1, 2] }))
        .refused("not_sold");
    assert_eq!(
        bob.ask("returnTickets", json!({ "tickets": [1] }))
            .number("left"),
        3
    );
}

#[test]
fn a_session_gives_back_over_another_connection_and_after_a_restart() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\", \"b\"]\n")
        .start();
    let mut ann = host.connect();
    let name = ann.session();
    assert_eq!(lent(&mut ann), (1, 1));
    let mut original = host.connect();
    assert_eq!(lent(&mut original), (2, 2));
    host.signal(Signal::KILL);
    let host = host.wait_and_plan().1.start();

    let mut other = host.connect();
    for id in [1, 2] {
        other
            .ask("returnProxy", json!({ "id": id }))
            .refused("not_yours");
    }
    let mut ann = host.connect();
    ann.resume(&name).ok();
    ann.ask("returnProxy", json!({ "id": 1 })).ok();
    // Whose connection is gone has left its token.
    other.ask("returnProxy", json!({ "token": 2 })).ok();
    assert_eq!(lent(&mut other), (1, 3));
    assert_eq!(lent(&mut other), (2, 4));
}

#[test]
fn who_wants_more_than_there_is_waits_in_nobodys_way() {
    let host = TestHost::plan().plugin("tickets").start();
    let mut greedy = host.connect();
    greedy.hello(&json!({ "wait": true, "deadline_ms": 31_536_000_000_u64 }));
    let refused = greedy.ask("getTickets", json!({ "count": 5_000 }));
    let text = refused.refused("sold_out");
    assert!(
        text.contains("5000 asked for") && text.contains("500 there are at all"),
        "{text}"
    );
    let mut client = host.connect();
    assert_eq!(
        client.ask("getTickets", Value::Null).ok()["tickets"],
        json!([1])
    );
}
