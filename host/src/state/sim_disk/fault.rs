//! What a simulated disk is told to fail at.

use std::io;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    CreateFolder,
    List,
    Create,
    Open,
    Read,
    Length,
    Write,
    Sync,
    Truncate,
    Rename,
    Remove,
    SyncFolder,
}

impl Operation {
    pub const ALL: [Self; 12] = [
        Self::CreateFolder,
        Self::List,
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Length,
        Self::Write,
        Self::Sync,
        Self::Truncate,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
    ];

    /// Whether it changes what is on the disk.
    pub fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Read | Self::Length)
    }
}

/// What an operation does instead of succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO.
    Broken,
    /// ENOSPC.
    Full,
    /// A write takes half of the bytes, and says so.
    Short,
}

/// The operations of one kind that fail: from the `nth` on, so many.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub operation: Operation,
    pub nth: u64,
    pub times: u64,
    pub failure: Failure,
}

/// What the system would say.
pub fn error(failure: Failure) -> io::Error {
    io::Error::from_raw_os_error(match failure {
        Failure::Broken => libc::EIO,
        Failure::Full | Failure::Short => libc::ENOSPC,
    })
}
