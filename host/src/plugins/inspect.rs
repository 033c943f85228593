//! What a plugin's file passes before the host opens it: it is taken, looked at, copied and tried. None of its
//! code runs in this process.

use std::{path::Path, sync::Arc};

use plugin_api::description::{LaneDescription, Purpose};

use super::{
    check,
    config_file::ConfigFile,
    error::{CheckError, Step},
    image::{ContentHash, Image, Readable, Untaken},
    listing,
    owner::Owners,
    reading_room::ReadingRoom,
    staging::{self, StagedCopy, Staging},
    trial::{Shown, Trials},
};
use crate::limits::{PLUGIN_CONFIG_BYTES_MAX, PLUGIN_FILE_BYTES_MAX, PLUGIN_FILES_READ_BYTES_MAX};

/// Examines the files of plugins, several at once if need be.
#[derive(Debug)]
pub(super) struct FileInspector {
    copies: Staging,
    owners: Owners,
    room: Arc<ReadingRoom>,
    trials: Trials,
}

/// The files of a plugin, out of the reach of whoever dropped them.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) library: Image,
    pub(super) config: Option<Image>,
}

/// What makes one version of a plugin differ from another: the content of its two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    library: ContentHash,
    config: Option<ContentHash>,
}

/// A plugin that broke nothing in its trial. Whether its self-tests passed is yet to be looked at.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) copy: StagedCopy,
    pub(super) config: ConfigFile,
    pub(super) shown: Shown,
    /// What it wrote to stderr meanwhile.
    pub(super) said: Vec<String>,
}

impl FileInspector {
    /// What it tries is told that it is made for `purpose`.
    pub(super) fn new(purpose: Purpose) -> Self {
        staging::sweep();
        Self {
            copies: Staging::default(),
            owners: Owners::default(),
            room: ReadingRoom::new(PLUGIN_FILES_READ_BYTES_MAX),
            trials: Trials::new(purpose),
        }
    }

    /// Ends the trials that run, and those to come at once.
    pub(super) fn stop(&self) {
        self.trials.stop();
    }

    /// Refuses a folder in which others may put files in the place of those that lie there.
    pub(super) fn check_folder(&self, folder: &Path) -> Result<(), CheckError> {
        self.owners.check_folder(folder)
    }

    /// Takes the library `file` of the plugin `name`, and its configuration, if there is one.
    pub(super) fn take(
        &self,
        folder: &Path,
        name: &str,
        file: &str,
        has_config: bool,
    ) -> Result<Taken, Untaken> {
        self.check_folder(folder)?;
        let config_file = listing::config_file(name);
        // First, since nobody is to wait for room for it while the library takes some.
        let config = has_config.then(|| {
            Image::read(
                folder,
                &config_file,
                self.readable(PLUGIN_CONFIG_BYTES_MAX, |_| Ok(())),
            )
            .map_err(|untaken| in_config(&config_file, untaken))
        });
        let library = self.readable(PLUGIN_FILE_BYTES_MAX, check::head);
        let library = Image::read(folder, file, library)?;
        let config = config.transpose()?;
        Ok(Taken { library, config })
    }

    fn readable(&self, bytes_max: u64, head: fn(&[u8]) -> Result<(), CheckError>) -> Readable<'_> {
        Readable {
            bytes_max,
            head,
            owners: &self.owners,
            room: &self.room,
        }
    }

    /// Looks at what was taken, copies and tries it. The library's bytes are forgotten as soon as they are copied.
    pub(super) fn examine(
        &self,
        name: &str,
        file: &str,
        taken: &mut Taken,
    ) -> Result<Inspected, CheckError> {
        check::verdict(&taken.library.bytes)?;
        let config = taken.config.as_ref().map(|image| image.bytes.clone());
        let config = ConfigFile::read(listing::config_file(name), config)?;
        let copy = self.copies.write(&taken.library, file)?;
        taken.library.forget_bytes();
        let ended = self.trials.run(copy.path(), name, &config.plugin);
        let said = ended.said().map(ToOwned::to_owned).collect();
        let shown = ended.verdict(&config)?;
        let lanes = shown.description.lanes.iter();
        let types: Vec<_> = lanes.flat_map(LaneDescription::types).collect();
        config.check_types(&types)?;
        Ok(Inspected {
            copy,
            config,
            shown,
            said,
        })
    }
}

impl Taken {
    /// What tells it from every other version.
    pub(super) fn content(&self) -> Content {
        Content {
            library: self.library.hash,
            config: self.config.as_ref().map(|image| image.hash),
        }
    }
}

#[cfg(feature = "simulation")]
impl Content {
    /// That of a version without a file.
    pub(super) fn of_number(number: u64) -> Self {
        Self {
            library: ContentHash::of(&number.to_le_bytes()),
            config: None,
        }
    }
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.config {
            None => self.library.fmt(f),
            Some(config) => write!(f, "{}+{config}", self.library),
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
