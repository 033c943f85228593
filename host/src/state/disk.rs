//! The few things that the log asks of a disk, so that a test can stand in for one that fails.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::ownership::open_own;

/// A file of a [`Disk`]. Nothing has a position: each call names its own.
pub trait DiskFile: Debug + Send {
    /// Reads into `room` from byte `at`; as much as there is, 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, at: u64, room: &mut [u8]) -> io::Result<usize>;

    /// Writes `bytes` at byte `at` with one call, and returns how many of them were written.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// What the system says. What was written since the last time may be lost then, also if a later call succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length`.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The file's length.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Which file it is.
    ///
    /// # Errors
    /// What the system says.
    fn id(&self) -> io::Result<FileId>;
}

/// What tells a file, or a folder, from every other that is there, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The number of the file system.
    pub device: u64,
    /// The file's number there.
    pub inode: u64,
    /// How many names it has; 0 of one that was removed while it is open.
    pub links: u64,
}

impl FileId {
    /// Of what the system says of a file. Of a folder the names are not counted: they change with what is in it.
    pub fn of(found: &fs::Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            links: if found.is_dir() { 1 } else { found.nlink() },
        }
    }

    /// Whether both are of one file, by whatever names.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// What the log asks of a file system; tests have one that fails.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder, for the host's user alone; one that is there is left as it is.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// The names of all that is in a folder.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes a new file, to be read and written by the host's user alone.
    ///
    /// # Errors
    /// What the system says; something of that name is there.
    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to be read and written.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to be read only.
    ///
    /// # Errors
    /// What the system says.
    fn open_to_read(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Which file or folder has that name.
    ///
    /// # Errors
    /// What the system says.
    fn id_of(&self, path: &Path) -> io::Result<FileId>;

    /// Gives a file another name within its folder; what bore that name is gone.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes durable which names are in a folder.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The machine's own disk, by the standard library alone: what it calls can be intercepted in tests of the whole host.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            made => made,
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Box::new(options.open(file)?))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(open_own(options.read(true).write(true), file)?))
    }

    fn open_to_read(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(file)?))
    }

    fn id_of(&self, path: &Path) -> io::Result<FileId> {
        fs::metadata(path).map(|found| FileId::of(&found))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, at: u64, room: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < room.len() {
            match FileExt::read_at(self, &mut room[read..], at + read as u64) {
                Ok(0) => break,
                Ok(some) => read += some,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(read)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        // Without the times of the file: those are of no use to the log, and cost a second write.
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn id(&self) -> io::Result<FileId> {
        self.metadata().map(|found| FileId::of(&found))
    }
}
