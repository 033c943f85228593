//! The host checks every answer: what bears another type, none, or is no JSON object never reaches a client as a
//! result, and neither it nor a refusal nor a panic leaves a trace in the state.

use rm_tests::{RawClient, SERVES, TestHost};
use serde_json::{Value, json};

/// Asks for an answer that is exactly this text.
fn raw(client: &mut RawClient, type_name: &str, raw: &str) -> rm_tests::Reply {
    client.ask(type_name, json!({ "raw": raw }))
}

/// The lane that runs where requests arrive, and the one with a thread of its own.
const BOTH: [(&str, &str, &str, &str); 2] = [
    ("answer", "refuse", "panic", "runs"),
    (
        "answerOnThread",
        "refuseOnThread",
        "panicOnThread",
        "runsOnThread",
    ),
];

#[test]
fn an_answer_with_its_own_type_becomes_the_result_without_it() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for (answer, _, _, runs) in BOTH {
        for (text, result) in [
            (format!(r#"{{"type":"{answer}"}}"#), json!({})),
            (format!(r#"{{"type":"{answer}","a":1}}"#), json!({ "a": 1 })),
            (
                format!(r#" {{ "a" : [ 1 ] , "type" : "{answer}" }} "#),
                json!({ "a": [1] }),
            ),
            (
                format!(r#"{{"a":{{"type":"other"}},"type":"{answer}","b":2}}"#),
                json!({ "a": { "type": "other" }, "b": 2 }),
            ),
        ] {
            assert_eq!(raw(&mut client, answer, &text).ok(), result, "{text}");
        }
        assert_eq!(client.ask(runs, Value::Null).number("runs"), 4);
    }
}

#[test]
fn an_answer_with_another_type_or_none_or_two_is_a_mismatch() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for (answer, _, _, runs) in BOTH {
        for text in [
            r#"{"type":"other","a":1}"#.to_owned(),
            r#"{"a":1}"#.to_owned(),
            "{}".to_owned(),
            r#"{"type":null}"#.to_owned(),
            r#"{"type":["answer"]}"#.to_owned(),
            format!(r#"{{"type":"{answer}","type":"{answer}"}}"#),
            format!(r#"{{"type":"{answer}","type":"other"}}"#),
            format!(r#"{{"Type":"{answer}"}}"#),
            format!(r#"{{"a":{{"type":"{answer}"}}}}"#),
            r#"{"type":"errMsgFromClient","msg":"x","err":"y"}"#.to_owned(),
        ] {
            let from = host.log().len();
            raw(&mut client, answer, &text).refused("type_mismatch");
            host.log()
                .wait_from(from, &["WARN", "plugin=answers", answer]);
        }
        assert_eq!(
            client.ask(runs, Value::Null).number("runs"),
            0,
            "a refused answer left a trace"
        );
    }
}

#[test]
fn what_is_no_json_object_is_an_error_of_the_jobber() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for (answer, _, _, runs) in BOTH {
        for text in [
            "",
            "garbage",
            "[1,2]",
            "5",
            "null",
            "\"answer\"",
            "{",
            "{\"type\":\"answer\"",
            "{\"type\":\"answer\"} {}",
            "{\"type\":\"answer\",}",
            "{'type':'answer'}",
            "{\"type\":\"answer\",\"a\":NaN}",
            "\u{feff}{\"type\":\"answer\"}",
        ] {
            let from = host.log().len();
            raw(&mut client, answer, text).refused("jobber_error");
            host.log()
                .wait_from(from, &["WARN", "plugin=answers", answer]);
        }
        assert_eq!(
            client.ask(runs, Value::Null).number("runs"),
            0,
            "a refused answer left a trace"
        );
    }
}

#[test]
fn a_typed_answer_that_has_a_type_of_its_own_or_is_no_object_is_refused() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    client.ask("ownType", Value::Null).refused("type_mismatch");
    client.ask("list", Value::Null).refused("jobber_error");
    assert_eq!(client.ask("runs", Value::Null).number("runs"), 0);
}

#[test]
fn an_answer_may_have_4_mib_and_no_more() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    let max: usize = 4 << 20;
    for padding in ["padded", "paddedOnThread"] {
        let envelope = format!(r#"{{"type":"{padding}","padding":""}}"#).len();
        let fits = client.ask(padding, json!({ "bytes": max - envelope })).ok();
        assert_eq!(fits["padding"].as_str().map(str::len), Some(max - envelope));
        let said = client
            .ask(padding, json!({ "bytes": max - envelope + 1 }))
            .refused("jobber_error");
        assert!(said.contains("4194304"), "{said}");
        client
            .ask(padding, json!({ "bytes": 40_000_000 }))
            .refused("jobber_error");
        client.ask(padding, json!({ "bytes": 1 })).ok();
    }
}

#[test]
fn a_jobber_refuses_with_a_code_of_its_own() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for (_, refuse, _, runs) in BOTH {
        for code in ["a", "not_yours", "x1_2", &"l".repeat(64)] {
            let reply = client.ask(refuse, json!({ "code": code, "text": "not \"now\"\n🦀" }));
            assert_eq!(reply.refused(code), "not \"now\"\n🦀");
        }
        assert_eq!(
            client.ask(runs, Value::Null).number("runs"),
            0,
            "a refusal left a trace"
        );
    }
}

#[test]
fn a_code_that_is_the_hosts_or_no_word_is_an_error_of_the_jobber() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    let too_long = "l".repeat(65);
    let reserved = [
        "bad_message",
        "too_large",
        "unknown_type",
        "bad_payload",
        "busy",
        "expired",
        "timeout",
        "type_mismatch",
        "jobber_error",
        "jobber_panicked",
        "removed",
        "quarantined",
        "storage_failed",
        "shutting_down",
    ];
    let ill_formed = [
        "",
        "Sold",
        "sold out",
        "sold-out",
        "1st",
        "_x",
        "übervoll",
        &too_long,
    ];
    for (_, refuse, _, runs) in BOTH {
        for code in reserved.into_iter().chain(ill_formed) {
            let said = client
                .ask(refuse, json!({ "code": code, "text": "no" }))
                .refused("jobber_error");
            assert!(said.contains("code"), "{said}");
            host.log().wait_from(0, &["WARN", "plugin=answers", refuse]);
        }
        assert_eq!(client.ask(runs, Value::Null).number("runs"), 0);
    }
}

#[test]
fn a_payload_that_cannot_be_read_says_which_field_and_why() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for (payload, says) in [
        (json!({}), "`raw`"),
        (json!({ "raw": 5 }), "`raw`"),
        (json!([1]), "payload"),
        (json!("x"), "payload"),
        (Value::Null, "`raw`"),
        (json!(0), "`raw`"),
    ] {
        let said = client.ask("answer", payload.clone()).refused("bad_payload");
        assert!(said.contains(says), "{payload}: {said}");
    }
}

#[test]
fn a_panic_costs_one_error_reply_and_nothing_else() {
    let mut host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for (answer, _, panic, runs) in BOTH {
        let fine = json!({ "raw": format!(r#"{{"type":"{answer}"}}"#) });
        for how in [
            "text",
            "formatted",
            "inDrop",
            "payload",
            "resumed",
            "onAThread",
        ] {
            client.ask(answer, fine.clone()).ok();
            let from = host.log().len();
            let said = client
                .ask(panic, json!({ "how": how }))
                .refused("jobber_panicked");
            assert!(
                !said.contains("boom"),
                "the inside of a plugin is not for clients: {said}"
            );
            let words = ["WARN", "a jobber panicked"];
            host.log().wait_from(from, &words);
            client.ask(answer, fine.clone()).ok();
        }
        assert_eq!(
            client.ask(runs, Value::Null).number("runs"),
            12,
            "a panic left a trace in the state"
        );
    }
    host.expect_running();
}

#[test]
fn a_panic_is_logged_in_one_line_with_its_text_and_place() {
    let host = TestHost::with_fixture("answers");
    host.connect()
        .ask("panic", json!({ "how": "formatted" }))
        .refused("jobber_panicked");
    let line = host.log().wait_from(0, &["WARN", "boom number 1"]);
    assert!(
        line.contains("plugin=answers") && line.contains("answers.rs:"),
        "{line}"
    );
}

#[test]
fn a_panic_on_a_thread_of_the_plugins_own_is_logged_with_its_text_and_place() {
    let host = TestHost::with_fixture("answers");
    host.connect()
        .ask("panic", json!({ "how": "onAThread" }))
        .refused("jobber_panicked");
    let line = host.log().wait_from(0, &["ERROR", "boom elsewhere"]);
    for words in [
        "plugin=\"answers\"",
        "a thread of the plugin's own",
        "answers.rs:",
    ] {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn after_a_panic_the_plugins_own_memory_is_made_anew() {
    let mut host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for remember in ["remember", "rememberOnThread"] {
        for round in 0..3 {
            for runs in 1..=3 {
                assert_eq!(
                    client.ask(remember, Value::Null).number("runs"),
                    runs,
                    "round {round}"
                );
            }
            client
                .ask(remember, json!({ "panics": true }))
                .refused("jobber_panicked");
        }
    }
    host.expect_running();
}

#[test]
fn memory_that_panics_when_it_is_dropped_ends_with_its_version_only() {
    let mut host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    client.ask("remember", Value::Null).ok();
    client.ask("rememberOnThread", Value::Null).ok();
    // A configuration for the host alone: the same code, loaded again.
    host.configure("answers", "[host]\nwait = false\n", SERVES);
    assert_eq!(client.ask("remember", Value::Null).number("runs"), 1);
    assert_eq!(
        client.ask("rememberOnThread", Value::Null).number("runs"),
        1
    );
    host.remove("answers");
    client.ask("remember", Value::Null).refused("unknown_type");
    client.sync();
    host.expect_running();
}

#[test]
fn what_a_plugin_logs_is_in_the_hosts_log_under_its_name_in_one_line() {
    let host = TestHost::with_fixture("answers");
    host.connect()
        .ask(
            "log",
            json!({ "raw": "said by the plugin\n2026 ERROR forged" }),
        )
        .ok();
    let line = host.log().wait_from(0, &["said by the plugin"]);
    for word in ["INFO", "answers", "forged", "7"] {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn every_served_job_is_in_the_log_at_debug() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    client.send(r#"{"type":"runs","queryIndex":4711}"#);
    client.reply().ok();
    let line = host.log().wait_from(0, &["4711"]);
    for word in ["DEBUG", "runs", "client=", "took", "ok"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    client.send(r#"{"type":"refuse","queryIndex":4712,"payload":{"code":"sorry","text":"x"}}"#);
    client.reply().refused("sorry");
    host.log().wait_from(0, &["4712", "sorry"]);
}

#[test]
fn a_panic_of_one_client_is_not_seen_by_another() {
    let host = TestHost::with_fixture("answers");
    let (mut one, mut other) = (host.connect(), host.connect());
    for time in 0..50 {
        if time % 10 == 0 {
            // More than so many panics are held against their client.
            one = host.connect();
        }
        one.tell_all([
            ("panic", json!({ "how": "text" })),
            ("panicOnThread", json!({ "how": "text" })),
        ]);
        let fine = json!({ "raw": r#"{"type":"answer","a":1}"# });
        assert_eq!(other.ask("answer", fine).ok(), json!({ "a": 1 }));
        for reply in one.replies(2) {
            reply.refused("jobber_panicked");
        }
    }
}
