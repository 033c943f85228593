//! What a plugin leaves on the threads of the host is dropped when these end, on code that is still there.

use std::fs;

use rm_tests::{RawClient, TestHost, fixture};
use rustix::process::Signal;
use serde_json::Value;

const LEFT: &str = "runs behind: xxx";

/// Runs it on each kind of thread.
#[track_caller]
fn run(client: &mut RawClient) -> [u64; 3] {
    ["onThread", "inline", "onOwnThread"]
        .map(|type_name| client.ask(type_name, Value::Null).number("runs"))
}

/// Another version of the fixture: a byte behind its end changes nothing but its content.
fn drop_in_version(host: &TestHost, version: u8) {
    let mut library = fs::read(fixture("thread_locals")).expect("it was built");
    library.push(version);
    let path = host.beside().join("version");
    fs::write(&path, library).expect("the folder can be written");
    host.drop_in("thread_locals", &path, rm_tests::SERVES);
}

#[test]
fn thread_locals_with_destructors_live_through_reloads_removal_and_the_end() {
    let host = TestHost::with_fixture("thread_locals");
    let mut client = host.connect();
    for version in 0..20 {
        assert_eq!(run(&mut client), [1, 1, 1], "each version has its own");
        assert_eq!(run(&mut client), [2, 2, 1]);
        // That of the lane's thread is dropped when the version goes, and can still speak.
        let from = host.log().len();
        drop_in_version(&host, version);
        host.log().wait_from(from, &["a thread has left 2", LEFT]);
    }
    run(&mut client);
    host.remove("thread_locals");
    client.ask("inline", Value::Null).refused("unknown_type");
    drop_in_version(&host, 0);
    run(&mut client);
    // Those of the main thread, one of each version, are dropped when the process ends.
    host.signal(Signal::TERM);
    let ended = host.wait();
    assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.log);
}
