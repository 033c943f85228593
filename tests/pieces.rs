//! A message may arrive in any pieces, cut anywhere, and the pieces of several connections in any order: each client
//! gets the same replies, and none sees anything of another's.

use rm_tests::{RawClient, SEPARATOR, TestHost};
use serde_json::json;

/// Several bytes for a letter, escapes, whitespace, an empty message and a wrong one, up to the last separator.
fn conversation() -> Vec<u8> {
    [
        r#"{"type":"echo","queryIndex":1,"payload":{"a":"ё🦊\ud83e\udd80"}}"#,
        "",
        " \n{\"type\":\"ping\", \"queryIndex\":2}\t",
        "[\"no request\",\"ü\"]",
        r#"{"type":"echo","queryIndex":4,"payload":{"🦊":[1.50,"{\"}"]}}"#,
        "",
    ]
    .join(SEPARATOR)
    .into_bytes()
}

#[track_caller]
fn expect_replies(client: &mut RawClient, what: &str) {
    let messages: Vec<String> = (0..4).map(|_| client.message()).collect();
    assert_eq!(
        messages[0], r#"{"type":"echo","queryIndex":1,"resultJob":{"a":"ё🦊\ud83e\udd80"}}"#,
        "{what}"
    );
    assert!(
        messages[1].starts_with(r#"{"type":"ping","queryIndex":2,"resultJob":{"pong":"#),
        "{what}"
    );
    assert!(
        messages[2].starts_with(r#"{"type":"errMsgFromClient","queryIndex":0,"#),
        "{what}"
    );
    assert!(
        messages[2].contains(r#"[\"no request\",\"ü\"]"#),
        "{what}: {}",
        messages[2]
    );
    assert!(
        messages[3].starts_with(r#"{"type":"echo","queryIndex":4,"resultJob":{"🦊":["#),
        "{what}"
    );
}

#[test]
fn a_conversation_cut_at_any_byte_gets_the_same_replies() {
    let host = TestHost::with_fixture("answers");
    let (mut client, mut other) = (host.connect(), host.connect());
    let conversation = conversation();
    for cut in 1..conversation.len() {
        let (first, second) = conversation.split_at(cut);
        client.send_bytes(first);
        // The host has read the first piece by the time it answers another client.
        other.sync();
        client.send_bytes(second);
        expect_replies(&mut client, &format!("cut at {cut}"));
    }
}

#[test]
fn a_conversation_byte_by_byte_gets_the_same_replies() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for byte in conversation() {
        client.send_bytes(&[byte]);
    }
    expect_replies(&mut client, "byte by byte");
}

#[test]
fn interleaved_pieces_of_many_connections_do_not_disturb_each_other() {
    let host = TestHost::with_fixture("answers");
    let conversation = conversation();
    let mut clients: Vec<RawClient> = (0..9).map(|_| host.connect()).collect();
    // Each in pieces of another size, so that at any time all are cut at different places.
    let mut sent = vec![0; clients.len()];
    while sent.iter().any(|sent| *sent < conversation.len()) {
        for (at, client) in clients.iter_mut().enumerate() {
            let end = (sent[at] + at + 1).min(conversation.len());
            client.send_bytes(&conversation[sent[at]..end]);
            sent[at] = end;
        }
    }
    for (at, client) in clients.iter_mut().enumerate() {
        expect_replies(client, &format!("pieces of {}", at + 1));
    }
}

#[test]
fn a_broken_message_of_one_client_spoils_nothing_of_the_next() {
    let host = TestHost::with_fixture("answers");
    let (mut one, mut other) = (host.connect(), host.connect());
    one.send_bytes(b"{\"type\":\"ping\",\"que");
    other.sync();
    one.reset();
    host.log().wait_from(0, &["disconnected"]);
    other.ask("echo", json!({ "a": 1 })).ok();
    let mut next = host.connect();
    next.send_bytes(b"ryIndex\":1}");
    next.send_bytes(SEPARATOR.as_bytes());
    next.reply().refused("bad_message");
    next.sync();
}

#[test]
fn thousands_of_messages_in_one_write_are_all_answered() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    let requests = (0..20_000).map(|at| ("echo", json!({ "at": at })));
    // Written beside the reading, or both sides would wait for each other.
    std::thread::scope(|scope| {
        let mut reader = client.reader();
        scope.spawn(move || {
            for at in 0..20_000 {
                assert_eq!(reader.reply().ok(), json!({ "at": at }));
            }
        });
        client.tell_all(requests);
    });
}
