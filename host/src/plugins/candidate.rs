//! The way of one file from the folder to a plugin that is ready to serve.
//!
//! Each step refuses with a reason; whatever served before is not touched by any of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Prepared, check,
    config_file::ConfigFile,
    error::{CheckError, Step},
    folder::Entry,
    listing, loader, log, offer,
    private_copy::{ContentHash, CopyRoom, Image, Untaken},
};
use crate::{
    blame::Blame,
    crash_list::CrashList,
    limits::{PLUGIN_CONFIG_BYTES_MAX, PLUGIN_FILE_BYTES_MAX},
};

/// What makes one version of a plugin differ from another: the content of its two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    library: ContentHash,
    config: Option<ContentHash>,
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.config {
            None => self.library.fmt(f),
            Some(config) => write!(f, "{}+{config}", self.library),
        }
    }
}

/// How the preparation of a file ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Prepared(Box<Prepared>, Content),
    /// It is what was prepared last.
    Same,
    /// It moved while it was read: to be tried again once it stands still.
    Moving,
    Refused(CheckError),
}

/// What is needed to prepare the files of a folder.
#[derive(Debug)]
pub(super) struct Preparation {
    folder: PathBuf,
    copies: CopyRoom,
    crashes: Arc<CrashList>,
}

impl Preparation {
    pub(super) fn new(folder: PathBuf, crashes: Arc<CrashList>) -> Self {
        Self {
            folder,
            copies: CopyRoom::default(),
            crashes,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Prepares the plugin `name`, unless its content is `last`.
    pub(super) fn prepare(&self, name: &str, entry: &Entry, last: Option<Content>) -> Outcome {
        let taken = match self.take(name, entry) {
            Ok(taken) => taken,
            Err(Untaken::Moving) => return Outcome::Moving,
            Err(Untaken::Refused(error)) => return Outcome::Refused(error),
        };
        let content = taken.content();
        if Some(content) == last {
            return Outcome::Same;
        }
        let prepared = self
            .not_crashed(name, content)
            .and_then(|()| self.load(name, entry, &taken));
        match prepared {
            Ok(prepared) => {
                // An earlier version may be put back and tried again.
                self.crashes.replaced(name);
                Outcome::Prepared(Box::new(prepared), content)
            }
            Err(error) => Outcome::Refused(error),
        }
    }

    fn not_crashed(&self, name: &str, content: Content) -> Result<(), CheckError> {
        match self.crashes.mark_of(name, &content.to_string()) {
            None => Ok(()),
            Some(mark) => Err(CheckError::new(
                Step::Crashed,
                mark.to_string(),
                "replace the file, or start with --retry-crashed",
            )),
        }
    }

    fn take(&self, name: &str, entry: &Entry) -> Result<Taken, Untaken> {
        if let Some(misnamed) = &entry.misnamed {
            let remedy = "rename it to libNAME.so, with a NAME that no other plugin has";
            return Err(CheckError::new(Step::Read, misnamed, remedy).into());
        }
        let library = Image::read(&self.folder, &entry.file, PLUGIN_FILE_BYTES_MAX)?;
        let config_file = listing::config_file(name);
        let config = match entry.config {
            None => None,
            Some(_) => {
                let image = Image::read(&self.folder, &config_file, PLUGIN_CONFIG_BYTES_MAX);
                Some(image.map_err(|untaken| in_config(&config_file, untaken))?)
            }
        };
        Ok(Taken { library, config })
    }

    fn load(&self, name: &str, entry: &Entry, taken: &Taken) -> Result<Prepared, CheckError> {
        check::verdict(&taken.library.bytes)?;
        let config = taken.config.as_ref().map(|image| image.bytes.clone());
        let config = ConfigFile::read(listing::config_file(name), config)?;
        let copy = self.copies.write(&taken.library, &entry.file)?;
        // A trial of the copy in a process of its own belongs here: beyond this line its code runs in ours.
        let file = self.folder.join(&entry.file);
        let blame = Blame::new(name, &taken.content().to_string(), &file);
        let module = loader::Module::open(copy.path(), blame)?;
        drop(copy);
        let plugin = module
            .create(name, &config.plugin, log::of_plugin(name))
            .map_err(|unmade| match unmade {
                loader::Unmade::Refused(said) => config.refused_by_plugin(&said),
                loader::Unmade::Panicked(said) => CheckError::new(
                    Step::Load,
                    format!("it panicked while it was made from its configuration: {said}"),
                    format!("mend the plugin, or change {}", listing::config_file(name)),
                ),
            })?;
        let description = plugin.describe()?;
        offer::check(&description)?;
        let lanes = description.lanes.iter();
        let types: Vec<_> = lanes
            .flat_map(|lane| &lane.types)
            .map(String::as_str)
            .collect();
        config.check_types(&types)?;
        Ok(Prepared {
            name: name.to_owned(),
            file,
            hash: taken.library.hash.short(),
            description,
            plugin: Arc::new(plugin),
            settings: config.host,
        })
    }
}

/// The files of a plugin, out of the reach of whoever dropped them.
struct Taken {
    library: Image,
    config: Option<Image>,
}

impl Taken {
    fn content(&self) -> Content {
        Content {
            library: self.library.hash,
            config: self.config.as_ref().map(|image| image.hash),
        }
    }
}

fn in_config(config_file: &str, untaken: Untaken) -> Untaken {
    match untaken {
        Untaken::Refused(error) => {
            let cause = format!("{config_file}: {}", error.cause);
            CheckError::new(Step::Configuration, cause, error.remedy).into()
        }
        Untaken::Moving => Untaken::Moving,
    }
}
