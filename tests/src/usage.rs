//! What a process holds of the machine, as the kernel counts it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A look at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its threads.
    pub threads: u64,
    /// Its open files, sockets and pipes.
    pub open_files: usize,
    /// Memory of its own that is resident, in KiB.
    pub anonymous_kib: u64,
    /// Pages of files that are resident, in KiB.
    pub of_files_kib: u64,
    /// What it has mapped, in pieces.
    pub mappings: usize,
    /// The private copies of plugins among that.
    pub copies: BTreeSet<PathBuf>,
}

impl Usage {
    /// Of the process with this number.
    #[track_caller]
    pub fn of(process: u32) -> Self {
        let of = Path::new("/proc").join(process.to_string());
        let read = |file: &str| fs::read_to_string(of.join(file)).expect("the process runs");
        let (status, maps) = (read("status"), read("maps"));
        let count = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let digits = line.and_then(|line| line.split_whitespace().nth(1));
            let count = digits.and_then(|digits| digits.parse().ok());
            count.unwrap_or_else(|| panic!("expected a number `{key}`, found {status}"))
        };
        let paths = maps
            .lines()
            .filter_map(|line| Some(&line[line.find('/')?..]));
        let copies = paths.filter(|path| path.contains("/rm-host-"));
        Self {
            threads: count("Threads"),
            open_files: fs::read_dir(of.join("fd"))
                .expect("the process is ours")
                .count(),
            anonymous_kib: count("RssAnon"),
            // A temporary folder in memory counts as shared memory.
            of_files_kib: count("RssFile") + count("RssShmem"),
            mappings: maps.lines().count(),
            copies: copies
                .map(|path| path.trim_end_matches(" (deleted)").into())
                .collect(),
        }
    }

    /// All that is resident, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.anonymous_kib + self.of_files_kib
    }
}
