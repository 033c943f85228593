//! Clients come, wait, lose patience and go, and the clock moves when the test says so: the testing kit does to
//! their requests what a host does.

use plugin_api::{
    RefusalKind,
    limits::WAIT_MS_MAX,
    prelude::*,
    testing::{Sent, TestPlugin},
};
use serde_json::json;

#[derive(Deserialize)]
struct Config {
    seats: u64,
}

#[derive(Deserialize)]
struct Take {
    #[serde(default = "one")]
    count: u64,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize)]
struct Back {
    seat: u64,
}

#[derive(Serialize)]
struct Taken {
    seats: Vec<u64>,
}

fn take(ask: Take, hall: &mut Numbers) -> Answer<Taken> {
    let seats = hall.take(ask.count).or_code("sold_out")?.ids();
    Ok(Taken { seats })
}

fn back(ask: Back, hall: &mut Numbers) -> Answer {
    hall.release_ids(&[ask.seat]).or_code("not_taken")
}

#[derive(Deserialize)]
struct Until {
    attempt: u32,
}

#[derive(Serialize)]
struct Done {
    attempt: u32,
    now_ms: u64,
}

/// Succeeds at this attempt.
fn at_last(ask: Until, call: &Call) -> Answer<Done> {
    match call.attempt < ask.attempt {
        true => Err(Refusal::try_again("it is away")),
        false => Ok(Done {
            attempt: call.attempt,
            now_ms: call.now_ms,
        }),
    }
}

fn count(n: &mut u64) -> Answer<serde_json::Value> {
    *n += 1;
    Ok(json!({ "n": *n }))
}

plugin! {
    config Config;
    state |c| Numbers::range("hall", 1..=c.seats) => {
        "take" => take,
        "takeMany" => take,
        "back" => back,
    }
    memory |_| 0 => { "count" => count }
    stateless { "atLast" => at_last }
}

type Hall = TestPlugin<RmPlugin>;

fn hall(seats: u64) -> Hall {
    TestPlugin::new(json!({ "seats": seats }))
}

fn sold_out(seats: u64) -> Hall {
    let mut hall = hall(seats);
    let all = json!({ "count": seats });
    hall.client(1).request("take", all).unwrap();
    hall
}

fn send(hall: &mut Hall, client: u64) -> Sent {
    hall.client(client).send("take", ())
}

fn give_back(hall: &mut Hall, seat: u64) {
    let back = hall.client(1).request("back", json!({ "seat": seat }));
    assert_eq!(back, Ok(json!({})));
}

fn code(hall: &Hall, sent: &Sent) -> String {
    let reply = hall.reply(sent).expect("it is answered");
    reply.unwrap_err().code().to_owned()
}

#[test]
fn what_can_be_served_at_once_is() {
    let mut hall = hall(1);
    let sent = send(&mut hall, 1);
    assert_eq!(hall.reply(&sent), Some(Ok(json!({ "seats": [1] }))));
}

#[test]
fn who_waits_is_served_in_turn_as_the_state_changes() {
    let mut hall = sold_out(3);
    let (first, second) = (send(&mut hall, 2), send(&mut hall, 3));
    assert_eq!((hall.reply(&first), hall.reply(&second)), (None, None));
    give_back(&mut hall, 2);
    assert_eq!(hall.reply(&first), Some(Ok(json!({ "seats": [2] }))));
    assert_eq!(hall.reply(&second), None);
    give_back(&mut hall, 3);
    assert_eq!(hall.reply(&second), Some(Ok(json!({ "seats": [3] }))));
}

#[test]
fn the_longest_waiting_is_served_first_whatever_its_type() {
    let mut hall = sold_out(3);
    let first = send(&mut hall, 2);
    let rare = hall.client(3).send("takeMany", ());
    let third = send(&mut hall, 4);
    for (seat, sent) in [(1, first), (2, rare), (3, third)] {
        assert_eq!(hall.reply(&sent), None);
        give_back(&mut hall, seat);
        assert_eq!(hall.reply(&sent), Some(Ok(json!({ "seats": [seat] }))));
    }
}

#[test]
fn nobody_waits_longer_than_a_host_lets_anybody() {
    let mut hall = sold_out(1);
    let for_ever = send(&mut hall, 2);
    hall.advance_ms(WAIT_MS_MAX);
    assert_eq!(hall.reply(&for_ever), None);
    hall.advance_ms(1);
    let refusal = hall.reply(&for_ever).unwrap().unwrap_err();
    assert_eq!(refusal.code(), "expired");
    assert!(refusal.message().contains("as long as this host lets"));
}

#[test]
fn a_newcomer_takes_nothing_that_others_wait_for() {
    let mut hall = sold_out(3);
    let many = hall.client(2).send("take", json!({ "count": 2 }));
    give_back(&mut hall, 1);
    assert_eq!(hall.reply(&many), None);
    // There is one, and it is not for who comes later.
    let refusal = hall.client(3).request("take", ()).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.kind()),
        ("sold_out", RefusalKind::NotYet)
    );
    assert!(refusal.message().starts_with("others stand in line"));
    let behind = send(&mut hall, 3);
    assert_eq!(hall.reply(&behind), None);
    // Only who asks for the same stands behind it.
    let other = hall.client(4).request("takeMany", ());
    assert_eq!(other, Ok(json!({ "seats": [1] })));
}

#[test]
fn who_goes_gives_up_the_place_and_keeps_nobody_waiting() {
    let mut hall = sold_out(3);
    let many = hall.client(2).send("take", json!({ "count": 2 }));
    let behind = send(&mut hall, 3);
    give_back(&mut hall, 1);
    assert_eq!(hall.reply(&behind), None);
    hall.disconnect(2);
    assert_eq!(hall.reply(&many), None, "nobody is there to be told");
    assert_eq!(hall.reply(&behind), Some(Ok(json!({ "seats": [1] }))));
}

#[test]
fn what_was_granted_and_what_is_remembered_outlives_its_client() {
    let mut hall = sold_out(1);
    hall.client(1).request("count", ()).unwrap();
    hall.disconnect(1);
    let refusal = hall.client(2).request("take", ()).unwrap_err();
    assert_eq!(refusal.code(), "sold_out");
    assert_eq!(hall.client(2).request("count", ()), Ok(json!({ "n": 2 })));
}

#[test]
#[should_panic(expected = "client 1 has gone, and no number is used twice")]
fn no_number_is_used_for_two_clients() {
    let mut hall = hall(1);
    hall.disconnect(1);
    let _ = hall.client(1);
}

#[test]
fn patience_ends_when_the_clock_says_so() {
    let mut hall = sold_out(3);
    hall.set_now_ms(2_000_000_000_000);
    let client = hall.client(2).deadline_ms(2_000_000_000_010);
    let many = client.send("take", json!({ "count": 2 }));
    let behind = send(&mut hall, 3);
    give_back(&mut hall, 1);
    hall.advance_ms(10);
    assert_eq!(hall.reply(&many), None);
    hall.advance_ms(1);
    assert_eq!(code(&hall, &many), "expired");
    assert_eq!(hall.reply(&behind), Some(Ok(json!({ "seats": [1] }))));
}

#[test]
fn try_again_is_run_again_each_second_and_five_times_at_most() {
    let mut hall = hall(1);
    hall.set_now_ms(2_000_000_000_000);
    let third = hall.client(1).send("atLast", json!({ "attempt": 3 }));
    let never = hall.client(1).send("atLast", json!({ "attempt": 7 }));
    hall.advance_ms(1_999);
    assert_eq!(hall.reply(&third), None);
    hall.advance_ms(3_000);
    let done = json!({ "attempt": 3, "now_ms": 2_000_000_002_000_u64 });
    assert_eq!(hall.reply(&third), Some(Ok(done)));
    assert_eq!(hall.reply(&never), None);
    hall.advance_ms(1);
    assert_eq!(code(&hall, &never), "jobber_error");
}

#[test]
fn who_goes_is_not_run_again() {
    let mut hall = hall(1);
    let sent = hall.client(1).send("atLast", json!({ "attempt": 2 }));
    hall.disconnect(1);
    hall.advance_ms(10_000);
    assert_eq!(hall.reply(&sent), None);
}

#[test]
fn who_waits_is_served_by_the_new_version_and_in_the_same_order() {
    let mut hall = sold_out(1);
    let (first, second) = (send(&mut hall, 2), send(&mut hall, 3));
    hall.reload(json!({ "seats": 2 })).unwrap();
    assert_eq!(hall.reply(&first), Some(Ok(json!({ "seats": [2] }))));
    assert_eq!(hall.reply(&second), None);
    // One that fails changes nothing for who waits.
    hall.reload(json!({})).unwrap_err();
    assert_eq!(hall.reply(&second), None);
    give_back(&mut hall, 1);
    assert_eq!(hall.reply(&second), Some(Ok(json!({ "seats": [1] }))));
}

#[test]
fn the_same_requests_have_the_same_replies_each_time() {
    let run = || {
        let mut hall = sold_out(4);
        let sent: Vec<Sent> = (2..8)
            .map(|client| match client % 3 {
                0 => hall.client(client).send("takeMany", json!({ "count": 2 })),
                1 => hall.client(client).send("atLast", json!({ "attempt": 2 })),
                _ => send(&mut hall, client),
            })
            .collect();
        for seat in 1..=4 {
            give_back(&mut hall, seat);
            hall.advance_ms(400);
        }
        sent.iter().map(|sent| hall.reply(sent)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
