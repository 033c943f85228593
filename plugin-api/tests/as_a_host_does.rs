//! What a host refuses, the testing kit refuses, in the same words: so an author sees it before it is dropped in.

use plugin_api::{RefusalKind, prelude::*, testing::TestPlugin};
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    elsewhere: bool,
    #[serde(default = "one")]
    schema: u32,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
struct Answered {
    raw: String,
}

#[derive(Deserialize)]
struct Refused {
    kind: String,
    code: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Stored {
    bytes: usize,
}

fn answer(ask: Answered, number: &mut Value<u64>) -> Answer<RawJson> {
    number.set(&1);
    Ok(RawJson(ask.raw))
}

fn refuse(ask: Refused, number: &mut Value<u64>) -> Answer {
    number.set(&1);
    Err(match ask.kind.as_str() {
        "not_yet" => Refusal::not_yet(ask.code, ask.text),
        "try_again" => Refusal::try_again(ask.text),
        _ => Refusal::new(ask.code, ask.text),
    })
}

fn number(number: &mut Value<u64>) -> Answer<serde_json::Value> {
    Ok(json!({ "number": number.get() }))
}

fn store(ask: Stored, notes: &mut Map<u64, String>) -> Answer {
    notes.insert(&1, &"x".repeat(ask.bytes));
    Ok(())
}

fn stored(notes: &mut Map<u64, String>) -> Answer<serde_json::Value> {
    Ok(json!({ "bytes": notes.get(&1).map_or(0, |note| note.len()) }))
}

fn tell(_: (), call: &Call) -> Answer<serde_json::Value> {
    Ok(json!({ "attempt": call.attempt }))
}

/// Is written piece by piece, far beyond what an answer may have.
struct Endless;

impl Serialize for Endless {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pieces = (0..).map(|piece| {
            assert!(piece < 5_000, "it is written on though nobody can have it");
            (piece, "x".repeat(1024))
        });
        serializer.collect_map(pieces)
    }
}

fn endless(number: &mut Value<u64>) -> Answer<Endless> {
    number.set(&1);
    Ok(Endless)
}

plugin! {
    config Config;
    state |_| Value::<u64>::named("number") => { "answer" => answer, "refuse" => refuse, "number" => number, "endless" => endless }
    state |c| Map::<u64, String>::named(if c.elsewhere { "other" } else { "notes" }).schema(c.schema)
        => { "store" => store, "stored" => stored }
    stateless { "tell" => tell }
}

fn plugin() -> TestPlugin<RmPlugin> {
    TestPlugin::new(())
}

/// The code and the text of the refusal; nothing that was changed may have stayed.
fn refusal(
    plugin: &mut TestPlugin<RmPlugin>,
    type_name: &str,
    payload: serde_json::Value,
) -> (String, String) {
    let refusal = plugin.client(1).request(type_name, payload).unwrap_err();
    let left = plugin.client(1).request("number", ());
    assert_eq!(left, Ok(json!({ "number": 0 })), "it left a trace");
    (refusal.code().to_owned(), refusal.message().to_owned())
}

#[test]
fn an_answer_is_refused_in_the_words_of_a_host() {
    let mut plugin = plugin();
    for (raw, code, text) in [
        (
            r#"{"type":"other"}"#,
            "type_mismatch",
            r#"the jobber answered with the type "other" to a request of type "answer""#,
        ),
        (
            r#"{"a":1}"#,
            "type_mismatch",
            r#"the jobber answered without the mandatory field `type` to a request of type "answer""#,
        ),
        (
            r#"{"type":"answer","type":"answer"}"#,
            "type_mismatch",
            r#"the jobber answered with the field `type` twice to a request of type "answer""#,
        ),
        (
            "[1]",
            "jobber_error",
            "the jobber answered with what is no JSON object: ",
        ),
        (
            "{",
            "jobber_error",
            "the jobber answered with what is no JSON object: ",
        ),
    ] {
        let (found, said) = refusal(&mut plugin, "answer", json!({ "raw": raw }));
        assert_eq!(found, code, "{raw}");
        assert!(said.starts_with(text), "{raw}: {said}");
    }
}

#[test]
fn an_answer_may_have_4_mib_and_no_more() {
    let mut plugin = plugin();
    let shell = r#"{"type":"answer","fill":""}"#.len();
    let of = |bytes: usize| {
        let fill = "x".repeat(bytes - shell);
        json!({ "raw": format!(r#"{{"type":"answer","fill":"{fill}"}}"#) })
    };
    let (code, text) = refusal(&mut plugin, "answer", of(4 * 1024 * 1024 + 1));
    assert_eq!(code, "jobber_error");
    assert_eq!(
        text,
        "the jobber answered with more than the 4194304 bytes that are allowed"
    );
    let most = of(4 * 1024 * 1024);
    assert!(plugin.client(1).request("answer", most).is_ok());
}

#[test]
fn an_answer_is_not_written_any_further_than_it_may_be_long() {
    let (code, text) = refusal(&mut plugin(), "endless", json!({}));
    assert_eq!(code, "jobber_error");
    assert!(text.contains("4194304 bytes"), "{text}");
}

#[test]
fn a_code_that_is_no_word_or_the_hosts_own_is_an_error_of_the_jobber() {
    let mut plugin = plugin();
    for kind in ["final", "not_yet"] {
        for code in [
            "timeout",
            "unknown_type",
            "Sold",
            "",
            "sold out",
            &"x".repeat(65),
        ] {
            let payload = json!({ "kind": kind, "code": code });
            let (found, text) = refusal(&mut plugin, "refuse", payload);
            assert_eq!(found, "jobber_error", "{code}");
            let expected = format!(
                "the jobber refused with the code {code:?}; a jobber's code is a lower-case word of letters, \
                 digits and `_`, and none of the host's own"
            );
            assert_eq!(text, expected);
        }
        let payload = json!({ "kind": kind, "code": "sold_out", "text": "none left" });
        let found = refusal(&mut plugin, "refuse", payload);
        assert_eq!(found, ("sold_out".to_owned(), "none left".to_owned()));
    }
}

#[test]
fn the_sentence_of_a_refusal_is_cut_at_16_kib() {
    let long = "ü".repeat(10_000);
    let payload = json!({ "kind": "final", "code": "sold_out", "text": long });
    let (_, text) = refusal(&mut plugin(), "refuse", payload);
    assert_eq!(text, format!("{}…", "ü".repeat(8 * 1024)));
}

#[test]
fn the_sixth_run_in_vain_is_the_last() {
    let mut plugin = plugin();
    let mut run = |attempt| {
        let payload = json!({ "kind": "try_again", "code": "", "text": "it is away" });
        let client = plugin.client(1).attempt(attempt);
        client.request("refuse", payload).unwrap_err()
    };
    assert_eq!(run(5).kind(), RefusalKind::TryAgain);
    let last = run(6);
    assert_eq!(last.kind(), RefusalKind::Final);
    assert_eq!(last.code(), "jobber_error");
    assert_eq!(
        last.message(),
        "the jobber gave up after 6 runs; the last said: it is away"
    );
}

#[test]
fn an_entry_of_a_state_may_have_16_mib_and_no_more() {
    let mut plugin = plugin();
    let mut ask = |bytes: usize| {
        let payload = json!({ "bytes": bytes });
        plugin.client(1).request("store", payload)
    };
    ask(5).unwrap();
    let refusal = ask(16 * 1024 * 1024).unwrap_err();
    assert_eq!(refusal.code(), "jobber_error");
    let text = refusal.message();
    assert!(
        text.starts_with("the jobber wrote a state entry of 167772"),
        "{text}"
    );
    assert!(
        text.ends_with(" bytes, at most 16777216 are allowed"),
        "{text}"
    );
    let left = plugin.client(1).request("stored", ());
    assert_eq!(left, Ok(json!({ "bytes": 5 })));
}

#[test]
fn a_request_whose_deadline_has_passed_is_not_run() {
    let mut plugin = plugin();
    plugin.set_now_ms(2_000_000_000_000);
    let mut ask = |deadline_ms| {
        let client = plugin.client(1).deadline_ms(deadline_ms);
        client.request("tell", ())
    };
    assert_eq!(ask(2_000_000_000_000), Ok(json!({ "attempt": 1 })));
    let refusal = ask(1_999_999_999_999).unwrap_err();
    assert_eq!(refusal.code(), "expired");
    assert_eq!(
        refusal.message(),
        "the request's deadline passed before it was its turn"
    );
}

#[test]
fn a_state_that_a_version_does_not_declare_is_kept_for_the_next_one() {
    let mut plugin = plugin();
    let five = json!({ "bytes": 5 });
    plugin.client(1).request("store", &five).unwrap();
    plugin.reload(json!({ "elsewhere": true })).unwrap();
    let stored = |plugin: &mut TestPlugin<RmPlugin>| plugin.client(1).request("stored", ());
    assert_eq!(stored(&mut plugin), Ok(json!({ "bytes": 0 })));
    let error = plugin.reload(json!({ "schema": 0 })).unwrap_err();
    assert_eq!(
        error,
        "its state `notes` has schema 0, what is stored has schema 1: only the same or a newer version of the \
         plugin can read it"
    );
    plugin.reload(()).unwrap();
    assert_eq!(stored(&mut plugin), Ok(five));
}
