//! `rooms`: meeting rooms, each booked by one at a time, from an instant to just before another.
//!
//! | request | answer | refused with |
//! |---|---|---|
//! | `bookRoom` `{"room": r, "from": i, "to": i}` | `{"booking": n}` | `taken`, `unknown_room` |
//! | `cancelRoom` `{"booking": n}` | `{}` | `no_booking` |
//! | `listRooms` `{"room": r}`, all rooms if absent | `{"bookings": [{"booking", "room", "from", "to"}, …]}` | `unknown_room`, `too_many` |
//!
//! An instant is RFC 3339 text, `2026-05-04T09:30:00+02:00`; answers have it in UTC.

mod instant;
mod room;

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

/// A room and the instant, in nanoseconds of UTC, at which a booking begins there.
///
/// Bookings of one room do not overlap, so of those that begin before an instant the last one is also the
/// last to end.
type Place = (String, i128);

#[derive(Clone, Serialize, Deserialize)]
struct Booking {
    booking: u64,
    room: Room,
    from: Instant,
    to: Instant,
}

/// All that is booked.
type Diary = (
    Map<Place, Booking>,
    // Where a booking is found by its number.
    Map<u64, (Room, Instant)>,
    // The number of the last one, so that none is used twice.
    Value<u64>,
);

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
    let (bookings, places, last) = diary;
    let earliest = (room.name(), i128::MIN);
    let before_its_end = bookings.range(earliest..place(&room, to)).next_back();
    if let Some((_, other)) = before_its_end.filter(|(_, other)| other.to > from) {
        return Err(Refusal::new(
            "taken",
            format!(
                "room `{room}` is taken from {} to {} by booking {}",
                other.from, other.to, other.booking
            ),
        ));
    }
    let booking = last.update(|last| {
        *last += 1;
        *last
    });
    places.insert(&booking, &(room.clone(), from));
    let key = place(&room, from);
    bookings.insert(
        &key,
        &Booking {
            booking,
            room,
            from,
            to,
        },
    );
    Ok(Booked { booking })
}

fn cancel(ask: Booked, (diary, _): &mut (Diary, Setting<KnownRooms>)) -> Answer {
    let (bookings, places, _) = diary;
    let Some((room, from)) = places.take(&ask.booking) else {
        return Err(Refusal::new(
            "no_booking",
            format!("there is no booking {}", ask.booking),
        ));
    };
    bookings.remove(&place(&room, from));
    Ok(())
}

fn list(ask: List, (diary, known): &mut (Diary, Setting<KnownRooms>)) -> Answer<Listed> {
    let (all, ..) = diary;
    let bookings = match &ask.room {
        Some(room) => all.range((room.name(), i128::MIN)..=(room.name(), i128::MAX)),
        None => all.range(..),
    };
    let bookings: Vec<Booking> = bookings
        .map(|(_, booking)| booking)
        .take(BOOKINGS_PER_ANSWER_MAX + 1)
        .collect();
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

fn place(room: &Room, from: Instant) -> Place {
    (room.name(), from.nanoseconds())
}

plugin! {
    config Config;
    state |c| (
        (Map::named("bookings"), Map::named("places"), Value::named("last")),
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
