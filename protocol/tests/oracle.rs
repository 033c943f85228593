//! What is read as a request is what serde_json reads as one, whatever the way it is written.

use proptest::{prelude::*, sample::select};
use protocol::Request;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Refuses, as a request does, keys that are unknown, missing or twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Oracle<'a> {
    #[serde(rename = "type")]
    type_name: String,
    #[serde(borrow)]
    query_index: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    meta: Option<&'a RawValue>,
}

/// `null` is there too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn agrees(message: &str, greeted: bool) {
    let read = Request::parse(message.as_bytes(), greeted).ok();
    let expected = serde_json::from_str::<Oracle<'_>>(message)
        .ok()
        .filter(|oracle| greeted || oracle.meta.is_none())
        .filter(|oracle| is_number(oracle.query_index.get()));
    let expected = expected.map(|oracle| Request {
        type_name: oracle.type_name.into(),
        query_index: oracle.query_index.get(),
        payload: oracle.payload.map(RawValue::get),
        meta: oracle.meta.map(RawValue::get),
    });
    assert_eq!(read, expected, "{message:?}");
}

/// What is JSON already is a number by its first character, also one that is too large for any float.
fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[test]
fn a_number_too_large_for_any_float_is_a_number_as_well() {
    for number in ["1e999", "10e999", "-1e999", "1.0e0999"] {
        agrees(&format!(r#"{{"queryIndex":{number},"type":"a"}}"#), false);
    }
}

const SPACES: [&str; 5] = ["", "", " ", "\n\t\r ", "\u{a0}"];
const KEYS: [&str; 12] = [
    r#""type""#,
    r#""type""#,
    r#""queryIndex""#,
    r#""queryIndex""#,
    r#""payload""#,
    r#""payload""#,
    r#""meta""#,
    r#""ty\u0070e""#,
    r#""\ud800""#,
    r#""typ""#,
    "\"type\u{1}\"",
    "type",
];
const VALUES: [&str; 24] = [
    "0",
    "12",
    "12345678901234567890123",
    "-1",
    "1.50",
    "1e999",
    "007",
    "1.",
    "-",
    "+1",
    "null",
    "true",
    "tru",
    r#""a""#,
    r#""ё🦀""#,
    r#""a\"\\\/\u0041""#,
    r#""\ud800""#,
    r#""\x""#,
    "\"\n\"",
    r#"{"a":[1,{"b":"}"}]}"#,
    r#"{"a" : 1 , }"#,
    "[]",
    r#"[1 , "]"]"#,
    "[1",
];

fn space() -> impl Strategy<Value = &'static str> {
    // The last is no JSON whitespace.
    prop_oneof![30 => select(&SPACES[..4]), 1 => Just(SPACES[4])]
}

/// One that mostly fits, so that whole messages often do.
fn entry(key: &'static str) -> impl Strategy<Value = String> {
    let fitting: &'static [&'static str] = match key {
        r#""type""# => &VALUES[13..16],
        r#""queryIndex""# => &VALUES[..6],
        _ => &VALUES,
    };
    let value = prop_oneof![8 => select(fitting), 1 => select(&VALUES[..])];
    (space(), space(), value, space()).prop_map(move |(before, between, value, after)| {
        format!("{before}{key}{between}:{between}{value}{after}")
    })
}

fn message() -> impl Strategy<Value = String> {
    let more = prop::collection::vec(select(&KEYS[..]).prop_flat_map(entry), 0..3);
    let entries = (entry(r#""type""#), entry(r#""queryIndex""#), more).prop_flat_map(
        |(first, second, more)| Just([vec![first, second], more].concat()).prop_shuffle(),
    );
    (space(), entries, space())
        .prop_map(|(before, entries, after)| format!("{before}{{{}}}{after}", entries.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn messages_of_all_forms_are_read_as_serde_json_reads_them(message in message(), greeted: bool) {
        agrees(&message, greeted);
    }

    #[test]
    fn so_are_messages_with_a_piece_put_in_or_cut_off(
        message in message(),
        piece in select(&["", "{", "}", "[", "]", ",", ":", "\"", "\\", "0", "x", " ", "\u{1}"][..]),
        at in any::<prop::sample::Index>(),
        cut: bool,
        greeted: bool,
    ) {
        let (before, after) = message.split_at(message.floor_char_boundary(at.index(message.len())));
        agrees(&format!("{before}{piece}{}", if cut { "" } else { after }), greeted);
    }
}
