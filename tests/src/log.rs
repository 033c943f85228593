//! What a host has written to stderr, line by line as it comes.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use crate::GUARD;

/// Shared with the thread that reads.
#[derive(Clone, Debug, Default)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    pub(crate) fn of(stderr: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let shared = Arc::clone(&log.shared);
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.lock().lines.push(line);
                shared.grown.notify_all();
            }
            shared.lock().ended = true;
            shared.grown.notify_all();
        });
        log
    }

    /// How many lines there are now, to look only at later ones.
    pub fn len(&self) -> usize {
        self.shared.lock().lines.len()
    }

    /// Whether nothing has been logged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first line after the first `from` that has all the words in it, once it is there.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn wait_from(&self, from: usize, words: &[&str]) -> String {
        self.wait_from_any(from, words, &[""])
    }

    /// The same of a line that also has any of the words of `or`.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn wait_from_any(&self, from: usize, words: &[&str], or: &[&str]) -> String {
        self.wait_from_any_or_end(from, words, or)
            .unwrap_or_else(|| panic!("the log never said {words:?}, {or:?}:\n{self}"))
    }

    /// The same; `None` if the host ends, or says nothing of the kind for too long.
    pub fn wait_from_any_or_end(&self, from: usize, words: &[&str], or: &[&str]) -> Option<String> {
        let has_all = |line: &&String| {
            words.iter().all(|word| line.contains(word))
                && or.iter().any(|word| line.contains(word))
        };
        let until = Instant::now() + GUARD;
        let mut lines = self.shared.lock();
        loop {
            if let Some(line) = lines.lines.iter().skip(from).find(has_all) {
                return Some(line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            let waited = self.shared.grown.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The lines so far that have all the words in them.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let has_all = |line: &&String| words.iter().all(|word| line.contains(word));
        self.shared
            .lock()
            .lines
            .iter()
            .filter(has_all)
            .cloned()
            .collect()
    }

    /// All of it, however long.
    pub fn text(&self) -> String {
        self.shared.lock().lines.join("\n")
    }

    /// Waits until the host has closed it.
    pub(crate) fn wait_for_end(&self) {
        let until = Instant::now() + GUARD;
        let mut lines = self.shared.lock();
        while !lines.ended && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let waited = self.shared.grown.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.shared.lock();
        // Of a flood the end tells most.
        let skipped = lines.lines.len().saturating_sub(200);
        if skipped > 0 {
            writeln!(f, "  … {skipped} lines before")?;
        }
        lines.lines.iter().skip(skipped).try_for_each(|line| {
            let line: String = line.chars().take(500).collect();
            writeln!(f, "  {line}")
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
