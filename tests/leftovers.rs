//! What a host that is killed leaves behind is taken away by the next one.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rm_tests::{GUARD, TestHost, wishing};
use rustix::process::Signal;

/// The private copy of `library`, whoever makes it.
fn copy_of(library: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(std::env::temp_dir()).expect("it can be read");
    let ours = folders
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rm-host-"));
    let mut files = ours.filter_map(|folder| fs::read_dir(folder.path()).ok());
    files.find_map(|files| {
        let mut files = files.flatten().map(|file| file.path());
        files.find(|file| file.to_string_lossy().ends_with(library))
    })
}

#[test]
fn a_copy_that_a_killed_host_was_trying_is_taken_away_by_the_next_start() {
    let host = TestHost::plan().start();
    let name = format!("libleft_{}.so", std::process::id());
    fs::write(host.folder().join(&name), wishing("hostile", b'l'))
        .expect("the folder can be written");
    let until = Instant::now() + GUARD;
    let copy = loop {
        match copy_of(&name) {
            Some(copy) => break copy,
            None => assert!(Instant::now() < until, "no copy of it is made"),
        }
        // Only so as not to spin: nobody tells of it.
        thread::sleep(Duration::from_millis(2));
    };
    host.signal(Signal::KILL);
    let (_, _) = host.wait_and_plan();
    let _next = TestHost::plan().start();
    let folder = copy.parent().expect("it lies in one");
    assert!(!folder.exists(), "{} is left", folder.display());
}
