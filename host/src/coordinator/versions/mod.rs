//! Which version of which plugin serves: installed, waiting, kept, rolled back, disabled, on its way out; and what is told of that.

pub(in crate::coordinator) mod claims;
pub(in crate::coordinator) mod commands;
pub(in crate::coordinator) mod events;
pub(in crate::coordinator) mod history;
pub(in crate::coordinator) mod install;
pub(in crate::coordinator) mod removal;
pub(in crate::coordinator) mod report;
pub(in crate::coordinator) mod slot;
