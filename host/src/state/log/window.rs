//! Reads a file from its begin to its end in large pieces.

use std::path::{Path, PathBuf};

use super::DiskError;
use crate::{
    limits::LOG_WINDOW_BYTES,
    state::disk::{Disk, DiskFile},
};

/// A file, and the piece of it that was read last.
#[derive(Debug)]
pub(super) struct Window {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    begin: u64,
    piece: Vec<u8>,
    /// How many bytes are read from the file at once.
    piece_bytes: usize,
}

impl Window {
    /// Opens the file.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, DiskError> {
        // Large enough that the system's calls cost nothing beside what is done with the bytes.
        Self::with_pieces(disk, path, LOG_WINDOW_BYTES)
    }

    /// The same with pieces of another size.
    pub(super) fn with_pieces(
        disk: &dyn Disk,
        path: &Path,
        piece_bytes: usize,
    ) -> Result<Self, DiskError> {
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
            piece_bytes,
        })
    }

    /// The file that is read.
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
        let room = length.max(self.piece_bytes).min(left);
        self.piece.clear();
        make_room(&mut self.piece, room, &self.path)?;
        self.piece.resize(room, 0);
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

/// Makes room for so many bytes of a file more. What one large piece took before is given back.
///
/// # Errors
/// There is no memory for them: so who reads ends with an error, and not the whole process.
pub(super) fn make_room(bytes: &mut Vec<u8>, more: usize, path: &Path) -> Result<(), DiskError> {
    if bytes.is_empty() && bytes.capacity() > more.max(8 * LOG_WINDOW_BYTES) {
        *bytes = Vec::new();
    }
    bytes
        .try_reserve(more)
        .map_err(|_| std::io::ErrorKind::OutOfMemory.into())
        .map_err(DiskError::because(path, "read"))
}
