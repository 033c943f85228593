//! The marks of earlier crashes: read at the start, asked before a file is loaded, and forgotten once another
//! version takes its place.
//!
//! It owns the file `crashed` of the data folder. One mark is one line of JSON, with an empty one before it, so
//! that a line that was torn off by the crash spoils no other. Such lines are passed over.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    limits::{CRASH_MARKS_BYTES_MAX, CRASH_MARKS_MAX},
    ownership::open_own,
};

/// In the data folder.
const FILE: &str = "crashed";

/// Why a version is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// NAME of the file.
    plugin: String,
    /// What tells the version from every other.
    content: String,
    /// Where it lay.
    file: String,
    /// What it did, after "its code".
    its_code: String,
    /// Milliseconds since 1970.
    at_ms: u64,
}

impl Mark {
    /// The beginning of a mark's line, up to what the code did.
    pub(crate) fn head(plugin: &str, content: &str, file: &Path) -> Vec<u8> {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (plugin, content) = (text(plugin), text(content));
        let file = text(&file.to_string_lossy());
        format!("\n{{\"plugin\":{plugin},\"content\":{content},\"file\":{file},\"its_code\":\"")
            .into_bytes()
    }

    /// A whole line. `its_code` has nothing in it that JSON would escape.
    pub(crate) fn parts<'a>(head: &'a [u8], its_code: &'a str, at_ms: &'a [u8]) -> [&'a [u8]; 5] {
        [head, its_code.as_bytes(), b"\",\"at_ms\":", at_ms, b"}\n"]
    }

    fn line(&self) -> String {
        let json = serde_json::to_string(self).expect("text and numbers are JSON");
        format!("\n{json}\n")
    }
}

/// "its code … on …".
impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its code {}", self.its_code)?;
        let seconds = i64::try_from(self.at_ms / 1_000).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(seconds) {
            Ok(at) => write!(f, " on {at}"),
            Err(_) => Ok(()),
        }
    }
}

/// What is known of earlier crashes.
#[derive(Debug)]
pub struct CrashList {
    marks: Mutex<Vec<Mark>>,
    /// Opened to append.
    file: File,
}

impl CrashList {
    /// Reads the marks in the data folder; with `retry`, forgets them.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(data: &Path, retry: bool) -> io::Result<Self> {
        let path = data.join(FILE);
        let text = read(&path)?;
        let (mut marks, torn) = parse(&text);
        if torn > 0 {
            tracing::warn!(file = %path.display(), "{torn} crash marks cannot be read and are passed over");
        }
        if retry {
            for mark in marks.drain(..) {
                tracing::warn!(plugin = %mark.plugin, "is tried again: {mark}");
            }
        }
        let lines: String = marks.iter().map(Mark::line).collect();
        if lines.as_bytes() != text {
            replace(data, &path, lines.as_bytes())?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let file = open_own(&mut options, &path)?;
        Ok(Self {
            marks: Mutex::new(marks),
            file,
        })
    }

    /// The file, for further marks to be appended.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Why this version of `plugin` is left out, if it is.
    pub fn mark_of(&self, plugin: &str, content: &str) -> Option<Mark> {
        let marks = self.lock();
        let mut of_plugin = marks.iter().rev().filter(|mark| mark.plugin == plugin);
        of_plugin.find(|mark| mark.content == content).cloned()
    }

    /// Another version of `plugin` is in its place: what was marked is forgotten.
    pub fn replaced(&self, plugin: &str) {
        let mut marks = self.lock();
        let before = marks.len();
        marks.retain(|mark| mark.plugin != plugin);
        if marks.len() < before {
            let forgotten = serde_json::json!({ "forgotten": plugin });
            let written = (&self.file).write_all(format!("\n{forgotten}\n").as_bytes());
            if let Err(error) = written {
                tracing::warn!(%plugin, "its old crash mark cannot be taken back: {error}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Mark(Mark),
    Forgotten { forgotten: String },
}

/// What holds after all lines: of each version the last mark, of too many the last ones. Also how many lines
/// were none.
fn parse(text: &[u8]) -> (Vec<Mark>, usize) {
    let mut marks: Vec<Mark> = Vec::new();
    let mut torn = 0;
    for line in text.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            _ if line.is_empty() => {}
            Ok(Line::Mark(mark)) => {
                marks.retain(|old| (&old.plugin, &old.content) != (&mark.plugin, &mark.content));
                marks.push(mark);
            }
            Ok(Line::Forgotten { forgotten }) => marks.retain(|mark| mark.plugin != forgotten),
            Err(_) => torn += 1,
        }
    }
    marks.drain(..marks.len().saturating_sub(CRASH_MARKS_MAX));
    (marks, torn)
}

/// The end of the file, which holds what is newest.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = match open_own(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(CRASH_MARKS_BYTES_MAX)))?;
    let mut text = Vec::new();
    file.take(CRASH_MARKS_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// All at once: whenever the host ends, either the old marks are there or the new ones.
fn replace(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    unfinished.write_all(text)?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &[u8] = b"1783850000123";

    fn line(plugin: &str, content: &str) -> Vec<u8> {
        let head = Mark::head(plugin, content, Path::new("/plugins/lib\"a\".so"));
        Mark::parts(&head, "ended the host with SIGSEGV", AT).concat()
    }

    fn append(folder: &Path, lines: &[u8]) {
        let path = folder.join(FILE);
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(lines).unwrap();
    }

    #[test]
    fn what_the_handler_writes_is_what_the_next_start_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        append(path, &line("a\n\"ü\"", "00"));
        for _ in 0..2 {
            let list = CrashList::open(path, false).unwrap();
            let mark = list.mark_of("a\n\"ü\"", "00").unwrap();
            assert_eq!(
                mark.to_string(),
                "its code ended the host with SIGSEGV on 2026-07-12T09:53:20Z"
            );
            assert_eq!(mark.file, "/plugins/lib\"a\".so");
            assert_eq!(list.mark_of("a\n\"ü\"", "01"), None);
            assert_eq!(list.mark_of("b", "00"), None);
        }
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let whole = line("b", "00");
        for len in 1..whole.len() - 1 {
            let torn = &whole[..len];
            let text = [&line("a", "00"), torn, &line("c", "00")].concat();
            let (marks, torn_lines) = parse(&text);
            let names: Vec<&str> = marks.iter().map(|mark| &*mark.plugin).collect();
            assert_eq!(names, ["a", "c"], "torn after {len}");
            assert_eq!(torn_lines, usize::from(len > 1));
        }
        assert_eq!(parse(b"\0\0\xff\n{}\nnull\n[]").0, []);
    }

    #[test]
    fn another_version_in_its_place_ends_a_mark_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        append(path, &[line("a", "00"), line("b", "00")].concat());
        let list = CrashList::open(path, false).unwrap();
        list.replaced("a");
        list.replaced("a");
        list.replaced("unknown");
        for list in [list, CrashList::open(path, false).unwrap()] {
            assert_eq!(list.mark_of("a", "00"), None);
            assert!(list.mark_of("b", "00").is_some());
        }
        // It may come back with the next crash.
        append(path, &line("a", "00"));
        let list = CrashList::open(path, false).unwrap();
        assert!(list.mark_of("a", "00").is_some());
    }

    #[test]
    fn marks_are_forgotten_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), &line("a", "00"));
        for retry in [true, false] {
            let list = CrashList::open(folder.path(), retry).unwrap();
            assert_eq!(list.mark_of("a", "00"), None);
        }
    }

    #[test]
    fn the_file_stays_within_bounds_and_keeps_what_is_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        append(path, b"no mark at all");
        let lines: Vec<u8> = (0..CRASH_MARKS_MAX + 10)
            .flat_map(|number| line("a", &number.to_string()))
            .collect();
        append(path, &lines);
        append(path, &lines);
        for _ in 0..3 {
            let list = CrashList::open(path, false).unwrap();
            assert_eq!(list.mark_of("a", "9"), None);
            assert!(list.mark_of("a", "10").is_some());
            assert_eq!(list.lock().len(), CRASH_MARKS_MAX);
        }
        let filler = vec![b'x'; usize::try_from(CRASH_MARKS_BYTES_MAX).unwrap()];
        append(path, &[filler, line("z", "00")].concat());
        let list = CrashList::open(path, false).unwrap();
        assert!(list.mark_of("z", "00").is_some());
        assert!(fs::metadata(path.join(FILE)).unwrap().len() < 1_000);
    }
}
