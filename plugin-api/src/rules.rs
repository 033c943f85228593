//! What a host takes from a plugin, and in which words it refuses the rest.
//!
//! The host and [`crate::testing`] ask the same code, so that an author's own tests fail for what a host would
//! refuse. It is pure, and no part of the ABI: each links its own copy, and the host's counts.

pub mod answer;
pub mod offer;
pub mod refusal;
pub mod stored;

use std::fmt;

use crate::limits::STATE_ENTRY_BYTES_MAX;

/// A state's entry is larger than any may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryTooLarge {
    /// Of key and value.
    pub bytes: usize,
}

impl fmt::Display for EntryTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wrote a state entry of {} bytes, at most {STATE_ENTRY_BYTES_MAX} are allowed",
            self.bytes
        )
    }
}

impl std::error::Error for EntryTooLarge {}

/// Whether an entry with this key and this value may be written.
///
/// # Errors
/// It is too large.
#[inline]
pub fn entry(key: &[u8], value: &[u8]) -> Result<(), EntryTooLarge> {
    let bytes = key.len() + value.len();
    match bytes > STATE_ENTRY_BYTES_MAX {
        true => Err(EntryTooLarge { bytes }),
        false => Ok(()),
    }
}

/// What a client is told of a fault of a jobber's.
pub fn told(fault: impl fmt::Display) -> String {
    format!("the jobber {fault}")
}

/// What a client is told whose deadline passed before its request was run.
pub const EXPIRED_BEFORE_START: &str = "the request's deadline passed before it was its turn";

/// What a client is told whose deadline passed while its request was queued or set aside.
pub const EXPIRED_UNSERVED: &str = "the request's deadline passed before it could be served";

/// What a client is told that does not wait for what others wait for.
pub const OTHERS_WAIT: &str =
    "others stand in line for the same already; ask with `wait` to join them";

/// What one who waits is told last of what it waited for, if it was never its turn to be tried.
pub const NOT_TRIED: &str = "others stood before it in line for the same";

/// What a client is told whose request waited for as long as the host lets any.
pub fn waited_longest(ms: u64) -> String {
    format!("the request waited for {ms} ms, as long as this host lets any request wait")
}
