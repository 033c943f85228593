//! `rm-cli bench`: asks as fast as a host answers, or at a fixed rate, and tells how that went.
//!
//! All connections share one thread, as their tally is shared: what is measured is to be slower than what measures.
//! Each connection writes what it may, reads what has come, and looks at every reply.

mod connection;
mod options;
mod pace;
mod report;
mod tally;
mod template;
mod unique;

use std::{
    cell::RefCell,
    future::poll_fn,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use client::{ClientError, Server};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinSet, LocalSet},
};

use self::connection::Connection;
pub(crate) use self::options::{BENCH_HELP, BenchOptions};
use self::{
    options::{Load, Until},
    pace::{Alarm, Pace},
    report::{Measured, Report},
    tally::Tally,
    template::Requests,
    unique::Unique,
};
use crate::{
    outcome::{self, Failure},
    payload,
};

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Connections that are opened at once: no more than what a listener holds for its program.
const OPENED_AT_ONCE: usize = 100;

/// How often the bar moves, and it is seen whether nothing comes any more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long an interrupted benchmark waits for the replies that are due, at most.
const LAST_REPLIES_WAIT: Duration = Duration::from_secs(1);

/// How long requests that are late because no connection has room wait before it is looked again.
const NO_ROOM_WAIT: Duration = Duration::from_millis(1);

/// As of a process that SIGINT has ended.
const INTERRUPTED: u8 = 130;

/// What the connections of one measurement share.
struct Bench {
    requests: Rc<Requests>,
    tally: RefCell<Tally>,
    buffer: RefCell<Vec<u8>>,
    /// Where requests are due at a fixed rate.
    pace: Option<RefCell<Pace>>,
}

/// Measures all loads, one after the other, and prints the figures.
pub(crate) async fn run(
    server: &Server,
    patience: Option<Duration>,
    options: &BenchOptions,
) -> Result<ExitCode, Failure> {
    let payload = match options.payload.as_deref() {
        Some("-") => Some(payload::required(std::io::stdin())?),
        Some(json) => Some(payload::from_argument(json)?),
        None => None,
    };
    let payload = payload.as_deref().map(|payload| payload.get());
    let requests = Rc::new(Requests::new(&options.types, payload)?);
    let most = options.connections.iter().max().copied().unwrap_or(0);
    allow_files(most)?;
    let mut interrupt = Interrupt::new()?;
    let mut unique = options
        .looks_for_unique()
        .then(|| Unique::new(options.unique.as_deref()));
    let mut report = Report::new(server, options, payload.map_or(0, str::len));
    report.begin();
    for load in options.loads()? {
        // What was given in an earlier measurement is not to be given again either.
        let unique_so_far = unique.take().map(Unique::go_on);
        let measured = measure(
            server,
            patience,
            options,
            load,
            &requests,
            unique_so_far,
            &mut interrupt,
        );
        let measured = match measured.await {
            Ok(measured) => measured,
            Err(failure) => {
                report.end();
                return Err(failure);
            }
        };
        let Some(mut measured) = measured else {
            report.end();
            return Ok(ExitCode::from(INTERRUPTED));
        };
        report.add(load, &measured);
        if measured.interrupted {
            report.end();
            return Ok(ExitCode::from(INTERRUPTED));
        }
        unique = measured.tally.unique.take();
    }
    report.end();
    Ok(ExitCode::from(report.status()))
}

/// What the user wants to stop, for the whole run.
struct Interrupt(Signal);

impl Interrupt {
    fn new() -> Result<Self, Failure> {
        let signal = signal(SignalKind::interrupt());
        signal.map(Self).map_err(|error| {
            Failure::Usage(format!("expected SIGINT to be caught, got none: {error}"))
        })
    }

    /// Comes again with each. Safe to be dropped and called again.
    async fn came(&mut self) {
        self.0.recv().await;
    }
}

/// `None`: it was interrupted before it began.
async fn measure(
    server: &Server,
    patience: Option<Duration>,
    options: &BenchOptions,
    load: Load,
    requests: &Rc<Requests>,
    unique: Option<Unique>,
    interrupt: &mut Interrupt,
) -> Result<Option<Measured>, Failure> {
    let streams = tokio::select! {
        streams = connect(server, patience, load.connections) => streams?,
        () = interrupt.came() => return Ok(None),
    };
    let bench = Rc::new(Bench {
        requests: Rc::clone(requests),
        tally: RefCell::new(Tally::new(options.until(), unique)),
        buffer: RefCell::new(vec![0; READ_BYTES]),
        pace: options.rate.map(|rate| RefCell::new(Pace::new(rate))),
    });
    let connections = streams.into_iter().enumerate();
    let connections =
        connections.map(|(index, stream)| Connection::new(stream, load.pipeline, index));
    let connections: Vec<_> = connections
        .map(|connection| Rc::new(RefCell::new(connection)))
        .collect();
    let tasks = LocalSet::new();
    let mut ends = JoinSet::new();
    for connection in &connections {
        let task = drive(Rc::clone(&bench), Rc::clone(connection));
        ends.spawn_local_on(task, &tasks);
    }
    if bench.pace.is_some() {
        let alarm = Alarm::new().map_err(|error| {
            Failure::Usage(format!(
                "expected a timer of the system's, got none: {error}"
            ))
        })?;
        let connections = connections.clone();
        tasks.spawn_local(keep_pace(Rc::clone(&bench), connections, alarm));
    }
    let watched = watch(&bench, options.until(), patience, &mut ends, interrupt);
    let interrupted = tasks.run_until(watched).await;
    drop(ends);
    drop(tasks);
    let in_flight = connections
        .iter()
        .map(|connection| connection.borrow().in_flight())
        .sum();
    drop(connections);
    let bench = Rc::into_inner(bench).expect("its tasks have ended");
    let mut tally = bench.tally.into_inner();
    if let Some(pace) = &bench.pace {
        tally.left_unsent(&pace.borrow());
    }
    Ok(Some(Measured {
        tally,
        unanswered: in_flight,
        interrupted,
    }))
}

/// Until all connections have ended, or nothing comes any more. Says whether it was interrupted.
async fn watch(
    bench: &Bench,
    until: Until,
    patience: Option<Duration>,
    ends: &mut JoinSet<()>,
    interrupt: &mut Interrupt,
) -> bool {
    let bar = bar();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut interrupted: Option<Instant> = None;
    loop {
        tokio::select! {
            ended = ends.join_next() => if ended.is_none() { break },
            _ = look.tick() => {
                let now = Instant::now();
                let tally = bench.tally.borrow();
                show(&bar, &tally, now, until);
                // A rate may leave long pauses, in which nothing is due.
                if patience.is_some_and(|patience| tally.silence(now) > patience) {
                    break;
                }
                if interrupted.is_some_and(|since| now - since > LAST_REPLIES_WAIT) {
                    break;
                }
                if tally.is_over(now) && tally.in_flight == 0 {
                    break;
                }
            }
            () = interrupt.came() => {
                // Who asks twice does not want to wait.
                if interrupted.replace(Instant::now()).is_some() {
                    break;
                }
                bench.tally.borrow_mut().stop();
            }
        }
    }
    bar.finish_and_clear();
    interrupted.is_some()
}

async fn drive(bench: Rc<Bench>, connection: Rc<RefCell<Connection>>) {
    let ended = poll_fn(|cx| connection.borrow_mut().poll(&bench, cx)).await;
    if let Err(reason) = ended {
        connection.borrow_mut().give_up();
        let in_flight = connection.borrow().in_flight();
        bench.tally.borrow_mut().lost(in_flight, reason);
    }
}

/// Has the connections, in turn, send what is due.
async fn keep_pace(bench: Rc<Bench>, connections: Vec<Rc<RefCell<Connection>>>, alarm: Alarm) {
    let pace = bench.pace.as_ref().expect("there is one");
    let mut turns = (0..connections.len()).cycle();
    loop {
        let now = Instant::now();
        let mut late = false;
        while pace.borrow().next() <= now {
            let mut candidates = turns.by_ref().take(connections.len());
            let Some(index) = candidates.find(|&index| connections[index].borrow().has_room())
            else {
                // It leaves with the next reply, and counts from when it was due.
                late = true;
                break;
            };
            let bytes = connections[index].borrow().next_bytes(&bench.requests);
            if !bench.tally.borrow_mut().sends(now, bytes) {
                return;
            }
            let due = pace.borrow_mut().take(now).expect("it is due");
            bench.tally.borrow_mut().sent_late(due, now);
            connections[index].borrow_mut().ask(&bench.requests, due);
        }
        if bench.tally.borrow().is_over(now) {
            return;
        }
        let next = match late {
            true => now + NO_ROOM_WAIT,
            false => pace.borrow().next(),
        };
        alarm.wait(next).await;
    }
}

async fn connect(
    server: &Server,
    patience: Option<Duration>,
    count: usize,
) -> Result<Vec<TcpStream>, ClientError> {
    let mut streams = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    while streams.len() < count {
        while opening.len() < OPENED_AT_ONCE && streams.len() + opening.len() < count {
            let server = server.clone();
            opening.spawn(async move { server.connect(patience).await });
        }
        let opened = opening.join_next().await.expect("some are being opened");
        streams.push(opened.expect("connecting does not panic")?);
    }
    Ok(streams)
}

/// Each connection is a file of this process.
fn allow_files(connections: u64) -> Result<(), Failure> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    // Its own files, and some to spare.
    let wanted = connections + 64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = limit.maximum;
    limit.current = Some(wanted);
    if most.is_none_or(|most| most >= wanted) && setrlimit(Resource::Nofile, limit).is_ok() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "expected to be allowed {wanted} open files for {connections} connections, got {}; raise the limit \
         (`ulimit -Hn`), or ask for fewer connections",
        most.map_or("no leave".to_owned(), |most| most.to_string())
    )))
}

/// On a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1_000);
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}");
    bar.with_style(style.expect("it is written right"))
}

fn show(bar: &ProgressBar, tally: &Tally, now: Instant, until: Until) {
    if bar.is_hidden() {
        return;
    }
    bar.set_position((tally.progress(now, until) * 1_000.0) as u64);
    let seconds = tally.measured_so_far(now).as_secs_f64();
    let per_second = tally.counts.replies as f64 / seconds.max(0.1);
    bar.set_message(format!(
        "{} requests/s",
        outcome::grouped(per_second as u64)
    ));
}
