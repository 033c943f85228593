//! Where the code of a lane runs.

use super::{code::LaneCode, thread::LaneThread};

/// Where a lane's code runs.
pub enum Runner {
    /// Its jobs run on the core thread.
    Inline(Box<LaneCode>),
    /// Its jobs run on a thread of the lane's own.
    Thread(LaneThread),
    /// Nowhere: its last job did not end.
    Gone,
}
