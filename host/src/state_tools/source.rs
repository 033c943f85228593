//! An export as it is read: line by line, each bounded, with the checksum of those before.

use std::io::{BufRead, Read as _};

use crc32fast::Hasher;
use serde::de::DeserializeOwned;

use super::StateError;
use crate::limits::EXPORT_LINE_BYTES_MAX;

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
        let mut bounded = (&mut self.lines).take(EXPORT_LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.line);
        if read.map_err(StateError::io(&*self.name, "read"))? == 0 {
            return Err(self.wrong(expected, "the end of the file: it was cut off"));
        }
        if self.line.len() > EXPORT_LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
            let most = format!("a line of at most {EXPORT_LINE_BYTES_MAX} bytes");
            return Err(self.wrong(most + ", as much as any entry takes", "a longer one"));
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

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader, Read};

    use super::*;

    /// Counts what is taken of it.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            // Whoever takes more has no bound.
            let most = (2 * EXPORT_LINE_BYTES_MAX as u64).saturating_sub(self.0);
            let read = io::repeat(b'x').take(most).read(room)?;
            self.0 += read as u64;
            Ok(read)
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_as_soon_as_it_is_too_long() {
        let before = "{}\n".as_bytes();
        let mut source = Source::new("export", BufReader::new(before.chain(Endless(0))));
        source.advance("a line").expect("it is short");
        let refusal = source.advance("a line").unwrap_err().to_string();
        let limit = EXPORT_LINE_BYTES_MAX.to_string();
        for part in ["line 2 of export", &*limit, "a longer one"] {
            assert!(refusal.contains(part), "{refusal}");
        }
        let (_, endless) = source.lines.into_inner().into_inner();
        assert!(endless.0 < EXPORT_LINE_BYTES_MAX as u64 + 64 * 1024);
        assert!(source.line.capacity() <= 2 * EXPORT_LINE_BYTES_MAX);
    }

    #[test]
    fn a_line_as_long_as_may_be_is_read_with_and_without_an_end() {
        for end in ["\n", ""] {
            let bytes = EXPORT_LINE_BYTES_MAX as u64;
            let line = io::repeat(b' ').take(bytes).chain(end.as_bytes());
            let mut source = Source::new("export", BufReader::new(line));
            source.advance("a line").expect("it is not too long");
            source.end().expect("nothing follows");
        }
    }
}
