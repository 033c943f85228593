//! What an operator does with the state on the disk: look whether it is whole, take a copy of it while a host serves, bring it
//! into another folder as text, and drop what nobody needs any more.

mod backup;
mod drop;
mod export;
mod import;
mod line;
mod set_time;
mod source;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use backup::backup;
pub use drop::drop_states;
pub use export::export;
pub use import::import;
pub use set_time::set_time;
pub use verify::{Verified, verify};

use crate::{
    clock::Span,
    data_folder::{self, DataFolderError, STATE_FOLDER, UNFINISHED_FOLDER as UNFINISHED},
    state::{
        disk::RealDisk,
        log::{Inspection, LogError, OpenError},
    },
};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is nothing to work on.
    #[error(
        "there is no state in the data folder {}: name the folder that the host was run with by --data DIR",
        .0.display()
    )]
    NoState(PathBuf),
    /// It is not whole, or cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be changed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A host has the folder, or nobody can have it.
    #[error(transparent)]
    Data(#[from] DataFolderError),
    /// Something is there already.
    #[error("{} is there already, and holds something: {remedy}", folder.display())]
    NotEmpty {
        /// What is there.
        folder: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// It would go where a host keeps its state.
    #[error(
        "{} lies in the data folder {}, which is what is copied: it would be lost with it, and stand in its way; name a place \
         outside of it",
        path.display(), folder.display()
    )]
    WithinSource {
        /// Where it was to go.
        path: PathBuf,
        /// What was to be copied.
        folder: PathBuf,
    },
    /// A file or a stream.
    #[error("{what} cannot be {done}: {cause}")]
    Io {
        /// Which one.
        what: String,
        /// What was tried.
        done: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// A line of an export is not as it was written.
    #[error(
        "line {line} of {source_name} is wrong: expected {expected}, found {found}. Nothing was imported; export anew, or mend \
         the line"
    )]
    Line {
        /// From 1.
        line: u64,
        /// The export.
        source_name: String,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// An export is whole, and not what was written.
    #[error(
        "{source_name} is not as it was written: expected lines with the CRC-32 {expected}, as its end says, found {found}. \
         Nothing was imported; take another copy of it, or export anew; if it was changed on purpose, take `crc32` out of its \
         last line"
    )]
    Checksum {
        /// The export.
        source_name: String,
        /// As its end says.
        expected: String,
        /// Of what stands before it.
        found: String,
    },
    /// Nothing is kept under that name.
    #[error("{wanted} is not in {}; there are: {known}", folder.display())]
    Unknown {
        /// What was named.
        wanted: String,
        /// The data folder.
        folder: PathBuf,
        /// What could have been.
        known: String,
    },
    /// It cannot be undone, and nobody has said that it is meant.
    #[error("this cannot be undone: what was granted there is forgotten. Add --yes to drop {0}")]
    NotConfirmed(String),
    /// The host's time would go back, and nobody has said that it is meant.
    #[error(
        "the host's time is {0} ahead of the system's clock. Times that plugins have stored stay as they are, so what ends \
         at one of them ends so much later. See that the system's clock is right, and add --yes to bring the host's time back to it"
    )]
    TimeNotConfirmed(Span),
}

impl StateError {
    fn io(what: impl Into<String>, done: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            what: what.into(),
            done,
            cause,
        }
    }
}

/// How a state is named to people.
fn title(plugin: &str, name: &str) -> String {
    match plugin {
        "" => format!("(host) {name}"),
        plugin => format!("{plugin} {name}"),
    }
}

/// The log in a data folder, to be read, with what the folder's mark tells of it; a host may serve from it.
fn inspection(data: &Path) -> Result<Inspection, StateError> {
    match data_folder::expected_within(data)? {
        Some(expected) => Ok(inspection_of_any(data)?.expecting(expected)),
        None => Err(StateError::NoState(data.to_owned())),
    }
}

/// The same of whatever lies there.
fn inspection_of_any(data: &Path) -> Result<Inspection, StateError> {
    let folder = data.join(STATE_FOLDER);
    if !holds_something(&folder)? {
        return Err(StateError::NoState(data.to_owned()));
    }
    Ok(Inspection::new(Arc::new(RealDisk), &folder))
}

/// Refuses to write to what is being copied, by whatever links the way leads there.
fn refuse_within(data: &Path, path: &Path) -> Result<(), StateError> {
    let because = |path: &Path| StateError::io(path.display().to_string(), "found");
    let source = data.canonicalize().map_err(because(data))?;
    let absolute = std::path::absolute(path).map_err(because(path))?;
    // What is not there yet leads nowhere else.
    let known = absolute
        .ancestors()
        .find_map(|above| above.canonicalize().ok());
    match known.is_some_and(|known| known.starts_with(&source)) {
        true => Err(StateError::WithinSource {
            path: path.to_owned(),
            folder: data.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Whether a folder is there, with anything in it.
fn holds_something(folder: &Path) -> Result<bool, StateError> {
    match folder.read_dir() {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StateError::io(folder.display().to_string(), "read")(error)),
    }
}
