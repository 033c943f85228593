//! The real host as a child process, with a plugin folder of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::{Disk, GUARD, artifacts, client::RawClient, log::Log};

/// What the log says of a plugin whose new version has taken over. A copy that is slow may be refused before.
pub const SERVES: &[&str] = &["INFO", ": serves "];

/// How a host is to be started.
#[derive(Debug)]
pub struct HostPlan {
    program: PathBuf,
    folder: tempfile::TempDir,
    flags: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
}

/// A host that is ready. Dropped, it is killed; after a failure its log is shown.
#[derive(Debug)]
pub struct TestHost {
    program: PathBuf,
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
    log: Log,
    stdout: mpsc::Receiver<String>,
}

/// A host that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to stdout after the ready line.
    pub more_stdout: String,
    /// What it wrote to stderr.
    pub log: Log,
}

impl HostPlan {
    /// Puts an example plugin of the workspace into the folder.
    pub fn plugin(self, name: &str) -> Self {
        self.library(name, &artifacts::example_plugin(name))
    }

    /// Puts a fixture into the folder.
    pub fn fixture(self, name: &str) -> Self {
        self.library(name, &artifacts::fixture(name))
    }

    /// Puts a library into the folder as `libNAME.so`.
    pub fn library(self, name: &str, library: &Path) -> Self {
        let target = self.folder().join(format!("lib{name}.so"));
        fs::copy(library, target).expect("it was built");
        self
    }

    /// Puts a file into the folder.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.folder().join(name), content).expect("a temporary folder can be written");
        self
    }

    /// Adds flags.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Takes this program for the host.
    pub fn program(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// Lets the host open so many files and no more.
    pub fn open_files_max(self, files: usize) -> Self {
        let limited = self.folder.path().join("limited");
        let program = self.program.display();
        let script = format!("#!/bin/sh\nulimit -n {files}\nexec '{program}' \"$@\"\n");
        fs::write(&limited, script).expect("a temporary folder can be written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&limited, executable).expect("it was just written");
        self.program(limited)
    }

    /// Has the host write its state to a disk that does what the test says.
    pub fn disk(mut self, disk: &Disk) -> Self {
        self.environment.extend(disk.environment());
        self
    }

    /// Sets a variable in the host's environment.
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The plugin folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> TestHost {
        let mut child = command(
            &self.program,
            &self.folder(),
            &self.folder.path().join("data"),
        )
        .args(&self.flags)
        .envs(self.environment)
        .spawn()
        .expect("the host was built");
        let log = Log::of(child.stderr.take().expect("it is piped"));
        let stdout = lines_of(child.stdout.take().expect("it is piped"));
        let Ok(ready) = stdout.recv_timeout(GUARD) else {
            let _ = child.kill();
            panic!("the host never was ready:\n{log}");
        };
        let address = ready
            .strip_prefix("ready: listening on ")
            .and_then(|rest| rest.split(';').next())
            .and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("expected the ready line, got {ready:?}"));
        // The log comes another way: with this line, all that was said before is here.
        log.wait_from(0, &["ready: listening on"]);
        TestHost {
            program: self.program,
            folder: self.folder,
            child,
            address,
            log,
            stdout,
        }
    }
}

impl TestHost {
    /// A host on a free port, with an empty plugin folder.
    pub fn plan() -> HostPlan {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::create_dir(folder.path().join("plugins")).expect("it can be written");
        HostPlan {
            program: artifacts::host(),
            folder,
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// With one fixture and nothing else.
    #[track_caller]
    pub fn with_fixture(name: &str) -> Self {
        Self::plan().fixture(name).start()
    }

    /// With one example plugin and nothing else.
    #[track_caller]
    pub fn with_plugin(name: &str) -> Self {
        Self::plan().plugin(name).start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Lets the host take so many bytes of addresses more than it has now, and no others.
    pub fn limit_memory(&self, more: u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the host runs");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let size = size.and_then(|size| size.trim().strip_suffix(" kB"));
        let size: u64 = size
            .and_then(|size| size.parse().ok())
            .expect("it has a size");
        let limit = Rlimit {
            current: Some(size * 1024 + more),
            maximum: None,
        };
        let process = Pid::from_child(&self.child);
        prlimit(Some(process), Resource::As, limit).expect("the host is ours");
    }

    /// What it logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The plugin folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// A folder beside the plugin folder, on the same file system.
    pub fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// Connects a client.
    #[track_caller]
    pub fn connect(&self) -> RawClient {
        RawClient::connect(self.address)
    }

    /// Connects an operator.
    #[track_caller]
    pub fn operate(&self) -> RawClient {
        RawClient::operate(&self.data())
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Puts a library into the folder as `libNAME.so`, whole at once, and waits until the log says `words` of it.
    #[track_caller]
    pub fn drop_in(&self, name: &str, library: &Path, words: &[&str]) -> String {
        let from = self.log.len();
        let unfinished = self.folder().join(format!(".lib{name}.so.new"));
        fs::copy(library, &unfinished).expect("it was built");
        fs::rename(&unfinished, self.folder().join(format!("lib{name}.so")))
            .expect("it was just written");
        self.said_of(from, name, words)
    }

    /// Writes a plugin's configuration and waits until the log says `words` of the plugin.
    #[track_caller]
    pub fn configure(&self, name: &str, toml: &str, words: &[&str]) -> String {
        let from = self.log.len();
        fs::write(self.folder().join(format!("{name}.toml")), toml)
            .expect("the folder can be written");
        self.said_of(from, name, words)
    }

    /// Removes a plugin's library and waits until its types are no longer served.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        let from = self.log.len();
        fs::remove_file(self.folder().join(format!("lib{name}.so"))).expect("it is there");
        self.said_of(from, name, &["removed; its states are kept"]);
    }

    /// Waits for a line about a plugin after the first `from`.
    #[track_caller]
    pub fn said_of(&self, from: usize, name: &str, words: &[&str]) -> String {
        let of_plugin = format!("plugin={name}");
        let words: Vec<&str> = [&*of_plugin]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        self.log.wait_from(from, &words)
    }

    /// Ends a fault of the disk, and waits until the host has read its state back.
    #[track_caller]
    pub fn recovers_from(&self, disk: &Disk, fault: &str) {
        let from = self.log.len();
        disk.end(fault);
        self.log.wait_from(from, &["the state has been read back"]);
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("the host runs");
    }

    /// Waits until the host has ended by itself, and plans another start with its folders.
    #[track_caller]
    pub fn wait_and_plan(mut self) -> (Ended, HostPlan) {
        let empty = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = std::mem::replace(&mut self.folder, empty);
        let plan = HostPlan {
            program: self.program.clone(),
            folder,
            flags: Vec::new(),
            environment: Vec::new(),
        };
        (self.wait(), plan)
    }

    /// Waits until the host has ended by itself.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let Some(status) = wait_for(&mut self.child) else {
            panic!("the host does not end");
        };
        self.log.wait_for_end();
        Ended {
            code: status.code(),
            signal: status.signal(),
            more_stdout: self.stdout.iter().map(|line| line + "\n").collect(),
            log: self.log.clone(),
        }
    }

    /// Checks that it runs.
    #[track_caller]
    pub fn expect_running(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "the host has ended: {ended:?}");
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            // Captured by the test's own output, and shown with its failure.
            show(&format!("the host ({ended:?}) had logged:\n{}", self.log));
        }
    }
}

/// Runs a host that is expected not to start, and returns its exit code, its stdout and its stderr.
#[track_caller]
pub fn failed_start(plugins: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    // One that is there, and was never made, would be refused for that.
    let mut child = command(&artifacts::host(), plugins, &data.path().join("data"))
        .args(flags)
        .spawn()
        .expect("the host was built");
    let log = Log::of(child.stderr.take().expect("it is piped"));
    let stdout = lines_of(child.stdout.take().expect("it is piped"));
    let Some(status) = wait_for(&mut child) else {
        let _ = child.kill();
        panic!("the host has started:\n{log}");
    };
    log.wait_for_end();
    (status.code(), stdout.iter().collect(), log.text())
}

fn command(program: &Path, plugins: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    // Whatever the tester's own host is set to.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"RM_") {
            command.env_remove(name);
        }
    }
    // By the environment, so that a test's own flags win.
    command
        .env("RM_LISTEN", "127.0.0.1:0")
        .env("RM_SETTLE", "50ms")
        .env("RM_LOG", "debug")
        .env("RM_DATA", data)
        .arg("--plugins")
        .arg(plugins)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn lines_of(stdout: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (line_read, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines
            .map_while(|line| line_read.send(line).ok())
            .for_each(drop);
    });
    lines
}

fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + GUARD;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        // Only so as not to spin: there is no wait with a guard.
        thread::sleep(Duration::from_millis(2));
    }
    None
}

#[expect(clippy::print_stderr, reason = "a test's output is for its reader")]
fn show(text: &str) {
    eprintln!("{text}");
}
