//! Keeps lanes busy, and notes when which version answered.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rm_tests::SEPARATOR;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Connections for each request type.
const CONNECTIONS: usize = 8;

/// Requests that each of them has in flight.
const IN_FLIGHT: usize = 16;

/// What is asked, and which part of an answer names the version.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The request type.
    pub type_name: &'static str,
    /// The key of the number that tells versions apart.
    pub key: &'static str,
}

/// Answers that came in one read.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// Since the load began.
    pub at: Duration,
    /// The version that gave the last of them.
    pub number: u64,
}

/// What the main thread and the load tell each other.
#[derive(Debug, Default)]
pub struct Shared {
    /// The number that was last seen in answers to the first type.
    pub number: AtomicU64,
    /// It is enough.
    pub enough: AtomicBool,
}

struct Connection {
    stream: TcpStream,
    /// Of what is asked.
    nth: usize,
    request: String,
}

/// Asks for all types at once until it is enough. Returns when answers came, for each type in order.
pub fn press(
    address: SocketAddr,
    asked: &[Asked],
    began: Instant,
    shared: &Shared,
) -> Vec<Vec<Came>> {
    let mut connections: Vec<Connection> = asked
        .iter()
        .enumerate()
        .flat_map(|(nth, asked)| (0..CONNECTIONS).map(move |_| (nth, asked)))
        .map(|(nth, asked)| Connection::open(address, nth, asked))
        .collect();
    let mut came = vec![Vec::new(); asked.len()];
    let mut bytes = vec![0; 64 * 1024];
    while !shared.enough.load(Ordering::Relaxed) {
        for index in readable(&connections) {
            let connection = &mut connections[index];
            let read = connection.stream.read(&mut bytes).expect("the host serves");
            assert!(read > 0, "the host has closed a connection");
            let (bytes, at) = (&bytes[..read], began.elapsed());
            // A separator's first byte is in no answer.
            let answers = bytes
                .iter()
                .filter(|byte| **byte == SEPARATOR.as_bytes()[0]);
            connection.ask(answers.count());
            let nth = connection.nth;
            if let Some(number) = last_number(bytes, asked[nth].key) {
                came[nth].push(Came { at, number });
                if nth == 0 {
                    shared.number.store(number, Ordering::Relaxed);
                }
            }
        }
    }
    came
}

impl Connection {
    fn open(address: SocketAddr, nth: usize, asked: &Asked) -> Self {
        let stream = TcpStream::connect(address).expect("the host listens");
        stream.set_nodelay(true).expect("a socket has this option");
        let request = format!(
            "{{\"type\":\"{}\",\"queryIndex\":1}}{SEPARATOR}",
            asked.type_name
        );
        let mut connection = Self {
            stream,
            nth,
            request,
        };
        connection.ask(IN_FLIGHT);
        connection
    }

    fn ask(&mut self, count: usize) {
        let requests = self.request.repeat(count);
        let sent = self.stream.write_all(requests.as_bytes());
        sent.expect("the host reads");
    }
}

fn readable(connections: &[Connection]) -> Vec<usize> {
    let mut polled: Vec<PollFd> = connections
        .iter()
        .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
        .collect();
    let patience = Timespec::try_from(Duration::from_millis(100)).expect("it is short");
    // Interrupted or in vain: it is asked again.
    let _ = poll(&mut polled, Some(&patience));
    let ready = polled.iter().enumerate();
    ready
        .filter(|(_, polled)| !polled.revents().is_empty())
        .map(|(index, _)| index)
        .collect()
}

/// The last whole number behind `key`.
fn last_number(bytes: &[u8], key: &str) -> Option<u64> {
    let key = format!("\"{key}\":");
    let mut end = bytes.len();
    loop {
        let at = bytes[..end]
            .windows(key.len())
            .rposition(|window| window == key.as_bytes())?;
        let rest = &bytes[at + key.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 && digits < rest.len() {
            return std::str::from_utf8(&rest[..digits]).ok()?.parse().ok();
        }
        end = at;
    }
}
