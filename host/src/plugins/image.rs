//! Takes a plugin's file out of the reach of whoever dropped it.
//!
//! The dropped file is read once, into memory, after a look at its head; that image is what is hashed and checked, and `staging` writes it
//! under a name that was never used before, for the loader. A file that is overwritten while it is mapped
//! ends the process, and a name that was loaded before gives the old code.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{
    error::{CheckError, Step},
    folder::Stamp,
    owner::Owners,
    reading_room::{ReadingRoom, Seat},
};

/// Why a dropped file could not be taken.
#[derive(Debug)]
pub(super) enum Untaken {
    /// It changed while it was read, or went away: to be tried again once it stands still.
    Moving,
    Refused(CheckError),
}

impl From<CheckError> for Untaken {
    fn from(error: CheckError) -> Self {
        Self::Refused(error)
    }
}

/// The SHA-256 of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ContentHash([u8; 32]);

impl ContentHash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its first 6 bytes in hex: the beginning of what `sha256sum` prints.
    pub(super) fn short(&self) -> String {
        hex(&self.0[..6])
    }
}

/// In hex, as `sha256sum` prints it.
impl std::fmt::Display for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a dropped file holds.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    pub(super) hash: ContentHash,
    /// Taken for as long as the bytes are there.
    seat: Option<Seat>,
}

/// What is asked of a file before it is read.
#[derive(Clone, Copy)]
pub(super) struct Readable<'a> {
    pub(super) bytes_max: u64,
    /// Judges the first [`HEAD_BYTES`] before the rest is read.
    pub(super) head: fn(&[u8]) -> Result<(), CheckError>,
    pub(super) owners: &'a Owners,
    pub(super) room: &'a Arc<ReadingRoom>,
}

/// So much of a file is looked at first, in bytes.
pub(super) const HEAD_BYTES: usize = 64;

impl Image {
    /// Reads `file` of `folder` without being blocked by it, and without being led out of the folder.
    pub(super) fn read(folder: &Path, file: &str, readable: Readable) -> Result<Self, Untaken> {
        let opened = open_beneath(folder, file).map_err(|error| unopened(folder, file, error))?;
        let found = opened.metadata().map_err(|error| unreadable(&error))?;
        check_kind(&found)?;
        let Readable { owners, room, .. } = readable;
        owners.check_file(&folder.join(file), &found)?;
        check_size(&found, readable.bytes_max)?;
        check_head(&opened, readable.head)?;
        let seat = room.enter(found.size());
        let bytes = read_still(&opened, &found)?;
        Ok(Self {
            seat: Some(seat),
            ..Self::of(bytes)
        })
    }

    /// Makes room for others, once the bytes have done their part.
    pub(super) fn forget_bytes(&mut self) {
        self.bytes = Vec::new();
        self.seat = None;
    }

    /// The image of bytes that were read.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            hash: ContentHash::of(&bytes),
            bytes,
            seat: None,
        }
    }
}

/// Opens with links followed only as long as they stay in the folder. Where the kernel cannot promise that,
/// no link is followed.
fn open_beneath(folder: &Path, file: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let folder = File::open(folder)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(&folder, file, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {
            rustix::fs::openat(&folder, file, flags | OFlags::NOFOLLOW, Mode::empty())
        }
        opened => opened,
    }?;
    Ok(File::from(opened))
}

fn unopened(folder: &Path, file: &str, error: io::Error) -> Untaken {
    let lies_there = fs::symlink_metadata(folder.join(file));
    let is_link = lies_there.as_ref().is_ok_and(|lies| lies.is_symlink());
    if is_link {
        let target = fs::read_link(folder.join(file)).unwrap_or_default();
        return CheckError::new(
            Step::Read,
            format!(
                "it is a link to {}, which does not lead to a file within the folder ({error})",
                target.display()
            ),
            "copy the file itself into the folder",
        )
        .into();
    }
    if lies_there.is_ok_and(|lies| lies.file_type().is_socket()) {
        return not_regular("a socket").into();
    }
    if error.kind() == io::ErrorKind::NotFound {
        return Untaken::Moving;
    }
    unreadable(&error).into()
}

fn unreadable(error: &io::Error) -> CheckError {
    CheckError::of_system(
        Step::Read,
        error.to_string(),
        error,
        "make the file readable for the user that the host runs as",
    )
}

fn not_regular(found: &str) -> CheckError {
    CheckError::new(
        Step::Read,
        format!("expected a regular file, found {found}"),
        "take it out of the folder",
    )
}

fn check_kind(found: &Metadata) -> Result<(), CheckError> {
    let kind = found.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(not_regular(match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a named pipe",
        () => "a device",
    }))
}

fn check_size(found: &Metadata, bytes_max: u64) -> Result<(), CheckError> {
    if found.size() <= bytes_max {
        return Ok(());
    }
    Err(CheckError::new(
        Step::Read,
        format!(
            "it has {} bytes, at most {bytes_max} are taken",
            found.size()
        ),
        "make it smaller, a library for instance with `strip`",
    ))
}

/// What is no plugin is not read to its end.
fn check_head(file: &File, head: fn(&[u8]) -> Result<(), CheckError>) -> Result<(), CheckError> {
    let mut bytes = [0; HEAD_BYTES];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    head(&bytes[..read])
}

/// Reads what the descriptor leads to, all of it or nothing, if it is not changed since `before`.
fn read_still(file: &File, before: &Metadata) -> Result<Vec<u8>, Untaken> {
    let failed = |error: io::Error| Untaken::from(unreadable(&error));
    let mut bytes = Vec::new();
    let expected = usize::try_from(before.size()).unwrap_or(usize::MAX);
    // One more than expected, so that growth is noticed.
    if bytes.try_reserve_exact(expected.saturating_add(1)).is_err() {
        let error = io::Error::from(Errno::NOMEM);
        return Err(failed(error));
    }
    let mut rest = file.take(before.size() + 1);
    rest.read_to_end(&mut bytes).map_err(failed)?;
    let after = file.metadata().map_err(failed)?;
    if bytes.len() != expected || Stamp::from(before) != Stamp::from(&after) {
        return Err(Untaken::Moving);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BYTES_MAX: u64 = 1_000;

    fn read(folder: &Path, file: &str) -> Result<Image, Untaken> {
        read_with_head(folder, file, |_| Ok(()))
    }

    fn read_with_head(
        folder: &Path,
        file: &str,
        head: fn(&[u8]) -> Result<(), CheckError>,
    ) -> Result<Image, Untaken> {
        let readable = Readable {
            bytes_max: BYTES_MAX,
            head,
            owners: &Owners::default(),
            room: &ReadingRoom::new(BYTES_MAX),
        };
        Image::read(folder, file, readable)
    }

    fn refusal(folder: &Path, file: &str) -> String {
        match read(folder, file) {
            Err(Untaken::Refused(error)) => error.to_string(),
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    #[test]
    fn a_file_is_read_whole_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.so"), "abc").unwrap();
        let image = read(folder.path(), "a.so").unwrap();
        assert_eq!(image.bytes, b"abc");
        assert_eq!(image.hash.short(), "ba7816bf8f01");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_blocking() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("dir.so")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("pipe.so"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket.so")).unwrap();
        assert!(refusal(path, "dir.so").contains("found a folder"));
        assert!(refusal(path, "pipe.so").contains("found a named pipe"));
        assert!(refusal(path, "socket.so").contains("found a socket"));
    }

    #[test]
    fn links_are_followed_within_the_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("plugins")).unwrap();
        fs::write(path.join("outside.so"), "outside").unwrap();
        let plugins = path.join("plugins");
        fs::write(plugins.join("a.so.1"), "inside").unwrap();
        symlink("a.so.1", plugins.join("a.so")).unwrap();
        symlink("../outside.so", plugins.join("b.so")).unwrap();
        symlink(path.join("outside.so"), plugins.join("c.so")).unwrap();
        symlink("nowhere", plugins.join("d.so")).unwrap();
        symlink("/proc/self/exe", plugins.join("e.so")).unwrap();
        assert_eq!(read(&plugins, "a.so").unwrap().bytes, b"inside");
        for file in ["b.so", "c.so", "d.so", "e.so"] {
            let refusal = refusal(&plugins, file);
            assert!(refusal.contains("it is a link"), "{refusal}");
            assert!(refusal.contains("copy the file itself"), "{refusal}");
        }
    }

    #[test]
    fn the_bound_is_the_last_size_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("a.so"), [7; BYTES_MAX as usize]).unwrap();
        fs::write(path.join("b.so"), [7; BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(read(path, "a.so").unwrap().bytes.len(), 1_000);
        assert!(refusal(path, "b.so").contains("1001 bytes"));
    }

    #[test]
    fn a_file_whose_head_is_refused_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("a.so")).unwrap();
        // More than there could be memory for, and no block of it on the disk.
        file.set_len(1 << 40).unwrap();
        let readable = Readable {
            bytes_max: u64::MAX,
            head: |head| {
                assert_eq!(head, [0; HEAD_BYTES]);
                Err(CheckError::new(Step::Format, "zeros", "fill it"))
            },
            owners: &Owners::default(),
            room: &ReadingRoom::new(1 << 40),
        };
        match Image::read(folder.path(), "a.so", readable) {
            Err(Untaken::Refused(error)) => assert_eq!(error.cause, "zeros"),
            other => panic!("expected a refusal, found {other:?}"),
        }
        fs::write(folder.path().join("short.so"), "abc").unwrap();
        let short = read_with_head(folder.path(), "short.so", |head| {
            assert_eq!(head, b"abc");
            Ok(())
        });
        assert_eq!(short.unwrap().bytes, b"abc");
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.so"), [7; 600]).unwrap();
        let (owners, room) = (Owners::default(), ReadingRoom::new(1_000));
        let readable = Readable {
            bytes_max: BYTES_MAX,
            head: |_| Ok(()),
            owners: &owners,
            room: &room,
        };
        let mut first = Image::read(folder.path(), "a.so", readable).unwrap();
        let hash = first.hash;
        first.forget_bytes();
        // It would wait for ever.
        assert_eq!(
            Image::read(folder.path(), "a.so", readable).unwrap().hash,
            hash
        );
    }

    #[test]
    fn a_file_that_went_away_is_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path(), "a.so"), Err(Untaken::Moving)));
    }
}
