use plugin_api::{
    RefusalKind,
    testing::{self, LeftBehind, TestPlugin},
};
use serde_json::json;

use super::*;

#[test]
fn the_self_tests_pass() {
    testing::self_tests::<RmPlugin>();
}

type Rooms = TestPlugin<RmPlugin>;

fn any_room() -> Rooms {
    TestPlugin::new(())
}

/// Books the room for these hours of one day, which are given as `HH:MM`.
fn book(rooms: &mut Rooms, room: &str, from: &str, to: &str) -> Answer<u64> {
    let at = |time| format!("2026-05-04T{time}:00Z");
    let payload = json!({ "room": room, "from": at(from), "to": at(to) });
    let answer = rooms.client(1).request("bookRoom", payload)?;
    Ok(answer["booking"].as_u64().unwrap())
}

fn listed(rooms: &mut Rooms, payload: serde_json::Value) -> Vec<u64> {
    let answer = rooms.client(1).request("listRooms", payload).unwrap();
    let bookings = answer["bookings"].as_array().unwrap();
    bookings
        .iter()
        .map(|b| b["booking"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_room_is_taken_from_its_beginning_to_just_before_its_end() {
    let mut rooms = any_room();
    assert_eq!(book(&mut rooms, "blue", "10:00", "12:00"), Ok(1));
    for (from, to) in [
        ("10:00", "12:00"),
        ("09:00", "10:01"),
        ("11:59", "13:00"),
        ("10:30", "11:00"),
        ("09:00", "13:00"),
    ] {
        let refusal = book(&mut rooms, "blue", from, to).unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.kind()),
            ("taken", RefusalKind::Final)
        );
        assert_eq!(
            refusal.message(),
            "room `blue` is taken from 2026-05-04T10:00:00Z to 2026-05-04T12:00:00Z by booking 1"
        );
    }
    assert_eq!(book(&mut rooms, "blue", "12:00", "13:00"), Ok(2));
    assert_eq!(book(&mut rooms, "blue", "09:00", "10:00"), Ok(3));
    assert_eq!(book(&mut rooms, "red", "10:00", "12:00"), Ok(4));
    assert_eq!(book(&mut rooms, "blu", "10:00", "12:00"), Ok(5));
}

#[test]
fn instants_are_compared_wherever_they_were_written() {
    let mut rooms = any_room();
    let berlin = json!({
        "room": "blue",
        "from": "2026-05-04T09:00:00+02:00",
        "to": "2026-05-04T10:00:00.000000001+02:00",
    });
    rooms.client(1).request("bookRoom", berlin).unwrap();
    let tokyo = |from| json!({ "room": "blue", "from": from, "to": "2026-05-04T18:00:00+09:00" });
    let clash = tokyo("2026-05-04T17:00:00+09:00");
    let refusal = rooms.client(1).request("bookRoom", clash).unwrap_err();
    assert_eq!(refusal.code(), "taken");
    let beside = tokyo("2026-05-04T17:00:00.000000001+09:00");
    rooms.client(1).request("bookRoom", beside).unwrap();
    assert_eq!(
        rooms.client(1).request("listRooms", ()),
        Ok(json!({ "bookings": [
            {
                "booking": 1,
                "room": "blue",
                "from": "2026-05-04T07:00:00Z",
                "to": "2026-05-04T08:00:00.000000001Z",
            },
            {
                "booking": 2,
                "room": "blue",
                "from": "2026-05-04T08:00:00.000000001Z",
                "to": "2026-05-04T09:00:00Z",
            },
        ] }))
    );
}

#[test]
fn a_cancelled_room_is_free_again_and_its_number_is_not_used_twice() {
    let mut rooms = any_room();
    assert_eq!(book(&mut rooms, "blue", "10:00", "12:00"), Ok(1));
    let cancel = json!({ "booking": 1 });
    assert_eq!(
        rooms.client(2).request("cancelRoom", &cancel),
        Ok(json!({}))
    );
    let refusal = rooms.client(2).request("cancelRoom", &cancel).unwrap_err();
    assert_eq!(refusal.code(), "no_booking");
    rooms.reload(()).unwrap();
    assert_eq!(book(&mut rooms, "blue", "11:00", "13:00"), Ok(2));
    assert_eq!(listed(&mut rooms, json!({})), [2]);
}

/// One name, composed, decomposed, and with blanks around it.
const CAFES: [&str; 4] = ["café", "cafe\u{301}", "café ", "\u{a0}\tcafe\u{301}\n"];

#[test]
fn a_room_is_one_however_its_name_is_typed() {
    for first in CAFES {
        let mut rooms = any_room();
        assert_eq!(book(&mut rooms, first, "10:00", "12:00"), Ok(1));
        for again in CAFES {
            let refusal = book(&mut rooms, again, "11:00", "13:00").unwrap_err();
            assert_eq!(refusal.code(), "taken", "{first:?}, {again:?}");
            assert_eq!(listed(&mut rooms, json!({ "room": again })), [1]);
        }
        let all = rooms.client(1).request("listRooms", ()).unwrap();
        assert_eq!(all["bookings"][0]["room"], "café");
        assert_eq!(book(&mut rooms, "cafe", "10:00", "12:00"), Ok(2));
    }
    let mut rooms = Rooms::new(json!({ "rooms": ["cafe\u{301} ", "café"] }));
    for (cafe, booking) in CAFES.into_iter().zip(1..) {
        let (from, to) = (format!("1{booking}:00"), format!("1{booking}:30"));
        assert_eq!(book(&mut rooms, cafe, &from, &to), Ok(booking));
    }
    let refusal = book(&mut rooms, "pub", "10:00", "11:00").unwrap_err();
    assert_eq!(refusal.message(), "there is no room `pub`, but café");
}

/// Bookings of schema 1, by room, hours and minutes.
fn left_behind(booked: &[(&str, &str, &str)]) -> LeftBehind {
    let bookings = Map::<(String, i128), serde_json::Value>::named("bookings");
    let places = Map::<u64, serde_json::Value>::named("places");
    let at = |time: &str| format!("2026-05-04T{time}:00Z");
    LeftBehind::new().with(
        (bookings, places, Value::<u64>::named("last")),
        |(bookings, places, last)| {
            for (&(room, from, to), booking) in booked.iter().zip(1..) {
                let (from, to) = (at(from), at(to));
                let begin: jiff::Timestamp = from.parse().unwrap();
                bookings.insert(
                    &(room.to_owned(), begin.as_nanosecond()),
                    &json!({ "booking": booking, "room": room, "from": from, "to": to }),
                );
                places.insert(&booking, &json!([room, from]));
                last.set(&booking);
            }
        },
    )
}

#[test]
fn rooms_that_were_kept_apart_become_one_and_keep_all_their_bookings() {
    // Long enough that composing it makes it longer than a name may be, which must not stop what is stored.
    let long = "\u{958}".repeat(66);
    let left = left_behind(&[
        (CAFES[0], "10:00", "12:00"),
        (CAFES[1], "10:00", "11:00"),
        (CAFES[2], "11:30", "14:00"),
        ("blue", "10:00", "11:00"),
        (CAFES[3], "09:00", "09:30"),
        ("  ", "10:00", "11:00"),
        (&long, "10:00", "11:00"),
    ]);
    let mut rooms = Rooms::load_on(left, ()).unwrap();
    let cafe = json!({ "room": "café" });
    assert_eq!(listed(&mut rooms, cafe.clone()), [5, 1, 2, 3]);
    assert_eq!(listed(&mut rooms, json!({})), [6, 4, 5, 1, 2, 3, 7]);

    // Each of the bookings holds the room, those that begin together and those that end last.
    let by = |rooms: &mut Rooms, from, to| {
        let refusal = book(rooms, "café", from, to).unwrap_err();
        refusal.message().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(by(&mut rooms, "13:00", "15:00"), "3");
    assert_eq!(by(&mut rooms, "09:15", "09:45"), "5");
    assert_eq!(by(&mut rooms, "11:15", "11:20"), "1");
    assert_eq!(book(&mut rooms, "café", "09:30", "10:00"), Ok(8));
    assert_eq!(book(&mut rooms, "café", "14:00", "15:00"), Ok(9));
    assert_eq!(by(&mut rooms, "14:30", "15:30"), "9");

    for booking in [1, 3, 6, 7] {
        let cancel = json!({ "booking": booking });
        let cancelled = rooms.client(1).request("cancelRoom", cancel);
        assert_eq!(cancelled, Ok(json!({})), "{booking}");
    }
    assert_eq!(by(&mut rooms, "10:30", "10:40"), "2");
    assert_eq!(book(&mut rooms, "café", "11:00", "14:00"), Ok(10));
    rooms.reload(()).unwrap();
    assert_eq!(listed(&mut rooms, cafe), [5, 8, 2, 10, 9]);
    assert_eq!(listed(&mut rooms, json!({})), [4, 5, 8, 2, 10, 9]);
}

#[test]
fn bookings_are_listed_by_room_and_time() {
    let mut rooms = any_room();
    book(&mut rooms, "red", "10:00", "11:00").unwrap();
    book(&mut rooms, "blue", "12:00", "13:00").unwrap();
    book(&mut rooms, "blue", "10:00", "11:00").unwrap();
    assert_eq!(listed(&mut rooms, json!(null)), [3, 2, 1]);
    assert_eq!(listed(&mut rooms, json!({ "room": "blue" })), [3, 2]);
    assert_eq!(
        listed(&mut rooms, json!({ "room": "green" })),
        [] as [u64; 0]
    );
}

#[test]
fn only_configured_rooms_are_booked_if_there_are_any() {
    let mut rooms = any_room();
    book(&mut rooms, "attic", "10:00", "11:00").unwrap();
    rooms.reload(json!({ "rooms": ["red", "blue"] })).unwrap();
    assert_eq!(book(&mut rooms, "blue", "10:00", "11:00"), Ok(2));
    let refusal = book(&mut rooms, "green", "10:00", "11:00").unwrap_err();
    assert_eq!(refusal.code(), "unknown_room");
    assert_eq!(refusal.message(), "there is no room `green`, but blue, red");
    let green = json!({ "room": "green" });
    let refusal = rooms.client(1).request("listRooms", green).unwrap_err();
    assert_eq!(refusal.code(), "unknown_room");
    // What was booked in a room that is no longer configured is not revoked.
    assert_eq!(listed(&mut rooms, json!({ "room": "attic" })), [1]);
    rooms
        .client(1)
        .request("cancelRoom", json!({ "booking": 1 }))
        .unwrap();
}

#[test]
fn a_wrong_payload_is_named() {
    let mut rooms = any_room();
    let day = |from, to| json!({ "room": "blue", "from": from, "to": to });
    let noon = "2026-05-04T12:00:00Z";
    let cases = [
        (day(noon, noon), "`from` and `to`"),
        (day("2026-05-04T14:00:00+01:00", noon), "`from` and `to`"),
        (day("tomorrow", noon), "`from`"),
        (day("2026-05-04T12:00:00", noon), "`from`"),
        (day(noon, "2026-02-30T12:00:00Z"), "`to`"),
        (json!({ "room": "", "from": noon, "to": noon }), "`room`"),
        (json!({ "room": " \t", "from": noon, "to": noon }), "`room`"),
        (
            json!({ "room": "b".repeat(201), "from": noon, "to": noon }),
            "`room`",
        ),
        (json!({}), "`room`"),
        (
            json!({ "room": "blue", "from": noon, "until": noon }),
            "unknown field `until`, expected one of `room`, `from`, `to`",
        ),
    ];
    for (payload, fields) in cases {
        let refusal = rooms.client(1).request("bookRoom", payload).unwrap_err();
        assert_eq!(refusal.code(), "bad_payload");
        assert!(refusal.message().contains(fields), "{}", refusal.message());
    }
}

#[test]
fn an_instant_is_written_as_rfc_3339_and_in_no_other_way() {
    let mut rooms = any_room();
    let mut ask = |from: &str| {
        let payload = json!({ "room": "blue", "from": from, "to": "9000-01-01T00:00:00Z" });
        rooms.client(1).request("bookRoom", payload)
    };
    for from in [
        "2026-05-04T12:00Z",
        "2026-05-04T12Z",
        "20260504T120000Z",
        "2026-05-04T120000Z",
        "2026-05-04T12:00:00+02",
        "2026-05-04T12:00:00+0200",
        "2026-05-04T12:00:00+02:00:00",
        "2026-05-04T12:00:00+24:00",
        "2026-05-04T12:00:00+02:60",
        "2026-05-04T12:00:60Z",
        "2026-05-04T24:00:00Z",
        "2026-05-04T12:60:00Z",
        "2026-05-04T12:00:00.Z",
        "2026-05-04T12:00:00,5Z",
        "2026-05-04T12:00:00Z[Europe/Berlin]",
        "2026-05-04T12:00:00+02:00[Europe/Berlin]",
        "+002026-05-04T12:00:00Z",
        "2026-05-04_12:00:00Z",
        " 2026-05-04T12:00:00Z",
        "2026-05-04T12:00:00",
        "2026-13-04T12:00:00Z",
        "２026-05-04T12:00:00Z",
        "0000-01-01T00:00:00+00:01",
        "",
    ] {
        let refusal = ask(from).unwrap_err();
        assert_eq!(refusal.code(), "bad_payload", "{from}");
        let expected = match from.starts_with("0000") {
            true => "before the year 0 of UTC",
            false => "expected RFC 3339, as in 2026-05-04T09:30:00+02:00",
        };
        assert!(
            refusal.message().contains(expected),
            "{}",
            refusal.message()
        );
    }
    // They are one instant, so that all but the first are taken.
    let codes = [
        "2026-05-04T12:00:00Z",
        "2026-05-04t12:00:00z",
        "2026-05-04 12:00:00.000000000-00:00",
        "2026-05-05T11:59:00+23:59",
    ]
    .map(|from| ask(from).err().map(|refusal| refusal.code().to_owned()));
    let taken = || Some("taken".to_owned());
    assert_eq!(codes, [None, taken(), taken(), taken()]);
}

#[test]
fn a_list_that_is_too_long_is_refused() {
    let mut rooms = any_room();
    for second in 0..=BOOKINGS_PER_ANSWER_MAX as i64 {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let room = if second == 0 { "red" } else { "blue" };
        let payload = json!({ "room": room, "from": at(second), "to": at(second + 1) });
        rooms.client(1).request("bookRoom", payload).unwrap();
    }
    let refusal = rooms.client(1).request("listRooms", ()).unwrap_err();
    assert_eq!(refusal.code(), "too_many");
    let blue = json!({ "room": "blue" });
    assert_eq!(listed(&mut rooms, blue).len(), BOOKINGS_PER_ANSWER_MAX);
}
