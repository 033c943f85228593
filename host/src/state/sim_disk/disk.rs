//! See [`SimDisk`].
//!
//! What was written is seen at once, and is on the disk once it was synced: a file's content by a sync of the file, its name by one of
//! the folder. A power loss keeps any sectors of the rest, and any of the names' changes. A sync of a file that fails keeps any
//! sectors too, and those that it does not keep are seen until the power is lost, but no later sync writes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    fault::{Failure, Fault, Operation, error},
    random::Random,
};
use crate::state::disk::{Disk, DiskFile, FileId};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    /// And whether they are durable.
    folders: BTreeMap<PathBuf, bool>,
    done: BTreeMap<Operation, u64>,
    changes_done: u64,
    fault: Option<Fault>,
    power_loss_at: Option<u64>,
    is_off: bool,
    random: Random,
}

#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    truncated_to: Option<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl SimDisk {
    /// A disk with the folder `/data`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            folders: [(PathBuf::from("/data"), true)].into(),
            random: Random::new(seed),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Another disk with the same on it.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    pub fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// It fails no more.
    pub fn mend(&self) {
        self.state().fault = None;
    }

    /// Cuts the power after so many operations that change something.
    pub fn lose_power_after(&self, changes: u64) {
        let mut state = self.state();
        state.power_loss_at = Some(state.changes_done + changes);
    }

    /// Cuts the power now.
    pub fn lose_power(&self) {
        self.state().is_off = true;
    }

    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Gives power again, after what is now is lost if it is not durable.
    pub fn power_up(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let odds = *state.random.one_of(&[0, 10, 50, 90, 100]);
        for change in std::mem::take(&mut state.name_changes) {
            if state.random.percent(odds) {
                change.apply(&mut state.names_durable);
            }
        }
        for content in &mut state.files {
            content.lose_power(odds, &mut state.random);
        }
        for (folder, _) in state.folders.extract_if(.., |_, is_durable| {
            !*is_durable && !state.random.percent(odds)
        }) {
            state
                .names_durable
                .retain(|name, _| !name.starts_with(&folder));
        }
        state.names = state.names_durable.clone();
        state.power_loss_at = None;
        state.is_off = false;
        state.fault = None;
    }

    /// How many operations there were that change something.
    pub fn changes_done(&self) -> u64 {
        self.state().changes_done
    }

    /// How many operations of one kind there were.
    pub fn done(&self, operation: Operation) -> u64 {
        self.state().done.get(&operation).copied().unwrap_or(0)
    }

    /// Whether the fault has come.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        let done = |fault: Fault| state.done.get(&fault.operation).copied().unwrap_or(0);
        state.fault.is_some_and(|fault| done(fault) > fault.nth)
    }

    pub fn names(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's content, to be looked at or changed past all that a disk does.
    pub fn edit<T>(&self, file: &Path, edit: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.state();
        let inode = state.names[file];
        let content = &mut state.files[inode];
        let edited = edit(&mut content.seen);
        content.durable = content.seen.clone();
        content.dirty.clear();
        edited
    }

    /// Renames, removes or adds names past all that a disk does.
    pub fn edit_names(&self, edit: impl FnOnce(&mut BTreeMap<PathBuf, usize>)) {
        let mut state = self.state();
        edit(&mut state.names);
        state.names_durable = state.names.clone();
        state.name_changes.clear();
    }

    /// Adds a file past all that a disk does.
    pub fn add(&self, file: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.files.push(Content {
            seen: bytes.to_vec(),
            durable: bytes.to_vec(),
            ..Content::default()
        });
        let inode = state.files.len() - 1;
        state.names.insert(file.into(), inode);
        state.names_durable.insert(file.into(), inode);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: Operation) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let mut state = self.state();
        if state.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if operation.changes() {
            state.changes_done += 1;
            state.is_off = state
                .power_loss_at
                .is_some_and(|at| state.changes_done > at);
        }
        let done = state.done.entry(operation).or_default();
        let nth = *done;
        *done += 1;
        let failure = state.fault.filter(|fault| {
            fault.operation == operation && (fault.nth..fault.nth + fault.times).contains(&nth)
        });
        Ok((state, failure.map(|fault| fault.failure)))
    }

    /// An operation that fails as a whole, or changes something and then fails if the power went.
    fn whole<T>(
        &self,
        operation: Operation,
        body: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut state, failure) = self.begin(operation)?;
        if let Some(failure) = failure {
            return Err(error(failure));
        }
        let result = body(&mut state)?;
        state.still_on().map(|()| result)
    }
}

impl State {
    fn still_on(&self) -> io::Result<()> {
        match self.is_off {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }

    fn find(&self, file: &Path) -> io::Result<usize> {
        let inode = self.names.get(file);
        inode.copied().ok_or(io::ErrorKind::NotFound.into())
    }

    fn id(&self, inode: usize) -> FileId {
        let names = self.names.values().filter(|of| **of == inode);
        FileId {
            device: 1,
            inode: inode as u64,
            links: names.count() as u64,
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Link(name, _) | Self::Unlink(name) | Self::Rename(name, ..)) = self;
        name.parent() == Some(folder)
    }
}

impl Content {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
    }

    fn keep(&mut self, sector: usize) {
        let begin = sector * SECTOR;
        let end = (begin + SECTOR).min(self.seen.len());
        if begin < end {
            if self.durable.len() < end {
                self.durable.resize(end, 0);
            }
            self.durable[begin..end].copy_from_slice(&self.seen[begin..end]);
        }
    }

    fn sync(&mut self) {
        if let Some(length) = self.truncated_to.take() {
            self.durable.truncate(length);
        }
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
        self.durable.resize(self.seen.len(), 0);
    }

    fn keep_some(&mut self, odds: u64, random: &mut Random) {
        if let Some(length) = self.truncated_to.take()
            && random.percent(odds)
        {
            self.durable.truncate(length);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if random.percent(odds) {
                self.keep(sector);
            }
        }
    }

    fn lose_power(&mut self, odds: u64, random: &mut Random) {
        self.keep_some(odds, random);
        self.seen = self.durable.clone();
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimDisk {
    fn file(&self, inode: usize) -> Box<dyn DiskFile> {
        Box::new(SimFile {
            disk: self.clone(),
            inode,
        })
    }
}

impl Disk for SimDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.whole(Operation::CreateFolder, |state| {
            state.folders.entry(folder.to_owned()).or_insert(false);
            Ok(())
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.whole(Operation::List, |state| {
            if !state.folders.contains_key(folder) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let inside = state
                .names
                .keys()
                .filter(|name| name.parent() == Some(folder));
            let names = inside.filter_map(|name| name.file_name());
            Ok(names
                .map(|name| name.to_string_lossy().into_owned())
                .collect())
        })
    }

    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.whole(Operation::Create, |state| {
            if state.names.contains_key(file) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.push(Content::default());
            let inode = state.files.len() - 1;
            state.change(NameChange::Link(file.to_owned(), inode));
            Ok(self.file(inode))
        })
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.whole(Operation::Open, |state| Ok(self.file(state.find(file)?)))
    }

    fn open_to_read(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(file)
    }

    fn id_of(&self, path: &Path) -> io::Result<FileId> {
        let state = self.state();
        if state.folders.contains_key(path) {
            return Ok(FileId {
                device: 0,
                inode: 0,
                links: 1,
            });
        }
        let inode = state.find(path)?;
        Ok(state.id(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.whole(Operation::Rename, |state| {
            let inode = state.find(from)?;
            state.change(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
            Ok(())
        })
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.whole(Operation::Remove, |state| {
            state.find(file)?;
            state.change(NameChange::Unlink(file.to_owned()));
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let (mut state, failure) = self.begin(Operation::SyncFolder)?;
        if let Some(failure) = failure {
            return Err(error(failure));
        }
        state.still_on()?;
        let (synced, other): (Vec<_>, _) = std::mem::take(&mut state.name_changes)
            .into_iter()
            .partition(|change| change.is_in(folder));
        state.name_changes = other;
        for change in synced {
            change.apply(&mut state.names_durable);
        }
        for (inside, is_durable) in &mut state.folders {
            *is_durable |= inside.parent() == Some(folder);
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, at: u64, room: &mut [u8]) -> io::Result<usize> {
        self.disk.whole(Operation::Read, |state| {
            let seen = &state.files[self.inode].seen;
            let from = seen.get(at as usize..).unwrap_or_default();
            let length = from.len().min(room.len());
            room[..length].copy_from_slice(&from[..length]);
            Ok(length)
        })
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let (mut state, failure) = self.disk.begin(Operation::Write)?;
        let taken = match failure {
            None => bytes.len(),
            Some(Failure::Short) => bytes.len() / 2,
            Some(failure) => return Err(error(failure)),
        };
        state.files[self.inode].write(at as usize, &bytes[..taken]);
        state.still_on().map(|()| taken)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, failure) = self.disk.begin(Operation::Sync)?;
        let state = &mut *state;
        let content = &mut state.files[self.inode];
        if let Some(failure) = failure {
            let odds = *state.random.one_of(&[0, 50, 100]);
            content.keep_some(odds, &mut state.random);
            return Err(error(failure));
        }
        if !state.is_off {
            content.sync();
        }
        state.still_on()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.whole(Operation::Truncate, |state| {
            let content = &mut state.files[self.inode];
            let length = length as usize;
            content.seen.resize(length, 0);
            content.dirty.retain(|sector| sector * SECTOR < length);
            let lowest = content.truncated_to.unwrap_or(usize::MAX).min(length);
            content.truncated_to = Some(lowest);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.whole(Operation::Length, |state| {
            Ok(state.files[self.inode].seen.len() as u64)
        })
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(self.disk.state().id(self.inode))
    }
}
