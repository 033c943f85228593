//! What a state has stored, read back; and what is said when it cannot be.
//!
//! The text is for the log: it names the key and what was expected there, as far as a person can use it.

use std::fmt::{self, Display};

use serde::{Serialize, de::DeserializeOwned};

use crate::context::StateMap;

/// Says that the entry at `key` is not what this kind of state stores. The state's name is put before it by
/// whoever knows it.
pub(crate) fn unreadable(key: &[u8], expected: &str, found: impl Display) -> String {
    format!(
        "the entry stored at key {} should be {expected}, but is {found}; \
         another version wrote it: go back to that one, or give the state of this one another name",
        Bytes(key)
    )
}

/// Reads the JSON of a `T`.
pub(crate) fn from_json<T: DeserializeOwned>(key: &[u8], json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| {
        let expected = format!("the JSON of {}", std::any::type_name::<T>());
        unreadable(key, &expected, format_args!("not: {error}"))
    })
}

/// Entries of an author's type that are read when a state is set up. Enough to notice a type that was changed
/// and a schema that was not, which would fail at the first entry or never; and few, because requests wait.
const CHECKED_MAX: usize = 1_000;

/// Runs `check` on the key and value of the first entries whose key begins with `prefix`.
pub(crate) fn check_first(
    map: &mut StateMap,
    prefix: u8,
    check: impl Fn(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut from = vec![prefix];
    for _ in 0..CHECKED_MAX {
        let Some((key, value)) = map.at_or_after(&from) else {
            break;
        };
        if key.first() != Some(&prefix) {
            break;
        }
        check(key, value)?;
        from.clear();
        from.extend_from_slice(key);
        from.push(0);
    }
    Ok(())
}

/// Writes the JSON of `value` into `json`, which is emptied first.
///
/// # Panics
/// `value` has no JSON: a map whose keys are no strings, or a `Serialize` of the author's that fails.
pub(crate) fn to_json<T: Serialize>(value: &T, json: &mut Vec<u8>) {
    json.clear();
    serde_json::to_writer(json, value).unwrap_or_else(|error| no_json::<T>(&error));
}

/// The JSON of `value` with the keys of all its maps sorted, so that equal values have equal JSON.
///
/// # Panics
/// As [`to_json`].
pub(crate) fn to_sorted_json<T: Serialize>(value: &T, json: &mut Vec<u8>) {
    let mut sorted = serde_json::to_value(value).unwrap_or_else(|error| no_json::<T>(&error));
    sorted.sort_all_objects();
    to_json(&sorted, json);
}

fn no_json<T>(error: &serde_json::Error) -> ! {
    let name = std::any::type_name::<T>();
    panic!("{name} cannot be stored, because it has no JSON: {error}")
}

/// Shows bytes in hexadecimal, the first 32 of them.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 32;
        if self.0.is_empty() {
            return f.write_str("(no bytes)");
        }
        for (index, byte) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        if self.0.len() > SHOWN_MAX {
            write!(f, " … ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}
