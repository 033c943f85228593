//! The host's log: to stderr, filtered, with timestamps in UTC.
//!
//! A line is handed to a thread of its own, so that nobody who logs waits for whoever reads. Where lines
//! come faster than they are read, the newest are dropped and counted; where clients or plugins bring about more than
//! they may, their lines are left out and counted. Nothing in a line steers the terminal of who reads it.

use std::{
    io::{self, IsTerminal, Write as _},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use protocol::shown;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::EnvFilter;

use self::{
    allowance::Whose,
    writer::{Lines, Order, WRITER},
};
use crate::limits::LOG_TEXT_BYTES_MAX;

mod allowance;
mod writer;

/// How long the end waits for lines to be read.
const FLUSH_WAIT_MAX: Duration = Duration::from_millis(500);

/// The log of this process, once it has one.
static LOG: OnceLock<Lines> = OnceLock::new();

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter means nothing.
    #[error(
        "--log (or RM_LOG) `{filter}`: {cause}; expected error, warn, info, debug, trace or off, also for \
         single targets as in `info,plugin=debug`"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The system has no thread left.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(io::Error),
    /// This process logs already.
    #[error("the log of this process was started before")]
    Twice,
}

/// Keeps the log going. Dropped, it waits for a moment until what was logged is written, and said how much
/// was not.
#[derive(Debug)]
pub struct LogGuard {
    lines: Lines,
}

impl LogGuard {
    /// How many lines were dropped so far.
    pub fn lines_lost(&self) -> u64 {
        self.lines.lost()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.lines.flush(FLUSH_WAIT_MAX);
    }
}

/// Makes everything in this process that logs with `tracing` do so to stderr.
///
/// # Errors
///
/// If `filter` cannot be read, above all.
pub fn start(filter: &str) -> Result<LogGuard, LogError> {
    let filter = read_filter(filter)?;
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines = Lines::start(io::stderr(), colours).map_err(LogError::Thread)?;
    let subscriber = subscriber(filter, lines.clone(), colours);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    let _ = LOG.set(lines.clone());
    Ok(LogGuard { lines })
}

/// Waits for a moment until what was logged is written, for an end of the process that drops nothing.
pub fn flush() {
    if let Some(lines) = LOG.get() {
        lines.flush(FLUSH_WAIT_MAX);
    }
}

/// Hands an error to whoever writes the log, without anything that keeps a value for its thread.
pub fn say(error: &str) {
    if let Some(lines) = LOG.get() {
        lines.send_now(Order::Own(error_line(error)));
    }
}

/// The same for the last line of this process: waits for a moment until it is written.
pub fn say_last(error: &str) {
    let line = error_line(error);
    match LOG.get() {
        // The thread that writes the log cannot wait for itself.
        Some(lines) if thread::current().name() != Some(WRITER) => {
            let until = Instant::now() + FLUSH_WAIT_MAX;
            if lines.send_until(Order::Own(line), until) {
                lines.flush(FLUSH_WAIT_MAX);
            }
        }
        _ => {
            let _ = io::stderr().write_all(&line);
        }
    }
}

fn error_line(error: &str) -> Vec<u8> {
    own_line("ERROR", error)
}

/// A line that does not come by `tracing`.
fn own_line(level: &str, text: &str) -> Vec<u8> {
    let now = jiff::Timestamp::now();
    format!("{now:.6} {level:>5} {}: {text}\n", module_path!()).into_bytes()
}

/// Whether a plugin may write a line of so many bytes now. What it may not is counted, and told.
pub fn admits_plugin(name: &str, bytes: usize) -> bool {
    let whose = || Whose::Plugin(name.to_owned());
    LOG.get().is_none_or(|lines| lines.admits(whose(), bytes))
}

fn subscriber(filter: EnvFilter, lines: Lines, colours: bool) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(lines)
        .finish()
}

fn read_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let refused = |cause: String| LogError::Filter {
        filter: filter.to_owned(),
        cause,
    };
    for part in filter.split(',').map(str::trim) {
        // Alone it would name a target, and a misspelt level would silence everything else.
        let is_level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        if !is_level && !part.contains(['=', '[']) {
            return Err(refused(format!("`{part}` is no level")));
        }
    }
    let parsed = EnvFilter::builder().parse(filter);
    parsed.map_err(|error| {
        let cause: &dyn std::error::Error = &error;
        refused(cause.source().unwrap_or(cause).to_string())
    })
}

/// A plugin's text, as it may stand in one line of the log: cut to its bound, and without what would end the
/// line or steer a terminal, since a plugin may say what a client sent.
pub struct OneLine<'a>(pub &'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.0.floor_char_boundary(LOG_TEXT_BYTES_MAX);
        shown::OneLine(&self.0[..end]).fmt(f)?;
        if end < self.0.len() {
            write!(f, "… ({} bytes more)", self.0.len() - end)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;
    use tracing_subscriber::fmt::MakeWriter as _;

    use crate::limits::{
        CLIENT_LOG_LINES_BURST, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LOG_QUEUE_BYTES_MAX,
    };

    /// Where a test reads what was written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_bears_time_level_and_target_and_is_written_by_the_end() {
        let page = Page::default();
        let lines = Lines::start(page.clone(), false).unwrap();
        let guard = LogGuard {
            lines: lines.clone(),
        };
        let subscriber = subscriber(read_filter("warn,plugin=debug").unwrap(), lines, false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "plugin", seats = 3, "made");
            tracing::info!("not this");
        });
        drop(guard);
        let text = page.text();
        assert!(text.ends_with(" DEBUG plugin: made seats=3\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        let time = text.split(' ').next().unwrap();
        assert!(
            time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(),
            "{time}"
        );
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_nobody_time() {
        let page = Page::default();
        let held = page.0.lock().unwrap();
        let lines = Lines::start(page.clone(), false).unwrap();
        let guard = LogGuard {
            lines: lines.clone(),
        };
        let sent = LOG_LINES_MAX as u64 + 10_001;
        for _ in 0..sent {
            lines.make_writer().write_all(&[b'x'; 100]).unwrap();
        }
        // One line may be with the thread beside those that wait.
        let lost = guard.lines_lost();
        assert!((1..=10_001).contains(&lost), "{lost}");
        drop(held);
        lines.flush(Duration::from_secs(60));
        drop(guard);
        let text = page.text();
        let written = text.lines().filter(|line| line.starts_with('x')).count() as u64;
        assert_eq!(written + lost, sent);
        let told = format!("{lost} lines of the log were lost");
        assert!(text.contains(&told), "{}", text.lines().last().unwrap());
    }

    #[test]
    fn lines_that_wait_are_bounded_by_their_bytes_and_each_by_its_own() {
        let page = Page::default();
        let held = page.0.lock().unwrap();
        let lines = Lines::start(page.clone(), false).unwrap();
        let guard = LogGuard {
            lines: lines.clone(),
        };
        let long = "x".repeat(10 * LOG_LINE_BYTES_MAX);
        for _ in 0..LOG_LINES_MAX {
            lines.make_writer().write_all(long.as_bytes()).unwrap();
        }
        drop(held);
        lines.flush(Duration::from_secs(60));
        drop(guard);
        let text = page.text();
        let more = format!("… ({} bytes more)", 9 * LOG_LINE_BYTES_MAX);
        assert!(text.lines().next().unwrap().ends_with(&more));
        // What is with the thread does not wait any more.
        let with_thread = 256 * 1024;
        assert!(
            text.len() < LOG_QUEUE_BYTES_MAX + with_thread,
            "{}",
            text.len()
        );
    }

    #[test]
    fn what_clients_bring_about_is_bounded_and_counted_and_what_the_host_says_is_not() {
        let page = Page::default();
        let lines = Lines::start(page.clone(), false).unwrap();
        let guard = LogGuard {
            lines: lines.clone(),
        };
        let subscriber = subscriber(read_filter("debug").unwrap(), lines, false);
        let sent = 3 * CLIENT_LOG_LINES_BURST;
        tracing::subscriber::with_default(subscriber, || {
            for client in 0..sent {
                tracing::warn!(client, "it is a nuisance");
                tracing::warn!("the host's own");
                tracing::debug!(client, "a detail");
            }
        });
        drop(guard);
        let text = page.text();
        let count = |words| text.lines().filter(|line| line.contains(words)).count() as u64;
        assert_eq!((count("the host's own"), count("a detail")), (sent, sent));
        let shown = count("it is a nuisance");
        assert!((CLIENT_LOG_LINES_BURST..sent).contains(&shown), "{shown}");
        let told = format!("{} lines like those before were left out", sent - shown);
        assert_eq!(count(&told), 1, "{}", text.lines().last().unwrap());
    }

    #[test]
    fn nothing_in_a_line_steers_a_terminal_or_looks_like_another_line() {
        let page = Page::default();
        let lines = Lines::start(page.clone(), false).unwrap();
        let guard = LogGuard {
            lines: lines.clone(),
        };
        let subscriber = subscriber(read_filter("info").unwrap(), lines, false);
        tracing::subscriber::with_default(subscriber, || {
            let name = "a\n2026 ERROR b\u{1b}[31m\u{202e}";
            tracing::info!(plugin = %name, "refused: {name}");
        });
        drop(guard);
        let text = page.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("plugin=a\\n2026 ERROR b\\u"), "{text}");
        assert!(!text.contains(|letter| letter != '\n' && shown::steers(letter)));
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused() {
        for filter in [
            "info",
            "off",
            "info,plugin=debug",
            "host::net=trace, warn",
            "DEBUG",
        ] {
            assert!(read_filter(filter).is_ok(), "{filter}");
        }
        for (filter, cause) in [
            ("inof", "`inof` is no level"),
            ("info,", "`` is no level"),
            ("", "`` is no level"),
            ("plugin=loud", "plugin=debug"),
        ] {
            let error = read_filter(filter).unwrap_err().to_string();
            assert!(error.contains(cause) && error.contains("RM_LOG"), "{error}");
        }
    }
}
