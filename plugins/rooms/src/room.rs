//! A room's name, and which rooms there are.

use std::{collections::BTreeSet, fmt};

use plugin_api::prelude::*;
use unicode_normalization::UnicodeNormalization;

/// Bytes of a name. It is a part of the key under which each of the room's bookings is stored.
const NAME_BYTES_MAX: usize = 200;
/// Bytes of a name as it is typed: composing it makes it shorter, as a rule. Longer ones are not looked at.
const TYPED_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;
/// Rooms that a refusal names.
const NAMED_MAX: usize = 20;

/// The name of a room: any text that is neither blank nor too long, in the one way in which it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Room(String);

impl Room {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_name(self) -> String {
        self.0
    }
}

/// The one way in which a name is written, however it was typed: each letter composed with its accents, as
/// [NFC](https://www.unicode.org/reports/tr15/) has it, and no blanks around it. A name of blanks alone stays as it is.
pub(crate) fn written(name: &str) -> String {
    let composed: String = name.nfc().collect();
    match composed.trim() {
        "" => name.to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

impl TryFrom<String> for Room {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.len() > TYPED_BYTES_MAX {
            return Err(format!(
                "a name of {} bytes, expected at most {NAME_BYTES_MAX}",
                name.len()
            ));
        }
        let written = written(&name);
        match written.len() {
            _ if written.trim().is_empty() => {
                Err("an empty text, expected the name of a room".to_owned())
            }
            0..=NAME_BYTES_MAX => Ok(Self(written)),
            len => Err(format!(
                "a name of {len} bytes, expected at most {NAME_BYTES_MAX}"
            )),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rooms of the configuration. None: any room will do.
pub(crate) struct KnownRooms(BTreeSet<Room>);

impl KnownRooms {
    pub(crate) fn new(rooms: Vec<Room>) -> Self {
        Self(rooms.into_iter().collect())
    }

    /// Refuses a room that is not among them.
    pub(crate) fn check(&self, room: &Room) -> Answer {
        if self.0.is_empty() || self.0.contains(room) {
            return Ok(());
        }
        let mut named: Vec<&str> = self.0.iter().map(|room| &*room.0).collect();
        let more = named.len().saturating_sub(NAMED_MAX);
        named.truncate(NAMED_MAX);
        let mut rooms = named.join(", ");
        if more > 0 {
            rooms = format!("{rooms} and {more} more");
        }
        Err(Refusal::new(
            "unknown_room",
            format!("there is no room `{room}`, but {rooms}"),
        ))
    }
}
