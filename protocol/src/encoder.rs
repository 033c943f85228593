//! Writes messages. Every function appends to `out`, so that the messages of one write are gathered in one buffer.
//!
//! A whole message ends with the separator and has it nowhere else: in JSON text a 🦀 can stand only inside a string,
//! where its escape means the same.

use crate::{
    error_code::ErrorCode,
    limits::{BAD_MESSAGE_ECHO_BYTES_MAX, SEPARATOR, SEPARATOR_ESCAPED},
    separator,
};

/// The type of every complaint about a message, for its own type could not be read.
pub const BAD_MESSAGE_TYPE: &str = "errMsgFromClient";

/// Appends the reply to a served request. `query_index` is a number's text as sent, `result` a JSON object's.
///
/// ```
/// let mut out = Vec::new();
/// protocol::encoder::reply(&mut out, "ping", "1", br#"{"pong":0}"#);
/// assert_eq!(out, "{\"type\":\"ping\",\"queryIndex\":1,\"resultJob\":{\"pong\":0}}🦀".as_bytes());
/// ```
pub fn reply(out: &mut Vec<u8>, type_name: &str, query_index: &str, result: &[u8]) {
    open_reply(out, type_name, query_index);
    push_escaped(out, result);
    close(out);
}

/// Appends an error reply: `code` is for programs, `err` for people.
///
/// ```
/// let mut out = Vec::new();
/// protocol::encoder::error(&mut out, "getTickets", "3", "sold_out", "no seats are left");
/// let expected = r#"{"type":"getTickets","queryIndex":3,"resultJob":{"err":"no seats are left","code":"sold_out"}}🦀"#;
/// assert_eq!(out, expected.as_bytes());
/// ```
pub fn error(out: &mut Vec<u8>, type_name: &str, query_index: &str, code: &str, err: &str) {
    error_with(out, type_name, query_index, code, err, &[]);
}

/// Appends an error reply with more beside `err` and `code`: names, each with a value's JSON text.
///
/// ```
/// let mut out = Vec::new();
/// protocol::encoder::error_with(&mut out, "a", "3", "busy", "the queue is full", &[("retry_after_ms", "50")]);
/// assert!(out.ends_with("\"code\":\"busy\",\"retry_after_ms\":50}}🦀".as_bytes()));
/// ```
pub fn error_with(
    out: &mut Vec<u8>,
    type_name: &str,
    query_index: &str,
    code: &str,
    err: &str,
    extra: &[(&str, &str)],
) {
    open_reply(out, type_name, query_index);
    out.extend_from_slice(b"{\"err\":");
    push_string(out, err);
    out.extend_from_slice(b",\"code\":");
    push_string(out, code);
    for (name, json) in extra {
        out.push(b',');
        push_string(out, name);
        out.push(b':');
        push_escaped(out, json.as_bytes());
    }
    out.push(b'}');
    close(out);
}

/// Appends the complaint about a message that is no request. `code` is `bad_message`, `too_large`, or
/// `busy` where there is no room for more of it; `received` is the
/// message, which comes back as text: what is not UTF-8 replaced, cut at [`BAD_MESSAGE_ECHO_BYTES_MAX`] bytes.
///
/// ```
/// let mut out = Vec::new();
/// protocol::encoder::bad_message(&mut out, "bad_message", "0", "expected a JSON object, got an array", b"[1]");
/// assert!(out.ends_with("\"err\":\"[1]\",\"code\":\"bad_message\"}}🦀".as_bytes()));
/// ```
pub fn bad_message(out: &mut Vec<u8>, code: &str, query_index: &str, msg: &str, received: &[u8]) {
    debug_assert!(
        [ErrorCode::BadMessage, ErrorCode::TooLarge, ErrorCode::Busy]
            .iter()
            .any(|of| of.as_str() == code)
    );
    open_reply(out, BAD_MESSAGE_TYPE, query_index);
    out.extend_from_slice(b"{\"msg\":");
    push_string(out, msg);
    out.extend_from_slice(b",\"err\":");
    push_string(out, &echo(received));
    out.extend_from_slice(b",\"code\":");
    push_string(out, code);
    out.push(b'}');
    close(out);
}

/// Appends a request. `payload` and `meta` are JSON texts; `meta` only after `rm.hello`.
///
/// ```
/// let mut out = Vec::new();
/// protocol::encoder::request(&mut out, "getTickets", 5, Some(r#"{"count":2}"#), None);
/// assert_eq!(out, "{\"type\":\"getTickets\",\"queryIndex\":5,\"payload\":{\"count\":2}}🦀".as_bytes());
/// ```
pub fn request(
    out: &mut Vec<u8>,
    type_name: &str,
    query_index: u64,
    payload: Option<&str>,
    meta: Option<&str>,
) {
    open(out, type_name, &query_index.to_string());
    for (key, json) in [("payload", payload), ("meta", meta)] {
        if let Some(json) = json {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            push_escaped(out, json.as_bytes());
        }
    }
    close(out);
}

/// Appends JSON text with each 🦀 escaped. What is no JSON text may come out as another.
pub fn push_escaped(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = separator::find(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(SEPARATOR_ESCAPED.as_bytes());
        rest = &rest[at + SEPARATOR.len()..];
    }
    out.extend_from_slice(rest);
}

/// Appends a text as a JSON string, each 🦀 escaped.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Type names and codes, which every reply has, are written as they are.
    if text.bytes().all(is_written_as_it_is) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let start = out.len();
    serde_json::to_writer(&mut *out, text).expect("text into memory always serializes");
    if separator::find(&out[start..]).is_some() {
        let string = out.split_off(start);
        push_escaped(out, &string);
    }
}

fn is_written_as_it_is(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn open(out: &mut Vec<u8>, type_name: &str, query_index: &str) {
    out.extend_from_slice(b"{\"type\":");
    push_string(out, type_name);
    out.extend_from_slice(b",\"queryIndex\":");
    out.extend_from_slice(query_index.as_bytes());
}

fn open_reply(out: &mut Vec<u8>, type_name: &str, query_index: &str) {
    open(out, type_name, query_index);
    out.extend_from_slice(b",\"resultJob\":");
}

fn close(out: &mut Vec<u8>) {
    out.push(b'}');
    out.extend_from_slice(&SEPARATOR);
}

/// As much of a message as its sender gets back. What is cut off is not looked at, so the cost is bounded too.
fn echo(received: &[u8]) -> String {
    // Four bytes more, so that a character at the cut is seen whole and dropped whole.
    let received = &received[..received.len().min(BAD_MESSAGE_ECHO_BYTES_MAX + 4)];
    let mut echo = String::new();
    for chunk in received.utf8_chunks() {
        echo.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            echo.push(char::REPLACEMENT_CHARACTER);
        }
    }
    echo.truncate(echo.floor_char_boundary(BAD_MESSAGE_ECHO_BYTES_MAX));
    echo
}
