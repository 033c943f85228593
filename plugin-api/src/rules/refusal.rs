//! The rules about a refusal: which codes a jobber may use, how long its sentence is, when it has asked to be
//! tried again often enough.

use std::{borrow::Cow, fmt};

use crate::limits::{REFUSAL_CODE_BYTES_MAX, REFUSAL_TEXT_BYTES_MAX};

/// The host's own codes, which no jobber refuses with.
pub const RESERVED_CODES: [&str; 19] = [
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
    "id_conflict",
    "id_forgotten",
    "cancelled",
    "operators_only",
    "idle_too_long",
];

/// A code that no jobber refuses with. The text is for the log and for the author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCode(pub String);

impl fmt::Display for NoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "refused with the code {:?}; a jobber's code is a lower-case word of letters, digits and `_`, and \
             none of the host's own",
            self.0
        )
    }
}

impl std::error::Error for NoCode {}

/// Whether a jobber may refuse with this code: lower-case letters, digits and underscores, a letter first, at
/// most [`REFUSAL_CODE_BYTES_MAX`] bytes, and none of [`RESERVED_CODES`].
///
/// # Errors
/// It may not.
pub fn code(word: &str) -> Result<(), NoCode> {
    match is_word(word) && !RESERVED_CODES.contains(&word) {
        true => Ok(()),
        false => Err(NoCode(word.to_owned())),
    }
}

fn is_word(word: &str) -> bool {
    word.len() <= REFUSAL_CODE_BYTES_MAX
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The sentence of a refusal, cut to [`REFUSAL_TEXT_BYTES_MAX`] bytes.
pub fn text(message: Cow<'_, str>) -> Cow<'_, str> {
    let end = message.floor_char_boundary(REFUSAL_TEXT_BYTES_MAX);
    match end < message.len() {
        true => format!("{}…", &message[..end]).into(),
        false => message,
    }
}

/// What is wrong with asking to be tried again for the last time.
pub fn gave_up(runs: u32, last: &str) -> String {
    format!("gave up after {runs} runs; the last said: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobbers_code_is_lower_case_and_begins_with_a_letter() {
        for good in ["sold_out", "a", "e2", &"x".repeat(64)] {
            assert_eq!(code(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "Sold",
            "_a",
            "2a",
            "sold-out",
            "sold out",
            "ü",
            &"x".repeat(65),
        ] {
            assert_eq!(code(bad), Err(NoCode(bad.to_owned())));
        }
    }

    #[test]
    fn a_code_of_the_hosts_own_is_a_word_that_no_jobber_refuses_with() {
        for reserved in RESERVED_CODES {
            assert!(is_word(reserved) && code(reserved).is_err(), "{reserved}");
        }
    }
}
