//! A client that is nothing but a socket, so that a test decides over every byte.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::{GUARD, reply::Reply};

/// What a connection goes over.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn guard(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(GUARD))?;
                stream.set_write_timeout(Some(GUARD))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(GUARD))?;
                stream.set_write_timeout(Some(GUARD))
            }
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// What follows every message.
pub const SEPARATOR: &str = "🦀";

/// A connection to a host.
#[derive(Debug)]
pub struct RawClient {
    stream: Stream,
    received: Vec<u8>,
    next_index: u64,
}

impl RawClient {
    /// Connects.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the host listens");
        stream.set_nodelay(true).expect("a socket has this option");
        Self::over(Stream::Tcp(stream))
    }

    /// Connects from an address of this machine's own, such as another of its loopback network.
    #[track_caller]
    pub fn connect_from(own: IpAddr, address: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket(family, SocketType::STREAM, None).expect("there is a socket");
        bind(&socket, &SocketAddr::new(own, 0)).expect("the address is this machine's");
        connect(&socket, &address).expect("the host listens");
        Self::over(Stream::Tcp(socket.into()))
    }

    /// Connects through the operators' socket in a data folder.
    #[track_caller]
    pub fn operate(data: &Path) -> Self {
        let socket = data.join("operators.sock");
        let stream = UnixStream::connect(&socket);
        let stream = stream.unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        Self::over(Stream::Unix(stream))
    }

    fn over(stream: Stream) -> Self {
        let guarded = stream.guard();
        guarded.expect("a guard is not zero");
        Self {
            stream,
            received: Vec::new(),
            next_index: 1,
        }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the host reads");
    }

    /// Sends what the host may no longer want to read.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request to a host that may be gone.
    ///
    /// # Errors
    /// It is.
    pub fn try_tell(&mut self, type_name: &str, payload: &Value) -> std::io::Result<()> {
        let index = self.next_index;
        self.next_index += 1;
        let request = format!(
            "{{\"type\":\"{type_name}\",\"queryIndex\":{index},\"payload\":{payload}}}{SEPARATOR}"
        );
        self.stream.write_all(request.as_bytes())
    }

    /// The next reply of a host that may be killed; `None` once it is, whatever stood behind the last whole one.
    pub fn try_reply(&mut self) -> Option<Reply> {
        self.next_message().map(Reply::read)
    }

    /// Sends a message with its separator.
    #[track_caller]
    pub fn send(&mut self, message: &str) {
        self.send_bytes(format!("{message}{SEPARATOR}").as_bytes());
    }

    /// Sends a request without waiting for its reply, and returns its `queryIndex`.
    #[track_caller]
    pub fn tell(&mut self, type_name: &str, payload: Value) -> String {
        self.tell_all([(type_name, payload)]).remove(0)
    }

    /// Sends requests in one write.
    #[track_caller]
    pub fn tell_all<'a>(
        &mut self,
        requests: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Vec<String> {
        let mut bytes = String::new();
        let mut indexes = Vec::new();
        for (type_name, payload) in requests {
            let index = self.next_index.to_string();
            self.next_index += 1;
            let type_name = Value::from(type_name);
            let payload = payload.to_string().replace(SEPARATOR, "\\ud83e\\udd80");
            bytes += &format!(
                "{{\"type\":{type_name},\"queryIndex\":{index},\"payload\":{payload}}}{SEPARATOR}"
            );
            indexes.push(index);
        }
        self.send_bytes(bytes.as_bytes());
        indexes
    }

    /// Sends a request with control data; [`RawClient::hello`] must have been said.
    #[track_caller]
    pub fn tell_with(&mut self, meta: &Value, type_name: &str, payload: &Value) -> String {
        let sent = self.try_tell_with(meta, type_name, payload);
        sent.expect("the host reads")
    }

    /// The same, to a host that may be gone.
    ///
    /// # Errors
    /// It is.
    pub fn try_tell_with(
        &mut self,
        meta: &Value,
        type_name: &str,
        payload: &Value,
    ) -> std::io::Result<String> {
        let index = self.next_index.to_string();
        self.next_index += 1;
        let type_name = Value::from(type_name);
        let request = format!(
            "{{\"type\":{type_name},\"queryIndex\":{index},\"payload\":{payload},\"meta\":{meta}}}{SEPARATOR}"
        );
        self.stream.write_all(request.as_bytes())?;
        Ok(index)
    }

    /// Sends a request and takes the next reply, which must be its own.
    #[track_caller]
    pub fn ask(&mut self, type_name: &str, payload: Value) -> Reply {
        let index = self.tell(type_name, payload);
        let reply = self.reply();
        assert_eq!(
            (&reply.type_name[..], &reply.query_index),
            (type_name, &index),
            "{}",
            reply.text
        );
        reply
    }

    /// What an operator sees of a plugin.
    #[track_caller]
    pub fn plugin(&mut self, name: &str) -> Value {
        let plugins = self.ask("rm.plugins", Value::Null).ok();
        let plugins = plugins["plugins"].as_array().expect("a list");
        let of_name = plugins.iter().find(|plugin| plugin["name"] == name);
        of_name.unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// Says hello with these defaults, so that requests may bear control data.
    #[track_caller]
    pub fn hello(&mut self, meta: &Value) {
        let reply = self.ask("rm.hello", serde_json::json!({ "v": 1, "meta": meta }));
        assert_eq!(reply.ok()["v"], 1);
    }

    /// Says hello, and returns the name of the session that it was given.
    #[track_caller]
    pub fn session(&mut self) -> String {
        let hello = self.ask("rm.hello", serde_json::json!({ "v": 1 })).ok();
        let session = hello["session"].as_str();
        session.expect("hello gives a session").to_owned()
    }

    /// Says hello, to go on with a session.
    #[track_caller]
    pub fn resume(&mut self, session: &str) -> Reply {
        self.ask(
            "rm.hello",
            serde_json::json!({ "v": 1, "session": session }),
        )
    }

    /// Sends a request with an id, and takes the next reply, which must be its own.
    #[track_caller]
    pub fn ask_once(&mut self, id: u64, type_name: &str, payload: &Value) -> Reply {
        let index = self.tell_with(&serde_json::json!({ "id": id }), type_name, payload);
        let reply = self.reply();
        assert_eq!(reply.query_index, index, "{}", reply.text);
        reply
    }

    /// The answer to a ping; `None` where the host says something else, or hangs up.
    pub fn try_reply_to_ping(&mut self) -> Option<Reply> {
        self.try_tell("ping", &Value::Null).ok()?;
        self.try_reply().filter(|reply| reply.type_name == "ping")
    }

    /// Returns once the host has seen all that was sent before.
    #[track_caller]
    pub fn sync(&mut self) {
        self.ask("ping", Value::Null).ok();
    }

    /// The next message, without its separator.
    #[track_caller]
    pub fn message(&mut self) -> String {
        match self.next_message() {
            Some(message) => message,
            None => panic!(
                "the host has closed the connection; unread: {:?}",
                self.rest()
            ),
        }
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        Reply::read(self.message())
    }

    /// So many replies.
    #[track_caller]
    pub fn replies(&mut self, count: usize) -> Vec<Reply> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// Checks that the host says nothing more and closes.
    #[track_caller]
    pub fn expect_end(&mut self) {
        if let Some(message) = self.next_message() {
            panic!("expected the connection's end, got {message}");
        }
        assert!(
            self.received.is_empty(),
            "half a message at the end: {:?}",
            self.rest()
        );
    }

    /// Sends nothing more; still reads.
    pub fn finish(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// The same connection for another thread that only reads; nothing may have been received before.
    pub fn reader(&self) -> Self {
        assert!(
            self.received.is_empty(),
            "what was received belongs to this one"
        );
        Self {
            stream: self.stream.try_clone().expect("a socket can be shared"),
            received: Vec::new(),
            next_index: self.next_index,
        }
    }

    /// Reads without looking at what comes; nothing once the host has closed.
    pub fn skip(&mut self) -> Option<usize> {
        let bytes = self.stream.read(&mut [0; 64 * 1024]);
        bytes.ok().filter(|bytes| *bytes > 0)
    }

    /// Goes with a reset in place of an orderly end.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
            .expect("a socket has this option");
    }

    fn rest(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    #[track_caller]
    fn next_message(&mut self) -> Option<String> {
        let mut searched = 0;
        loop {
            let unsearched = &self.received[searched..];
            if let Some(at) = memchr::memmem::find(unsearched, SEPARATOR.as_bytes()) {
                let rest = self.received.split_off(searched + at + 4);
                let mut message = std::mem::replace(&mut self.received, rest);
                message.truncate(searched + at);
                return Some(String::from_utf8(message).expect("a host sends UTF-8"));
            }
            searched = self.received.len().saturating_sub(3);
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(bytes) => self.received.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}; received so far: {:?}", self.rest()),
            }
        }
    }
}
