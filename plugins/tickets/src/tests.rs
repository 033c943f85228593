use plugin_api::{
    RefusalKind,
    testing::{self, TestPlugin},
};
use serde_json::json;

use super::*;

#[test]
fn the_self_tests_pass() {
    testing::self_tests::<RmPlugin>();
}

fn hall(seats: u64) -> TestPlugin<RmPlugin> {
    TestPlugin::new(json!({ "seats": seats }))
}

fn refused(
    hall: &mut TestPlugin<RmPlugin>,
    type_name: &str,
    payload: serde_json::Value,
) -> Refusal {
    hall.client(1).request(type_name, payload).unwrap_err()
}

#[test]
fn tickets_are_sold_once_lowest_first() {
    let mut hall = TestPlugin::<RmPlugin>::new(());
    assert_eq!(
        hall.client(1).request("getTickets", ()),
        Ok(json!({ "tickets": [1], "left": 499, "token": 1 }))
    );
    assert_eq!(
        hall.client(2).request("getTickets", json!({ "count": 2 })),
        Ok(json!({ "tickets": [2, 3], "left": 497, "token": 2 }))
    );
}

#[test]
fn more_than_is_left_is_sold_out_and_takes_nothing() {
    let mut hall = hall(3);
    for count in [4, TICKETS_PER_REQUEST_MAX + 1, u64::MAX] {
        let refusal = refused(&mut hall, "getTickets", json!({ "count": count }));
        assert_eq!(refusal.code(), "sold_out");
        assert_eq!(refusal.kind(), RefusalKind::Final, "nobody ever gets it");
        let text = format!("{count} asked for, 3 free, 3 there are at all");
        assert_eq!(refusal.message(), text);
    }
    hall.client(1).request("getTickets", ()).unwrap();
    let refusal = refused(&mut hall, "getTickets", json!({ "count": 3 }));
    assert_eq!(refusal.code(), "sold_out");
    assert_eq!(refusal.kind(), RefusalKind::NotYet, "worth waiting for");
    assert_eq!(refusal.message(), "3 asked for, 2 free");
    let answer = hall.client(1).request("getTickets", json!({ "count": 2 }));
    assert_eq!(answer.unwrap()["tickets"], json!([2, 3]));
    assert_eq!(
        refused(&mut hall, "getTickets", json!({})).code(),
        "sold_out"
    );
}

#[test]
fn a_wrong_count_is_named() {
    let mut hall = hall(1_000_000);
    for count in [json!(0), json!(-1), json!(1.5), json!("2")] {
        for type_name in ["getTickets", "addTickets"] {
            let refusal = refused(&mut hall, type_name, json!({ "count": count }));
            assert_eq!(refusal.code(), "bad_payload");
            assert!(
                refusal.message().contains("`count`"),
                "{}",
                refusal.message()
            );
        }
    }
    let too_many = json!({ "count": TICKETS_PER_REQUEST_MAX + 1 });
    let refusal = refused(&mut hall, "getTickets", too_many);
    assert_eq!(
        refusal.message(),
        "payload, field `count`: 10001 at once, expected at most 10000"
    );
    let most = json!({ "count": TICKETS_PER_REQUEST_MAX });
    assert!(hall.client(1).request("getTickets", most).is_ok());

    let sold = |count: u64| json!({ "tickets": (1..=count).collect::<Vec<_>>() });
    let refusal = refused(
        &mut hall,
        "returnTickets",
        sold(TICKETS_PER_REQUEST_MAX + 1),
    );
    assert_eq!(
        refusal.message(),
        "payload, field `tickets`: 10001 at once, expected at most 10000"
    );
    let back = hall
        .client(1)
        .request("returnTickets", sold(TICKETS_PER_REQUEST_MAX));
    assert_eq!(back, Ok(json!({ "left": 1_000_000 })));
}

#[test]
fn nobody_stands_in_line_for_more_than_one_request_gets() {
    let most = TICKETS_PER_REQUEST_MAX;
    let mut hall = hall(2 * most);
    let ask = |count: u64| json!({ "count": count });
    hall.client(1).request("getTickets", ask(most)).unwrap();
    let refusal = refused(&mut hall, "getTickets", ask(most + 1));
    assert_eq!(refusal.code(), "sold_out");
    assert_eq!(refusal.kind(), RefusalKind::Final);
    assert!(hall.client(2).request("getTickets", ask(1)).is_ok());
}

#[test]
fn what_is_no_field_is_refused_and_the_fields_are_named() {
    let mut hall = hall(5);
    for (type_name, payload, field) in [
        ("getTickets", json!({ "cuont": 3 }), "`count`"),
        (
            "returnTickets",
            json!({ "tickets": [1], "all": true }),
            "`tickets`",
        ),
        ("addTickets", json!({ "count": 3, "row": 1 }), "`count`"),
    ] {
        let refusal = refused(&mut hall, type_name, payload);
        assert_eq!(refusal.code(), "bad_payload");
        let text = refusal.message();
        assert!(
            text.contains("unknown field `") && text.contains(field),
            "{text}"
        );
    }
    let refusal = refused(&mut hall, "getTickets", json!([3]));
    assert_eq!(
        refusal.message(),
        "payload: expected an object, got an array"
    );
    let left = hall.client(1).request("addTickets", json!({ "count": 1 }));
    assert_eq!(left, Ok(json!({ "left": 6 })), "nothing was sold");
}

#[test]
fn tickets_come_back_all_or_none() {
    let mut hall = hall(5);
    hall.client(1)
        .request("getTickets", json!({ "count": 4 }))
        .unwrap();
    for tickets in [json!([2, 5]), json!([2, 3, 2]), json!([0]), json!([2, 77])] {
        let refusal = refused(&mut hall, "returnTickets", json!({ "tickets": tickets }));
        assert_eq!(refusal.code(), "not_sold");
    }
    for payload in [json!({ "tickets": [] }), json!({}), json!({ "tickets": 2 })] {
        let refusal = refused(&mut hall, "returnTickets", payload);
        assert_eq!(refusal.code(), "bad_payload");
        assert!(
            refusal.message().contains("`tickets`"),
            "{}",
            refusal.message()
        );
    }
    let back = json!({ "tickets": [3, 1] });
    let foreign = hall.client(2).request("returnTickets", back.clone());
    assert_eq!(foreign.unwrap_err().code(), "not_yours");
    assert_eq!(
        hall.client(1).request("returnTickets", back),
        Ok(json!({ "left": 3 }))
    );
    let answer = hall.client(2).request("getTickets", json!({ "count": 3 }));
    assert_eq!(
        answer,
        Ok(json!({ "tickets": [1, 3, 5], "left": 0, "token": 2 }))
    );
}

#[test]
fn tickets_can_be_added_as_far_as_every_client_can_count() {
    let mut hall = hall(2);
    let more = json!({ "count": 2 });
    assert_eq!(
        hall.client(1).request("addTickets", more),
        Ok(json!({ "left": 4 }))
    );
    for count in [TICKET_MAX, TICKET_MAX - 3, u64::MAX] {
        let refusal = refused(&mut hall, "addTickets", json!({ "count": count }));
        assert_eq!(refusal.code(), "bad_payload");
    }
    let rest = json!({ "count": TICKET_MAX - 4 });
    assert_eq!(
        hall.client(1).request("addTickets", rest),
        Ok(json!({ "left": TICKET_MAX }))
    );
}

#[test]
fn a_changed_hall_revokes_nothing_and_sells_nothing_twice() {
    let mut hall = hall(3);
    hall.client(1)
        .request("getTickets", json!({ "count": 2 }))
        .unwrap();
    hall.reload(json!({ "seats": 1 })).unwrap();
    assert_eq!(
        refused(&mut hall, "getTickets", json!({})).code(),
        "sold_out"
    );
    let back = json!({ "tickets": [1, 2] });
    assert_eq!(
        hall.client(1).request("returnTickets", back),
        Ok(json!({ "left": 1 }))
    );
    hall.reload(json!({ "seats": 4 })).unwrap();
    let answer = hall.client(1).request("getTickets", json!({ "count": 4 }));
    assert_eq!(
        answer,
        Ok(json!({ "tickets": [1, 2, 3, 4], "left": 0, "token": 2 }))
    );
}

#[test]
fn a_hundred_million_seats_are_no_more_work_than_one() {
    for seats in [2, 100_000_000] {
        let mut hall = hall(seats);
        let before = hall.state_calls();
        hall.client(1).request("getTickets", ()).unwrap();
        assert_eq!(hall.state_calls() - before, 4);
    }
}

#[test]
fn a_hall_that_is_too_big_is_refused() {
    let load = |seats| TestPlugin::<RmPlugin>::load(json!({ "seats": seats }));
    assert!(load(TICKET_MAX).is_ok());
    let error = load(TICKET_MAX + 1).err().unwrap();
    assert!(error.contains("`seats`"), "{error}");
}
