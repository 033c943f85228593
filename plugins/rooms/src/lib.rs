//! `rooms`: meeting rooms, each booked by one at a time, from an instant to just before another.
//!
//! | request | answer | refused with |
//! |---|---|---|
//! | `bookRoom` `{"room": r, "from": i, "to": i}` | `{"booking": n}` | `taken`, `unknown_room` |
//! | `cancelRoom` `{"booking": n}` | `{}` | `no_booking` |
//! | `listRooms` `{"room": r}`, all rooms if absent | `{"bookings": [{"booking", "room", "from", "to"}, …]}` | `unknown_room`, `too_many` |
//!
//! A room is the same however its name is typed: accents composed or not, blanks around it or none.
//! An instant is RFC 3339 text, `2026-05-04T09:30:00+02:00`; answers have it in UTC.

mod diary;
mod instant;
mod room;

use diary::{Booking, Diary};
use instant::Instant;
use plugin_api::prelude::*;
use room::{KnownRooms, Room};

/// What `listRooms` answers at most, so that its answer stays within what a client reads.
const BOOKINGS_PER_ANSWER_MAX: usize = 5_000;

#[derive(Deserialize)]
struct Config {
    /// The rooms there are. None listed: any room there may be.
    #[serde(default)]
    rooms: Vec<Room>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    room: Room,
    from: Instant,
    to: Instant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Booked {
    booking: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    room: Option<Room>,
}

#[derive(Serialize)]
struct Listed {
    bookings: Vec<Booking>,
}

fn book(ask: Book, (diary, known): &mut (Diary, Setting<KnownRooms>)) -> Answer<Booked> {
    let Book { room, from, to } = ask;
    if from >= to {
        return Err(Refusal::bad_payload(format!(
            "payload, fields `from` and `to`: from {from} to {to}, expected an end after the beginning"
        )));
    }
    known.check(&room)?;
    if let Some(other) = diary::clash(&mut diary.0, &room, (from, to)) {
        return Err(Refusal::new(
            "taken",
            format!(
                "room `{room}` is taken from {} to {} by booking {}",
                other.from, other.to, other.booking
            ),
        ));
    }
    let booking = diary::enter(diary, room, (from, to));
    Ok(Booked { booking })
}

fn cancel(ask: Booked, (diary, _): &mut (Diary, Setting<KnownRooms>)) -> Answer {
    match diary::strike(diary, ask.booking) {
        true => Ok(()),
        false => Err(Refusal::new(
            "no_booking",
            format!("there is no booking {}", ask.booking),
        )),
    }
}

fn list(ask: List, (diary, known): &mut (Diary, Setting<KnownRooms>)) -> Answer<Listed> {
    let most = BOOKINGS_PER_ANSWER_MAX + 1;
    let bookings = diary::listed(&mut diary.0, ask.room.as_ref(), most);
    if bookings.len() > BOOKINGS_PER_ANSWER_MAX {
        return Err(Refusal::new(
            "too_many",
            format!("more than {BOOKINGS_PER_ANSWER_MAX} bookings: ask for one room"),
        ));
    }
    if let Some(room) = ask.room.filter(|_| bookings.is_empty()) {
        // A misspelt room must not look like a free one.
        known.check(&room)?;
    }
    Ok(Listed { bookings })
}

plugin! {
    config Config;
    state |c| (
        diary::declared(),
        Setting::new(KnownRooms::new(c.rooms.clone())),
    ) => inline {
        "bookRoom" => book,
        "cancelRoom" => cancel,
        "listRooms" => list,
    }
    test "a room is booked by one at a time" {
        "bookRoom" { "room": "blue", "from": "2026-05-04T09:00:00Z", "to": "2026-05-04T10:00:00Z" } => { "booking": 1 },
        "bookRoom" { "room": "blue", "from": "2026-05-04T09:30:00Z", "to": "2026-05-04T11:00:00Z" } => error "taken",
        "bookRoom" { "room": "blue", "from": "2026-05-04T10:00:00Z", "to": "2026-05-04T11:00:00Z" } => { "booking": 2 },
        "cancelRoom" { "booking": 1 } => {},
        "cancelRoom" { "booking": 1 } => error "no_booking",
        "listRooms" { "room": "blue" } => { "bookings": [{ "booking": 2, "room": "blue" }] },
    }
    test "only rooms that are listed can be booked" with { "rooms": ["blue"] } {
        "bookRoom" { "room": "red", "from": "2026-05-04T09:00:00Z", "to": "2026-05-04T10:00:00Z" } => error "unknown_room",
    }
}

#[cfg(test)]
mod tests;
