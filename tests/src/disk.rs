//! A disk that does what a test says, between a real host and its real files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::{GUARD, artifacts};

/// What the host's log meets when it writes and syncs.
#[derive(Debug)]
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// A disk without faults, for now.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    /// What puts it between a program and the system, as environment variables.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let library = shim().to_owned();
        [
            ("LD_PRELOAD", library),
            ("TEST_DISK", self.folder.path().to_owned()),
        ]
    }

    /// From now on this happens: `hold`, `fail`, `full`, `note` or `no_time`.
    pub fn begin(&self, what: &str) {
        fs::write(self.folder.path().join(what), "").expect("a temporary folder can be written");
    }

    /// From now on the system's clock is so many seconds ahead of what it is.
    pub fn set_clock(&self, ahead_s: u64) {
        // In one step: who reads it meanwhile reads either.
        let written = self.folder.path().join("ahead.new");
        fs::write(&written, ahead_s.to_string()).expect("a temporary folder can be written");
        fs::rename(written, self.folder.path().join("ahead")).expect("it was just written");
    }

    /// It does not happen any more.
    pub fn end(&self, what: &str) {
        fs::remove_file(self.folder.path().join(what)).expect("it happens");
    }

    /// What was made and synced since this was asked for with `note`, in order: `made PATH`, `synced PATH`.
    pub fn noted(&self) -> Vec<String> {
        let noted = fs::read_to_string(self.folder.path().join("noted")).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }

    /// Waits until a sync is held.
    #[track_caller]
    pub fn wait_until_held(&self) {
        let until = Instant::now() + GUARD;
        while !self.folder.path().join("holding").exists() {
            assert!(Instant::now() < until, "nothing is synced");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// Built once for each test program, by the C compiler that Rust links with.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = artifacts::workspace().join("tests/fixtures/disk.c");
        let built = artifacts::profile_folder().join(format!("disk-{}.so", std::process::id()));
        let done = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&built, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler is there as `cc`; Rust needs one too");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "{} cannot be built:\n{said}",
            source.display()
        );
        built
    })
}
