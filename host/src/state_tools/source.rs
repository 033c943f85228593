//! An export as it is read: line by line, with the checksum of those before.

use std::io::BufRead;

use crc32fast::Hasher;
use serde::de::DeserializeOwned;

use super::StateError;

/// Of what was found, as much is shown to people.
const SHOWN_CHARS: usize = 200;

/// An export, of which one line is in memory at a time.
pub(super) struct Source<R> {
    lines: R,
    name: String,
    /// From 1; 0 before the first.
    number: u64,
    /// With its end.
    line: Vec<u8>,
    /// Of the lines before the present one.
    checksum: Hasher,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(name: &str, lines: R) -> Self {
        Self {
            lines,
            name: name.to_owned(),
            number: 0,
            line: Vec::new(),
            checksum: Hasher::new(),
        }
    }

    /// Goes on to the next line, where there must be one.
    pub(super) fn advance(&mut self, expected: &str) -> Result<(), StateError> {
        self.checksum.update(&self.line);
        self.number += 1;
        self.line.clear();
        let read = self.lines.read_until(b'\n', &mut self.line);
        if read.map_err(StateError::io(&*self.name, "read"))? == 0 {
            return Err(self.wrong(expected, "the end of the file: it was cut off"));
        }
        Ok(())
    }

    /// What the present line says.
    pub(super) fn read<T: DeserializeOwned>(&self, expected: &str) -> Result<T, StateError> {
        serde_json::from_slice(&self.line).map_err(|error| {
            let place = format!(" at line {} column {}", error.line(), error.column());
            let told = error.to_string();
            let cause = told.strip_suffix(&place).unwrap_or(&told);
            self.wrong(
                expected,
                format!("at byte {}: {}", error.column(), shown(cause)),
            )
        })
    }

    /// Sees that nothing follows the present line.
    pub(super) fn end(&mut self) -> Result<(), StateError> {
        let more = self.lines.fill_buf();
        let more = more.map_err(StateError::io(&*self.name, "read"))?;
        if more.is_empty() {
            return Ok(());
        }
        self.number += 1;
        Err(self.wrong("nothing behind the end", "more"))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Of the lines before the present one.
    pub(super) fn checksum(&self) -> Hasher {
        self.checksum.clone()
    }

    pub(super) fn wrong(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> StateError {
        StateError::Line {
            line: self.number,
            source_name: self.name.clone(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// What stands in an export may be anything, of any length.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(SHOWN_CHARS) {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
