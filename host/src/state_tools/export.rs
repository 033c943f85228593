//! The state as text, for other hosts and other programs.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crc32fast::Hasher;
use serde::Serialize;

use super::{
    StateError, inspection, inspection_of_any,
    line::{Counts, End, Entry, FORMAT, Head, StateLine, digits},
    refuse_within,
};
use crate::{data_folder::sync_name, state::log::Recovered};

/// Writes the state in a data folder as JSON lines to a new file, or to stdout. A host may serve from it: it is the state
/// after one batch. With `salvage`, what stands before a damage is written as well.
///
/// # Errors
/// There is no state; it is not whole, also if what could be read was written; the file is there, or cannot be written.
pub fn export(data: &Path, out: Option<&Path>, salvage: bool) -> Result<(), StateError> {
    if let Some(out) = out {
        refuse_within(data, out)?;
    }
    let (recovered, damage) = if salvage {
        // What can be read is wanted, also where it is not all that should be there.
        let read = inspection(data).map(|inspection| inspection.read_until_damage());
        match read {
            Ok(partial) => (partial.recovered, partial.damage.map(StateError::from)),
            Err(error) => {
                let partial = inspection_of_any(data)?.read_until_damage();
                (partial.recovered, Some(error))
            }
        }
    } else {
        (inspection(data)?.read()?, None)
    };
    let told = damage.as_ref().map(ToString::to_string);
    match out {
        None => {
            let mut stdout = BufWriter::new(io::stdout().lock());
            let written = write(&recovered, told, &mut stdout);
            written.map_err(StateError::io("stdout", "written"))?;
        }
        Some(path) => {
            let because = |done| StateError::io(path.display().to_string(), done);
            // As private as what it was read from.
            let mut options = File::options();
            let options = options.write(true).create_new(true).mode(0o600);
            let file = options.open(path).map_err(because("made"))?;
            let mut buffered = BufWriter::new(&file);
            let written = write(&recovered, told, &mut buffered);
            drop(buffered);
            let written = written
                .and_then(|()| file.sync_all())
                .and_then(|()| sync_name(path));
            if let Err(cause) = written {
                // A half of it must not be taken for the whole.
                let _ = fs::remove_file(path);
                return Err(because("written")(cause));
            }
        }
    }
    damage.map_or(Ok(()), Err)
}

pub(super) fn write(
    recovered: &Recovered,
    damage: Option<String>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut counts = Counts::default();
    let mut lines = Lines {
        out,
        line: Vec::new(),
        checksum: Hasher::new(),
    };
    lines.add(&Head {
        format: FORMAT,
        host: env!("CARGO_PKG_VERSION").to_owned(),
        batch: recovered.last.0,
        now_ms: recovered.now_ms,
        next_state: recovered.next_state.0,
        damage,
    })?;
    for state in &recovered.states {
        counts.states += 1;
        lines.add(&StateLine {
            state: state.id.0,
            plugin: state.plugin.clone(),
            name: state.name.clone(),
            kind: state.kind.clone(),
            schema: state.schema,
        })?;
        for (key, value) in state.map.iter() {
            counts.entries += 1;
            lines.add(&Entry::new(key, value))?;
        }
    }
    let crc32 = Some(digits(lines.checksum.clone()));
    lines.add(&End { end: counts, crc32 })?;
    lines.out.flush()
}

/// Lines as they are written.
struct Lines<'a, W> {
    out: &'a mut W,
    line: Vec<u8>,
    /// Of all before.
    checksum: Hasher,
}

impl<W: Write> Lines<'_, W> {
    fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.checksum.update(&self.line);
        self.out.write_all(&self.line)
    }
}
