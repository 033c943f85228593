//! Self-tests, as an author writes and runs them: of a plugin that needs a configuration and has every kind of
//! block.

use plugin_api::{
    prelude::*,
    self_test::Expected,
    testing::{self, TestPlugin},
};
use serde_json::json;

#[derive(Deserialize)]
struct Config {
    seats: u64,
}

#[derive(Deserialize)]
struct Get {
    count: u64,
}

#[derive(Serialize)]
struct Got {
    seats: Vec<u64>,
    left: u64,
}

fn get(ask: Get, hall: &mut Numbers) -> Answer<Got> {
    let grant = hall.take(ask.count).or_code("sold_out")?;
    Ok(Got {
        seats: grant.ids(),
        left: grant.left,
    })
}

fn count(n: &mut u64) -> Answer<serde_json::Value> {
    *n += 1;
    Ok(json!({ "n": *n }))
}

fn nothing() -> Answer {
    Ok(())
}

plugin! {
    config Config;
    state |c| Numbers::range("hall", 1..=c.seats) => inline { "get" => get }
    memory |_| 0 => inline(|c: &Config| c.seats > 1) { "count" => count }
    stateless { "nothing" => nothing };
    test "the lowest are sold first" with { "seats": 3 } {
        "get" { "count": 2 } => { "seats": [1, 2] },
        "get" { "count": 2 } => error "sold_out",
        "get" => error "bad_payload",
        "count" => { "n": 1 },
        "count" [1] => { "n": 2 },
        "nothing" => {},
        "got" => error "unknown_type",
    }
    test "one seat" with { "seats": 1 } { "get" { "count": 1 } => { "left": 0 } }
}

#[test]
fn what_is_as_expected_passes() {
    testing::self_tests::<RmPlugin>();
}

#[test]
fn they_are_part_of_the_description() {
    let plugin = TestPlugin::<RmPlugin>::new(json!({ "seats": 500 }));
    let tests = &plugin.description().self_tests;
    assert_eq!(tests.len(), 2);
    assert_eq!(tests[1].config, json!({ "seats": 1 }));
    let request = &tests[0].requests[0];
    assert_eq!(request.payload, Some(json!({ "count": 2 })));
    let expected = Expected::Answer(json!({ "seats": [1, 2] }));
    assert_eq!(request.expected, expected);
    assert_eq!(tests[0].requests[2].payload, None);
}
