//! Reads a log's folder and changes nothing in it: for looking at it, and for copies of it. A host may serve from it meanwhile.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DiskError, Expected, LogId, OpenError, Recovered,
    file_header::{self, FILE_HEADER_BYTES},
    file_log::make_folder,
    names,
    recovery::{self, Contents},
    replay::Replayed,
    segment_writer::create_unfinished,
    snapshot_file::write_all,
    window::Window,
};
use crate::state::disk::Disk;

/// A serving host that makes a snapshot removes what is being read, and then there is newer to read.
const TRIES_MAX: usize = 20;

const COPY_BYTES: u64 = 1024 * 1024;

/// A log's folder, to be read only.
#[derive(Debug)]
pub struct Inspection {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    expected: Expected,
}

/// What could be read of a damaged log.
#[derive(Debug)]
pub struct Partial {
    /// All up to the last batch before the damage.
    pub recovered: Recovered,
    /// What it ends at; none if the log is whole.
    pub damage: Option<OpenError>,
}

impl Inspection {
    /// Looks at the log in `folder`.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        Self {
            disk,
            folder: folder.to_owned(),
            expected: Expected::default(),
        }
    }

    /// With what is known of the log otherwise.
    #[must_use]
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// The identity that the log bears, if there is a log, and if it bears one.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn identity(&self) -> Result<Option<Option<LogId>>, OpenError> {
        let mut tries = 0;
        loop {
            let found = recovery::identity(&*self.disk, &self.folder);
            tries += 1;
            if tries == TRIES_MAX || !self.is_gone(&found) {
                return found;
            }
        }
    }

    /// Reads all of it, and checks every byte that counts. A torn end is reported, as the cut that the next start makes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn read(&self) -> Result<Recovered, OpenError> {
        let partial = self.read_until_damage();
        partial.damage.map_or(Ok(partial.recovered), Err)
    }

    /// Reads all up to the first damage. What a damaged snapshot holds is not read at all.
    pub fn read_until_damage(&self) -> Partial {
        let (contents, states) = self.contents();
        let (contents, damage) = match contents {
            Ok(contents) => (contents, None),
            Err(damage) => (Contents::default(), Some(damage)),
        };
        let recovered = contents.recovered(states);
        Partial { recovered, damage }
    }

    /// Copies all that counts into the folder `to`, which is made and must be empty. The copy is the log `id`, as of one batch, is
    /// durable, and is read again before this returns.
    ///
    /// # Errors
    /// See [`OpenError`]. What was copied until then stays, and cannot be taken for a whole log.
    pub fn copy(&self, to: &Path, id: LogId) -> Result<Recovered, OpenError> {
        make_folder(&*self.disk, to)?;
        if let Some(name) = self.names_in(to)?.first() {
            return Err(OpenError::Foreign {
                file: to.join(name),
            });
        }
        let mut tries = 0;
        loop {
            let copied = self.try_copy(to, id);
            tries += 1;
            if !self.is_gone(&copied) || tries == TRIES_MAX {
                copied?;
                let copy = Self::new(self.disk.clone(), to);
                let expected = Expected {
                    id: Some(id),
                    end: None,
                };
                return copy.expecting(expected).read();
            }
            for name in self.names_in(to)? {
                let path = to.join(name);
                self.disk
                    .remove(&path)
                    .map_err(DiskError::because(&path, "removed"))?;
            }
        }
    }

    /// Begins with the newest segment: whatever else is missing beside that is missed.
    fn try_copy(&self, to: &Path, id: LogId) -> Result<(), OpenError> {
        let (contents, _) = self.contents();
        let contents = contents?;
        let sync_folder = || {
            self.disk
                .sync_folder(to)
                .map_err(DiskError::because(to, "synced"))
        };
        if let Some(newest) = &contents.newest {
            let name = names::segment(newest.header.first);
            let unfinished = names::unfinished(&name);
            self.copy_file(&name, newest.end, &to.join(&unfinished), id)?;
            let unfinished = to.join(unfinished);
            self.disk
                .rename(&unfinished, &to.join(name))
                .map_err(DiskError::because(&unfinished, "renamed"))?;
            sync_folder()?;
        }
        for closed in contents.closed.iter().rev() {
            let name = names::segment(closed.first);
            self.copy_file(&name, closed.end, &to.join(&name), id)?;
        }
        if let Some(stored) = contents.snapshot {
            let name = names::snapshot(stored.last);
            self.copy_file(&name, stored.bytes, &to.join(&name), id)?;
        }
        Ok(sync_folder()?)
    }

    fn names_in(&self, folder: &Path) -> Result<Vec<String>, DiskError> {
        self.disk
            .list(folder)
            .map_err(DiskError::because(folder, "listed"))
    }

    fn copy_file(&self, name: &str, bytes: u64, path: &Path, id: LogId) -> Result<(), DiskError> {
        let mut window = Window::open(&*self.disk, &self.folder.join(name))?;
        let file = create_unfinished(&*self.disk, path)?;
        let header = window.bytes(0, FILE_HEADER_BYTES as u64)?;
        let mut header: [u8; FILE_HEADER_BYTES] = header.try_into().map_err(|_| {
            let cause = ErrorKind::UnexpectedEof.into();
            DiskError::because(path, "read")(cause)
        })?;
        file_header::set_id(&mut header, id);
        write_all(&*file, path, 0, &header)?;
        let mut at = FILE_HEADER_BYTES as u64;
        while at < bytes {
            let piece = window.bytes(at, (bytes - at).min(COPY_BYTES))?;
            if piece.is_empty() {
                let cause = ErrorKind::UnexpectedEof.into();
                return Err(DiskError::because(window.path(), "read")(cause));
            }
            write_all(&*file, path, at, piece)?;
            at += piece.len() as u64;
        }
        file.sync().map_err(DiskError::because(path, "synced"))
    }

    /// Of a host that serves, what is read may be gone, or half written, and whole a moment later. So only what is
    /// found twice the same is wrong.
    fn contents(&self) -> (Result<Contents, OpenError>, Replayed) {
        let mut found_before = None;
        for _ in 1..TRIES_MAX {
            let mut states = Replayed::default();
            match recovery::read(&*self.disk, &self.folder, &self.expected, &mut states) {
                Err(refusal) if found_before != Some(refusal.to_string()) => {
                    found_before = Some(refusal.to_string());
                }
                found => return (found, states),
            }
        }
        let mut states = Replayed::default();
        let found = recovery::read(&*self.disk, &self.folder, &self.expected, &mut states);
        (found, states)
    }

    /// Whether a file was there and is not any more.
    fn is_gone<T>(&self, read: &Result<T, OpenError>) -> bool {
        match read {
            Err(OpenError::Disk(failed)) => {
                failed.cause.kind() == ErrorKind::NotFound && failed.file.starts_with(&self.folder)
            }
            _ => false,
        }
    }
}
