//! How a request is served: taken in, run in a lane when its turn comes, answered without being run where that has to be; and what
//! faults cost whom.

pub(in crate::coordinator) mod dispatch;
pub(in crate::coordinator) mod faults;
pub(in crate::coordinator) mod intake;
pub(in crate::coordinator) mod quarantine;
pub(in crate::coordinator) mod type_faults;
pub(in crate::coordinator) mod unrun;
