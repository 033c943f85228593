//! Who else may change a plugin's file: whoever can put code into the host is the host. See [`ownership`](crate::ownership).

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::error::{CheckError, Step};
use crate::ownership::{self, Others};

/// Looks at owners and modes, and warns of each path once.
#[derive(Debug, Default)]
pub(super) struct Owners {
    warned: Mutex<BTreeSet<PathBuf>>,
}

impl Owners {
    /// Refuses a file, as it was found when it was opened, that somebody else may change.
    pub(super) fn check_file(&self, path: &Path, found: &Metadata) -> Result<(), CheckError> {
        check_owner(path, found.uid(), ownership::host_user())?;
        match Others::of(found.mode()) {
            Others::None => {}
            Others::Group => self.warn(path),
            Others::All => return Err(writable_by_all("it", path)),
        }
        Ok(())
    }

    /// Refuses what lies in a folder in which somebody else may replace it.
    pub(super) fn check_folder(&self, folder: &Path) -> Result<(), CheckError> {
        let unseen = |error: io::Error| {
            CheckError::new(
                Step::Read,
                format!("its folder cannot be looked at: {error}"),
                "let the user that the host runs as read it",
            )
        };
        let real = fs::canonicalize(folder).map_err(unseen)?;
        for folder in real.ancestors() {
            let found = fs::metadata(folder).map_err(unseen)?;
            match Others::of_folder_above(found.mode()) {
                Others::None => {}
                Others::Group => self.warn(folder),
                Others::All => {
                    let what = format!("the folder {}", folder.display());
                    return Err(writable_by_all(&what, folder));
                }
            }
        }
        Ok(())
    }

    fn warn(&self, path: &Path) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(path.to_owned()) {
            tracing::warn!(
                path = %path.display(),
                "its group can write here, and so put its own code into the host; if it should not: chmod g-w"
            );
        }
    }
}

fn check_owner(path: &Path, owner: u32, host: u32) -> Result<(), CheckError> {
    if ownership::is_trusted(owner, host) {
        return Ok(());
    }
    Err(CheckError::new(
        Step::Read,
        format!("it belongs to user {owner}, expected root or user {host}, as which the host runs"),
        format!(
            "look at it, then: chown {host} {path}",
            path = path.display()
        ),
    ))
}

fn writable_by_all(what: &str, path: &Path) -> CheckError {
    CheckError::new(
        Step::Read,
        format!("{what} can be written by everybody, who could so put code into the host"),
        format!("chmod o-w {}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_belongs_to_root_or_to_the_hosts_user() {
        let path = Path::new("/plugins/liba.so");
        for (owner, host) in [(0, 0), (0, 1000), (1000, 1000)] {
            assert_eq!(check_owner(path, owner, host), Ok(()));
        }
        for (owner, host) in [(1000, 0), (1001, 1000)] {
            let refusal = check_owner(path, owner, host).unwrap_err().to_string();
            for part in [
                format!("user {owner}"),
                format!("chown {host} /plugins/liba.so"),
            ] {
                assert!(refusal.contains(&part), "{refusal}");
            }
        }
    }

    #[test]
    fn what_everybody_can_write_is_refused_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        let file = plugins.join("liba.so");
        fs::write(&file, "").unwrap();
        let owners = Owners::default();
        let check = |path: &Path| owners.check_file(path, &fs::metadata(path).unwrap());
        for mode in [0o644, 0o755, 0o600, 0o664] {
            set_mode(&file, mode);
            assert_eq!(check(&file), Ok(()), "{mode:o}");
        }
        set_mode(&file, 0o646);
        let refusal = check(&file).unwrap_err().to_string();
        assert!(
            refusal.ends_with(&format!("chmod o-w {}", file.display())),
            "{refusal}"
        );

        for (mode, is_fine) in [
            (0o755, true),
            (0o775, true),
            (0o777, false),
            (0o1777, true),
            (0o700, true),
        ] {
            set_mode(&plugins, mode);
            let checked = owners.check_folder(&plugins);
            assert_eq!(checked.is_ok(), is_fine, "{mode:o}");
        }
        set_mode(&plugins, 0o755);
        set_mode(folder.path(), 0o777);
        let refusal = owners.check_folder(&plugins).unwrap_err().to_string();
        let real = fs::canonicalize(folder.path()).unwrap();
        assert!(
            refusal.ends_with(&format!("chmod o-w {}", real.display())),
            "{refusal}"
        );
    }

    #[test]
    fn the_group_is_warned_of_once() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o775);
        let owners = Owners::default();
        for _ in 0..2 {
            owners.check_folder(folder.path()).unwrap();
        }
        let warned = owners.warned.lock().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        assert!(warned.contains(&real));
    }
}
