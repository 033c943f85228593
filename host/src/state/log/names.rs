//! What files a log's folder holds, and how they are called.

use std::path::{Path, PathBuf};

use super::{BatchNo, DiskError, OpenError};
use crate::state::disk::Disk;

/// A file is written under its name and this, and renamed once it is whole and durable.
const UNFINISHED: &str = ".new";

/// The name of the segment that begins with a batch.
pub(super) fn segment(first: BatchNo) -> String {
    format!("log-{:020}.rml", first.0)
}

/// The name of the snapshot that ends with a batch.
pub(super) fn snapshot(last: BatchNo) -> String {
    format!("snapshot-{:020}.rms", last.0)
}

/// The name of a file that lasts while a snapshot is made. It is that of an unfinished segment which no log ever gets to, so
/// that a start removes it.
pub(super) fn run(index: usize) -> String {
    unfinished(&segment(BatchNo(u64::MAX - index as u64)))
}

/// The name of a file that is being written.
pub(super) fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

/// What a folder holds, in order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The first batches of the segments.
    pub segments: Vec<BatchNo>,
    /// The last batches of the snapshots.
    pub snapshots: Vec<BatchNo>,
    /// What a crash left unfinished.
    pub unfinished: Vec<PathBuf>,
    /// Files that no host has put there.
    pub foreign: Vec<PathBuf>,
}

impl Listing {
    /// Looks into the folder, before it is read: where something else is, who knows what is missing.
    pub(super) fn to_read(disk: &dyn Disk, folder: &Path) -> Result<Self, OpenError> {
        let mut listing = Self::of(disk, folder)?;
        match listing.foreign.pop() {
            Some(file) => Err(OpenError::Foreign { file }),
            None => Ok(listing),
        }
    }

    /// Looks into the folder.
    pub(super) fn of(disk: &dyn Disk, folder: &Path) -> Result<Self, DiskError> {
        let names = disk
            .list(folder)
            .map_err(DiskError::because(folder, "listed"))?;
        let mut listing = Self::default();
        for name in names {
            if let Some(first) = numbered(&name, "log-", ".rml") {
                listing.segments.push(first);
            } else if let Some(last) = numbered(&name, "snapshot-", ".rms") {
                listing.snapshots.push(last);
            } else if is_unfinished(&name) {
                listing.unfinished.push(folder.join(name));
            } else {
                listing.foreign.push(folder.join(name));
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }
}

fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| {
        numbered(name, "log-", ".rml").is_some() || numbered(name, "snapshot-", ".rms").is_some()
    })
}

fn numbered(name: &str, before: &str, after: &str) -> Option<BatchNo> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(BatchNo))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let none = ["log-1.rml", "log-.rml", "log-+0000000000000000001.rml"];
        assert!(
            none.iter()
                .all(|name| numbered(name, "log-", ".rml").is_none())
        );
        let too_large = format!("log-{}.rml", "9".repeat(20));
        assert_eq!(numbered(&too_large, "log-", ".rml"), None);
        for number in [0, 1, u64::MAX] {
            let name = segment(BatchNo(number));
            assert_eq!(numbered(&name, "log-", ".rml"), Some(BatchNo(number)));
            assert!(is_unfinished(&unfinished(&name)));
            assert!(is_unfinished(&unfinished(&snapshot(BatchNo(number)))));
            assert!(is_unfinished(&run(3)));
        }
        assert!(!is_unfinished("other.new"));
    }
}
