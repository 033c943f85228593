//! Reads what the plugin folder holds, and says which of its files are meant to be plugins.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::folder::{Entry, Listing, Stamp};

/// Reads the folder; `None` if it is not there.
///
/// # Errors
///
/// If it is there and cannot be read.
pub(super) fn read(folder: &Path) -> io::Result<Option<Listing>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for file in files {
        let file = file?.file_name();
        if is_candidate(&file) {
            names.push(file);
        }
    }
    // `libNAME.so` before `NAME.so`, whatever order the folder has them in.
    names.sort_by_key(|file| (!file.as_encoded_bytes().starts_with(b"lib"), file.clone()));
    let mut listing = Listing::new();
    for file in names {
        if let Some(library) = stamp(&folder.join(&file)) {
            add(&mut listing, folder, &file, library);
        }
    }
    Ok(Some(listing))
}

fn add(listing: &mut Listing, folder: &Path, file: &OsStr, library: Stamp) {
    let text = file.to_string_lossy();
    let mut name = plugin_name(&text).to_owned();
    let mut misnamed = None;
    if file
        .to_str()
        .is_none_or(|text| text.contains(protocol::shown::steers))
    {
        name = text.escape_debug().to_string();
        misnamed = Some("its name is not plain UTF-8 text".to_owned());
    } else if let Some(first) = listing.get(&name) {
        misnamed = Some(format!(
            "{} has the plugin name `{name}` already",
            first.file
        ));
        name = text.to_string();
    }
    let entry = Entry {
        config: stamp(&folder.join(config_file(&name))),
        file: text.into_owned(),
        misnamed,
        library,
    };
    listing.entry(name).or_insert(entry);
}

/// NAME, for a file `libNAME.so` or `NAME.so`.
pub(super) fn plugin_name(file: &str) -> &str {
    let stem = file.strip_suffix(".so").unwrap_or(file);
    match stem.strip_prefix("lib") {
        Some(name) if !name.is_empty() => name,
        _ => stem,
    }
}

/// The name of the file that configures plugin `name`.
pub(super) fn config_file(name: &str) -> String {
    format!("{name}.toml")
}

/// Whether a file of this name is meant to be a plugin. What editors, copiers and archivers call their
/// unfinished work is not.
fn is_candidate(file: &OsStr) -> bool {
    let file = file.as_encoded_bytes();
    file.ends_with(b".so") && !matches!(file[0], b'.' | b'#' | b'~')
}

/// What can be seen of a file from outside; of a link, what it leads to, so that a change there is noticed.
fn stamp(path: &Path) -> Option<Stamp> {
    let seen = fs::metadata(path).or_else(|_| fs::symlink_metadata(path));
    seen.ok().map(|seen| Stamp::from(&seen))
}

impl From<&Metadata> for Stamp {
    fn from(seen: &Metadata) -> Self {
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: seen.dev(),
            inode: seen.ino(),
            bytes: seen.size(),
            modified: nanos(seen.mtime(), seen.mtime_nsec()),
            changed: nanos(seen.ctime(), seen.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_name_is_what_stands_between_lib_and_so() {
        for (file, name) in [
            ("libtickets.so", "tickets"),
            ("tickets.so", "tickets"),
            ("lib.so", "lib"),
            ("liblib.so", "lib"),
            ("libtickets-2.1.so", "tickets-2.1"),
        ] {
            assert_eq!(plugin_name(file), name);
        }
    }

    #[test]
    fn unfinished_and_hidden_files_are_no_candidates() {
        for file in [
            ".libx.so",
            ".so",
            "libx.so~",
            "libx.so.tmp",
            "libx.so.part",
            "#libx.so#",
            "#libx.so",
            "~libx.so",
            ".libx.so.Qy1Zc7",
            "libx.toml",
            "libx",
            "libx.so.1",
        ] {
            assert!(!is_candidate(OsStr::new(file)), "{file}");
        }
        assert!(is_candidate(OsStr::new("libx.so")));
    }

    #[test]
    fn a_folder_is_listed_with_configurations_and_clashes() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["liba.so", "a.so", "a.toml", "b.so", ".libc.so", "notes.txt"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        let listing = read(folder.path()).unwrap().unwrap();
        assert_eq!(Vec::from_iter(listing.keys()), ["a", "a.so", "b"]);
        assert_eq!(listing["a"].file, "liba.so");
        assert!(listing["a"].config.is_some());
        assert!(
            listing["a.so"]
                .misnamed
                .as_ref()
                .unwrap()
                .contains("liba.so")
        );
        assert_eq!(listing["b"].file, "b.so");
        assert_eq!(listing["b"].misnamed, None);
        assert!(listing["b"].config.is_none());
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("plugins")).unwrap(), None);
        assert_eq!(read(folder.path()).unwrap(), Some(Listing::new()));
    }
}
