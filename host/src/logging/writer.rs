//! The thread that writes the log, and the way to it.

use std::{
    fmt,
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use protocol::shown;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    allowance::{Admitted, Allowances, Whose},
    own_line,
};
use crate::limits::{LOG_LEFT_OUT_TOLD, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LOG_QUEUE_BYTES_MAX};

/// Lines that wait are written together, at most this many bytes at once.
const WRITE_BYTES: usize = 64 * 1024;

/// Name of the thread that writes.
pub(super) const WRITER: &str = "log";

/// What begins the sequences that colour a line.
const ESCAPE: char = '\u{1b}';

pub(super) enum Order {
    /// May have in it what somebody else said.
    Line(Vec<u8>),
    /// Has not, and may be several lines.
    Own(Vec<u8>),
    /// Lines were left out that nobody was told of.
    LeftOut,
    /// To be answered once all before it is written.
    Flush(SyncSender<()>),
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) | Self::Own(line) => line.len(),
            Self::LeftOut | Self::Flush(_) => 0,
        }
    }
}

/// The way to the thread that writes.
#[derive(Clone)]
pub(super) struct Lines {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    allowances: Allowances,
    /// Bytes of the lines that wait.
    waiting_bytes: AtomicUsize,
    lost: AtomicU64,
    /// A sequence of escape in a line is the host's own.
    colours: AtomicBool,
}

impl Lines {
    pub(super) fn start(out: impl Write + Send + 'static, colours: bool) -> io::Result<Self> {
        let (orders, received) = mpsc::sync_channel(LOG_LINES_MAX);
        let shared = Arc::<Shared>::default();
        shared.colours.store(colours, Ordering::Relaxed);
        let writer = Writer {
            shared: Arc::clone(&shared),
            out: BufWriter::with_capacity(WRITE_BYTES, out),
            lost_told: 0,
            tell_at: None,
        };
        thread::Builder::new()
            .name(WRITER.into())
            .spawn(move || writer.write_all(&received))?;
        Ok(Self { orders, shared })
    }

    /// How many lines were dropped so far.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Whether a line of so many bytes may stand in the log; if not, that is counted, and told.
    pub(super) fn admits(&self, whose: Whose, bytes: usize) -> bool {
        let admitted = self.shared.allowances.admit(whose, bytes, Instant::now());
        if admitted == (Admitted::No { is_first: true }) {
            // Where the queue is full, the thread is at work, and looks by itself.
            let _ = self.orders.try_send(Order::LeftOut);
        }
        admitted == Admitted::Yes
    }

    /// Hands over what there is room for; the rest is lost, and counted.
    pub(super) fn send_now(&self, order: Order) {
        let bytes = order.bytes();
        let waiting = &self.shared.waiting_bytes;
        let fits = waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= LOG_QUEUE_BYTES_MAX;
        if !fits || self.orders.try_send(order).is_err() {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A queue that stays full has a reader that stands still; it is not waited for longer than `until`.
    pub(super) fn send_until(&self, mut order: Order, until: Instant) -> bool {
        let bytes = order.bytes();
        let waiting = &self.shared.waiting_bytes;
        waiting.fetch_add(bytes, Ordering::Relaxed);
        loop {
            match self.orders.try_send(order) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < until => order = back,
                Err(_) => {
                    waiting.fetch_sub(bytes, Ordering::Relaxed);
                    return false;
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn flush(&self, wait_max: Duration) {
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
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// Where one line goes.
pub(super) struct LineWriter<'a> {
    lines: &'a Lines,
    /// Against whose allowance it counts.
    whose: Option<Whose>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter {
            lines: self,
            whose: None,
        }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter {
            lines: self,
            whose: Whose::of_line(of),
        }
    }
}

impl Write for LineWriter<'_> {
    /// Called with one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let whose = self.whose.take();
        if whose.is_none_or(|whose| self.lines.admits(whose, line.len())) {
            self.lines.send_now(Order::Line(cut(line)));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line within its bound.
fn cut(line: &[u8]) -> Vec<u8> {
    if line.len() <= LOG_LINE_BYTES_MAX {
        return line.to_vec();
    }
    let kept = String::from_utf8_lossy(&line[..LOG_LINE_BYTES_MAX]);
    let more = line.len() - LOG_LINE_BYTES_MAX;
    format!("{kept}… ({more} bytes more)\n").into_bytes()
}

/// What the thread owns.
struct Writer<W: Write> {
    shared: Arc<Shared>,
    out: BufWriter<W>,
    lost_told: u64,
    /// When it is told how many lines were left out or lost, if there are such.
    tell_at: Option<Instant>,
}

impl<W: Write> Writer<W> {
    /// Writes what comes until nobody can send any more. Errors are not told: there is no other place to tell
    /// them, and whoever closed stderr does not read.
    fn write_all(mut self, orders: &Receiver<Order>) {
        loop {
            let first = match self.tell_at {
                None => orders.recv().map_err(RecvTimeoutError::from),
                Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => self.write_waiting(first, orders),
                Err(RecvTimeoutError::Timeout) => self.tell_left_out(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let _ = self.out.flush();
        }
    }

    fn write_waiting(&mut self, first: Order, orders: &Receiver<Order>) {
        let mut next = Ok(first);
        loop {
            match next {
                Ok(order) => self.follow(order),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
            if self.tell_at.is_some_and(|at| at <= Instant::now()) {
                self.tell_left_out();
            }
            next = orders.try_recv();
        }
        let has_lost = self.shared.lost.load(Ordering::Relaxed) > self.lost_told;
        if has_lost || self.shared.allowances.have_left_out() {
            self.tell_soon();
        }
    }

    fn follow(&mut self, order: Order) {
        let bytes = order.bytes();
        match order {
            Order::Line(line) => self.write_line(&line),
            Order::Own(lines) => {
                let _ = self.out.write_all(&lines);
            }
            Order::LeftOut => self.tell_soon(),
            Order::Flush(written) => {
                self.tell_left_out();
                let _ = self.out.flush();
                let _ = written.try_send(());
            }
        }
        let waiting = &self.shared.waiting_bytes;
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Here, so that it costs nobody else anything.
    fn write_line(&mut self, line: &[u8]) {
        if let [text @ .., b'\n'] = line
            && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
        {
            let _ = self.out.write_all(line);
            return;
        }
        let line = String::from_utf8_lossy(line);
        let kept: &[char] = match self.shared.colours.load(Ordering::Relaxed) {
            true => &[ESCAPE],
            false => &[],
        };
        let shown = shown::escaped(line.trim_end_matches('\n'), kept);
        let _ = self.out.write_all(shown.as_bytes());
        let _ = self.out.write_all(b"\n");
    }

    fn tell_soon(&mut self) {
        self.tell_at
            .get_or_insert_with(|| Instant::now() + LOG_LEFT_OUT_TOLD);
    }

    fn tell_left_out(&mut self) {
        self.tell_at = None;
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let lost_now = lost - self.lost_told;
        self.lost_told = lost;
        let lost = (lost_now > 0).then(|| {
            format!("{lost_now} lines of the log were lost: they came faster than they were read")
        });
        for told in lost
            .into_iter()
            .chain(self.shared.allowances.take_left_out())
        {
            let shown = shown::escaped(&told, &[]);
            let _ = self.out.write_all(&own_line("WARN", &shown));
        }
    }
}
