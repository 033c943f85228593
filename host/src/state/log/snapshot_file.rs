//! A snapshot as a file: all states after one batch, by id, their entries by key.
//!
//! After the file header come blocks, and after the last one nothing:
//!
//! ```text
//! 0   4  what it is: 1 a state, 2 entries of the state before it, 3 the end
//! 4   4  length of what it holds
//! 8   4  CRC-32 of these 8 bytes, the snapshot's last batch, and the block's position
//! 12  4  CRC-32 of what it holds, continued from the one above
//! 16     what it holds
//! ```
//! A state holds its id, plugin, name, kind and schema; entries each a key and a value; the end how many states and entries
//! there are. All as in `effects`.

use std::path::{Path, PathBuf};

use super::{
    BatchNo, Damage, DiskError, LogId, OpenError, RecoveredState, Snapshot,
    file_header::{self, FILE_HEADER_BYTES, SNAPSHOT_MAGIC, SUBJECT_BYTES},
    names,
    record::{u32_at, u64_at},
    window::{Window, make_room},
};
use crate::{
    limits::LOG_WINDOW_BYTES,
    state::{
        StateMap,
        disk::{Disk, DiskFile},
        effects::{self, BadEffects, Cursor, Declared, StateId},
    },
};

const STATE: u32 = 1;
const ENTRIES: u32 = 2;
const END: u32 = 3;

const BLOCK_HEADER_BYTES: usize = 16;

/// A block of entries that has grown to this gets no further one.
const BLOCK_BYTES: usize = 64 * 1024;

/// A snapshot is written in pieces of so many bytes.
const WRITE_BYTES: usize = 1024 * 1024;

/// So much is synced at once. All of it at the end would be in the way of the log's own syncs, which share the disk.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// What a snapshot's file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotHeader {
    pub last: BatchNo,
    pub now_ms: u64,
    pub next_state: StateId,
    /// The log that it belongs to; none if a host has made it that gave its log no identity.
    pub id: Option<LogId>,
}

/// A state without its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub plugin: String,
    pub name: String,
    pub kind: String,
    pub schema: u32,
}

impl From<Declared<'_>> for Described {
    fn from(declared: Declared<'_>) -> Self {
        Self {
            plugin: declared.plugin.to_owned(),
            name: declared.name.to_owned(),
            kind: declared.kind.to_owned(),
            schema: declared.schema,
        }
    }
}

/// Writes a snapshot from its begin to its end.
#[derive(Debug)]
pub(super) struct SnapshotWriter {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    last: BatchNo,
    /// Where `out` begins in the file.
    at: u64,
    /// `None`: it is gone before the disk has to have it.
    synced_to: Option<u64>,
    out: Vec<u8>,
    entries: Vec<u8>,
    states_written: u64,
    entries_written: u64,
}

impl SnapshotWriter {
    /// One that need not survive anything.
    pub(super) fn unsynced(
        file: Box<dyn DiskFile>,
        path: PathBuf,
        header: &SnapshotHeader,
    ) -> Self {
        Self {
            synced_to: None,
            ..Self::new(file, path, header)
        }
    }

    pub(super) fn new(file: Box<dyn DiskFile>, path: PathBuf, header: &SnapshotHeader) -> Self {
        let mut subject = [0; SUBJECT_BYTES];
        subject[4..12].copy_from_slice(&header.last.0.to_le_bytes());
        subject[12..20].copy_from_slice(&header.now_ms.to_le_bytes());
        subject[20..24].copy_from_slice(&header.next_state.0.to_le_bytes());
        Self {
            file,
            path,
            last: header.last,
            at: 0,
            synced_to: Some(0),
            out: file_header::write(SNAPSHOT_MAGIC, &subject, header.id).to_vec(),
            entries: Vec::new(),
            states_written: 0,
            entries_written: 0,
        }
    }

    /// Begins a state, whose id is higher than that of the one before.
    pub(super) fn state(&mut self, id: StateId, state: &Described) -> Result<(), DiskError> {
        self.end_block()?;
        let mut block = Vec::new();
        effects::varint(&mut block, id.0.into());
        for text in [&state.plugin, &state.name, &state.kind] {
            effects::bytes(&mut block, text.as_bytes());
        }
        effects::varint(&mut block, state.schema.into());
        self.states_written += 1;
        self.block(STATE, &block)
    }

    /// Adds an entry to the state, whose key is higher than that of the one before.
    pub(super) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), DiskError> {
        effects::bytes(&mut self.entries, key);
        effects::bytes(&mut self.entries, value);
        self.entries_written += 1;
        if self.entries.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Ends the snapshot and makes it durable. Returns its size.
    pub(super) fn finish(mut self) -> Result<u64, DiskError> {
        self.end_block()?;
        let mut block = Vec::new();
        effects::varint(&mut block, self.states_written);
        effects::varint(&mut block, self.entries_written);
        self.block(END, &block)?;
        self.write()?;
        self.sync()?;
        Ok(self.at)
    }

    fn end_block(&mut self) -> Result<(), DiskError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut entries = std::mem::take(&mut self.entries);
        self.block(ENTRIES, &entries)?;
        entries.clear();
        self.entries = entries;
        Ok(())
    }

    fn block(&mut self, kind: u32, content: &[u8]) -> Result<(), DiskError> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        // A block holds at most one entry beyond BLOCK_BYTES, and one entry was within one batch.
        header[4..8].copy_from_slice(&(content.len() as u32).to_le_bytes());
        let at = self.at + self.out.len() as u64;
        let checksum = header_checksum(&header, self.last, at);
        header[8..12].copy_from_slice(&checksum.to_le_bytes());
        let checksum = content_checksum(checksum, content);
        header[12..].copy_from_slice(&checksum.to_le_bytes());
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(content);
        if self.out.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), DiskError> {
        write_all(&*self.file, &self.path, self.at, &self.out)?;
        self.at += self.out.len() as u64;
        self.out.clear();
        match self.synced_to {
            Some(synced_to) if self.at - synced_to >= SYNC_BYTES => self.sync(),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        if let Some(synced_to) = &mut self.synced_to {
            self.file
                .sync()
                .map_err(DiskError::because(&self.path, "synced"))?;
            *synced_to = self.at;
        }
        Ok(())
    }
}

/// Writes all of `bytes`, with one call if the disk takes them so.
pub(super) fn write_all(
    file: &dyn DiskFile,
    path: &Path,
    mut at: u64,
    mut bytes: &[u8],
) -> Result<(), DiskError> {
    while !bytes.is_empty() {
        let written = file.write_at(at, bytes);
        let written = match written.map_err(DiskError::because(path, "written"))? {
            0 => Err(std::io::ErrorKind::WriteZero.into()),
            some => Ok(some),
        };
        let written = written.map_err(DiskError::because(path, "written"))?;
        bytes = &bytes[written..];
        at += written as u64;
    }
    Ok(())
}

/// Reads a snapshot from its begin to its end.
#[derive(Debug)]
pub(super) struct SnapshotReader {
    window: Window,
    path: PathBuf,
    header: SnapshotHeader,
    /// Where the block in `content` begins, and the next one.
    block_at: u64,
    at: u64,
    kind: u32,
    content: Vec<u8>,
    /// Within `content`: the next entry, and the present one's parts.
    next: usize,
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
    /// The last key of the state, of the block before.
    key_before: Option<Vec<u8>>,
    last_state: Option<StateId>,
    states_read: u64,
    entries_read: u64,
}

impl SnapshotReader {
    /// Opens the snapshot that ends with `last`.
    pub(super) fn open(disk: &dyn Disk, folder: &Path, last: BatchNo) -> Result<Self, OpenError> {
        let path = folder.join(names::snapshot(last));
        Self::open_file(disk, &path, last, LOG_WINDOW_BYTES)
    }

    /// Opens the file `path`, which is to be read in pieces of this size.
    pub(super) fn open_file(
        disk: &dyn Disk,
        path: &Path,
        last: BatchNo,
        piece_bytes: usize,
    ) -> Result<Self, OpenError> {
        let mut window = Window::with_pieces(disk, path, piece_bytes)?;
        let bytes = window.bytes(0, FILE_HEADER_BYTES as u64)?;
        let header = file_header::read(bytes, SNAPSHOT_MAGIC, path)?;
        let subject = header.subject;
        let header = SnapshotHeader {
            last: BatchNo(u64_at(subject, 4)),
            now_ms: u64_at(subject, 12),
            next_state: StateId(u32_at(subject, 20)),
            id: header.id,
        };
        let mut reader = Self {
            window,
            path: path.to_owned(),
            header,
            block_at: 0,
            at: FILE_HEADER_BYTES as u64,
            kind: 0,
            content: Vec::new(),
            next: 0,
            key: 0..0,
            value: 0..0,
            key_before: None,
            last_state: None,
            states_read: 0,
            entries_read: 0,
        };
        if header.last != last {
            let expected = format!("the snapshot of batch {last}");
            return Err(reader.damaged(expected, format!("the one of batch {}", header.last)));
        }
        reader.next_block()?;
        Ok(reader)
    }

    pub(super) fn header(&self) -> SnapshotHeader {
        self.header
    }

    /// How large the file is.
    pub(super) fn bytes(&self) -> u64 {
        self.window.length()
    }

    /// Goes on to the next state. All entries of the one before must have been read.
    pub(super) fn next_state(&mut self) -> Result<Option<(StateId, Described)>, OpenError> {
        match self.kind {
            STATE => {}
            END => return self.end().map(|()| None),
            _ => {
                let found = format!("a block of kind {}", self.kind);
                return Err(self.damaged("the begin of a state", found));
            }
        }
        let mut cursor = Cursor::new(&self.content);
        let read = cursor
            .state()
            .and_then(|id| Ok((id, Described::from(cursor.declared()?))));
        let (id, state) = read.map_err(|cause| self.bad_content(&cause))?;
        let is_in_order = self.last_state < Some(id) && id < self.header.next_state;
        if !is_in_order {
            return Err(self.damaged("a state with a higher id", format!("state {id}")));
        }
        self.last_state = Some(id);
        self.states_read += 1;
        self.key_before = None;
        self.next_block()?;
        Ok(Some((id, state)))
    }

    /// Goes on to the next entry of the state, if there is one.
    pub(super) fn next_entry(&mut self) -> Result<bool, OpenError> {
        if self.kind == ENTRIES && self.next == self.content.len() {
            self.key_before = Some(self.content[self.key.clone()].to_vec());
            self.next_block()?;
        }
        if self.kind != ENTRIES {
            return Ok(false);
        }
        let mut cursor = Cursor::new(&self.content[self.next..]);
        let read = cursor
            .slice()
            .and_then(|key| Ok((key.len(), cursor.at(), cursor.slice()?.len(), cursor.at())));
        let (key_bytes, key_end, value_bytes, value_end) =
            read.map_err(|cause| self.bad_content(&cause))?;
        let begin = self.next;
        let key = begin + key_end - key_bytes..begin + key_end;
        let before = match begin {
            0 => self.key_before.as_deref(),
            _ => Some(&self.content[self.key.clone()]),
        };
        if before.is_some_and(|before| before >= &self.content[key.clone()]) {
            let found = format!("the same or a lower one at byte {begin} of the block");
            return Err(self.damaged("an entry with a higher key", found));
        }
        self.key = key;
        self.next = begin + value_end;
        self.value = self.next - value_bytes..self.next;
        self.entries_read += 1;
        Ok(true)
    }

    /// The present entry's key.
    pub(super) fn key(&self) -> &[u8] {
        &self.content[self.key.clone()]
    }

    /// The present entry's value.
    pub(super) fn value(&self) -> &[u8] {
        &self.content[self.value.clone()]
    }

    fn next_block(&mut self) -> Result<(), OpenError> {
        self.block_at = self.at;
        let header = self.window.bytes(self.at, BLOCK_HEADER_BYTES as u64)?;
        let Ok(header) = <[u8; BLOCK_HEADER_BYTES]>::try_from(header) else {
            return Err(self.damaged("a block", "the end of the file"));
        };
        let checksum = header_checksum(&header, self.header.last, self.at);
        let stored = u32_at(&header, 8);
        if checksum != stored {
            let expected = format!("a block whose header has the checksum {stored:08x}");
            return Err(self.damaged(expected, format!("{checksum:08x}")));
        }
        let length = u64::from(u32_at(&header, 4));
        let begin = self.at + BLOCK_HEADER_BYTES as u64;
        let content = self.window.bytes(begin, length)?;
        if (content.len() as u64) < length {
            let found = format!("{} bytes until the end of the file", content.len());
            return Err(self.damaged(format!("a block of {length} bytes"), found));
        }
        let checksum = content_checksum(checksum, content);
        let stored = u32_at(&header, 12);
        self.content.clear();
        make_room(&mut self.content, content.len(), &self.path)?;
        self.content.extend_from_slice(content);
        if checksum != stored {
            let expected = format!("a block with the checksum {stored:08x}");
            return Err(self.damaged(expected, format!("{checksum:08x}")));
        }
        self.kind = u32_at(&header, 0);
        self.at = begin + length;
        self.next = 0;
        self.key = 0..0;
        self.value = 0..0;
        Ok(())
    }

    fn end(&mut self) -> Result<(), OpenError> {
        let mut cursor = Cursor::new(&self.content);
        let counts = cursor
            .u64("a count of states")
            .and_then(|states| Ok((states, cursor.u64("a count of entries")?)));
        let counts = counts.map_err(|cause| self.bad_content(&cause))?;
        if counts != (self.states_read, self.entries_read) {
            let expected = format!("{} states with {} entries", counts.0, counts.1);
            let found = format!("{} with {}", self.states_read, self.entries_read);
            return Err(self.damaged(expected, found));
        }
        if self.at != self.window.length() {
            let found = format!("{} bytes", self.window.length() - self.at);
            return Err(self.damaged("nothing after the end", found));
        }
        Ok(())
    }

    fn bad_content(&self, cause: &BadEffects) -> OpenError {
        let expected = format!("{} at byte {} of the block", cause.expected, cause.at);
        self.damaged(expected, cause.found.clone())
    }

    pub(super) fn damaged(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> OpenError {
        OpenError::from(Damage {
            file: self.window.path().to_owned(),
            byte: self.block_at,
            batch: None,
            expected: expected.into(),
            found: found.into(),
        })
    }
}

/// Reads the whole snapshot that ends with `last`, and tells its size.
pub(super) fn load(
    disk: &dyn Disk,
    folder: &Path,
    last: BatchNo,
) -> Result<(Snapshot, u64), OpenError> {
    let mut reader = SnapshotReader::open(disk, folder, last)?;
    let mut states = Vec::new();
    while let Some((id, state)) = reader.next_state()? {
        let mut map = StateMap::default();
        while reader.next_entry()? {
            map.push_last(reader.key(), reader.value());
        }
        states.push(RecoveredState {
            id,
            plugin: state.plugin,
            name: state.name,
            kind: state.kind,
            schema: state.schema,
            map,
        });
    }
    let header = reader.header();
    let snapshot = Snapshot {
        states,
        last,
        now_ms: header.now_ms,
        next_state: header.next_state,
    };
    Ok((snapshot, reader.bytes()))
}

fn header_checksum(header: &[u8; BLOCK_HEADER_BYTES], last: BatchNo, at: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..8]);
    hasher.update(&last.0.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.finalize()
}

fn content_checksum(header: u32, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(header);
    hasher.update(content);
    hasher.finalize()
}
