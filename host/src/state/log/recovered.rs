//! What was found in a log.

use std::path::PathBuf;

use super::{BatchNo, LogEnd};
use crate::state::{StateMap, effects::StateId};

/// A state as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredState {
    /// Its number in the log.
    pub id: StateId,
    /// The plugin's declared name.
    pub plugin: String,
    /// The state's name within the plugin.
    pub name: String,
    /// What kind of state it is.
    pub kind: String,
    /// The schema of its entries.
    pub schema: u32,
    /// Its entries.
    pub map: StateMap,
}

/// All states after one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The states, by rising id.
    pub states: Vec<RecoveredState>,
    /// The last batch that is in it.
    pub last: BatchNo,
    /// The greatest host time of a batch up to it.
    pub now_ms: u64,
    /// The lowest id that was never given to a state.
    pub next_state: StateId,
}

/// What an opened log held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The states, by rising id.
    pub states: Vec<RecoveredState>,
    /// The last batch that is there. The next one to append is the one after it.
    pub last: BatchNo,
    /// The greatest host time that was seen: the host's clock must not start before it.
    pub now_ms: u64,
    /// The lowest id that was never given to a state.
    pub next_state: StateId,
    /// What was read to find them, and what was cut off.
    pub report: RecoveryReport,
}

/// How a log was read, for the host's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The last batch of the snapshot that it began with.
    pub snapshot: Option<BatchNo>,
    /// Batches that were read after it.
    pub batches: u64,
    /// What those changed, counted one by one.
    pub effects: u64,
    /// The torn end, if there is one.
    pub cut: Option<Cut>,
    /// Where the last whole record ends; none if there is no segment.
    pub end: Option<LogEnd>,
}

/// The torn end of the newest segment: a record that is not whole, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment whose end was cut off.
    pub file: PathBuf,
    /// Where the last whole record ends.
    pub byte: u64,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
    /// The batch that would have stood there.
    pub batch: BatchNo,
}
