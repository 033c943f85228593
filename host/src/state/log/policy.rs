//! How large the pieces of a log grow.

use crate::limits::{
    SEGMENT_BYTES, SNAPSHOT_DUE_BYTES, SNAPSHOT_PIECE_BYTES, SNAPSHOT_RUNS_MAX, ZEROED_AHEAD_BYTES,
};

/// The sizes that a [`FileLog`](super::FileLog) goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A segment that has grown to this gets no further record.
    pub segment_bytes: u64,
    /// A snapshot is due once the closed segments hold this, and half as much as the last snapshot.
    pub snapshot_due_bytes: u64,
    /// So much of the newest segment is filled with zeros at once, before records need it; 0 for never.
    pub zeroed_ahead_bytes: u64,
    /// Changes that a snapshot takes into memory at once.
    pub snapshot_piece_bytes: usize,
    /// Pieces that a snapshot is made from, at most; it ends with the segment in which they are as many.
    pub snapshot_runs_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            snapshot_due_bytes: SNAPSHOT_DUE_BYTES,
            zeroed_ahead_bytes: ZEROED_AHEAD_BYTES,
            snapshot_piece_bytes: SNAPSHOT_PIECE_BYTES,
            snapshot_runs_max: SNAPSHOT_RUNS_MAX,
        }
    }
}
