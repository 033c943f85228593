//! Where the private copies lie that the loader opens, and what becomes of those that nobody took away.
//!
//! Each copy has a folder of its own in the system's folder for temporary files (`TMPDIR`), which is locked for
//! as long as its process needs it. A process that is killed takes nothing away, but its locks end with it: so
//! whoever starts next knows what is left over, whatever process bears the old number by then.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Dir, DirEntry, FileType, FlockOperation, Mode, OFlags, flock, openat, unlinkat},
    io::Errno,
};

use super::{
    error::{CheckError, Step},
    image::Image,
};
use crate::limits::{COPY_TRIES_MAX, LEFTOVERS_LOOKED_AT_MAX};

/// What the folders' names begin with. It tells them from whatever else an author or an operator may have there.
const PREFIX: &str = "rm-host-copy-";

/// Makes the copies that the loader opens.
#[derive(Debug, Default)]
pub(super) struct Staging {
    copies: AtomicU64,
}

impl Staging {
    /// Writes an image under a name that this process has not used before.
    pub(super) fn write(&self, image: &Image, file: &str) -> Result<StagedCopy, CheckError> {
        // In the name, so that it is new even if the folder's random one should come again.
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        write_copy(image, &format!("{number}-{file}")).map_err(|error| {
            let place = std::env::temp_dir();
            CheckError::of_system(
                Step::Load,
                format!(
                    "no copy of it could be written in {}: {error}",
                    place.display()
                ),
                &error,
                "free some space there, or let TMPDIR name a folder that can be written",
            )
        })
    }
}

fn write_copy(image: &Image, name: &str) -> io::Result<StagedCopy> {
    let (folder, lock) = locked_folder()?;
    // The loader takes a name without a `/` for one that it has to search.
    let path = std::path::absolute(folder.path().join(name))?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?
        .write_all(&image.bytes)?;
    Ok(StagedCopy {
        path,
        _folder: folder,
        _lock: lock,
    })
}

/// A new folder, and the lock on it. One that is swept between the two is no more: then another is made.
fn locked_folder() -> io::Result<(tempfile::TempDir, File)> {
    for _ in 0..COPY_TRIES_MAX {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()?;
        let Ok(lock) = File::open(folder.path()) else {
            continue;
        };
        match flock(&lock, FlockOperation::LockExclusive) {
            // Not to be had on some network file systems; there nothing is swept either.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::BADF | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        if fs::metadata(folder.path()).is_ok_and(|found| is_same(&lock, &found)) {
            return Ok((folder, lock));
        }
    }
    Err(io::Error::other(
        "a folder that was just made is taken away again and again",
    ))
}

fn is_same(opened: &File, found: &fs::Metadata) -> bool {
    opened
        .metadata()
        .is_ok_and(|opened| (opened.dev(), opened.ino()) == (found.dev(), found.ino()))
}

/// The copy of one file. It goes when this is dropped, which may be as soon as the loader has opened it: the
/// mapping keeps the content. What it costs is that a debugger finds no symbols under that name.
#[derive(Debug)]
pub(super) struct StagedCopy {
    path: PathBuf,
    // Before the lock: who gets that finds nothing.
    _folder: tempfile::TempDir,
    _lock: File,
}

impl StagedCopy {
    /// The path of the copy, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes away what processes have left behind that are no more, and says so.
pub(super) fn sweep() {
    let place = std::env::temp_dir();
    let swept = sweep_in(&place);
    if swept > 0 {
        tracing::info!(
            folder = %place.display(),
            "{swept} private copies were left behind by hosts that were killed, and are taken away"
        );
    }
}

fn sweep_in(place: &Path) -> usize {
    let Ok(entries) = fs::read_dir(place) else {
        return 0;
    };
    let ours = entries
        .take(LEFTOVERS_LOOKED_AT_MAX)
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let Ok(place) = File::open(place) else {
        return 0;
    };
    ours.filter(|name| sweep_one(&place, name).is_ok()).count()
}

/// Fails where the folder is in use, another's, or not what a copy lies in.
fn sweep_one(place: &File, name: &std::ffi::OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(openat(place, name, flags, Mode::empty())?);
    let found = folder.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    let copies = Dir::read_from(&folder)?
        .filter(|entry| !matches!(entry, Ok(entry) if is_itself_or_above(entry)))
        .map(|entry| {
            let entry = entry?;
            let name = entry.file_name().to_owned();
            // A copy, and nothing that somebody else has put there.
            let is_copy = name.to_bytes().first().is_some_and(u8::is_ascii_digit)
                && entry.file_type() == FileType::RegularFile;
            is_copy
                .then_some(name)
                .ok_or_else(|| io::ErrorKind::DirectoryNotEmpty.into())
        })
        .collect::<io::Result<Vec<_>>>()?;
    for copy in copies {
        unlinkat(&folder, copy, AtFlags::empty())?;
    }
    Ok(unlinkat(place, name, AtFlags::REMOVEDIR)?)
}

fn is_itself_or_above(entry: &DirEntry) -> bool {
    matches!(entry.file_name().to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn image() -> Image {
        Image::of(b"abc".to_vec())
    }

    #[test]
    fn no_two_copies_share_a_name_and_none_stays() {
        let room = Staging::default();
        let mut names = Vec::new();
        for _ in 0..2 {
            let copy = room.write(&image(), "liba.so").unwrap();
            let path = copy.path().to_owned();
            assert!(path.is_absolute());
            assert_eq!(fs::read(&path).unwrap(), b"abc");
            let folder = path.parent().unwrap().to_owned();
            let mode = fs::metadata(&folder).unwrap().mode();
            assert_eq!(mode & 0o777, 0o700);
            drop(copy);
            assert!(!folder.exists());
            names.push(path.file_name().unwrap().to_owned());
        }
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn what_is_in_use_is_not_swept_and_what_is_left_over_is() {
        let copy = Staging::default().write(&image(), "liba.so").unwrap();
        let folder = copy.path().parent().unwrap().to_owned();
        let place = folder.parent().unwrap();
        sweep_in(place);
        assert!(copy.path().exists());
        // As a process that is killed: the lock is gone, and the files stay.
        let StagedCopy { _folder, _lock, .. } = copy;
        let folder = _folder.keep();
        drop(_lock);
        sweep_in(place);
        assert!(!folder.exists());
    }

    #[test]
    fn nothing_is_swept_that_is_not_a_copys_folder() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(format!("{PREFIX}{name}"));
        let private = fs::Permissions::from_mode(0o700);
        let folder = |name: &str, mode| {
            fs::create_dir(path(name)).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        folder("open", 0o755);
        folder("notes", 0o700);
        fs::write(path("notes").join("notes.txt"), "mine").unwrap();
        folder("nested", 0o700);
        fs::create_dir(path("nested").join("0-folder")).unwrap();
        fs::write(path("file"), "mine").unwrap();
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::set_permissions(&elsewhere, private).unwrap();
        fs::write(elsewhere.join("0-liba.so"), "mine").unwrap();
        symlink(&elsewhere, path("link")).unwrap();
        fs::create_dir(place.path().join("rm-host-1")).unwrap();

        folder("left", 0o700);
        fs::write(path("left").join("0-liba.so"), "abc").unwrap();
        symlink(&elsewhere, path("left").join("1-link")).unwrap();
        assert_eq!(sweep_in(place.path()), 0, "a link lies in it");
        fs::remove_file(path("left").join("1-link")).unwrap();
        assert_eq!(sweep_in(place.path()), 1);
        assert!(!path("left").exists());
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 7);
        assert!(elsewhere.join("0-liba.so").exists());
    }
}
