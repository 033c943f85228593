//! Why a folder is of no use for data.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    ownership::Weakness,
    state::log::{LogId, OpenError},
};

/// Why a folder is of no use for data.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// It is not there, or not for this process.
    #[error(
        "the data folder {} cannot be {failed}: {cause}; let the user that the host runs as write there, or \
         name another with --data DIR",
        folder.display()
    )]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        failed: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// Another process has it.
    #[error(
        "the data folder {} is in use by the process {other}: end that one, or name another folder with --data DIR",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other's process id, as far as it can be told.
        other: String,
    },
    /// Somebody else can change what is in it.
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// It is there, and nothing is in it that a host has made.
    #[error(
        "the data folder {} is there, but no host has made it, and there is no state in it. A volume that is not mounted \
         looks like this: mount it. If nothing was ever given out from it, make it once: rm-host init --data {}",
        .0.display(), .0.display()
    )]
    NotMade(PathBuf),
    /// It was there, and is not.
    #[error(
        "the data folder {} is not there, and it was: {} tells of it. Without it nothing is known of what was given out. {}",
        folder.display(), witness.display(), WaysOut(folder)
    )]
    Gone {
        /// The folder.
        folder: PathBuf,
        /// The mark beside it.
        witness: PathBuf,
    },
    /// The state was there, and is not.
    #[error(
        "there is no state in {}, and there was one: {} tells of it. Without it nothing is known of what was given out. {}",
        state.display(), witness.display(), WaysOut(folder)
    )]
    StateGone {
        /// The data folder.
        folder: PathBuf,
        /// Its part that holds the state.
        state: PathBuf,
        /// The mark that says so.
        witness: PathBuf,
    },
    /// What is there is another than what was there.
    #[error(
        "{} is another than was here before: {found}, and {} tells of the identity {expected}. An older folder under a volume \
         that is not mounted looks like this. Mount it, or put back what was there; if what is there now is meant, as if nothing else \
         had ever been given out: rm-host init --data {} --yes",
        path.display(), witness.display(), folder.display()
    )]
    Another {
        /// The data folder.
        folder: PathBuf,
        /// What is another: it, or the state in it.
        path: PathBuf,
        /// In words.
        found: String,
        /// The identity of what was there.
        expected: LogId,
        /// The mark that says so.
        witness: PathBuf,
    },
    /// An import or a backup was cut off.
    #[error(
        "there is {}, of an import or a backup that did not come to its end, and no state: nothing that was given out would \
         be known; repeat it, or remove that folder and say that nothing was given out: rm-host init",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// A host that keeps nothing would leave a state aside.
    #[error(
        "there is durable state in {}, which --durability memory would leave aside, as if nothing had been \
         given out; start with --durability sync, or name another folder with --data DIR",
        .0.display()
    )]
    LeftAside(PathBuf),
    /// A mark is not as it was written.
    #[error(
        "{} is not as it was written: expected the mark of a data folder, found {found}. If the folder is the right one and the \
         state in it is whole (rm-host state verify), remove this file: it is made anew",
        file.display()
    )]
    Mark {
        /// The mark.
        file: PathBuf,
        /// What is there.
        found: String,
    },
    /// A mark of a later host.
    #[error(
        "{} has format {found}, which this host does not read: run the version of rm-host that wrote it, or a later one",
        file.display()
    )]
    NewerMark {
        /// The mark.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// It was not said that it is meant.
    #[error(
        "{0}\nIf it is meant to go on with what is there now, as if nothing else had ever been given out, add --yes: what is not \
         there is forgotten"
    )]
    NotMeant(Box<Self>),
}

/// What an operator can do about a state that is not there.
struct WaysOut<'a>(&'a Path);

impl fmt::Display for WaysOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.0.display();
        write!(
            f,
            "Ways out: mount it, or put back what was moved; or bring a backup back, with {folder} moved aside: rm-host state backup \
             {folder} --data BACKUP; or begin with nothing, as if nothing had ever been given out: rm-host init --data {folder} --yes"
        )
    }
}
