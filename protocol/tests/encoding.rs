//! What is written reads back, and has the separator at its end only.

use proptest::prelude::*;
use protocol::{
    Decoder, Reply, Request, encoder,
    limits::{BAD_MESSAGE_ECHO_BYTES_MAX, SEPARATOR},
};
use serde_json::{Value, json};

/// The one message in `out`, without its separator; fails if there are more.
fn single(out: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new();
    let mut frames = decoder.feed(out);
    let message = frames.next().unwrap().expect("a whole message").to_vec();
    assert_eq!(frames.next(), Ok(None));
    drop(frames);
    assert_eq!(decoder.pending_bytes(), 0);
    assert_eq!(
        out.windows(4).position(|window| window == SEPARATOR),
        Some(out.len() - 4)
    );
    message
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("🦀".to_owned()), any::<String>()], 0..4)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_request_reads_back_as_written(type_name in text(), query_index: u64, key in text(), value in text()) {
        let payload = json!({key: value});
        let mut out = Vec::new();
        encoder::request(&mut out, &type_name, query_index, Some(&payload.to_string()), Some("{}"));
        let message = single(&out);
        let request = Request::parse(&message, true).unwrap();
        prop_assert_eq!(&*request.type_name, type_name);
        prop_assert_eq!(request.query_index, query_index.to_string());
        prop_assert_eq!(serde_json::from_str::<Value>(request.payload.unwrap()).unwrap(), payload);
        prop_assert_eq!(request.meta, Some("{}"));
    }

    #[test]
    fn a_reply_reads_back_as_written(type_name in text(), key in text(), value in text()) {
        let result = json!({"kept": true, format!("{key}_"): value});
        let mut out = Vec::new();
        encoder::reply(&mut out, &type_name, "-1.50", result.to_string().as_bytes());
        let message = single(&out);
        let reply = Reply::parse(&message).unwrap();
        prop_assert_eq!(&*reply.type_name, type_name);
        prop_assert_eq!(reply.query_index, "-1.50");
        prop_assert_eq!(serde_json::from_str::<Value>(reply.result).unwrap(), result);
        prop_assert_eq!(reply.refusal(), None);
    }

    #[test]
    fn an_error_reads_back_as_written(err in text(), name in "[a-z]{1,4}_", value in text()) {
        let mut out = Vec::new();
        encoder::error_with(&mut out, "a", "1", "busy", &err, &[(&name, &json!(value).to_string())]);
        let message = single(&out);
        let reply = Reply::parse(&message).unwrap();
        let refusal = reply.refusal().unwrap();
        prop_assert_eq!(&*refusal.code, "busy");
        prop_assert_eq!(refusal.message(), err);
        prop_assert_eq!(&serde_json::from_str::<Value>(reply.result).unwrap()[&name], &json!(value));
    }

    #[test]
    fn any_bytes_are_echoed_as_text_up_to_the_limit(received in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let mut out = Vec::new();
        encoder::bad_message(&mut out, "bad_message", "0", "wrong 🦀", &received);
        let message = single(&out);
        let refusal = Reply::parse(&message).unwrap().refusal().unwrap();
        prop_assert_eq!(refusal.message(), "wrong 🦀");
        let lossy = String::from_utf8_lossy(&received);
        prop_assert!(lossy.starts_with(&*refusal.err));
        prop_assert!(refusal.err.len() <= BAD_MESSAGE_ECHO_BYTES_MAX);
        prop_assert!(refusal.err.len() == lossy.len() || refusal.err.len() > BAD_MESSAGE_ECHO_BYTES_MAX - 4);
    }
}

#[test]
fn an_echo_is_cut_between_two_characters() {
    let mut out = Vec::new();
    encoder::bad_message(
        &mut out,
        "too_large",
        "0",
        "",
        format!("x{}", "ё".repeat(2000)).as_bytes(),
    );
    let message = single(&out);
    let refusal = Reply::parse(&message).unwrap().refusal().unwrap();
    assert_eq!(refusal.err, format!("x{}", "ё".repeat(511)));
}

#[test]
fn messages_gather_in_one_buffer() {
    let mut out = Vec::new();
    encoder::reply(&mut out, "a", "1", b"{}");
    encoder::error(&mut out, "b", "2", "sold_out", "none left");
    let expected = "{\"type\":\"a\",\"queryIndex\":1,\"resultJob\":{}}🦀\
                    {\"type\":\"b\",\"queryIndex\":2,\"resultJob\":{\"err\":\"none left\",\"code\":\"sold_out\"}}🦀";
    assert_eq!(out, expected.as_bytes());
}

#[test]
fn an_answer_with_err_but_without_code_is_no_error() {
    let echo = br#"{"type":"errMsgFromClient","queryIndex":5,"resultJob":{"msg":"m","err":"hi"}}"#;
    assert_eq!(Reply::parse(echo).unwrap().refusal(), None);
}

#[test]
fn what_is_no_reply_is_named() {
    let cases = [
        ("[]", "expected a reply, a JSON object"),
        (r#"{"queryIndex":1,"resultJob":{}}"#, "the string `type`"),
        (
            r#"{"type":"a","queryIndex":"1","resultJob":{}}"#,
            "the number `queryIndex`",
        ),
        (
            r#"{"type":"a","queryIndex":1,"resultJob":[]}"#,
            "the object `resultJob`",
        ),
    ];
    for (message, expected) in cases {
        let error = Reply::parse(message.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{message}: {error}");
    }
    assert!(Reply::parse(br#"{"type":"a","queryIndex":1,"resultJob":{},"more":1}"#).is_ok());
}
