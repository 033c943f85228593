//! An export, made a state again.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind},
    path::Path,
    sync::Arc,
};

use plugin_api::limits::STATE_ENTRY_BYTES_MAX;

use super::{
    StateError, UNFINISHED, holds_something,
    line::{Counts, End, Entry, FORMAT, Head, Kind, StateLine, digits},
    source::{Source, shown},
    verify::Verified,
};
use crate::{
    data_folder::{DataFolder, STATE_FOLDER, Wanted, mark_as_meant, sync_name},
    limits::{HOST_TIME_MS_MAX, IMPORTED_AT_ONCE_BYTES, STATE_NUMBERS_MAX},
    state::{
        disk::{Disk, RealDisk},
        effects::{self, Declared, StateId},
        log::{BatchNo, Expected, FileLog, Inspection, Log, LogEnd, LogId},
    },
};

/// Makes a state of an export, `-` being stdin, in a data folder that has none.
///
/// # Errors
/// The folder has a state, or is in use; the export is not whole; the disk fails. The folder has no state then.
pub fn import(data: &Path, from: &Path) -> Result<Verified, StateError> {
    let folder = DataFolder::open(data, Wanted::NewState)?;
    let (state, unfinished) = (
        folder.path().join(STATE_FOLDER),
        folder.path().join(UNFINISHED),
    );
    if holds_something(&state)? {
        return Err(StateError::NotEmpty {
            folder: state,
            remedy: "import into another folder with --data DIR, or move it away first",
        });
    }
    // Whoever made the folder just now need not have seen to that.
    let because = StateError::io(folder.path().display().to_string(), "synced");
    sync_name(folder.path()).map_err(because)?;
    // Of an import that was killed.
    match fs::remove_dir_all(&unfinished) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            return Err(StateError::io(unfinished.display().to_string(), "removed")(
                cause,
            ));
        }
        _ => {}
    }
    let name = from.display().to_string();
    let source: Source<Box<dyn BufRead>> = if name == "-" {
        Source::new("stdin", Box::new(io::stdin().lock()))
    } else {
        let file = File::open(from).map_err(StateError::io(&*name, "opened"))?;
        Source::new(&name, Box::new(BufReader::new(file)))
    };
    let because = StateError::io(folder.path().display().to_string(), "given an identity");
    let id = LogId::random().map_err(because)?;
    let imported = Import::new(&unfinished, id, source).and_then(Import::run);
    let verified = imported.and_then(|end| {
        let expected = Expected { id: Some(id), end };
        let log = Inspection::new(Arc::new(RealDisk), &unfinished);
        Ok((Verified::of(&log.expecting(expected).read()?), end))
    });
    if verified.is_err() {
        // The next import would remove it as well.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let (verified, end) = verified?;
    fs::rename(&unfinished, &state)
        .and_then(|()| RealDisk.sync_folder(folder.path()))
        .map_err(StateError::io(
            state.display().to_string(),
            "put in its place",
        ))?;
    mark_as_meant(folder.path(), id, end)?;
    Ok(verified)
}

/// An import under way.
struct Import<R> {
    log: FileLog,
    source: Source<R>,
    last: BatchNo,
    now_ms: u64,
    effects: Vec<u8>,
    counts: Counts,
    state: Option<StateId>,
    key_before: Option<Vec<u8>>,
    next_state: StateId,
    /// Of the states so far: the plugin's and its own.
    names: HashSet<(String, String)>,
}

impl<R: BufRead> Import<R> {
    fn new(folder: &Path, id: LogId, source: Source<R>) -> Result<Self, StateError> {
        let (log, _) = FileLog::open(Arc::new(RealDisk), folder, id, None)?;
        Ok(Self {
            log,
            source,
            last: BatchNo::default(),
            now_ms: 0,
            effects: Vec::new(),
            counts: Counts::default(),
            state: None,
            key_before: None,
            next_state: StateId(0),
            names: HashSet::new(),
        })
    }

    /// Returns where the log ends.
    fn run(mut self) -> Result<Option<LogEnd>, StateError> {
        self.head()?;
        let end: End = loop {
            let expected = "a state, an entry, or the end";
            self.source.advance(expected)?;
            let kind: Kind = self.source.read(expected)?;
            if kind.end.is_some() {
                break self.source.read("the end, with its counts")?;
            }
            if kind.key.is_some() {
                let entry = self
                    .source
                    .read("an entry, with `key` and `value` or `hex`")?;
                self.entry(entry)?;
            } else {
                let expected = "a state, with number, plugin, name, kind and schema";
                let state = self.source.read(expected)?;
                self.state(&state)?;
            }
            if self.effects.len() > IMPORTED_AT_ONCE_BYTES {
                self.append()?;
            }
        };
        self.end(end)?;
        self.keep_next_state();
        self.append()?;
        self.log.sync()?;
        Ok(self.log.end())
    }

    fn head(&mut self) -> Result<(), StateError> {
        let expected = "the head of an export";
        self.source.advance(expected)?;
        let head: Head = self.source.read(expected)?;
        if head.format != FORMAT {
            return Err(self.source.wrong(
                format!("the format {FORMAT}, which is all that this host reads"),
                head.format.to_string(),
            ));
        }
        if let Some(damage) = head.damage {
            return Err(self.source.wrong(
                "the export of a whole state",
                format!("one that ends at a damage: {}", shown(&damage)),
            ));
        }
        if head.now_ms > HOST_TIME_MS_MAX {
            return Err(self.source.wrong(
                format!("a time of at most {HOST_TIME_MS_MAX} ms since 1970"),
                head.now_ms.to_string(),
            ));
        }
        if head.next_state > STATE_NUMBERS_MAX {
            return Err(self.source.wrong(
                format!("states with numbers below {STATE_NUMBERS_MAX}"),
                format!("that the next one has the number {}", head.next_state),
            ));
        }
        (self.now_ms, self.next_state) = (head.now_ms, StateId(head.next_state));
        Ok(())
    }

    /// Whether all that it speaks of was there, as it was written.
    fn end(&mut self, end: End) -> Result<(), StateError> {
        if end.end != self.counts {
            let told = |counts: Counts| {
                format!("{} states with {} entries", counts.states, counts.entries)
            };
            let found = format!("{} before it", told(self.counts));
            return Err(self.source.wrong(told(end.end), found));
        }
        let found = digits(self.source.checksum());
        if let Some(expected) = end.crc32
            && expected != found
        {
            return Err(StateError::Checksum {
                source_name: self.source.name().to_owned(),
                expected: shown(&expected),
                found,
            });
        }
        self.source.end()
    }

    fn state(&mut self, line: &StateLine) -> Result<(), StateError> {
        let id = StateId(line.state);
        let is_next = self.state < Some(id) && id < self.next_state;
        if !is_next {
            let expected = format!(
                "a state with a higher number than the one before, and a lower one than {}",
                self.next_state
            );
            return Err(self.source.wrong(expected, id.to_string()));
        }
        if !self.names.insert((line.plugin.clone(), line.name.clone())) {
            let found = format!("{} of {} again", shown(&line.name), shown(&line.plugin));
            return Err(self.source.wrong("each state of a plugin once", found));
        }
        let declared = Declared {
            plugin: &line.plugin,
            name: &line.name,
            kind: &line.kind,
            schema: line.schema,
        };
        effects::declare(&mut self.effects, id, &declared);
        (self.state, self.key_before) = (Some(id), None);
        self.counts.states += 1;
        Ok(())
    }

    fn entry(&mut self, entry: Entry) -> Result<(), StateError> {
        let Some(state) = self.state else {
            return Err(self
                .source
                .wrong("a state before its first entry", "an entry"));
        };
        let (key, value) = entry.into_parts().map_err(|found| {
            self.source
                .wrong("an entry with a `value` or a `hex`", found)
        })?;
        if let Err(too_large) = plugin_api::rules::entry(&key, &value) {
            let expected = format!(
                "an entry of at most {STATE_ENTRY_BYTES_MAX} bytes, key and value together"
            );
            let found = format!("one of {}", too_large.bytes);
            return Err(self.source.wrong(expected, found));
        }
        if self
            .key_before
            .as_ref()
            .is_some_and(|before| *before >= key)
        {
            let found = format!(
                "{}, which does not come after the one before",
                shown(&hex::encode(&key))
            );
            return Err(self
                .source
                .wrong("entries in the order of their keys", found));
        }
        effects::put(&mut self.effects, state, &key, &value);
        self.key_before = Some(key);
        self.counts.entries += 1;
        Ok(())
    }

    /// A number that was given to a state is never given to another, also if that state was dropped.
    fn keep_next_state(&mut self) {
        let Some(highest) = self.next_state.0.checked_sub(1).map(StateId) else {
            return;
        };
        if self.state != Some(highest) {
            effects::declare(&mut self.effects, highest, &DROPPED);
            effects::drop_state(&mut self.effects, highest);
        }
    }

    fn append(&mut self) -> Result<(), StateError> {
        let next = self.last.next();
        self.log.append(next, self.now_ms, &self.effects)?;
        self.effects.clear();
        self.last = next;
        Ok(())
    }
}

/// Of a state that was dropped nothing is known but its number.
const DROPPED: Declared<'_> = Declared {
    plugin: "",
    name: "",
    kind: "",
    schema: 0,
};
