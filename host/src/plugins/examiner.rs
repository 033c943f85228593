//! What a plugin's file passes before the host opens it: it is taken, looked at, copied and tried. None of its
//! code runs in this process.

use std::path::Path;

use plugin_api::description::{LaneDescription, Purpose};

use super::{
    check,
    config_file::ConfigFile,
    copy_room::{self, CopyRoom, PrivateCopy},
    error::{CheckError, Step},
    listing,
    owner::Owners,
    private_copy::{ContentHash, Image, Untaken},
    trial::{Shown, Trials},
};
use crate::limits::{PLUGIN_CONFIG_BYTES_MAX, PLUGIN_FILE_BYTES_MAX};

/// Examines the files of plugins, several at once if need be.
#[derive(Debug)]
pub(super) struct Examiner {
    copies: CopyRoom,
    owners: Owners,
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
pub(super) struct Examined {
    pub(super) copy: PrivateCopy,
    pub(super) config: ConfigFile,
    pub(super) shown: Shown,
    /// What it wrote to stderr meanwhile.
    pub(super) said: Vec<String>,
}

impl Examiner {
    /// What it tries is told that it is made for `purpose`.
    pub(super) fn new(purpose: Purpose) -> Self {
        copy_room::sweep();
        Self {
            copies: CopyRoom::default(),
            owners: Owners::default(),
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
        let library = Image::read(folder, file, PLUGIN_FILE_BYTES_MAX, &self.owners)?;
        let config_file = listing::config_file(name);
        let config = has_config
            .then(|| {
                Image::read(folder, &config_file, PLUGIN_CONFIG_BYTES_MAX, &self.owners)
                    .map_err(|untaken| in_config(&config_file, untaken))
            })
            .transpose()?;
        Ok(Taken { library, config })
    }

    /// Looks at what was taken, copies and tries it.
    pub(super) fn examine(
        &self,
        name: &str,
        file: &str,
        taken: &Taken,
    ) -> Result<Examined, CheckError> {
        check::verdict(&taken.library.bytes)?;
        let config = taken.config.as_ref().map(|image| image.bytes.clone());
        let config = ConfigFile::read(listing::config_file(name), config)?;
        let copy = self.copies.write(&taken.library, file)?;
        let ended = self.trials.run(copy.path(), name, &config.plugin);
        let said = ended.said().map(ToOwned::to_owned).collect();
        let shown = ended.verdict(&config)?;
        let lanes = shown.description.lanes.iter();
        let types: Vec<_> = lanes.flat_map(LaneDescription::types).collect();
        config.check_types(&types)?;
        Ok(Examined {
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
