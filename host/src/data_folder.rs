//! The folder of what outlives the process. It is meant for one host at a time; nothing enforces that yet.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// There, and writable.
#[derive(Debug)]
pub struct DataFolder(PathBuf);

/// Why a folder is of no use for data.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data folder {} cannot be {failed}: {cause}; let the user that the host runs as write there, or name \
     another with --data DIR",
    folder.display()
)]
pub struct DataFolderError {
    folder: PathBuf,
    failed: &'static str,
    cause: io::Error,
}

impl DataFolder {
    /// Opens the folder; one that is missing is made, for the host's user alone.
    ///
    /// # Errors
    /// It cannot be made or written, or something else lies there.
    pub fn open(folder: &Path) -> Result<Self, DataFolderError> {
        let because = |failed| {
            move |cause| DataFolderError {
                folder: folder.to_owned(),
                failed,
                cause,
            }
        };
        if !fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(because("made"))?;
        }
        // What is found out now need not be found out by the first crash.
        tempfile::tempfile_in(folder).map_err(because("written"))?;
        // The working folder may be another one later.
        let folder = std::path::absolute(folder).map_err(because("found"))?;
        Ok(Self(folder))
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_folder_is_made_for_the_host_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/data");
        for _ in 0..2 {
            assert_eq!(DataFolder::open(&data).unwrap().path(), data);
        }
        for made in [&*data, data.parent().unwrap()] {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[test]
    fn a_folder_of_no_use_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for data in [file.clone(), file.join("data")] {
            let refusal = DataFolder::open(&data).unwrap_err().to_string();
            for part in [&*data.display().to_string(), "cannot be made", "--data DIR"] {
                assert!(refusal.contains(part), "{refusal}");
            }
        }
    }
}
