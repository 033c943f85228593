//! Where the code of a lane runs.

use super::{code::LaneCode, thread::LaneThread};

/// Where a lane's code runs.
pub enum Runner {
    /// On the core thread.
    Inline(Box<LaneCode>),
    /// On a thread of its own.
    Thread(LaneThread),
    /// Nowhere: its last job did not end.
    Gone,
}
