//! An export, made a state again.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind},
    path::Path,
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    StateError, UNFINISHED, holds_something,
    line::{Counts, End, Entry, FORMAT, Head, StateLine},
    verify::Verified,
};
use crate::{
    data_folder::{DataFolder, STATE_FOLDER},
    limits::IMPORTED_AT_ONCE_BYTES,
    state::{
        disk::{Disk, RealDisk},
        effects::{self, Declared, StateId},
        log::{BatchNo, FileLog, Inspection, Log},
    },
};

/// Makes a state of an export, `-` being stdin, in a data folder that has none.
///
/// # Errors
/// The folder has a state, or is in use; the export is not whole; the disk fails. The folder has no state then.
pub fn import(data: &Path, from: &Path) -> Result<Verified, StateError> {
    let folder = DataFolder::open(data)?;
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
    let (name, lines): (&str, Box<dyn BufRead>) = if name == "-" {
        ("stdin", Box::new(io::stdin().lock()))
    } else {
        let file = File::open(from).map_err(StateError::io(&*name, "opened"))?;
        (&name, Box::new(BufReader::new(file)))
    };
    let imported = Import::new(&unfinished, name).and_then(|import| import.run(lines));
    let verified = imported.and_then(|()| {
        let read = Inspection::new(Arc::new(RealDisk), &unfinished).read()?;
        Ok(Verified::of(&read))
    });
    if verified.is_err() {
        // The next import would remove it as well.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let verified = verified?;
    fs::rename(&unfinished, &state)
        .and_then(|()| RealDisk.sync_folder(folder.path()))
        .map_err(StateError::io(
            state.display().to_string(),
            "put in its place",
        ))?;
    Ok(verified)
}

/// An import under way.
struct Import<'a> {
    log: FileLog,
    source_name: &'a str,
    line: u64,
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

impl<'a> Import<'a> {
    fn new(folder: &Path, source_name: &'a str) -> Result<Self, StateError> {
        let (log, _) = FileLog::open(Arc::new(RealDisk), folder)?;
        Ok(Self {
            log,
            source_name,
            line: 0,
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

    fn run(mut self, lines: impl BufRead) -> Result<(), StateError> {
        let mut lines = lines.split(b'\n');
        let head: Head = self.read(&mut lines, "the head of an export")?;
        if head.format != FORMAT {
            return Err(self.wrong(
                format!("the format {FORMAT}, which is all that this host reads"),
                head.format.to_string(),
            ));
        }
        if let Some(damage) = head.damage {
            return Err(self.wrong(
                "the export of a whole state",
                format!("one that ends at a damage: {damage}"),
            ));
        }
        (self.now_ms, self.next_state) = (head.now_ms, StateId(head.next_state));
        let end: End = loop {
            let any: Value = self.read(&mut lines, "a state, an entry, or the end")?;
            if any.get("end").is_some() {
                break self.typed(any, "the end, with its counts")?;
            }
            if any.get("key").is_some() {
                let entry = self.typed(any, "an entry, with `key` and `value` or `hex`")?;
                self.entry(entry)?;
            } else {
                let state =
                    self.typed(any, "a state, with number, plugin, name, kind and schema")?;
                self.state(&state)?;
            }
            if self.effects.len() > IMPORTED_AT_ONCE_BYTES {
                self.append()?;
            }
        };
        if end.end != self.counts {
            let told = |counts: Counts| {
                format!("{} states with {} entries", counts.states, counts.entries)
            };
            return Err(self.wrong(told(end.end), format!("{} before it", told(self.counts))));
        }
        self.line += 1;
        if let Some(more) = lines.next() {
            let more = more.map_err(StateError::io(self.source_name, "read"))?;
            return Err(self.wrong("nothing behind the end", format!("{} bytes", more.len())));
        }
        self.keep_next_state();
        self.append()?;
        Ok(self.log.sync()?)
    }

    fn state(&mut self, line: &StateLine) -> Result<(), StateError> {
        let id = StateId(line.state);
        let is_next = self.state < Some(id) && id < self.next_state;
        if !is_next {
            let expected = format!(
                "a state with a higher number than the one before, and a lower one than {}",
                self.next_state
            );
            return Err(self.wrong(expected, id.to_string()));
        }
        if !self.names.insert((line.plugin.clone(), line.name.clone())) {
            let found = format!("{} of {} again", line.name, line.plugin);
            return Err(self.wrong("each state of a plugin once", found));
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
            return Err(self.wrong("a state before its first entry", "an entry"));
        };
        let (key, value) = entry
            .into_parts()
            .map_err(|found| self.wrong("an entry with a `value` or a `hex`", found))?;
        if self
            .key_before
            .as_ref()
            .is_some_and(|before| *before >= key)
        {
            let found = format!(
                "{}, which does not come after the one before",
                hex::encode(&key)
            );
            return Err(self.wrong("entries in the order of their keys", found));
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

    fn read<T: DeserializeOwned>(
        &mut self,
        lines: &mut impl Iterator<Item = io::Result<Vec<u8>>>,
        expected: &str,
    ) -> Result<T, StateError> {
        self.line += 1;
        let Some(line) = lines.next() else {
            return Err(self.wrong(expected, "the end of the file: it was cut off"));
        };
        let line = line.map_err(StateError::io(self.source_name, "read"))?;
        serde_json::from_slice(&line).map_err(|error| self.wrong(expected, error.to_string()))
    }

    fn typed<T: DeserializeOwned>(&self, any: Value, expected: &str) -> Result<T, StateError> {
        serde_json::from_value(any).map_err(|error| self.wrong(expected, error.to_string()))
    }

    fn wrong(&self, expected: impl Into<String>, found: impl Into<String>) -> StateError {
        StateError::Line {
            line: self.line,
            source_name: self.source_name.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// Of a state that was dropped nothing is known but its number.
const DROPPED: Declared<'_> = Declared {
    plugin: "",
    name: "",
    kind: "",
    schema: 0,
};
