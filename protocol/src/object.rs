//! Walks the entries of one JSON object without building it: the values stay text of the message they came in.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::limits::{DEPTH_MAX, QUOTED_CHARS_MAX};

/// Calls `each` with every key and its value's text, in order, keys that come twice included. The text must be one
/// JSON object and nothing behind it; values are skipped without recursion, however deep they are.
pub(crate) fn entries<'a>(
    json: &'a str,
    each: impl FnMut(&str, &'a str),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Entries(each))?;
    deserializer.end()
}

/// The text of the value that the JSON begins with, whatever follows it.
pub(crate) fn value(json: &str) -> Option<&str> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    <&RawValue>::deserialize(&mut deserializer)
        .ok()
        .map(RawValue::get)
}

struct Entries<F>(F);

impl<'de, F: FnMut(&str, &'de str)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&'de RawValue>()? {
            let value: &'de RawValue = map.next_value()?;
            (self.0)(&key_text(key.get()), value.get());
        }
        Ok(())
    }
}

/// A key whose escapes are no Unicode text stays as it was written: with its backslash it is no key that anyone knows.
fn key_text(key: &str) -> Cow<'_, str> {
    string(key)
        .or_else(|| within_quotes(key).map(Cow::Borrowed))
        .unwrap_or_default()
}

/// The text of a JSON string, borrowed unless it holds an escape; `None` for any other value, and for a string whose
/// escapes are no Unicode text.
pub(crate) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = within_quotes(value)?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

fn within_quotes(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Whether a value's text is a number.
pub(crate) fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// What a value is, for a sentence: "an array".
pub(crate) fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A peer's own name, cut so that it cannot fill the answer.
pub(crate) fn quoted(name: &str) -> String {
    match name.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("`{}…`", &name[..end]),
        None => format!("`{name}`"),
    }
}

/// Without the JSON whitespace around it.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether a valid JSON text is nested deeper than [`DEPTH_MAX`]. The brackets are counted first, because hardly any
/// message has enough of them to need the careful walk.
pub(crate) fn is_too_deep(json: &[u8]) -> bool {
    // Each level takes two bytes at least.
    if json.len() <= 2 * DEPTH_MAX {
        return false;
    }
    if json
        .iter()
        .filter(|&&byte| byte == b'{' || byte == b'[')
        .count()
        <= DEPTH_MAX
    {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' if depth == DEPTH_MAX => return true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    false
}
