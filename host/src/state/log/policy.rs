//! How large the pieces of a log grow.

use crate::limits::{SEGMENT_BYTES, SNAPSHOT_DUE_BYTES, ZEROED_AHEAD_BYTES};

/// The sizes that a [`FileLog`](super::FileLog) goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A segment that has grown to this gets no further record.
    pub segment_bytes: u64,
    /// A snapshot is due once the closed segments hold this, and half as much as the last snapshot.
    pub snapshot_due_bytes: u64,
    /// So much of the newest segment is filled with zeros at once, before records need it; 0 for never.
    pub zeroed_ahead_bytes: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            snapshot_due_bytes: SNAPSHOT_DUE_BYTES,
            zeroed_ahead_bytes: ZEROED_AHEAD_BYTES,
        }
    }
}
