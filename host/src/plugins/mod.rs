//! Plugins, from files in a folder to code that can serve: watched, checked, copied and loaded here, on a
//! thread of their own. What becomes of them is decided by whoever gets the [`PluginEvent`]s.
//!
//! The way of a file: `listing` sees it, `folder` decides that it has come to rest, `owner` that nobody else
//! may change it, `image` takes it out of reach and `staging` keeps it, `check` judges its bytes, `config_file` reads what it is
//! made from, `trial` runs it in a process of its own (all that is `inspect`'s), `loader` opens it in this one, unless it is
//! among `libraries` already,
//! and plugin-api's rules look at what it says of itself. `prepare` leads it through, on a thread of the `preparation_pool`;
//! `watcher` drives all of it.

mod check;
mod config_file;
mod error;
mod folder;
mod folder_watch;
mod image;
mod inspect;
mod inspection;
mod libraries;
mod listing;
mod loader;
mod log;
mod owner;
mod preparation_pool;
mod prepare;
mod progress;
mod reading_room;
mod rolled_back;
mod settings;
mod shortage;
mod signals;
#[cfg(feature = "simulation")]
mod simulated;
mod staging;
mod stray;
pub mod trial;
mod watcher;

use std::{path::PathBuf, sync::Arc};

use plugin_api::description::Description;

pub use error::{CheckError, Step};
pub use inspect::Content;
pub use inspection::{Inspection, Inspector};
pub use loader::LoadedPlugin;
pub use rolled_back::{
    Decided, ROLLED_BACK_FOLDER, RolledBack, RolledBackTo, Source, is_unfinished_version,
};
pub use settings::{HostSettings, TypeSettings};
#[cfg(feature = "simulation")]
pub use simulated::SimulatedModule;
pub use watcher::{FolderError, Watcher};

/// One version of a plugin, loaded and made from its configuration, ready to open its lanes.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// NAME of the `libNAME.so` in the folder.
    pub name: String,
    /// The dropped file, which is no longer looked at.
    pub file: PathBuf,
    /// The beginning of the SHA-256 of the library, in hex, as `sha256sum` prints it.
    pub hash: String,
    /// The same of its `NAME.toml`, if there is one.
    pub config_hash: Option<String>,
    /// What tells this version from every other.
    pub content: Content,
    /// What the dropped file holds; something else where an operator has rolled it back.
    pub dropped: Content,
    /// The files that it was made of.
    pub source: Source,
    /// What the plugin says of itself; checked, but not against what other plugins offer.
    pub description: Description,
    /// Its code.
    pub plugin: Arc<LoadedPlugin>,
    /// What its `NAME.toml` says to the host. Types named there are types of the plugin.
    pub settings: HostSettings,
}

/// What became of the latest version of a plugin, where that is not what serves.
#[derive(Debug)]
pub struct Standing {
    /// NAME of the file.
    pub name: String,
    /// What was last heard of under this name.
    pub latest: Option<Content>,
    /// What serves; `None` if whatever comes is to be taken for new.
    pub serving: Option<Content>,
}

/// What happened to the plugins of the folder.
#[derive(Debug)]
pub enum PluginEvent {
    /// A new plugin, or a new version of one that was prepared before under the same name.
    Prepared(Box<Prepared>),
    /// A file cannot serve. Told once, and again when the file or its configuration has changed and is still
    /// refused. An earlier version of the same name is not affected.
    Refused {
        /// NAME of the file.
        name: String,
        /// The dropped file.
        file: PathBuf,
        /// Why, and what to do.
        error: CheckError,
    },
    /// The files hold again what was prepared last, or served last, after they held something else; or they were
    /// touched.
    Unchanged {
        /// NAME of the file.
        name: String,
    },
    /// The file of a plugin that was prepared or refused was taken out of the folder.
    Gone {
        /// NAME of the file.
        name: String,
    },
    /// Told once: every file that was present at the start has been prepared or refused. Files that keep
    /// changing are waited for only so long.
    Looked,
}
