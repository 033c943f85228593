//! The way of one file from the folder to a plugin that is ready to serve.
//!
//! Each step refuses with a reason; whatever served before is not touched by any of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use plugin_api::{
    description::{LaneDescription, Purpose},
    rules,
};

use super::{
    Prepared,
    error::{CheckError, Step},
    folder::Entry,
    image::Untaken,
    inspect::{Content, FileInspector, Inspected, Taken},
    libraries::Libraries,
    loader, log,
    progress::Progress,
    rolled_back::{RolledBack, Source},
    trial,
};
use crate::{blame::Blame, crash_list::CrashList, logging::OneLine};

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
    inspector: FileInspector,
    libraries: Libraries,
    crashes: Arc<CrashList>,
    rolled_back: Arc<RolledBack>,
}

impl Preparation {
    pub(super) fn new(
        folder: PathBuf,
        crashes: Arc<CrashList>,
        rolled_back: Arc<RolledBack>,
    ) -> Self {
        Self {
            folder,
            inspector: FileInspector::new(Purpose::Trial),
            libraries: Libraries::default(),
            crashes,
            rolled_back,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether everything in the folder is refused because of who may write to it.
    pub(super) fn folder_is_refused(&self) -> bool {
        self.inspector.check_folder(&self.folder).is_err()
    }

    /// Lets nobody wait for what is being prepared.
    pub(super) fn stop(&self) {
        self.inspector.stop();
    }

    /// Prepares the plugin `name`, unless its content is `last`.
    pub(super) fn prepare(
        &self,
        name: &str,
        entry: &Entry,
        last: Option<Content>,
        progress: &Progress,
    ) -> Outcome {
        let taken = match self.take(name, entry) {
            Ok(taken) => taken,
            Err(Untaken::Moving) => return Outcome::Moving,
            Err(Untaken::Refused(error)) => return Outcome::Refused(error),
        };
        let dropped = taken.content();
        let taken = match self.rolled_back.in_place_of(name, dropped) {
            None => Ok(taken),
            Some(to) => {
                // It makes room for the other one.
                drop(taken);
                self.rolled_back.take(&self.inspector, name, &to)
            }
        };
        let mut taken = match taken {
            Ok(taken) => taken,
            Err(error) => return Outcome::Refused(error),
        };
        let content = taken.content();
        if Some(content) == last {
            return Outcome::Same;
        }
        let prepared = self
            .not_crashed(name, content)
            .and_then(|()| self.load(name, entry, (&mut taken, dropped), progress));
        match prepared {
            Ok(prepared) => {
                // An earlier version may be put back and tried again.
                self.crashes.replaced(name);
                Outcome::Prepared(Box::new(prepared), content)
            }
            Err(error) => Outcome::Refused(error),
        }
    }

    fn take(&self, name: &str, entry: &Entry) -> Result<Taken, Untaken> {
        if let Some(misnamed) = &entry.misnamed {
            let remedy = "rename it to libNAME.so, with a NAME that no other plugin has";
            return Err(CheckError::new(Step::Read, misnamed, remedy).into());
        }
        let has_config = entry.config.is_some();
        self.inspector
            .take(&self.folder, name, &entry.file, has_config)
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

    fn load(
        &self,
        name: &str,
        entry: &Entry,
        (taken, dropped): (&mut Taken, Content),
        progress: &Progress,
    ) -> Result<Prepared, CheckError> {
        let examined = self.inspector.examine(name, &entry.file, taken)?;
        trial::self_tests_passed(&examined.shown)?;
        let Inspected {
            copy, config, said, ..
        } = examined;
        for line in said {
            tracing::debug!(plugin = %name, "in its trial it said: {}", OneLine(&line));
        }
        let file = self.folder.join(&entry.file);
        let blame = Blame::new(name, &taken.content().to_string(), &file);
        let hash = taken.library.hash;
        let (library, content) = self.libraries.take(name, hash, copy.path(), blame)?;
        drop(copy);
        progress.makes();
        let made =
            library
                .module
                .create(name, &config.plugin, Purpose::Serve, log::of_plugin(name));
        self.libraries.keep(name, hash, library);
        let plugin = made.map_err(|unmade| match unmade {
            loader::Unmade::Refused(said) => config.refused_by_plugin(&said),
            loader::Unmade::Panicked(said) => loader::panicked_while_made(name, &said),
        })?;
        // Not what it said in its trial: there it may have been made differently.
        let mut description = plugin.describe()?;
        rules::offer::check(&description)?;
        let lanes = description.lanes.iter();
        let types: Vec<_> = lanes.flat_map(LaneDescription::types).collect();
        config.check_types(&types)?;
        // They have done their part; a version that serves need not hold them.
        description.self_tests = Vec::new();
        Ok(Prepared {
            name: name.to_owned(),
            file,
            hash: taken.library.hash.short(),
            config_hash: taken.config.as_ref().map(|config| config.hash.short()),
            content: taken.content(),
            dropped,
            source: Source {
                library: content,
                config: taken.config.as_ref().map(|config| (&*config.bytes).into()),
            },
            description,
            plugin: Arc::new(plugin),
            settings: config.host,
        })
    }
}
