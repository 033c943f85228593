//! What the user sees: the result, or what went wrong, and the exit status.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use client::ClientError;
use protocol::{Waited, shown};
use serde_json::value::RawValue;

use crate::json_text;

const REFUSED: u8 = 1;
const NO_REPLY: u8 = 2;
/// As in BSD's sysexits, as is [`CANNOT_WRITE`].
pub(crate) const USAGE: u8 = 64;
const CANNOT_WRITE: u8 = 74;

/// Why there is no result to print.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user's: what was expected, what came, what to do.
    Usage(String),
    Client(ClientError),
    /// The host did as it was told, and it did not help.
    InVain(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Client(ClientError::Refused { .. }) | Self::InVain(_) => REFUSED,
            Self::Client(
                ClientError::TooLarge { .. } | ClientError::Payload(_) | ClientError::BadServer(_),
            ) => USAGE,
            Self::Client(_) => NO_REPLY,
        }
    }
}

/// Prints a result: for reading on a terminal, as one line for a program.
pub(crate) fn print(result: &RawValue) -> ExitCode {
    let text = if io::stdout().is_terminal() {
        json_text::pretty(result.get())
    } else {
        json_text::compact(result.get())
    };
    print_text(&shown::escaped_json(&text))
}

/// Prints lines, the last one without its end.
pub(crate) fn print_text(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen all it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("cannot write the result: {error}"));
            ExitCode::from(CANNOT_WRITE)
        }
    }
}

pub(crate) fn complain(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Usage(complaint) => say(&format!(
            "{complaint}\nFor more information, try 'rm-cli --help'."
        )),
        // A host's words, or a plugin's: in one line, so that none of them looks like one of this program's own.
        Failure::Client(error) => {
            say(&shown::OneLine(&error.to_string()).to_string());
            if let ClientError::Refused { result, .. } = error
                && let Some(waited) = Waited::parse(result.get())
            {
                say(&shown::OneLine(&waited_text(&waited)).to_string());
            }
        }
        Failure::InVain(complaint) => say(&shown::OneLine(complaint).to_string()),
    }
    ExitCode::from(failure.status())
}

/// What a request waited for in vain.
fn waited_text(waited: &Waited<'_>) -> String {
    format!(
        "it waited for {} ms, in the end at place {} of its line, and was told last: {}: {}",
        grouped(waited.waited_ms),
        waited.place,
        waited.last_code,
        waited.last_err
    )
}

/// To stderr; where nobody reads it, the status still tells.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(text));
}

/// The text may be a host's or a plugin's, and must not steer the user's terminal. Its lines stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    shown::escaped(text, &['\n'])
}

/// A number with a comma between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_waited_for_in_vain_is_told_in_a_sentence() {
        let waited = Waited {
            last_code: "none_free".into(),
            last_err: "1 asked for, 0 free".into(),
            waited_ms: 1_500,
            place: 2,
        };
        assert_eq!(
            waited_text(&waited),
            "it waited for 1,500 ms, in the end at place 2 of its line, and was told last: none_free: 1 asked for, 0 free"
        );
    }

    #[test]
    fn thousands_are_told_apart() {
        let grouped = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_hosts_text_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("taken: \u{1b}[2J\u{9b}ё\nby 🦀"),
            "taken: \\u{1b}[2J\\u{9b}ё\nby 🦀"
        );
    }
}
