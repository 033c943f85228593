//! What is compared: hosts, a loop that does nothing, and Redis, each with one core for itself while it is asked.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rm_tests::{GUARD, SEPARATOR, TestHost};
use rustix::event::epoll;

use crate::load::Talk;

/// One server, and what is asked of it.
pub struct Row {
    /// For the table.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is asked.
    pub talk: Talk,
}

/// All that run, and the rows of those that do.
pub struct Servers {
    /// In the order of the table.
    pub rows: Vec<Row>,
    /// Of the Redis server; `None`: there is none on this machine.
    pub redis: Option<String>,
    _hosts: Vec<TestHost>,
    _others: Vec<Ended>,
}

/// Ends a process with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The argument with which this program is the loop.
pub const CEILING: &str = "--be-the-ceiling";

impl Servers {
    /// Starts all. They run on the core that this thread has then.
    pub fn start(folder: &Path) -> Self {
        let memory = ["--log", "info", "--durability", "memory"];
        let durable = ["--log", "info", "--durability", "sync"];
        // More than are ever sold here.
        let seats = "seats = 10_000_000_000\n";
        let start = |flags: &[&str]| {
            let plan = TestHost::plan().plugin("counter").plugin("tickets");
            plan.file("tickets.toml", seats).flags(flags).start()
        };
        let threaded = TestHost::plan()
            .plugin("counter")
            .file("counter.toml", "own_thread = true\n")
            .flags(&memory)
            .start();
        let hosts = vec![start(&memory), start(&durable), threaded];
        let (ceiling, at) = ceiling();
        let mut others = vec![ceiling];
        let host = |name, index: usize, type_name| Row {
            name,
            address: hosts[index].address(),
            talk: message(type_name),
        };
        let mut rows = vec![
            Row {
                name: "ceiling",
                address: at,
                talk: message("cntResponse"),
            },
            host("ping", 0, "ping"),
            host("counter", 0, "cntResponse"),
            host("counter, own thread", 2, "cntResponse"),
            host("tickets, memory", 0, "getTickets"),
            host("tickets, sync", 1, "getTickets"),
        ];
        let mut version = None;
        if let Some(found) = redis_version() {
            let memory = redis(&folder.join("memory"), &["--appendonly", "no"]);
            let mut always = vec!["--appendonly", "yes", "--appendfsync", "always"];
            // A rewrite of the file would hit one measurement or another by chance.
            always.extend(["--auto-aof-rewrite-percentage", "0"]);
            let always = redis(&folder.join("always"), &always);
            rows.extend([
                Row {
                    name: "Redis INCR",
                    address: memory.1,
                    talk: command(&["INCR", "counter"]),
                },
                Row {
                    name: "Redis number and token",
                    address: memory.1,
                    talk: script(memory.1, include_str!("number_and_token.lua")),
                },
                Row {
                    name: "Redis grant, memory",
                    address: memory.1,
                    talk: script(memory.1, GRANT),
                },
                Row {
                    name: "Redis grant, always",
                    address: always.1,
                    talk: script(always.1, GRANT),
                },
            ]);
            others.extend([memory.0, always.0]);
            version = Some(found);
        }
        Self {
            rows,
            redis: version,
            _hosts: hosts,
            _others: others,
        }
    }
}

fn message(type_name: &str) -> Talk {
    let request = format!("{{\"type\":\"{type_name}\",\"queryIndex\":1000000001}}{SEPARATOR}");
    Talk {
        request: request.into_bytes(),
        once: SEPARATOR.as_bytes()[0],
    }
}

fn command(words: &[&str]) -> Talk {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    Talk {
        request: request.into_bytes(),
        once: b'\n',
    }
}

const GRANT: &str = include_str!("grant.lua");

fn script(address: SocketAddr, script: &str) -> Talk {
    let told = ask_redis(address, &command(&["SCRIPT", "LOAD", script]).request);
    let told = told.expect("it has answered before");
    let name = told.lines().nth(1).expect("a length, then the name");
    command(&["EVALSHA", name, "0", "1700000000"])
}

fn redis_version() -> Option<String> {
    let told = Command::new("redis-server")
        .arg("--version")
        .output()
        .ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let version = told
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="))?;
    Some(version.to_owned())
}

fn redis(folder: &Path, flags: &[&str]) -> (Ended, SocketAddr) {
    std::fs::create_dir(folder).expect("a temporary folder can be written");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("loopback has a free port");
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port"])
        .arg(address.port().to_string())
        .arg("--dir")
        .arg(folder)
        .args(flags)
        .stdout(Stdio::null())
        .spawn()
        .expect("it said its version");
    let child = Ended(child);
    let began = Instant::now();
    while ask_redis(address, b"*1\r\n$4\r\nPING\r\n").is_none() {
        assert!(began.elapsed() < GUARD, "the Redis server does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, address)
}

fn ask_redis(address: SocketAddr, command: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(GUARD)).ok()?;
    stream.write_all(command).ok()?;
    let mut buffer = [0; 1024];
    let bytes = stream.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..bytes]).into_owned())
}

/// Another process of this program.
fn ceiling() -> (Ended, SocketAddr) {
    let program = std::env::current_exe().expect("it runs");
    let mut child = Command::new(program)
        .arg(CEILING)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs already");
    let mut line = String::new();
    let mut said = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut said, &mut line).expect("it says where it listens");
    let address = line.trim().parse().expect("it says where it listens");
    (Ended(child), address)
}

/// Reads what comes, cuts it at the separators, and answers each message with one and the same reply. Never returns.
pub fn be_the_ceiling(mut say: impl FnMut(SocketAddr)) {
    const LISTENER: u64 = u64::MAX;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    say(listener.local_addr().expect("it is bound"));
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("Linux has it");
    let readable = epoll::EventFlags::IN;
    epoll::add(
        &ready,
        &listener,
        epoll::EventData::new_u64(LISTENER),
        readable,
    )
    .expect("it is a socket");
    let reply = format!(
        "{{\"type\":\"cntResponse\",\"queryIndex\":1000000001,\"resultJob\":{{\"cnt\":1000001}}}}{SEPARATOR}"
    );
    let mut replies = Vec::new();
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        events.clear();
        let room = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&ready, room, None).expect("it is one");
        for event in &events {
            if event.data.u64() == LISTENER {
                let (stream, _) = listener.accept().expect("there are files enough");
                stream.set_nodelay(true).expect("a socket has this option");
                let data = epoll::EventData::new_u64(clients.len() as u64);
                epoll::add(&ready, &stream, data, readable).expect("it is a socket");
                clients.push(Some(stream));
                continue;
            }
            let client = &mut clients[event.data.u64() as usize];
            let Some(stream) = client else { continue };
            let bytes = stream.read(&mut buffer).unwrap_or(0);
            // Each message is cut out, and answered for itself.
            let (mut rest, first) = (&buffer[..bytes], SEPARATOR.as_bytes()[0]);
            replies.clear();
            while let Some(at) = rest.iter().position(|byte| *byte == first) {
                replies.extend_from_slice(reply.as_bytes());
                rest = rest.get(at + SEPARATOR.len()..).unwrap_or_default();
            }
            if bytes == 0 || stream.write_all(&replies).is_err() {
                *client = None;
            }
        }
    }
}
