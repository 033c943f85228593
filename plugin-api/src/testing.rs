//! Run a plugin without a host.

mod memory;

pub(crate) use memory::MemoryHost;
#[cfg(test)]
pub(crate) use memory::Opened;
