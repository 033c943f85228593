//! What is a request, what is none, and what its sender is told.

use protocol::{
    BadMessage, Cancel, Hello, Meta, Reply, Request,
    limits::{DEPTH_MAX, REQUEST_ID_MAX},
};

fn refused(message: &str) -> BadMessage {
    Request::parse(message.as_bytes(), false).expect_err(message)
}

#[test]
fn a_request_is_borrowed_from_its_message() {
    let request = Request::parse(
        b" {\"payload\" : [1, 2] , \"queryIndex\":3,\"type\":\"a\"} ",
        false,
    )
    .unwrap();
    assert_eq!(request.payload, Some("[1, 2]"));
    assert!(matches!(request.type_name, std::borrow::Cow::Borrowed("a")));
}

#[test]
fn escapes_in_keys_and_in_the_type_are_understood() {
    let request =
        Request::parse(br#"{"ty\u0070e":"\ud83e\udd80\"","queryIndex":3}"#, false).unwrap();
    assert_eq!(request.type_name, "🦀\"");
    let twice = refused(r#"{"ty\u0070e":"a","type":"b","queryIndex":3}"#);
    assert_eq!(twice.reason, "the key `type` came twice: send it once");
}

#[test]
fn the_query_index_keeps_its_digits() {
    for digits in [
        "0",
        "-0",
        "-1",
        "1.50",
        "12345678901234567890123",
        "1e5",
        "1E-400",
    ] {
        let message = format!(r#"{{"type":"a","queryIndex": {digits} }}"#);
        assert_eq!(
            Request::parse(message.as_bytes(), false)
                .unwrap()
                .query_index,
            digits
        );
    }
}

#[test]
fn a_query_index_that_is_too_long_is_refused_and_does_not_come_back() {
    let long = "7".repeat(64);
    for message in [
        format!(r#"{{"type":"a","queryIndex":{long}}}"#),
        format!(r#"{{"queryIndex":{long},"type":"a"}}"#),
    ] {
        let request = Request::parse(message.as_bytes(), false).unwrap();
        assert_eq!(request.query_index, long);
    }
    for digits in ["7".repeat(65), "7".repeat(1_000_000), format!("0.{long}")] {
        for message in [
            format!(r#"{{"type":"a","queryIndex":{digits}}}"#),
            format!(r#"{{"type":"a","queryIndex":{digits},"payload":1}}"#),
            format!(r#"{{ "queryIndex":{digits},"type":"a"}}"#),
        ] {
            let bad = refused(&message);
            assert_eq!(bad.query_index, "0");
            let expected = format!("at most 64 digits, got one of {}", digits.len());
            assert!(bad.reason.contains(&expected), "{}", bad.reason);
        }
    }
}

#[test]
fn an_absent_payload_differs_from_null() {
    let parse = |message: &'static str| Request::parse(message.as_bytes(), false).unwrap().payload;
    assert_eq!(parse(r#"{"type":"a","queryIndex":1}"#), None);
    assert_eq!(
        parse(r#"{"type":"a","queryIndex":1,"payload":null}"#),
        Some("null")
    );
}

#[test]
fn what_is_no_object_is_named_and_has_no_number() {
    let cases = [
        ("null", "got null"),
        ("[1]", "got an array"),
        ("5", "got a number"),
        ("-5", "got a number"),
        ("\"a\"", "got a string"),
        ("true", "got true or false"),
        (
            "{bad",
            "got what is not JSON: key must be a string at line 1 column 2",
        ),
        ("nul", "got what is not JSON"),
        ("", "got what is not JSON"),
        (
            r#"{"type":"a","queryIndex":7} x"#,
            "got what is not JSON: trailing characters",
        ),
        (
            r#"{"type":"a","queryIndex":7}{}"#,
            "got what is not JSON: trailing characters",
        ),
        (
            r#"{"type":"a","queryIndex":7,}"#,
            "got what is not JSON: trailing comma",
        ),
        (
            r#"{"type":"a","queryIndex":07}"#,
            "got what is not JSON: invalid number",
        ),
        (
            r#"{"type":"a","queryIndex":7,"payload":"\x"}"#,
            "got what is not JSON: invalid escape",
        ),
        (
            r#"{"type":"a","queryIndex":7,"payload":NaN}"#,
            "got what is not JSON",
        ),
    ];
    for (message, expected) in cases {
        let bad = refused(message);
        assert!(bad.reason.contains(expected), "{message}: {}", bad.reason);
        assert_eq!(bad.query_index, "0", "{message}");
    }
}

#[test]
fn what_is_not_utf_8_is_named_with_its_place() {
    let bad = Request::parse(b"{\"type\":\"\xFF\",\"queryIndex\":7}", false).unwrap_err();
    assert_eq!(
        bad.reason,
        "expected a JSON object in UTF-8, got the byte 0xFF at offset 9"
    );
}

#[test]
fn a_wrong_object_is_answered_under_its_number() {
    let cases = [
        (
            r#"{"queryIndex":7}"#,
            "7",
            "the key `type` is missing: a request has",
        ),
        (r#"{"type":"a"}"#, "0", "the key `queryIndex` is missing"),
        ("{}", "0", "the key `type` is missing"),
        (
            r#"{"type":"a","x":2,"queryIndex":-1.5}"#,
            "-1.5",
            "the key `x` is unknown",
        ),
        (
            r#"{"type":"a","queryIndex":1,"queryIndex":2}"#,
            "2",
            "the key `queryIndex` came twice",
        ),
        (
            r#"{"type":"a","queryIndex":1,"payload":1,"payload":1}"#,
            "1",
            "the key `payload` came twice",
        ),
        (
            r#"{"type":5,"queryIndex":1}"#,
            "1",
            "expected `type` to be a string, got a number",
        ),
        (
            r#"{"type":null,"queryIndex":1}"#,
            "1",
            "expected `type` to be a string, got null",
        ),
        (
            r#"{"type":"\ud800","queryIndex":1}"#,
            "1",
            "expected `type` to be Unicode text",
        ),
        (
            r#"{"\ud800":2,"type":"a","queryIndex":1}"#,
            "1",
            r"the key `\ud800` is unknown",
        ),
        (
            r#"{"type":"a","queryIndex":"7"}"#,
            "0",
            "expected `queryIndex` to be a number, got a string",
        ),
        (
            r#"{"type":"a","queryIndex":null}"#,
            "0",
            "expected `queryIndex` to be a number, got null",
        ),
        (
            r#"{"type":"a","queryIndex":1,"meta":{}}"#,
            "1",
            "the key `meta` is known only after `rm.hello`",
        ),
    ];
    for (message, query_index, expected) in cases {
        let bad = refused(message);
        assert!(bad.reason.contains(expected), "{message}: {}", bad.reason);
        assert_eq!(bad.query_index, query_index, "{message}");
    }
}

#[test]
fn a_peers_long_key_does_not_fill_its_answer() {
    let bad = refused(&format!(
        r#"{{"{}":1,"type":"a","queryIndex":1}}"#,
        "ё".repeat(5000)
    ));
    assert!(bad.reason.len() < 400, "{}", bad.reason);
}

#[test]
fn meta_is_known_after_hello() {
    let message = br#"{"type":"a","queryIndex":1,"meta":{"wait":true}}"#;
    assert_eq!(
        Request::parse(message, true).unwrap().meta,
        Some(r#"{"wait":true}"#)
    );
}

#[test]
fn nesting_counts_from_the_messages_own_object_and_not_in_strings() {
    let nested = |levels: usize, inner: &str| {
        let message = format!(
            r#"{{"queryIndex":7,"type":"a","payload":{}{inner}{}}}"#,
            r#"{"k":["#.repeat(levels / 2),
            "]}".repeat(levels / 2)
        );
        Request::parse(message.as_bytes(), false).map(|request| request.payload.unwrap().len())
    };
    assert!(nested(DEPTH_MAX - 2, "").is_ok());
    assert!(nested(DEPTH_MAX - 2, "[]").is_ok());
    assert!(nested(DEPTH_MAX - 2, r#""[[[\"[[\\""#).is_ok());
    assert!(nested(2, &format!("{}[]", "[],".repeat(1000))).is_ok());
    let bad = nested(DEPTH_MAX, "").unwrap_err();
    assert!(bad.reason.contains("at most 128 deep"), "{}", bad.reason);
    assert_eq!(bad.query_index, "7");
    assert!(nested(500_000, "").is_err());
}

#[test]
fn meta_reads_its_keys_and_refuses_all_others() {
    assert_eq!(Meta::parse("{}"), Ok(Meta::default()));
    assert_eq!(
        Meta::parse(r#"{"wait":false,"deadline_ms":18446744073709551615}"#),
        Ok(Meta {
            deadline_ms: Some(u64::MAX),
            wait: Some(false),
            id: None,
        })
    );
    let highest = Meta::parse(r#"{"id":9007199254740991}"#).unwrap();
    assert_eq!(highest.id, Some(REQUEST_ID_MAX));
    let cases = [
        ("5", "expected `meta` to be an object, got a number"),
        (
            r#"{"no":"x"}"#,
            "the key `no` of `meta` is unknown: `meta` has the keys `deadline_ms`, `wait` and `id`",
        ),
        (
            r#"{"id":0}"#,
            "expected `id` to be a whole number from 1 to 9007199254740991, got `0`",
        ),
        (
            r#"{"id":9007199254740992}"#,
            "expected `id` to be a whole number from 1 to 9007199254740991, got `9007199254740992`",
        ),
        (
            r#"{"id":"x"}"#,
            "expected `id` to be a whole number from 1 to 9007199254740991, got a string",
        ),
        (
            r#"{"wait":1}"#,
            "expected `wait` to be true or false, got `1`",
        ),
        (
            r#"{"wait":null}"#,
            "expected `wait` to be true or false, got null",
        ),
        (
            r#"{"deadline_ms":-1}"#,
            "expected `deadline_ms` to be a whole number of milliseconds, got `-1`",
        ),
        (
            r#"{"deadline_ms":1.5}"#,
            "expected `deadline_ms` to be a whole number of milliseconds, got `1.5`",
        ),
        (
            r#"{"deadline_ms":"5s"}"#,
            "expected `deadline_ms` to be a whole number of milliseconds, got a string",
        ),
        (
            r#"{"wait":true,"wait":true}"#,
            "the key `wait` of `meta` came twice: send it once",
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(Meta::parse(json), Err(expected.to_owned()), "{json}");
    }
}

#[test]
fn hello_needs_its_version_and_refuses_what_is_not_built() {
    let meta = Meta {
        deadline_ms: Some(5),
        wait: None,
        id: None,
    };
    assert_eq!(
        Hello::parse(Some(r#"{"meta":{"deadline_ms":5},"v":1}"#)),
        Ok(Hello {
            session: None,
            meta
        })
    );
    let cases = [
        (None, "`rm.hello` needs a payload"),
        (
            Some("null"),
            "expected the payload of `rm.hello` to be an object, got null",
        ),
        (Some("{}"), "the key `v` of `rm.hello` is missing"),
        (
            Some(r#"{"v":2}"#),
            "expected `v` to be 1, the only version there is, got `2`",
        ),
        (
            Some(r#"{"v":1,"auth":"x"}"#),
            "the key `auth` of `rm.hello` is unknown",
        ),
        (
            Some(r#"{"v":1,"session":7}"#),
            "expected `session` to be the text that an earlier `rm.hello` was answered with, got `7`",
        ),
        (
            Some(r#"{"v":1,"meta":{"id":1}}"#),
            "the key `id` is known in the `meta` of a request only",
        ),
    ];
    for (payload, expected) in cases {
        let reason = Hello::parse(payload).unwrap_err();
        assert!(reason.contains(expected), "{payload:?}: {reason}");
    }
}

#[test]
fn hello_resumes_a_session_and_cancel_names_a_request() {
    let hello = Hello::parse(Some(r#"{"session":"1f-\u0061b","v":1}"#)).unwrap();
    assert_eq!(hello.session.as_deref(), Some("1f-ab"));
    assert_eq!(Cancel::parse(Some(r#"{"id":3}"#)), Ok(Cancel { id: 3 }));
    for (payload, expected) in [
        (
            None,
            "expected the payload of `rm.cancel` to be an object, got null",
        ),
        (Some("{}"), "the key `id` of `rm.cancel` is missing"),
        (
            Some(r#"{"id":0}"#),
            "expected `id` to be a whole number from 1",
        ),
        (
            Some(r#"{"id":1,"x":1}"#),
            "the key `x` of `rm.cancel` is unknown",
        ),
    ] {
        let reason = Cancel::parse(payload).unwrap_err();
        assert!(reason.contains(expected), "{payload:?}: {reason}");
    }
}

#[test]
fn a_key_that_is_no_unicode_text_is_an_unknown_one() {
    let reply = Reply::parse(br#"{"\ud800":0,"type":"a","queryIndex":1,"resultJob":{"\ud800":1}}"#)
        .unwrap();
    assert_eq!((&*reply.type_name, reply.refusal()), ("a", None));
    let refused =
        br#"{"type":"a","queryIndex":1,"resultJob":{"\udc00\ud800":1,"code":"b","err":"c"}}"#;
    let reply = Reply::parse(refused).unwrap();
    assert_eq!(reply.refusal().unwrap().code, "b");
    let reason = Meta::parse(r#"{"wait":true,"\ud800":1}"#).unwrap_err();
    assert!(reason.contains("of `meta` is unknown"), "{reason}");
}
