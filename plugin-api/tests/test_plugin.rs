//! What the testing kit does to a plugin is what a host does.

use plugin_api::{RefusalKind, prelude::*, testing::TestPlugin};
use serde_json::json;

#[derive(Deserialize)]
struct Config {
    seats: u64,
    #[serde(default = "hall")]
    numbers_name: String,
    #[serde(default = "total")]
    value_name: String,
    #[serde(default)]
    schema: u32,
}

fn hall() -> String {
    "hall".to_owned()
}

fn total() -> String {
    "total".to_owned()
}

#[derive(Serialize)]
struct Got {
    seats: Vec<u64>,
}

#[derive(Deserialize)]
struct Then {
    then: String,
}

fn get(hall: &mut Numbers) -> Answer<Got> {
    let seats = hall.take(1).or_code("sold_out")?.ids();
    Ok(Got { seats })
}

/// Takes a seat, and then does not answer as it should.
fn spoil(ask: Then, hall: &mut Numbers) -> Answer<RawJson> {
    hall.take(1)?;
    match ask.then.as_str() {
        "panic" => panic!("on purpose"),
        "retry" => Err(Refusal::try_again("the other side is away")),
        answer => Ok(RawJson(answer.to_owned())),
    }
}

fn count(n: &mut u64) -> Answer<serde_json::Value> {
    *n += 1;
    Ok(json!({ "n": *n }))
}

fn count_and_panic(n: &mut u64) -> Answer {
    *n += 1;
    panic!("on purpose, at {n}");
}

#[derive(Serialize)]
struct Circumstances {
    client: u64,
    attempt: u32,
    now_ms: u64,
    deadline_ms: Option<u64>,
}

fn tell((): (), call: &Call) -> Answer<Circumstances> {
    Ok(Circumstances {
        client: call.client,
        attempt: call.attempt,
        now_ms: call.now_ms,
        deadline_ms: call.deadline_ms,
    })
}

plugin! {
    config Config;
    state |c| (
        Numbers::range(&c.numbers_name, 1..=c.seats).schema(c.schema),
        Value::<u64>::named(&c.value_name),
    ) => inline {
        "get" => |both: &mut (Numbers, Value<u64>)| get(&mut both.0),
        "spoil" => |ask: Then, both: &mut (Numbers, Value<u64>)| spoil(ask, &mut both.0),
    }
    memory |_| 0 => { "count" => count, "countAndPanic" => count_and_panic }
    stateless { "tell" => tell }
}

fn plugin() -> TestPlugin<RmPlugin> {
    TestPlugin::new(json!({ "seats": 2 }))
}

#[test]
fn an_answer_comes_without_its_type() {
    assert_eq!(
        plugin().client(1).request("get", ()),
        Ok(json!({ "seats": [1] }))
    );
}

#[test]
fn whatever_goes_wrong_leaves_no_trace() {
    let mut plugin = plugin();
    let cases = [
        ("panic", "jobber_panicked", "on purpose"),
        ("retry", "jobber_error", "the other side is away"),
        ("[]", "jobber_error", "no JSON object"),
        ("junk", "jobber_error", "no JSON object"),
        ("{}", "type_mismatch", "without the mandatory field `type`"),
        (r#"{"type":"get"}"#, "type_mismatch", "\"get\""),
        (r#"{"type":7}"#, "type_mismatch", "7"),
    ];
    for (then, code, text) in cases {
        let payload = json!({ "then": then });
        let refusal = plugin.client(1).request("spoil", payload).unwrap_err();
        assert_eq!(refusal.code(), code, "{then}");
        assert!(
            refusal.message().contains(text),
            "{then}: {}",
            refusal.message()
        );
    }
    let fine = json!({ "then": r#"{"type":"spoil","seat":1}"# });
    assert_eq!(
        plugin.client(1).request("spoil", fine),
        Ok(json!({ "seat": 1 }))
    );
    assert_eq!(
        plugin.client(1).request("get", ()),
        Ok(json!({ "seats": [2] }))
    );
}

#[test]
fn refusals_keep_their_kind() {
    let mut plugin = plugin();
    let mut refused = |type_name, payload| {
        let refusal = plugin.client(1).request(type_name, payload).unwrap_err();
        (refusal.kind(), refusal.code().to_owned())
    };
    let try_again = refused("spoil", json!({ "then": "retry" }));
    assert_eq!(try_again.0, RefusalKind::TryAgain);
    let bad_payload = refused("spoil", json!({ "then": 1 }));
    assert_eq!(
        bad_payload,
        (RefusalKind::BadPayload, "bad_payload".to_owned())
    );
    let unknown = refused("got", json!({}));
    assert_eq!(unknown, (RefusalKind::Final, "unknown_type".to_owned()));

    plugin.client(1).request("get", ()).unwrap();
    plugin.client(1).request("get", ()).unwrap();
    let sold_out = plugin.client(1).request("get", ()).unwrap_err();
    assert_eq!(sold_out.kind(), RefusalKind::NotYet);
}

#[test]
fn state_stays_over_a_reload_and_memory_does_not() {
    let mut plugin = plugin();
    plugin.client(1).request("get", ()).unwrap();
    plugin.client(1).request("count", ()).unwrap();
    plugin.reload(json!({ "seats": 3 })).unwrap();
    assert_eq!(
        plugin.client(1).request("get", ()),
        Ok(json!({ "seats": [2] }))
    );
    assert_eq!(plugin.client(1).request("count", ()), Ok(json!({ "n": 1 })));
}

#[test]
fn memory_ends_with_a_panic() {
    let mut plugin = plugin();
    plugin.client(1).request("count", ()).unwrap();
    let refusal = plugin.client(1).request("countAndPanic", ()).unwrap_err();
    assert_eq!(refusal.code(), "jobber_panicked");
    assert!(refusal.message().contains("on purpose, at 2"));
    assert_eq!(plugin.client(1).request("count", ()), Ok(json!({ "n": 1 })));
}

#[test]
fn a_version_that_fails_leaves_the_one_before() {
    let mut plugin = plugin();
    plugin.reload(json!({ "seats": 2, "schema": 2 })).unwrap();
    plugin.client(1).request("get", ()).unwrap();
    let cases = [
        (json!({}), "seats"),
        (json!({ "seats": 2, "rows": 1 }), "rows"),
        (json!({ "seats": u64::MAX }), "state `hall`"),
        (
            json!({ "seats": 2, "value_name": "hall" }),
            "declared twice",
        ),
        (
            json!({ "seats": 2, "numbers_name": "other", "value_name": "hall" }),
            "what is stored under that name is `numbers`",
        ),
        (json!({ "seats": 2, "schema": 1 }), "schema 2"),
    ];
    for (config, text) in cases {
        let error = plugin.reload(config).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(
        plugin.client(1).request("get", ()),
        Ok(json!({ "seats": [2] }))
    );
    assert!(TestPlugin::<RmPlugin>::load(()).is_err());
}

#[test]
fn a_call_has_the_circumstances_that_the_test_gives_it() {
    let mut plugin = plugin();
    let first = plugin.client(7).request("tell", ()).unwrap();
    assert_eq!(first["client"], 7);
    assert_eq!(first["attempt"], 1);
    assert_eq!(first["deadline_ms"], json!(null));
    plugin.advance_ms(5);
    let deadline_ms = first["now_ms"].as_u64().unwrap() + 9;
    let second = plugin
        .client(7)
        .attempt(2)
        .deadline_ms(deadline_ms)
        .request("tell", ());
    let second = second.unwrap();
    let passed = second["now_ms"].as_u64().unwrap() - first["now_ms"].as_u64().unwrap();
    assert_eq!(passed, 5);
    assert_eq!(
        (&second["attempt"], &second["deadline_ms"]),
        (&json!(2), &json!(deadline_ms))
    );
}

#[test]
fn a_plugin_says_what_it_consists_of() {
    let plugin = plugin();
    let lanes = &plugin.description().lanes;
    assert_eq!(Vec::from_iter(lanes[0].types()), ["get", "spoil"]);
    assert!(lanes[0].inline && !lanes[1].inline);
    assert_eq!(lanes[0].states[0].kind, "numbers");
}

#[test]
#[should_panic(expected = "back in time")]
fn the_clock_does_not_go_back() {
    plugin().set_now_ms(0);
}
