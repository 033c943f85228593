//! A disk on which somebody else does something between two operations.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::state::{
    disk::{Disk, DiskFile, FileId},
    sim_disk::SimDisk,
};

/// What is done in between.
type Other = Box<dyn FnOnce() + Send>;

#[derive(Clone)]
pub struct Interrupted {
    disk: SimDisk,
    /// Operations until it is done.
    left: Arc<AtomicU64>,
    other: Arc<Mutex<Option<Other>>>,
}

impl Interrupted {
    /// Does `other` once so many operations are done.
    pub fn after(operations: u64, disk: &SimDisk, other: impl FnOnce() + Send + 'static) -> Self {
        Self {
            disk: disk.clone(),
            left: Arc::new(AtomicU64::new(operations)),
            other: Arc::new(Mutex::new(Some(Box::new(other)))),
        }
    }

    /// Whether it was done.
    pub fn was(&self) -> bool {
        self.other().is_none()
    }

    fn other(&self) -> std::sync::MutexGuard<'_, Option<Other>> {
        self.other.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operation(&self) {
        let is_now = self.left.fetch_sub(1, Ordering::Relaxed) == 0;
        if is_now && let Some(other) = self.other().take() {
            other();
        }
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(InterruptedFile {
            disk: self.clone(),
            file,
        })
    }
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

#[derive(Debug)]
struct InterruptedFile {
    disk: Interrupted,
    file: Box<dyn DiskFile>,
}

impl Disk for Interrupted {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation();
        self.disk.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.operation();
        self.disk.list(folder)
    }

    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operation();
        self.disk.create_new(file).map(|file| self.file(file))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operation();
        self.disk.open(file).map(|file| self.file(file))
    }

    fn open_to_read(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operation();
        self.disk.open_to_read(file).map(|file| self.file(file))
    }

    fn id_of(&self, path: &Path) -> io::Result<FileId> {
        self.disk.id_of(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation();
        self.disk.rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.operation();
        self.disk.remove(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation();
        self.disk.sync_folder(folder)
    }
}

impl DiskFile for InterruptedFile {
    fn read_at(&self, at: u64, room: &mut [u8]) -> io::Result<usize> {
        self.disk.operation();
        self.file.read_at(at, room)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.operation();
        self.file.write_at(at, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation();
        self.file.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.operation();
        self.file.truncate(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.operation();
        self.file.length()
    }

    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }
}
