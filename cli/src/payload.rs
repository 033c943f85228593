//! The payload's JSON, from the command line or from stdin, refused with its place where it is none.

use std::{io::Read, sync::mpsc, thread, time::Duration};

use protocol::limits::MESSAGE_BYTES_MAX;
use serde_json::value::RawValue;

use crate::outcome::Failure;

/// How much of a wrong line is shown on each side of the wrong place, in characters.
const SHOWN_CHARS_MAX: usize = 40;

pub(crate) fn from_argument(text: &str) -> Result<Box<RawValue>, Failure> {
    read(
        text,
        "the argument JSON",
        "quote it for the shell as one piece, as in '{\"count\": 2}', or give `-` and send it to stdin",
    )
}

/// From stdin, which was asked for by name.
pub(crate) fn required(stdin: impl Read) -> Result<Box<RawValue>, Failure> {
    optional(stdin)?.ok_or_else(|| {
        Failure::Usage(
            "expected JSON on stdin, got nothing; send the payload there, or leave `-` out"
                .to_owned(),
        )
    })
}

/// From stdin, which nobody named: it may be a pipe that nobody is ever going to close. `wait`: `None` without end.
pub(crate) fn offered(
    stdin: impl Read + Send + 'static,
    wait: Option<Duration>,
) -> Result<Option<Box<RawValue>>, Failure> {
    let Some(wait) = wait else {
        return optional(stdin);
    };
    let (done, payload) = mpsc::channel();
    // Nobody waits for the thread: a read cannot be called off, it ends with the process.
    thread::spawn(move || done.send(optional(stdin)));
    payload.recv_timeout(wait).unwrap_or_else(|_| {
        Err(Failure::Usage(format!(
            "expected an end of what comes on stdin within {wait:?}, got none; give </dev/null where there is no \
             payload, or `-` to read stdin however long it takes"
        )))
    })
}

/// From stdin; nothing there is no payload.
fn optional(stdin: impl Read) -> Result<Option<Box<RawValue>>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than could ever be sent shows that there is too much.
    let limit = MESSAGE_BYTES_MAX as u64 + 1;
    stdin
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Usage(format!("cannot read stdin: {error}")))?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "expected at most {MESSAGE_BYTES_MAX} bytes of JSON on stdin, got more"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Usage(format!(
            "expected JSON in UTF-8 on stdin, got another byte at offset {at}; convert it first"
        ))
    })?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    read(
        &text,
        "stdin",
        "send exactly one JSON value, as in {\"count\": 2}",
    )
    .map(Some)
}

fn read(text: &str, source: &str, remedy: &str) -> Result<Box<RawValue>, Failure> {
    let text = text.trim();
    RawValue::from_string(text.to_owned()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = error.to_string();
        let reason = reason
            .rsplit_once(" at line ")
            .map_or(reason.as_str(), |(reason, _)| reason);
        let shown = shown(text, line, column);
        Failure::Usage(format!(
            "{source} is not JSON at line {line} column {column}: {reason}\n{shown}\n{remedy}"
        ))
    })
}

/// The wrong line with a mark under the wrong place. serde_json counts columns in bytes, from 1.
fn shown(text: &str, line: usize, column: usize) -> String {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let (before, after) = line.split_at(line.floor_char_boundary(column.saturating_sub(1)));
    let skipped = before.chars().count().saturating_sub(SHOWN_CHARS_MAX);
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    let before: String = before.chars().skip(skipped).map(visible).collect();
    let after: String = after.chars().take(SHOWN_CHARS_MAX).map(visible).collect();
    format!(
        "  {before}{after}\n  {}^",
        " ".repeat(before.chars().count())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(result: Result<Box<RawValue>, Failure>) -> String {
        match result {
            Err(Failure::Usage(complaint)) => complaint,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_json_is_shown_with_its_place_and_a_remedy() {
        let text = complaint(from_argument("{count:2}"));
        let expected = "the argument JSON is not JSON at line 1 column 2: key must be a string\n  {count:2}\n   ^\nquote it";
        assert!(text.starts_with(expected), "{text}");
        let text = complaint(required(&b"{\n \"\xd1\x91\": tru }\n"[..]));
        assert!(text.contains("stdin is not JSON at line 2"), "{text}");
        for text in ["", "{", "{}{}", "\u{1b}[2J", "\"ё"] {
            let text = complaint(from_argument(text));
            assert!(
                text.contains("is not JSON") && !text.contains('\u{1b}'),
                "{text}"
            );
        }
    }

    #[test]
    fn an_empty_stdin_is_no_payload_unless_it_was_asked_for() {
        assert!(optional(&b" \n"[..]).unwrap().is_none());
        assert!(complaint(required(&b" \n"[..])).contains("got nothing"));
        assert_eq!(optional(&b" [1]\n"[..]).unwrap().unwrap().get(), "[1]");
        assert!(complaint(required(&b"\xff"[..])).contains("offset 0"));
        assert!(complaint(required(std::io::repeat(b' '))).contains("got more"));
    }
}
