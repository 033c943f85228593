//! Reads a file from its begin to its end in large pieces.

use std::path::{Path, PathBuf};

use super::DiskError;
use crate::state::disk::{Disk, DiskFile};

/// Large enough that the system's calls cost nothing beside what is done with the bytes.
const PIECE_BYTES: usize = 1024 * 1024;

/// A file, and the piece of it that was read last.
#[derive(Debug)]
pub(super) struct Window {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    begin: u64,
    piece: Vec<u8>,
}

impl Window {
    /// Opens the file.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, DiskError> {
        let file = disk
            .open_to_read(path)
            .map_err(DiskError::because(path, "opened"))?;
        let length = file.length().map_err(DiskError::because(path, "read"))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
            begin: 0,
            piece: Vec::new(),
        })
    }

    /// What is read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long the file was when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `at` on, `length` of them unless the file ends before.
    pub(super) fn bytes(&mut self, at: u64, length: u64) -> Result<&[u8], DiskError> {
        let end = at.saturating_add(length).min(self.length);
        let begin = at.min(end);
        let piece_end = self.begin + self.piece.len() as u64;
        if begin < self.begin || end > piece_end {
            self.read(begin, (end - begin) as usize)?;
        }
        let from = (begin - self.begin) as usize;
        let to = ((end - self.begin) as usize).min(self.piece.len());
        Ok(&self.piece[from.min(to)..to])
    }

    fn read(&mut self, at: u64, length: usize) -> Result<(), DiskError> {
        let left = usize::try_from(self.length - at).unwrap_or(usize::MAX);
        self.piece.clear();
        self.piece.resize(length.max(PIECE_BYTES).min(left), 0);
        self.begin = at;
        let read = self.file.read_at(at, &mut self.piece);
        let read = read.map_err(|cause| {
            self.piece.clear();
            DiskError::because(&self.path, "read")(cause)
        })?;
        self.piece.truncate(read);
        Ok(())
    }
}
