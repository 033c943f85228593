//! All that is booked, and how it is kept.

use std::{collections::BTreeSet, ops::Bound, sync::Mutex};

use plugin_api::{MapState, ValueState, prelude::*};

use crate::{
    instant::Instant,
    room::{self, Room},
};

/// The bookings; where each is found by its number; and the number of the last one, so that none is used twice.
pub(crate) type Diary = (Map<Place, Booking>, Map<u64, Found>, Value<u64>);

/// A room, the way in which its name was written when it was booked, and the instant, in nanoseconds of UTC, at which
/// the booking begins.
///
/// New bookings have the name twice. The other ways of writing it are of a time when each was a room of its own, so that
/// their bookings may overlap. Bookings that were written in one way do not: of those that begin before an instant the
/// last one is also the last to end.
pub(crate) type Place = (String, String, i128);

/// The parts of the [`Place`] at which a booking is found.
type Found = (String, String, Instant);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Booking {
    pub(crate) booking: u64,
    /// As it is written today.
    pub(crate) room: String,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// Declares the states of a [`Diary`]. In schema 1 names were kept as they came.
pub(crate) fn declared() -> (
    MapState<Place, Booking>,
    MapState<u64, Found>,
    ValueState<u64>,
) {
    // Names that were told of: one line for each, however many bookings it has.
    let told = Mutex::new(BTreeSet::new());
    let bookings = Map::named("bookings").schema(2).migrate_entries(
        1,
        move |(name, from): (String, i128), booking: Booking| {
            let room = room::written(&name);
            if room != name && told.lock().is_ok_and(|mut told| told.insert(name.clone())) {
                tell_of(&name, &room);
            }
            let booking = Booking {
                room: room.clone(),
                ..booking
            };
            Ok(Some(((room, name, from), booking)))
        },
    );
    let places = Map::named("places")
        .schema(2)
        .migrate(1, |(name, from): (String, Instant)| {
            Ok((room::written(&name), name, from))
        });
    (bookings, places, Value::named("last"))
}

fn tell_of(name: &str, room: &str) {
    warn!(
        "the room {name:?} is the room {room:?} from now on: two ways of writing one name were two rooms until now. All \
         bookings stay, so that some of this room may overlap: `listRooms` shows them, `cancelRoom` takes one out"
    );
}

/// The booking that holds the room at some time of the span.
pub(crate) fn clash(
    bookings: &mut Map<Place, Booking>,
    room: &Room,
    (from, to): (Instant, Instant),
) -> Option<Booking> {
    let mut behind = Bound::Included((room.name().to_owned(), String::new(), i128::MIN));
    // One turn for each way in which the name was ever written: one, but for rooms of schema 1.
    while let Some(((name, written, _), _)) = bookings.range((behind, Bound::Unbounded)).next()
        && name == room.name()
    {
        let earliest = (name.clone(), written.clone(), i128::MIN);
        let end = (name.clone(), written.clone(), to.nanoseconds());
        let before_its_end = bookings.range(earliest..end).next_back();
        if let Some((_, booking)) = before_its_end.filter(|(_, booking)| booking.to > from) {
            return Some(booking);
        }
        behind = Bound::Excluded((name, written, i128::MAX));
    }
    None
}

/// Writes a booking down.
pub(crate) fn enter(
    (bookings, places, last): &mut Diary,
    room: Room,
    span: (Instant, Instant),
) -> u64 {
    let booking = last.update(|last| {
        *last += 1;
        *last
    });
    let (room, (from, to)) = (room.into_name(), span);
    places.insert(&booking, &(room.clone(), room.clone(), from));
    let place = (room.clone(), room.clone(), from.nanoseconds());
    let entry = Booking {
        booking,
        room,
        from,
        to,
    };
    bookings.insert(&place, &entry);
    booking
}

/// Takes a booking out; false if there is none of this number.
pub(crate) fn strike((bookings, places, _): &mut Diary, booking: u64) -> bool {
    let Some((room, written, from)) = places.take(&booking) else {
        return false;
    };
    bookings.remove(&(room, written, from.nanoseconds()))
}

/// The bookings of one room, or of all, in the order of rooms and of time; `most` at most.
pub(crate) fn listed(
    bookings: &mut Map<Place, Booking>,
    room: Option<&Room>,
    most: usize,
) -> Vec<Booking> {
    let first = |room: &Room| (room.name().to_owned(), String::new(), i128::MIN);
    let from = room.map_or(Bound::Unbounded, |room| Bound::Included(first(room)));
    let mut listed: Vec<Booking> = bookings
        .range((from, Bound::Unbounded))
        .map(|(_, booking)| booking)
        .take_while(|booking| room.is_none_or(|room| booking.room == room.name()))
        .take(most)
        .collect();
    // Rooms that became one are in order only each by itself.
    listed.sort_by(|a, b| (&a.room, a.from, a.booking).cmp(&(&b.room, b.from, b.booking)));
    listed
}
