//! The stable words that tell a program what went wrong.

use std::{fmt, str::FromStr};

/// The host's own codes. A jobber may answer with other words, never with one of these.
///
/// ```
/// use protocol::ErrorCode;
///
/// assert_eq!(ErrorCode::UnknownType.as_str(), "unknown_type");
/// assert_eq!("busy".parse(), Ok(ErrorCode::Busy));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The request's id was used for another request.
    IdConflict,
    /// What was answered under the request's id, or in its session, is not kept any more.
    IdForgotten,
    /// The client took the request back.
    Cancelled,
    /// The command is for operators, and this client is none.
    OperatorsOnly,
    /// The client has asked for nothing for too long.
    IdleTooLong,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::BadMessage,
        Self::TooLarge,
        Self::UnknownType,
        Self::BadPayload,
        Self::Busy,
        Self::Expired,
        Self::Timeout,
        Self::TypeMismatch,
        Self::JobberError,
        Self::JobberPanicked,
        Self::Removed,
        Self::Quarantined,
        Self::StorageFailed,
        Self::ShuttingDown,
        Self::IdConflict,
        Self::IdForgotten,
        Self::Cancelled,
        Self::OperatorsOnly,
        Self::IdleTooLong,
    ];

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
            Self::IdConflict => "id_conflict",
            Self::IdForgotten => "id_forgotten",
            Self::Cancelled => "cancelled",
            Self::OperatorsOnly => "operators_only",
            Self::IdleTooLong => "idle_too_long",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A word that is none of the host's codes; it may be a jobber's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of the host's error codes, got `{0}`")]
pub struct NoErrorCode(pub String);

impl FromStr for ErrorCode {
    type Err = NoErrorCode;

    fn from_str(word: &str) -> Result<Self, NoErrorCode> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == word)
            .ok_or_else(|| NoErrorCode(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }
}
