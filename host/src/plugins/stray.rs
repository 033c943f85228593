//! Configurations that nothing reads, because their name is not that of a plugin in the folder but nearly so. What is written there would
//! silently not hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
};

use super::{folder::Listing, listing};
use crate::did_you_mean::nearest;

/// A file `….toml` beside a plugin that it seems to be for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stray {
    file: String,
    plugin: String,
    library: String,
}

impl Stray {
    /// The plugin that it seems to be for.
    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = listing::config_file(&self.plugin);
        write!(
            f,
            "{} is not read: the configuration of {} is {right}; if it is meant, rename it",
            self.file, self.library
        )
    }
}

/// Those in a folder, which holds `listing`. One that cannot be read has none.
pub(super) fn strays(folder: &Path, listing: &Listing) -> BTreeSet<Stray> {
    let plugins = listing
        .iter()
        .filter(|(_, entry)| entry.misnamed.is_none())
        .map(|(name, entry)| (name.as_str(), entry.file.as_str()));
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.map(|file| file.file_name().to_string_lossy().into_owned());
    among(&plugins.collect(), files)
}

/// Those among `files` that seem to be for one of `plugins`, by name their libraries.
fn among(plugins: &BTreeMap<&str, &str>, files: impl Iterator<Item = String>) -> BTreeSet<Stray> {
    let names: BTreeMap<String, &str> = (plugins.keys()).map(|name| (bare(name), *name)).collect();
    let strays = files.filter_map(|file| {
        let stem = file.strip_suffix(".toml")?;
        if plugins.contains_key(stem) || stem.starts_with(['.', '#', '~']) {
            return None;
        }
        let meant = nearest(&bare(stem), names.keys().map(String::as_str))?;
        let plugin = names[meant];
        Some(Stray {
            plugin: plugin.to_owned(),
            library: plugins[plugin].to_owned(),
            file,
        })
    });
    strays.collect()
}

/// What is left of a name without what people add to it.
fn bare(name: &str) -> String {
    listing::plugin_name(name).to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_under_another_name_is_told_with_the_right_one() {
        let plugins = BTreeMap::from([("tickets", "libtickets.so"), ("my_rooms", "my_rooms.so")]);
        for (file, right) in [
            ("libtickets.toml", Some("tickets.toml")),
            ("libtickets.so.toml", Some("tickets.toml")),
            ("tickets.so.toml", Some("tickets.toml")),
            ("Tickets.toml", Some("tickets.toml")),
            ("ticket.toml", Some("tickets.toml")),
            ("my-rooms.toml", Some("my_rooms.toml")),
            ("tickets.toml", None),
            ("my_rooms.toml", None),
            ("proxies.toml", None),
            (".tickets.toml", None),
            ("tickets.toml.bak", None),
        ] {
            let found = among(&plugins, std::iter::once(file.to_owned()));
            let told: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), usize::from(right.is_some()), "{file}: {told:?}");
            for (told, right) in told.iter().zip(right) {
                assert!(told.starts_with(file) && told.contains(right), "{told}");
            }
        }
    }
}
