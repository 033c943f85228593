//! What a state has stored, read back; and what is said when it cannot be.
//!
//! The text is for the log: it names the key and what was expected there, as far as a person can use it.

use std::fmt::{self, Display};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::{StateMap, unwinding},
    finite::is_finite,
    payload::without_place,
    read_back,
};

/// Says that the entry at `key` is not what this kind of state stores. The state's name is put before it by
/// whoever knows it.
pub(crate) fn unreadable(key: &[u8], expected: &str, found: impl Display) -> String {
    format!(
        "the entry stored at key {} should be {expected}, but is {found}; \
         another version wrote it: go back to that one, or give the state of this one another name",
        Bytes(key)
    )
}

/// Reads the JSON of a `T` that a pool keeps of a resource.
pub(crate) fn from_json<T: DeserializeOwned>(key: &[u8], json: &[u8]) -> Result<T, String> {
    read(json, || resource(key)).map_err(|text| format!("{text}; {}", remedy(None)))
}

/// Reads the JSON of a `T`, the state's `entry`. What to do about it is added by who knows the state's schema.
pub(crate) fn read<T: DeserializeOwned>(
    json: &[u8],
    entry: impl FnOnce() -> String,
) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| {
        let type_name = std::any::type_name::<T>();
        let cause = error.to_string();
        let cause = without_place(&cause);
        format!("{} cannot be read as {type_name}: {cause}", entry())
    })
}

/// What to do where a type cannot read what is stored: with `stored` schema, where `declared` is what this version says.
pub(crate) fn remedy(schemas: Option<(u32, u32)>) -> String {
    let steps = match schemas {
        Some((stored, declared)) => {
            let next = stored.saturating_add(1).max(declared);
            format!("`.schema({next}).migrate({stored}, …)`")
        }
        None => "`.schema(n + 1).migrate(n, …)`".to_owned(),
    };
    format!(
        "the type has changed since another version stored it: declare the state with {steps}, which says how what is \
         stored becomes what this version reads, or give a new field `#[serde(default)]`, or go back to that version"
    )
}

/// Names the resource of a pool by the key of its data: a prefix and the id.
pub(crate) fn resource(key: &[u8]) -> String {
    let id = key.get(1..).and_then(|id| id.try_into().ok());
    match id.map(u64::from_be_bytes) {
        Some(id) => format!("resource {id}"),
        None => format!("the entry stored at key {}", Bytes(key)),
    }
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

/// Writes the JSON of `value`, which is to be stored in the state `name`, into `json`, emptied first. False: it has
/// none, and the job is on its way out.
///
/// # Panics
/// `value` has no JSON that could be read back: a map whose keys are no strings, a float that is no number, a
/// `Serialize` of the author's that fails.
#[must_use]
pub(crate) fn to_json<T>(name: &str, value: &T, json: &mut Vec<u8>) -> bool
where
    T: Serialize + DeserializeOwned,
{
    json.clear();
    let written = serde_json::to_writer(&mut *json, value);
    is_storable(name, value, json, written)
}

/// The same with the keys of all maps sorted, so that equal values have equal JSON.
///
/// # Panics
/// As [`to_json`]; and of whole numbers beyond 64 bits.
#[must_use]
pub(crate) fn to_sorted_json<T>(name: &str, value: &T, json: &mut Vec<u8>) -> bool
where
    T: Serialize + DeserializeOwned,
{
    json.clear();
    let written = serde_json::to_value(value).and_then(|mut sorted| {
        sorted.sort_all_objects();
        serde_json::to_writer(&mut *json, &sorted)
    });
    is_storable(name, value, json, written)
}

fn is_storable<T>(name: &str, value: &T, json: &[u8], written: serde_json::Result<()>) -> bool
where
    T: Serialize + DeserializeOwned,
{
    let reason = match written {
        Err(error) => error.to_string(),
        Ok(()) if memmem(json, b"null") && !is_finite(value) => {
            "a float in it is infinite or not a number".to_owned()
        }
        Ok(()) => {
            read_back::check::<T>(name, json);
            return true;
        }
    };
    let type_name = std::any::type_name::<T>();
    assert!(
        unwinding(),
        "state `{name}`: a value of type {type_name} cannot be stored, because it has no JSON: {reason}"
    );
    false
}

fn memmem(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
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
