//! Why a request has no result.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::value::RawValue;

use crate::server::{BadServer, Server};

/// Why a request has no result. [`Refused`](Self::Refused) is the host's answer; all others are known here only, and
/// where the message was already under way, whether the host served it is open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The host answered with an error.
    #[error("{code}: {message}")]
    Refused {
        /// The stable word: one of the host's own ([`protocol::ErrorCode`]) or the jobber's.
        code: String,
        /// The sentence for people.
        message: String,
        /// The whole `resultJob`, which may hold more, such as `retry_after_ms`.
        result: Box<RawValue>,
    },
    /// No address of the server could be connected to.
    #[error("cannot connect to {server}: {tried}; is rm-host running there?")]
    NoConnection {
        /// The server asked for.
        server: Server,
        /// Every address tried, and why it failed.
        tried: String,
    },
    /// The operators' socket in a host's data folder could not be connected to.
    #[error(
        "cannot connect to {}: {reason}; is rm-host running with this data folder, and are you its user?",
        socket.display()
    )]
    NoSocket {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The text names no server.
    #[error(transparent)]
    BadServer(#[from] BadServer),
    /// The connection ended while the request waited, or before it was made. `reset` opens another.
    #[error("the connection to the host is lost: {reason}")]
    Lost {
        /// What ended it.
        reason: Arc<str>,
    },
    /// The host does not know the session any more in which the request was sent: it may have been served. A client that
    /// reconnects goes on in another session with later requests.
    #[error(
        "the host has forgotten the session in which `{type_name}` was asked: whether it was served is not known"
    )]
    Forgotten {
        /// The type asked for.
        type_name: String,
    },
    /// An id was chosen for a request of a client that gives ids by itself; nothing was sent.
    #[error(
        "expected no id of the caller's own on a client that reconnects and gives ids by itself, got {id}: name a session with \
         `ClientOptions::session`, and choose all ids in it; nothing was sent"
    )]
    OwnId {
        /// The id.
        id: u64,
    },
    /// This client closed its connection. `reset` opens another.
    #[error("this client has closed its connection")]
    Closed,
    /// No reply came in time. A late one is ignored.
    #[error("no reply to `{type_name}` within {after:?}")]
    TimedOut {
        /// The type asked for.
        type_name: String,
        /// How long the request waited.
        after: Duration,
    },
    /// The message is longer than a host reads; nothing was sent.
    #[error(
        "expected a message of at most {bytes_max} bytes, got one of {bytes}; nothing was sent"
    )]
    TooLarge {
        /// Of the whole message without its separator.
        bytes: usize,
        /// The protocol's limit.
        bytes_max: usize,
    },
    /// The payload cannot be written as JSON; nothing was sent.
    #[error("the payload cannot be written as JSON; nothing was sent")]
    Payload(#[source] serde_json::Error),
    /// The host served the request, but its result is not of the type expected here.
    #[error("the result of `{type_name}` is not what was expected: {source}")]
    Result {
        /// The type asked for.
        type_name: String,
        /// What did not fit.
        source: serde_json::Error,
        /// The whole result.
        result: Box<RawValue>,
    },
}

impl ClientError {
    /// The code of the host's answer, if it is one.
    ///
    /// ```
    /// let error = client::ClientError::Closed;
    /// assert_eq!(error.code(), None);
    /// ```
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
