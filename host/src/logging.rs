//! The host's log: to stderr, filtered, with timestamps in UTC.
//!
//! A line is handed to a thread of its own, so that nobody who logs waits for whoever reads. Where lines
//! come faster than they are read, the newest are dropped and counted.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::limits::{LOG_LINES_MAX, LOG_TEXT_BYTES_MAX};

/// How long the end waits for lines to be read.
const FLUSH_WAIT_MAX: Duration = Duration::from_millis(500);

/// Lines that wait are written together, at most this many bytes at once.
const WRITE_BYTES: usize = 64 * 1024;

/// Name of the thread that writes.
const WRITER: &str = "log";

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

/// Keeps the log going. Dropped, it waits for a moment until what was logged is written, and says how much
/// was not.
#[derive(Debug)]
pub struct LogGuard {
    lines: Lines,
}

impl LogGuard {
    /// How many lines were dropped so far.
    pub fn lines_lost(&self) -> u64 {
        self.lines.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.lines.flush(FLUSH_WAIT_MAX);
        let lost = self.lines_lost();
        if lost > 0 {
            tracing::warn!(
                "{lost} lines of the log were lost: they came faster than they were read"
            );
            self.lines.flush(FLUSH_WAIT_MAX);
        }
    }
}

/// Makes everything in this process that logs with `tracing` do so to stderr.
///
/// # Errors
///
/// If `filter` cannot be read, above all.
pub fn start(filter: &str) -> Result<LogGuard, LogError> {
    let filter = read_filter(filter)?;
    let lines = Lines::start(io::stderr()).map_err(LogError::Thread)?;
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
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
        let _ = lines.orders.try_send(Order::Line(error_line(error)));
    }
}

/// The same for the last line of this process: waits for a moment until it is written.
pub fn say_last(error: &str) {
    let line = error_line(error);
    match LOG.get() {
        // The thread that writes the log cannot wait for itself.
        Some(lines) if thread::current().name() != Some(WRITER) => {
            let until = Instant::now() + FLUSH_WAIT_MAX;
            if lines.send_until(Order::Line(line), until) {
                lines.flush(FLUSH_WAIT_MAX);
            }
        }
        _ => {
            let _ = io::stderr().write_all(&line);
        }
    }
}

fn error_line(error: &str) -> Vec<u8> {
    let now = jiff::Timestamp::now();
    format!("{now:.6} ERROR {}: {error}\n", module_path!()).into_bytes()
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
/// line, since a plugin may say what a client sent.
pub struct OneLine<'a>(pub &'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.0.floor_char_boundary(LOG_TEXT_BYTES_MAX);
        for piece in self.0[..end].split_inclusive(char::is_control) {
            match piece.char_indices().next_back() {
                Some((at, last)) if last.is_control() => {
                    write!(f, "{}{}", &piece[..at], last.escape_default())?;
                }
                _ => f.write_str(piece)?,
            }
        }
        if end < self.0.len() {
            write!(f, "… ({} bytes more)", self.0.len() - end)?;
        }
        Ok(())
    }
}

enum Order {
    Line(Vec<u8>),
    /// To be answered once all before it is written.
    Flush(SyncSender<()>),
}

/// The way to the thread that writes.
#[derive(Clone)]
struct Lines {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, received) = mpsc::sync_channel(LOG_LINES_MAX);
        thread::Builder::new()
            .name(WRITER.into())
            .spawn(move || write_all(&received, BufWriter::with_capacity(WRITE_BYTES, out)))?;
        Ok(Self {
            orders,
            lost: Arc::default(),
        })
    }

    fn flush(&self, wait_max: Duration) {
        let until = Instant::now() + wait_max;
        let (written, answer) = mpsc::sync_channel(1);
        if !self.send_until(Order::Flush(written), until) {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        match answer.recv_timeout(left) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    /// A queue that stays full has a reader that stands still; it is not waited for longer than `until`.
    fn send_until(&self, mut order: Order, until: Instant) -> bool {
        loop {
            match self.orders.try_send(order) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < until => order = back,
                Err(_) => return false,
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Lines {
    /// Called with one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.orders.try_send(Order::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes until nobody can send any more. Errors are not told: there is no other place to tell
/// them, and whoever closed stderr does not read.
fn write_all(orders: &Receiver<Order>, mut out: impl Write) {
    while let Ok(first) = orders.recv() {
        let mut next = Ok(first);
        loop {
            match next {
                Ok(Order::Line(line)) => {
                    let _ = out.write_all(&line);
                }
                Ok(Order::Flush(written)) => {
                    let _ = out.flush();
                    let _ = written.try_send(());
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
            next = orders.try_recv();
        }
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

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
        let lines = Lines::start(page.clone()).unwrap();
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
        let lines = Lines::start(page.clone()).unwrap();
        let guard = LogGuard {
            lines: lines.clone(),
        };
        // One line may be with the thread beside those that wait.
        for _ in 0..LOG_LINES_MAX + 10_001 {
            (&lines).write_all(&[b'x'; 100]).unwrap();
        }
        let lost = guard.lines_lost();
        assert!((1..=10_001).contains(&lost), "{lost}");
        drop(held);
        drop(guard);
        let written = page.0.lock().unwrap().len() as u64 / 100;
        assert_eq!(written + lost, LOG_LINES_MAX as u64 + 10_001);
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
