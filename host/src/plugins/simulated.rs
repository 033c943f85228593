//! Versions of plugins that were compiled into a simulator, with no file behind them.

use std::{fs::File, io, sync::Arc};

use plugin_api::{description::Purpose, export::Plugin};

use super::{
    HostSettings, Prepared, Source,
    image::ContentHash,
    inspect::Content,
    loader::{Module, Unmade},
    log,
};
use crate::blame::Blame;

/// The code of one plugin: what the loader makes of a file.
#[derive(Clone, Debug)]
pub struct SimulatedModule(Module);

impl SimulatedModule {
    /// The code of `P`, called `name` like its file. Made once for each process: who is blamed stays there.
    ///
    /// # Panics
    /// The plugin does not export what a plugin does.
    pub fn of<P: Plugin>(name: &str) -> Self {
        let blame = Blame::new(name, "simulated", format!("lib{name}.so").as_ref());
        Self(Module::compiled_in::<P>(blame).expect("it is built with this host"))
    }

    /// One version of it, which another `number` tells from every other.
    ///
    /// # Errors
    /// What the plugin says against its configuration.
    ///
    /// # Panics
    /// The plugin does not describe itself as one does.
    pub fn prepared(
        &self,
        name: &str,
        config: &[u8],
        (number, settings): (u64, HostSettings),
    ) -> Result<Box<Prepared>, String> {
        let made = self
            .0
            .create(name, config, Purpose::Serve, log::of_plugin(name));
        let plugin = made.map_err(|unmade| match unmade {
            Unmade::Refused(said) | Unmade::Panicked(said) => said,
        })?;
        let mut description = plugin.describe().expect("it is built with this host");
        description.self_tests = Vec::new();
        description.version = format!("0.0.{number}");
        let content = Content::of_number(number);
        Ok(Box::new(Prepared {
            name: name.to_owned(),
            file: format!("lib{name}.so").into(),
            hash: ContentHash::of(&number.to_le_bytes()).short(),
            config_hash: None,
            content,
            dropped: content,
            source: Source {
                library: Arc::new(no_file().map_err(|error| error.to_string())?),
                config: None,
            },
            description,
            plugin: Arc::new(plugin),
            settings,
        }))
    }
}

fn no_file() -> io::Result<File> {
    File::open("/dev/null")
}
