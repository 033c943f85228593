//! The load: one thread that keeps so many requests in flight on each connection, and only counts what comes back.
//!
//! It parses nothing, so that it is faster than what it measures, and speaks to all servers in the same way.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::event::{Timespec, epoll};

/// What does not count yet.
const WARM_UP: Duration = Duration::from_millis(200);

/// One server's request, and how its replies end.
#[derive(Clone, Debug)]
pub struct Talk {
    /// The whole request.
    pub request: Vec<u8>,
    /// A byte that stands in each reply once.
    pub once: u8,
}

/// What came of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// Replies per second.
    pub per_second: f64,
    /// The median time between two replies of a connection that has one request in flight: from its request to its
    /// reply. Only of a single connection.
    pub round_trip: Duration,
}

struct Connection {
    stream: TcpStream,
    /// All requests that may be in flight, one after the other.
    requests: Vec<u8>,
}

/// Asks once, and looks at the reply: what answers with errors only is fast, too.
///
/// # Panics
/// It is an error.
pub fn check(address: SocketAddr, talk: &Talk, name: &str) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.write_all(&talk.request).expect("the server reads");
    let (mut reply, mut buffer) = (Vec::new(), [0; 1024]);
    while !reply.contains(&talk.once) {
        let bytes = stream.read(&mut buffer).expect("the server answers");
        assert!(bytes > 0, "{name}: the server has hung up");
        reply.extend_from_slice(&buffer[..bytes]);
    }
    let reply = String::from_utf8_lossy(&reply);
    let is_error = reply.starts_with('-') || reply.contains("\"err\"");
    assert!(!is_error, "{name}: expected a result, got {reply}");
}

/// Measures for `time`.
pub fn press(
    address: SocketAddr,
    talk: &Talk,
    connections: usize,
    in_flight: usize,
    time: Duration,
) -> Came {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("Linux has it");
    let requests = talk.request.repeat(in_flight);
    let mut all: Vec<Connection> = (0..connections)
        .map(|index| {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("a socket has this option");
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&ready, &stream, data, epoll::EventFlags::IN).expect("it is a socket");
            let requests = requests.clone();
            Connection { stream, requests }
        })
        .collect();
    for connection in &mut all {
        connection.ask(in_flight, talk);
    }
    let mut events = Vec::with_capacity(connections);
    let mut buffer = vec![0; 256 * 1024];
    let (mut replies, mut times) = (0_u64, Vec::new());
    let start = Instant::now() + WARM_UP;
    let end = start + time;
    let mut asked_at = Instant::now();
    loop {
        let guard = Timespec {
            tv_sec: 40,
            tv_nsec: 0,
        };
        events.clear();
        let room = rustix::buffer::spare_capacity(&mut events);
        let came = epoll::wait(&ready, room, Some(&guard)).expect("it is one");
        assert!(came > 0, "the server answers nothing any more");
        let mut now = Instant::now();
        for event in &events {
            let connection = &mut all[event.data.u64() as usize];
            let bytes = connection
                .stream
                .read(&mut buffer)
                .expect("the server reads on");
            assert!(bytes > 0, "the server has hung up");
            let count = buffer[..bytes]
                .iter()
                .filter(|byte| **byte == talk.once)
                .count();
            if now >= start && now < end {
                replies += count as u64;
                if connections == 1 && in_flight == 1 {
                    now = Instant::now();
                    times.push(now - asked_at);
                }
            }
            asked_at = now;
            connection.ask(count, talk);
        }
        if now >= end {
            break;
        }
    }
    times.sort_unstable();
    Came {
        per_second: replies as f64 / time.as_secs_f64(),
        round_trip: times.get(times.len() / 2).copied().unwrap_or_default(),
    }
}

impl Connection {
    /// What is in flight fits into the sockets' buffers, so that this does not wait.
    fn ask(&mut self, count: usize, talk: &Talk) {
        let requests = &self.requests[..count * talk.request.len()];
        self.stream.write_all(requests).expect("the server reads");
    }
}
