//! The newest segment, to which records are added.

use std::{io, path::Path, sync::Arc};

use super::{
    BatchNo, DiskError, LogId, names,
    record::{self, Kind, RecordHeader, RecordPosition},
    segment::{RECORDS_BEGIN, SegmentHeader},
    snapshot_file::write_all,
    window::Window,
};
use crate::state::disk::{Disk, DiskFile};

/// Buffers that grew past this by one large batch are given back after it.
const BUFFER_BYTES_KEPT_MAX: usize = 1024 * 1024;

/// A record of more than this part of what is zeroed ahead gains nothing by it.
const ZEROED_AHEAD_RECORDS_MIN: u64 = 8;

/// A segment that is written at its end.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    file: Box<dyn DiskFile>,
    path: Arc<Path>,
    header: SegmentHeader,
    /// Where the next record begins.
    end: u64,
    /// What is beyond `end`, up to here, are zeros that the disk holds already: to overwrite them changes nothing of
    /// the file but its content, so that a sync is one write.
    zeroed_to: u64,
    buffer: Vec<u8>,
}

impl SegmentWriter {
    /// Makes a durable segment without records. One of the same name is replaced; it must hold nothing that is durable.
    pub(super) fn create(
        disk: &dyn Disk,
        folder: &Path,
        id: LogId,
        header: SegmentHeader,
    ) -> Result<Self, DiskError> {
        let name = names::segment(header.first);
        let path = folder.join(&name);
        let unfinished = folder.join(names::unfinished(&name));
        let file = create_unfinished(disk, &unfinished)?;
        write_all(&*file, &unfinished, 0, &header.bytes(id))?;
        file.sync()
            .map_err(DiskError::because(&unfinished, "synced"))?;
        disk.rename(&unfinished, &path)
            .map_err(DiskError::because(&unfinished, "renamed"))?;
        disk.sync_folder(folder)
            .map_err(DiskError::because(folder, "synced"))?;
        Ok(Self {
            file,
            path: path.into(),
            header: SegmentHeader {
                id: Some(id),
                ..header
            },
            end: RECORDS_BEGIN,
            zeroed_to: RECORDS_BEGIN,
            buffer: Vec::new(),
        })
    }

    /// Goes on with a segment that was read to `end`. The records from `unsure` on are written once more: a process
    /// that saw a sync fail may have left them in the system's memory, where they can be read but are never written by it.
    pub(super) fn resume(
        disk: &dyn Disk,
        folder: &Path,
        header: SegmentHeader,
        unsure: u64,
        end: u64,
        is_torn: bool,
    ) -> Result<Self, DiskError> {
        let path: Arc<Path> = folder.join(names::segment(header.first)).into();
        let because = |done| DiskError::because(&path, done);
        let file = disk.open(&path).map_err(because("opened"))?;
        if is_torn {
            file.truncate(end).map_err(because("cut"))?;
        }
        let mut window = Window::open(disk, &path)?;
        let mut at = unsure;
        while at < end {
            let piece = window.bytes(at, (end - at).min(BUFFER_BYTES_KEPT_MAX as u64))?;
            if piece.is_empty() {
                return Err(because("read")(std::io::ErrorKind::UnexpectedEof.into()));
            }
            write_all(&*file, &path, at, piece)?;
            at += piece.len() as u64;
        }
        file.sync().map_err(because("synced"))?;
        Ok(Self {
            zeroed_to: window.length().max(end),
            file,
            path,
            header,
            end,
            buffer: Vec::new(),
        })
    }

    pub(super) fn header(&self) -> SegmentHeader {
        self.header
    }

    /// Where the next record begins.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds a batch with one write.
    pub(super) fn append(
        &mut self,
        record: &RecordHeader,
        effects: &[u8],
        zeroed_ahead: u64,
    ) -> Result<(), DiskError> {
        let end = self.write(record, effects)?;
        let record_bytes = end - self.end;
        self.end = end;
        if end > self.zeroed_to && record_bytes * ZEROED_AHEAD_RECORDS_MIN <= zeroed_ahead {
            self.zero_ahead(zeroed_ahead);
        }
        Ok(())
    }

    /// Whether the file is still in its folder under its name, or under any, if it is not asked `thoroughly`.
    pub(super) fn look(&self, disk: &dyn Disk, thoroughly: bool) -> Result<(), DiskError> {
        let because = || DiskError::because(&self.path, "found in its folder");
        let own = self.file.id().map_err(because())?;
        // Some file systems count no names: then the name itself tells.
        let removed = own.links == 0;
        if !removed && !thoroughly {
            return Ok(());
        }
        match disk.id_of(&self.path) {
            Ok(found) if found.is_same(&own) => Ok(()),
            Ok(_) => Err(because()(io::Error::other("another is in its place"))),
            Err(_) if removed => Err(because()(io::Error::other("it was removed"))),
            Err(error) => Err(because()(error)),
        }
    }

    /// Makes all records durable.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        self.file
            .sync()
            .map_err(DiskError::because(&self.path, "synced"))
    }

    /// Notes at byte `end` that the segment which begins with `next` goes on from there, so that its loss would be found out.
    ///
    /// That segment is durable already, and what stands here beyond `end` counts for nothing; so if this
    /// fails, nothing is wrong but that one check is missing.
    pub(super) fn note_successor(mut self, next: BatchNo, end: u64, now_ms: u64) {
        let mark = RecordHeader {
            kind: Kind::End,
            length: 0,
            batch: next,
            now_ms,
            durable: BatchNo(next.0 - 1),
        };
        self.end = end;
        if self.write(&mark, &[]).is_ok() {
            let _ = self.file.sync();
        }
    }

    /// Writes a record at the end. Returns where it ends.
    fn write(&mut self, record: &RecordHeader, effects: &[u8]) -> Result<u64, DiskError> {
        let place = RecordPosition {
            segment: self.header.first,
            at: self.end,
        };
        self.buffer.clear();
        let end = record::lay(&mut self.buffer, place, record, effects);
        let written = self
            .file
            .write_at(self.end, &self.buffer)
            .map_err(DiskError::because(&self.path, "written"))?;
        if written < self.buffer.len() {
            // It would be the first sign of a full disk. What is left of it here is a torn record.
            let cause = std::io::Error::new(
                std::io::ErrorKind::WriteZero,
                format!("it took {written} of {} bytes", self.buffer.len()),
            );
            return Err(DiskError::because(&self.path, "written")(cause));
        }
        self.buffer.shrink_to(BUFFER_BYTES_KEPT_MAX);
        Ok(end)
    }

    /// A disk that refuses this refuses the next record too, which then tells.
    fn zero_ahead(&mut self, bytes: u64) {
        self.buffer.clear();
        self.buffer.resize(bytes as usize, 0);
        if let Ok(written) = self.file.write_at(self.end, &self.buffer) {
            self.zeroed_to = self.end + written as u64;
        }
    }
}

/// Makes a file in place of what a failure left under the name.
pub(super) fn create_unfinished(
    disk: &dyn Disk,
    path: &Path,
) -> Result<Box<dyn DiskFile>, DiskError> {
    let created = match disk.create_new(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            disk.remove(path)
                .map_err(DiskError::because(path, "removed"))?;
            disk.create_new(path)
        }
        created => created,
    };
    created.map_err(DiskError::because(path, "made"))
}
