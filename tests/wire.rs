//! What goes over the wire is what the protocol page says: every measured message of the original, and every kind of
//! bytes that is no message.

use rm_tests::{RawClient, Reply, SEPARATOR, TestHost};
use serde_json::{Value, json};

const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The rows of the measurements, and what this host answers to each, message for message. `None` stands for a reply
/// that is looked at more closely below.
type Expected = &'static [Option<(&'static str, &'static str, Option<&'static str>)>];

const PONG: &str = r#"{"pong":0}"#;

/// By row: type, `queryIndex`, and the result; `None` for an error, whose code and echo are checked for each alike.
fn expected(row: &str) -> Option<Expected> {
    Some(match row {
        "ping" | "payload is ignored by ping" => &[Some(("ping", "1", Some(PONG)))],
        "a key too many" => &[Some(("errMsgFromClient", "1", None))],
        "no type" => &[Some(("errMsgFromClient", "7", None))],
        "queryIndex is text" | "an array" | "a number" | "null" | "not JSON" => {
            &[Some(("errMsgFromClient", "0", None))]
        }
        "a fraction as queryIndex" => &[Some(("ping", "1.5", Some(PONG)))],
        "a negative queryIndex" => &[Some(("ping", "-1", Some(PONG)))],
        "a queryIndex past 2^53" => &[Some(("ping", "12345678901234567890", Some(PONG)))],
        "unknown type" => &[Some(("nope", "3", None))],
        "a type that is a property name in JavaScript" => &[Some(("__proto__", "5", None))],
        "not JSON, then a good message" => &[
            Some(("errMsgFromClient", "0", None)),
            Some(("ping", "9", Some(PONG))),
        ],
        "an empty message" | "a complete message without separator" => &[],
        "separator first" | "whitespace around" => &[Some(("ping", "3", Some(PONG)))],
        "cut inside the JSON" => &[Some(("ping", "14", Some(PONG)))],
        "several in one write, two types" => &[None, None, None],
        "errMsgFromClient asked for by name" | "srvQueuePrint" => &[None],
        _ => return None,
    })
}

/// Each on a connection and a host of its own, as it was measured: the first ping says 0.
#[test]
fn every_message_of_the_original_is_answered_as_expected() {
    for line in include_str!("data/original.jsonl").lines() {
        let row: Value = serde_json::from_str(line).expect("a row is JSON");
        let name = row["name"].as_str().expect("a row has a name");
        let Some(expected) = expected(name) else {
            panic!("no expectation for the row `{name}`");
        };
        let host = TestHost::with_plugin("counter");
        let mut client = host.connect();
        let pieces: Vec<&str> = row["send"]
            .as_array()
            .expect("pieces")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for piece in &pieces {
            client.send_bytes(piece.as_bytes());
        }
        let replies = client.replies(expected.len());
        for (reply, expected) in replies.iter().zip(expected) {
            let Some((type_name, query_index, result)) = expected else {
                continue;
            };
            assert_eq!(
                (&*reply.type_name, &*reply.query_index),
                (*type_name, *query_index),
                "{name}"
            );
            match result {
                Some(result) => assert!(
                    reply.text.ends_with(&format!("\"resultJob\":{result}}}")),
                    "{name}: {}",
                    reply.text
                ),
                None => check_complaint(name, reply, &pieces.concat()),
            }
        }
        check_closely(name, replies);
        expect_no_more(name, &mut client);
    }
}

fn check_complaint(row: &str, reply: &Reply, sent: &str) {
    if reply.type_name != "errMsgFromClient" {
        assert_eq!(reply.code(), Some("unknown_type"), "{row}");
        assert!(
            reply.sentence().contains(&reply.type_name),
            "{row}: {}",
            reply.text
        );
        return;
    }
    let first = sent.split(SEPARATOR).next().unwrap_or_default();
    assert_eq!(reply.code(), Some("bad_message"), "{row}");
    assert_eq!(reply.result["err"], first, "{row}");
    assert!(
        reply.sentence().is_ascii() && !reply.sentence().is_empty(),
        "{row}"
    );
}

fn check_closely(row: &str, mut replies: Vec<Reply>) {
    match row {
        "several in one write, two types" => {
            replies.sort_by(|a, b| a.query_index.cmp(&b.query_index));
            let texts: Vec<&str> = replies.iter().map(|reply| &*reply.text).collect();
            assert_eq!(
                texts,
                [
                    r#"{"type":"cntResponse","queryIndex":1,"resultJob":{"cnt":0}}"#,
                    r#"{"type":"cntResponse","queryIndex":2,"resultJob":{"cnt":1}}"#,
                    r#"{"type":"ping","queryIndex":3,"resultJob":{"pong":0}}"#,
                ]
            );
        }
        "errMsgFromClient asked for by name" => {
            assert_eq!(
                (&*replies[0].type_name, &*replies[0].query_index),
                ("errMsgFromClient", "5")
            );
            assert_eq!(
                (&replies[0].result["err"], replies[0].code()),
                (&json!("hi"), None)
            );
            assert!(replies[0].result["msg"].is_string());
        }
        "srvQueuePrint" => {
            assert_eq!(
                (&*replies[0].type_name, &*replies[0].query_index),
                ("srvQueuePrint", "5")
            );
            assert_eq!(replies[0].result["length"], 0);
        }
        _ => {}
    }
}

/// What stands unfinished in the decoder is finished first; then the next reply is the next request's.
fn expect_no_more(row: &str, client: &mut RawClient) {
    if row == "a complete message without separator" {
        client.send_bytes(SEPARATOR.as_bytes());
        assert_eq!(client.reply().query_index, "11");
    }
    client.send(r#"{"type":"ping","queryIndex":987}"#);
    assert_eq!(client.reply().query_index, "987", "{row}");
}

#[test]
fn two_of_one_type_are_answered_in_order_whatever_stands_between() {
    let host = TestHost::with_plugin("counter");
    let mut client = host.connect();
    client.tell_all((0..60).map(|at| (["cntResponse", "ping", "getIp"][at % 3], Value::Null)));
    let replies = client.replies(60);
    for (type_name, key, first) in [
        ("cntResponse", "cnt", 0),
        ("ping", "pong", 0),
        ("getIp", "ip", 1000),
    ] {
        let of_type: Vec<u64> = replies
            .iter()
            .filter(|reply| reply.type_name == type_name)
            .map(|reply| reply.number(key))
            .collect();
        assert_eq!(of_type, Vec::from_iter(first..first + 20), "{type_name}");
    }
}

#[test]
fn every_wrong_message_is_complained_of_by_name_and_the_next_is_served() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    for (message, query_index, says) in [
        (r#"{"type":"ping"}"#, "0", "queryIndex"),
        (
            r#"{"type":"ping","queryIndex":5,"queryIndex":5}"#,
            "5",
            "queryIndex",
        ),
        (
            r#"{"type":"ping","type":"ping","queryIndex":5}"#,
            "5",
            "type",
        ),
        (r#"{"type":5,"queryIndex":5}"#, "5", "type"),
        (r#"{"type":"ping","queryIndex":null}"#, "0", "queryIndex"),
        (r#"{"type":"ping","queryIndex":true}"#, "0", "queryIndex"),
        (
            r#"{"type":"ping","queryIndex":5,"Payload":1}"#,
            "5",
            "Payload",
        ),
        (
            r#"{"type":"ping","queryIndex":5,"payload":1,"payload":2}"#,
            "5",
            "payload",
        ),
        (
            r#"{"type":"ping","queryIndex":5,"meta":{}}"#,
            "5",
            "rm.hello",
        ),
        (r#"{"type":"ping","queryIndex":5,}"#, "5", "not JSON"),
        (r#"{"type":"ping","queryIndex":5}}"#, "5", "not JSON"),
        (r#"{"type":"ping","queryIndex":05}"#, "0", "not JSON"),
        (r#""text""#, "0", "string"),
        ("true", "0", "object"),
        ("{}", "0", "type"),
    ] {
        client.send(message);
        let reply = client.reply();
        assert_eq!(reply.type_name, "errMsgFromClient", "{message}");
        // What follows a fault need not have been read.
        if says != "not JSON" {
            assert_eq!(reply.query_index, query_index, "{message}");
        }
        assert_eq!(reply.result["err"], message);
        let said = reply.refused("bad_message");
        assert!(said.contains(says), "{message}: {said}");
        client.sync();
    }
}

#[test]
fn invalid_utf8_is_a_bad_message_and_is_echoed_replaced() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    client.send_bytes(b"{\"type\":\"ping\",\"queryIndex\":1,\"payload\":\"\xff\xf0\x9f\"}");
    client.send_bytes(SEPARATOR.as_bytes());
    let reply = client.reply();
    assert_eq!(reply.code(), Some("bad_message"));
    assert!(
        reply.result["err"]
            .as_str()
            .is_some_and(|echo| echo.contains('\u{fffd}')),
        "{}",
        reply.text
    );
    client.sync();
}

#[test]
fn a_long_bad_message_is_echoed_cut() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    client.send(&format!("[\"{}\"]", "ü".repeat(40_000)));
    let reply = client.reply();
    let echo = reply.result["err"].as_str().expect("an echo");
    assert!(
        echo.starts_with("[\"üü") && echo.len() <= 1024,
        "{} bytes",
        echo.len()
    );
    client.sync();
}

#[test]
fn a_message_may_be_nested_128_deep_and_no_deeper() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    let nested = |levels: usize| {
        format!(
            "{{\"type\":\"echo\",\"queryIndex\":{levels},\"payload\":{{\"deep\":{}{}}}}}",
            "[".repeat(levels - 2),
            "]".repeat(levels - 2)
        )
    };
    client.send(&nested(120));
    assert_eq!(client.reply().query_index, "120");
    client.send(&nested(128));
    // Looked at as text: this test's own reader gives up earlier.
    let reply = client.message();
    assert!(
        reply.starts_with(r#"{"type":"echo","queryIndex":128,"resultJob":{"deep":[["#),
        "{reply}"
    );
    client.send(&nested(129));
    let reply = client.reply();
    assert_eq!(
        (&*reply.type_name, &*reply.query_index),
        ("errMsgFromClient", "129")
    );
    assert!(reply.refused("bad_message").contains("128"));
    client.send(&format!("{}{}", "[".repeat(400_000), "]".repeat(400_000)));
    client.reply().refused("bad_message");
    client.sync();
}

#[test]
fn a_crab_in_strings_and_keys_is_escaped_in_every_reply() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    client.send(r#"{"type":"echo","queryIndex":1,"payload":{"a\ud83e\udd80b":["\ud83e\udd80"]}}"#);
    let text = client.message();
    assert_eq!(
        text,
        r#"{"type":"echo","queryIndex":1,"resultJob":{"a\ud83e\udd80b":["\ud83e\udd80"]}}"#
    );
    // In an error's text, in a type that nobody serves, and in an echo.
    let refuse =
        r#"{"type":"refuse","queryIndex":2,"payload":{"code":"own","text":"a \ud83e\udd80"}}"#;
    client.send(refuse);
    assert!(client.reply().refused("own").contains("a 🦀"));
    client.send(r#"{"type":"\ud83e\udd80","queryIndex":3}"#);
    assert_eq!(client.reply().type_name, "🦀");
    client.send(r#"{"type":"\ud83e\udd80","x":3}"#);
    assert_eq!(
        client.reply().result["err"],
        r#"{"type":"\ud83e\udd80","x":3}"#
    );
    client.send(r#"{"type":"ping","queryIndex":1,"\ud83e\udd80":3}"#);
    assert!(client.reply().refused("bad_message").contains('🦀'));
}

#[test]
fn query_indexes_come_back_digit_for_digit() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for digits in [
        "0",
        "-0",
        "1.50",
        "1e3",
        "1E+3",
        "-2.5e-7",
        "123456789012345678901234567890",
    ] {
        for type_name in ["ping", "echo", "nobody"] {
            client.send(&format!(
                "{{\"type\":\"{type_name}\",\"queryIndex\":{digits}}}"
            ));
            assert_eq!(client.reply().query_index, digits, "{type_name}");
        }
    }
}

#[test]
fn what_a_client_says_of_a_wrong_message_comes_back_as_it_was_sent() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    let payload = r#"{"n":1e999,"price":1.10,"lone":"\ud83e","twice":1,"twice":[ 2 ]}"#;
    client.send(&format!(
        r#"{{"type":"errMsgFromClient","queryIndex":1,"payload":{payload}}}"#
    ));
    let echoed = format!(r#""err":{payload}}}}}"#);
    let reply = client.message();
    assert!(reply.ends_with(&echoed), "{reply}");
    client.send(r#"{"type":"errMsgFromClient","queryIndex":1}"#);
    assert_eq!(client.reply().result["err"], Value::Null);
}

#[test]
fn numbers_in_a_raw_answer_keep_their_digits() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    let raw = r#"{"a":1.500,"type":"answer","b":12345678901234567890123}"#;
    client.tell("answer", json!({ "raw": raw }));
    let expected =
        r#"{"type":"answer","queryIndex":1,"resultJob":{"a":1.500,"b":12345678901234567890123}}"#;
    assert_eq!(client.message(), expected);
}

#[test]
fn an_oversized_message_closes_only_its_own_connection() {
    let host = TestHost::with_plugin("counter");
    let (mut other, mut client) = (host.connect(), host.connect());
    other.send_bytes(br#"{"type":"cntResp"#);
    client.tell("cntResponse", Value::Null);
    client.send_bytes(&vec![b' '; MESSAGE_BYTES_MAX + 1]);
    // Behind it nothing is run, separator or not; the host may be gone before all is written.
    let _ = client.try_send_bytes(SEPARATOR.as_bytes());
    let _ = client.try_send_bytes(
        format!(r#"{{"type":"cntResponse","queryIndex":8}}{SEPARATOR}"#).as_bytes(),
    );
    assert_eq!(client.reply().ok()["cnt"], 0);
    let reply = client.reply();
    assert_eq!(
        (&*reply.type_name, &*reply.query_index),
        ("errMsgFromClient", "0")
    );
    assert!(reply.refused("too_large").contains("1048576"));
    client.expect_end();
    other.send(r#"onse","queryIndex":3}"#);
    assert_eq!(other.reply().ok()["cnt"], 1);
}

#[test]
fn replies_owed_go_out_before_too_large() {
    let host = TestHost::with_fixture("gates");
    let gate = rm_tests::Gate::new();
    let mut client = host.connect();
    client.tell("addAtGate", gate.payload("owed"));
    let entered = gate.entered();
    client.tell("add", Value::Null);
    client.send_bytes(&vec![b'x'; MESSAGE_BYTES_MAX + 1]);
    // Its end is known to the host by now, and the job is still in work.
    host.log().wait_from(0, &["disconnected:", "1048576"]);
    entered.release();
    assert_eq!(client.reply().ok()["count"], 1);
    assert_eq!(client.reply().ok()["count"], 2);
    client.reply().refused("too_large");
    client.expect_end();
}

#[test]
fn a_message_of_exactly_one_mebibyte_is_served() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    let frame = r#"{"type":"ping","queryIndex":1,"payload":""}"#;
    let padding = "x".repeat(MESSAGE_BYTES_MAX - frame.len());
    client.send(&frame.replace("\"\"", &format!("\"{padding}\"")));
    assert_eq!(client.reply().ok()["pong"], 0);
    client.sync();
}

#[test]
fn another_protocols_client_is_told_so_and_closed() {
    let host = TestHost::with_plugin("counter");
    let smuggled = format!(r#"{{"type":"cntResponse","queryIndex":1}}{SEPARATOR}"#);
    let tls = "\u{16}\u{3}\u{1}\u{2}\u{0}";
    for (opening, says) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
        ("POST /x HTTP/1.1\r\nContent-Length: 99\r\n\r\n", "HTTP"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "HTTP"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (tls, "TLS"),
    ] {
        let mut client = host.connect();
        let _ = client.try_send_bytes(format!("{opening}{smuggled}").as_bytes());
        let reply = client.reply();
        assert_eq!(
            (&*reply.type_name, &*reply.query_index),
            ("errMsgFromClient", "0")
        );
        let said = reply.refused("bad_message");
        assert!(said.contains(says), "{opening:?}: {said}");
        client.expect_end();
    }
    // Nothing of what they brought along has run.
    assert_eq!(
        host.connect().ask("cntResponse", Value::Null).ok()["cnt"],
        0
    );
}

#[test]
fn unknown_types_are_answered_at_once_and_leave_nothing_behind() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    let types: Vec<String> = (0..3_000).map(|at| format!("nobody{at}")).collect();
    let indexes = client.tell_all(types.iter().map(|name| (&**name, Value::Null)));
    for (name, index) in types.iter().zip(indexes) {
        let reply = client.reply();
        assert_eq!((&reply.type_name, &reply.query_index), (name, &index));
        reply.refused("unknown_type");
    }
    assert_eq!(
        client.ask("srvQueuePrint", Value::Null).ok(),
        json!({ "length": 0, "types": {} })
    );
}
