//! Who else may change a file that the host relies on: a plugin, or what says what was given out.
//!
//! A file belongs to root or to the user that the host runs as, and neither it nor any folder on the way to it may be written by
//! everybody; in a folder with the sticky bit everybody may add files, but touch only their own.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What the mode of a path allows to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nothing that matters.
    None,
    /// The group writes.
    Group,
    /// Everybody writes.
    All,
}

impl Others {
    /// As a mode says it.
    pub fn of(mode: u32) -> Self {
        if mode & WRITABLE_BY_ALL != 0 {
            Self::All
        } else if mode & WRITABLE_BY_GROUP != 0 && mode & STICKY == 0 {
            Self::Group
        } else {
            Self::None
        }
    }

    /// The same of a folder that somebody else's files may be added to.
    pub fn of_folder_above(mode: u32) -> Self {
        match Self::of(mode) {
            Self::All if mode & STICKY != 0 => Self::None,
            others => others,
        }
    }
}

/// Why something is not relied on.
#[derive(Debug, thiserror::Error)]
pub enum Weakness {
    /// Everybody can write it.
    #[error(
        "{} can be written by everybody, who could so change what was given out: chmod o-w {}",
        .0.display(), .0.display()
    )]
    WritableByAll(PathBuf),
    /// It is somebody else's.
    #[error(
        "{} belongs to user {owner}, expected root or user {host}, as which the host runs: look at it, then: chown {host} {}",
        path.display(), path.display()
    )]
    Stranger {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// The host's user.
        host: u32,
    },
    /// It cannot be looked at.
    #[error("{} cannot be looked at: {cause}; let the user that the host runs as read it", path.display())]
    Unseen {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// The user that the host runs as.
pub fn host_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether a file may belong to `owner`.
pub fn is_trusted(owner: u32, host: u32) -> bool {
    owner == 0 || owner == host
}

/// Opens a file of the host's own, and no other by its name: a link would lead what is written to a file of somebody else, and a pipe
/// would hold up the host.
///
/// # Errors
/// What the system says; it is a link.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match options.custom_flags(flags).open(path) {
        Err(cause) if cause.raw_os_error() == Some(libc::ELOOP) => Err(io::Error::new(
            cause.kind(),
            format!(
                "{} is a symbolic link, and is not followed: no host has made it; look where it leads, and remove it",
                path.display()
            ),
        )),
        opened => opened,
    }
}

/// Refuses a folder of data, and all that lies in it, that somebody else may change, or replace by changing a folder above. What the
/// group can write is told of as a warning.
///
/// # Errors
/// See [`Weakness`].
pub fn check_data(folder: &Path) -> Result<(), Weakness> {
    check_within(&check_above(folder)?)
}

/// The same of a single file that speaks of data; where it lies is not looked at.
///
/// # Errors
/// See [`Weakness`].
pub fn check_mark(file: &Path) -> Result<(), Weakness> {
    match fs::symlink_metadata(file) {
        Ok(found) if found.is_file() => check(file, &found),
        // Whoever opens it says what is wrong.
        _ => Ok(()),
    }
}

/// The folders above what a path leads to. Returns where it leads.
fn check_above(path: &Path) -> Result<PathBuf, Weakness> {
    let unseen = |path: &Path, cause| Weakness::Unseen {
        path: path.to_owned(),
        cause,
    };
    let real = fs::canonicalize(path).map_err(|cause| unseen(path, cause))?;
    for above in real.ancestors().skip(1) {
        let found = fs::metadata(above).map_err(|cause| unseen(above, cause))?;
        judge(above, Others::of_folder_above(found.mode()))?;
    }
    Ok(real)
}

/// A folder, and the files and folders in it.
fn check_within(folder: &Path) -> Result<(), Weakness> {
    let unseen = |cause| Weakness::Unseen {
        path: folder.to_owned(),
        cause,
    };
    check(folder, &fs::metadata(folder).map_err(unseen)?)?;
    for entry in fs::read_dir(folder).map_err(unseen)? {
        let path = entry.map_err(unseen)?.path();
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                if path.is_symlink() {
                    check_above(&path)?;
                }
                check_state(&path, &found)?;
            }
            Ok(found) => check(&path, &found)?,
            // It leads nowhere, or was just removed.
            Err(_) => {}
        }
    }
    Ok(())
}

/// A folder of the host's in the data folder. One that is not the host's to read, as `lost+found`, is nobody's.
fn check_state(folder: &Path, found: &Metadata) -> Result<(), Weakness> {
    check(folder, found)?;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(found) = fs::metadata(entry.path()) {
            check(&entry.path(), &found)?;
        }
    }
    Ok(())
}

fn check(path: &Path, found: &Metadata) -> Result<(), Weakness> {
    let (owner, host) = (found.uid(), host_user());
    if !is_trusted(owner, host) {
        return Err(Weakness::Stranger {
            path: path.to_owned(),
            owner,
            host,
        });
    }
    judge(path, Others::of(found.mode()))
}

fn judge(path: &Path, others: Others) -> Result<(), Weakness> {
    match others {
        Others::None => Ok(()),
        Others::Group => {
            tracing::warn!(
                path = %path.display(),
                "its group can write here, and so change what was given out; if it should not: chmod g-w"
            );
            Ok(())
        }
        Others::All => Err(Weakness::WritableByAll(path.to_owned())),
    }
}
