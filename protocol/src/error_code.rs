//! The stable words that tell a program what went wrong.

use std::fmt;
use std::str::FromStr;

use crate::limits::ERROR_CODE_BYTES_MAX;

/// The host's own codes. A jobber may answer with other words, never with one of these.
///
/// ```
/// use protocol::ErrorCode;
///
/// assert_eq!(ErrorCode::UnknownType.as_str(), "unknown_type");
/// assert_eq!("busy".parse(), Ok(ErrorCode::Busy));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The message is no request.
    BadMessage,
    /// The message is longer than a message may be.
    TooLarge,
    /// No jobber is loaded for the type.
    UnknownType,
    /// The jobber could not read the payload.
    BadPayload,
    /// A queue is full.
    Busy,
    /// The request's deadline passed before it was started, or before its effects were committed.
    Expired,
    /// The jobber ran past its own time limit; its effects are void.
    Timeout,
    /// The jobber's answer bore another type, or none.
    TypeMismatch,
    /// The jobber gave up, or answered with what is no JSON object.
    JobberError,
    /// The jobber panicked on this request.
    JobberPanicked,
    /// The type's plugin is going.
    Removed,
    /// The type's plugin was taken out after faults.
    Quarantined,
    /// The state of the type's plugin cannot be written.
    StorageFailed,
    /// The host is stopping.
    ShuttingDown,
}

const ALL: [ErrorCode; 14] = [
    ErrorCode::BadMessage,
    ErrorCode::TooLarge,
    ErrorCode::UnknownType,
    ErrorCode::BadPayload,
    ErrorCode::Busy,
    ErrorCode::Expired,
    ErrorCode::Timeout,
    ErrorCode::TypeMismatch,
    ErrorCode::JobberError,
    ErrorCode::JobberPanicked,
    ErrorCode::Removed,
    ErrorCode::Quarantined,
    ErrorCode::StorageFailed,
    ErrorCode::ShuttingDown,
];

impl ErrorCode {
    /// The word as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::TooLarge => "too_large",
            Self::UnknownType => "unknown_type",
            Self::BadPayload => "bad_payload",
            Self::Busy => "busy",
            Self::Expired => "expired",
            Self::Timeout => "timeout",
            Self::TypeMismatch => "type_mismatch",
            Self::JobberError => "jobber_error",
            Self::JobberPanicked => "jobber_panicked",
            Self::Removed => "removed",
            Self::Quarantined => "quarantined",
            Self::StorageFailed => "storage_failed",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A word that is none of the host's codes; it may be a jobber's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of the host's error codes, got `{0}`")]
pub struct NoErrorCode(pub String);

impl FromStr for ErrorCode {
    type Err = NoErrorCode;

    fn from_str(word: &str) -> Result<Self, NoErrorCode> {
        ALL.into_iter()
            .find(|code| code.as_str() == word)
            .ok_or_else(|| NoErrorCode(word.to_owned()))
    }
}

/// Whether the word is one of the host's own codes, which no jobber may answer with.
pub fn is_reserved(word: &str) -> bool {
    ALL.into_iter().any(|code| code.as_str() == word)
}

/// Whether the word has a code's form: lower-case letters, digits and underscores, a letter first, at most
/// [`ERROR_CODE_BYTES_MAX`] bytes.
pub fn is_word(word: &str) -> bool {
    word.len() <= ERROR_CODE_BYTES_MAX
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_reserved_word_and_reads_back() {
        for code in ALL {
            assert!(
                is_word(code.as_str()) && is_reserved(code.as_str()),
                "{code}"
            );
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }

    #[test]
    fn a_jobbers_word_is_lower_case_and_begins_with_a_letter() {
        for good in ["sold_out", "a", "e2", &"x".repeat(64)] {
            assert!(is_word(good) && !is_reserved(good), "{good}");
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
            assert!(!is_word(bad), "{bad}");
        }
    }
}
