//! What can go wrong with a log, for the operator: which file, where, what was expected, what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{BatchNo, LogId};
use crate::state::effects::BadEffects;

/// The disk refused an operation.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be {done}: {cause}", file.display())]
pub struct DiskError {
    /// The file or folder.
    pub file: PathBuf,
    /// "written", "synced" and the like.
    pub done: &'static str,
    /// What the system said.
    pub cause: io::Error,
}

impl DiskError {
    /// What turns the system's error into one that names file and operation.
    pub(super) fn because(file: &Path, done: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self {
            file: file.to_owned(),
            done,
            cause,
        }
    }
}

/// A place in the log that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged at byte {byte}{}: expected {expected}, found {found}. What was acknowledged cannot be read from here \
     on, so nothing was changed and nothing is served. {REMEDY}",
    file.display(),
    batch.map(|batch| format!(", batch {batch}")).unwrap_or_default()
)]
pub struct Damage {
    /// The segment or snapshot.
    pub file: PathBuf,
    /// The byte of the file at which it is damaged.
    pub byte: u64,
    /// The batch that should be there, if it is a segment.
    pub batch: Option<BatchNo>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

const REMEDY: &str = "Keep a copy of the whole folder and look after the disk; then put a backup in the folder's place";

/// Why a log cannot be opened. Nothing on the disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused something.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something is not as it was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// A file that should be there is not.
    #[error(
        "{} lacks {missing}, which {witness} calls for. If it was moved away, put it back; else {REMEDY_LOWER}",
        folder.display()
    )]
    Missing {
        /// The log's folder.
        folder: PathBuf,
        /// What is not there.
        missing: String,
        /// How that is known.
        witness: String,
    },
    /// A file of another log.
    #[error(
        "{} belongs to another log: expected the identity {expected}, found {found}. Put the file back that was there, or a \
         backup in the folder's place",
        file.display()
    )]
    AnotherLog {
        /// The segment or snapshot.
        file: PathBuf,
        /// The log that the folder belongs to.
        expected: LogId,
        /// The log that the file belongs to.
        found: LogId,
    },
    /// A file of a later host.
    #[error(
        "{} has format {found}, this host reads formats up to {supported}: run the version of rm-host that wrote it, or a \
         later one",
        file.display()
    )]
    NewerFormat {
        /// The segment or snapshot.
        file: PathBuf,
        /// The number of its format.
        found: u32,
        /// The newest one that this host knows.
        supported: u32,
    },
    /// A file that no host has put there.
    #[error(
        "{} is no file of the log, and nothing else may be in its folder: move it elsewhere",
        file.display()
    )]
    Foreign {
        /// The file.
        file: PathBuf,
    },
}

const REMEDY_LOWER: &str = "put a backup in the folder's place";

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

/// Why a log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused something.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An earlier append or sync failed.
    #[error("the log takes nothing since a write to it failed; it has to recover first")]
    Poisoned,
    /// A bug of the host.
    #[error("batch {found} was to be appended, the log expects batch {expected}")]
    OutOfOrder {
        /// The number after the last one.
        expected: BatchNo,
        /// The number that was given.
        found: BatchNo,
    },
    /// More than a record holds.
    #[error("the effects of a batch take {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// The bytes that its effects take.
        bytes: usize,
        /// See [`BATCH_EFFECTS_BYTES_MAX`](crate::limits::BATCH_EFFECTS_BYTES_MAX).
        max: usize,
    },
    /// A snapshot has taken the place of what was asked for.
    #[error(
        "batches after {after} were asked for, the log begins after batch {begin}: load the snapshot"
    )]
    TailGone {
        /// The last batch that the reader has.
        after: BatchNo,
        /// The last batch of the snapshot.
        begin: BatchNo,
    },
    /// A bug of the host.
    #[error("batch {batch} cannot be applied: {cause}")]
    BadEffects {
        /// The batch that holds them.
        batch: BatchNo,
        /// What is wrong with them.
        cause: BadEffects,
    },
    /// The folder, or a file in it, is not what was opened any more.
    #[error(
        "{} is not what was opened any more: {what}. Nothing is acknowledged until it is back; as long as this process lives, \
         files that were removed can be copied out of /proc/{}/fd",
        path.display(), std::process::id()
    )]
    NotTheSame {
        /// What was looked at.
        path: PathBuf,
        /// What became of it.
        what: String,
    },
    /// What was written before cannot be read.
    #[error(transparent)]
    Unreadable(#[from] OpenError),
}
