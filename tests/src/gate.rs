//! Where fixtures stop until a test lets them go: they connect, say who they are, and wait for a byte.
//!
//! So a test knows which jobs are in work, and decides when they end. A gate that is dropped lets everybody go.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::GUARD;

/// The test's side.
#[derive(Debug)]
pub struct Gate {
    listener: TcpListener,
}

/// A job that stands at the gate. Dropped, it goes on too.
#[derive(Debug)]
pub struct AtGate {
    /// What its payload called it.
    pub name: String,
    stream: TcpStream,
}

impl Gate {
    /// With nobody at it.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener
            .set_nonblocking(true)
            .expect("a socket has this option");
        Self { listener }
    }

    /// The payload that leads a job here.
    pub fn payload(&self, name: &str) -> Value {
        let port = self.listener.local_addr().expect("it is bound").port();
        json!({ "gate": port, "name": name })
    }

    /// Waits for the next job to stand at the gate.
    #[track_caller]
    pub fn entered(&self) -> AtGate {
        let until = Instant::now() + GUARD;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return AtGate::read(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < until, "nobody came to the gate");
                    // Only so as not to spin: there is no accept with a guard.
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("the gate is broken: {error}"),
            }
        }
    }

    /// Whether a job stands there that was not yet looked at.
    pub fn is_awaited(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(
            &self.listener,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut poll, Some(&rustix::event::Timespec::default()))
            .is_ok_and(|ready| ready > 0)
    }
}

impl AtGate {
    fn read(stream: TcpStream) -> Self {
        stream
            .set_nonblocking(false)
            .expect("a socket has this option");
        stream
            .set_read_timeout(Some(GUARD))
            .expect("a guard is not zero");
        let mut name = String::new();
        let read = BufReader::new(&stream).read_line(&mut name);
        read.expect("a fixture says who it is");
        Self {
            name: name.trim_end().to_owned(),
            stream,
        }
    }

    /// Lets it go on.
    pub fn release(mut self) {
        self.stream.write_all(b"!").expect("the fixture waits");
    }
}
