//! What becomes of plugins, of their files and of what operators decide, while the disk fails and once it is back.

use std::fs;

use rm_tests::{Disk, Gate, HostPlan, RawClient, SERVES, TestHost, fixture};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What the log says of a version that comes while the disk fails.
const WAITS: &[&str] = &["waits until the state has been read back"];

/// Serves the first version, and sells tickets, so that the disk is written to.
fn start(disk: &Disk) -> TestHost {
    TestHost::plan()
        .plugin("tickets")
        .library("versioned", &fixture("versioned_1"))
        .disk(disk)
        .start()
}

/// From now on the disk fails, and the host knows it.
#[track_caller]
fn fails(host: &TestHost, disk: &Disk) {
    disk.begin("fail");
    host.connect()
        .ask("getTickets", Value::Null)
        .refused("storage_failed");
    host.log()
        .wait_from(0, &["ERROR", "the state cannot be kept"]);
}

#[track_caller]
fn tell(host: &TestHost, what: &str) -> Value {
    let command = json!({ "name": "versioned", "do": what });
    host.operate().ask("rm.plugin", command).ok()
}

/// Tells it, and waits until it serves.
#[track_caller]
fn tell_until_it_serves(host: &TestHost, what: &str) {
    let from = host.log().len();
    tell(host, what);
    host.said_of(from, "versioned", SERVES);
}

#[track_caller]
fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

#[track_caller]
fn ended(host: TestHost) -> HostPlan {
    host.signal(Signal::TERM);
    host.wait_and_plan().1
}

#[test]
fn a_version_that_comes_while_the_disk_fails_serves_once_it_is_back() {
    let disk = Disk::new();
    let host = start(&disk);
    fails(&host, &disk);
    host.drop_in("versioned", &fixture("versioned_2"), WAITS);
    let from = host.log().len();
    host.recovers_from(&disk, "fail");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut host.connect()), 2);
}

#[test]
fn a_plugin_that_comes_while_the_disk_fails_is_listed_as_waiting() {
    let disk = Disk::new();
    let host = TestHost::plan().plugin("tickets").disk(&disk).start();
    fails(&host, &disk);
    host.drop_in("versioned", &fixture("versioned_1"), WAITS);
    let seen = host.operate().plugin("versioned");
    assert_eq!(seen["state"], "waiting");
    assert_eq!(seen["declared"], "versioned");
    let from = host.log().len();
    host.recovers_from(&disk, "fail");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut host.connect()), 1);
}

#[test]
fn what_is_disabled_while_the_disk_fails_stays_so_and_the_version_that_came_serves_once_it_is_enabled()
 {
    let disk = Disk::new();
    let host = start(&disk);
    fails(&host, &disk);
    host.drop_in("versioned", &fixture("versioned_2"), WAITS);
    assert_eq!(tell(&host, "disable")["state"], "disabled");
    host.recovers_from(&disk, "fail");
    let mut client = host.connect();
    client.ask("getTickets", Value::Null).ok();
    client
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    assert_eq!(host.operate().plugin("versioned")["state"], "disabled");
    tell_until_it_serves(&host, "enable");
    assert_eq!(version(&mut client), 2);
    let served = host.log().lines_with(&["plugin=versioned", ": serves "]);
    assert_eq!(served.len(), 2, "{served:?}");
    // What served when it was disabled is the version before.
    tell_until_it_serves(&host, "rollback");
    assert_eq!(version(&mut client), 1);
}

#[test]
fn what_is_enabled_and_disabled_while_the_disk_fails_stays_disabled() {
    let disk = Disk::new();
    let host = start(&disk);
    tell(&host, "disable");
    fails(&host, &disk);
    tell(&host, "enable");
    tell(&host, "disable");
    host.recovers_from(&disk, "fail");
    let mut client = host.connect();
    client.ask("getTickets", Value::Null).ok();
    client
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    tell_until_it_serves(&host, "enable");
    assert_eq!(version(&mut client), 1);
}

#[test]
fn a_version_that_came_while_the_disk_failed_is_forgotten_once_the_file_is_what_serves() {
    let disk = Disk::new();
    let host = start(&disk);
    fails(&host, &disk);
    host.drop_in("versioned", &fixture("versioned_2"), WAITS);
    let back = ["what came since is forgotten"];
    host.drop_in("versioned", &fixture("versioned_1"), &back);
    host.recovers_from(&disk, "fail");
    let mut client = host.connect();
    client.ask("getTickets", Value::Null).ok();
    assert_eq!(host.operate().plugin("versioned")["coming"], Value::Null);
    assert_eq!(version(&mut client), 1);
    let served = host.log().lines_with(&["plugin=versioned", ": serves "]);
    assert_eq!(served.len(), 1, "{served:?}");
}

#[test]
fn a_reload_while_the_disk_fails_loses_no_version_that_came() {
    let disk = Disk::new();
    let host = start(&disk);
    fails(&host, &disk);
    host.drop_in("versioned", &fixture("versioned_2"), WAITS);
    tell(&host, "reload");
    let from = host.log().len();
    host.recovers_from(&disk, "fail");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut host.connect()), 2);
}

#[test]
fn a_plugin_that_goes_and_comes_back_while_the_disk_fails_has_its_file() {
    let disk = Disk::new();
    let host = start(&disk);
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("getVersionAtGate", gate.payload("first"));
    let at_gate = gate.entered();
    fails(&host, &disk);
    let from = host.log().len();
    let library = host.folder().join("libversioned.so");
    fs::remove_file(library).expect("it is there");
    host.said_of(from, "versioned", &["its file is gone"]);
    host.drop_in("versioned", &fixture("versioned_2"), WAITS);
    at_gate.release();
    client.reply().refused("storage_failed");
    host.said_of(from, "versioned", &["removed; its states are kept"]);
    let from = host.log().len();
    host.recovers_from(&disk, "fail");
    host.said_of(from, "versioned", SERVES);
    // What is queued is still served; meanwhile it is enabled again.
    client.tell("getVersionAtGate", gate.payload("second"));
    let at_gate = gate.entered();
    tell(&host, "disable");
    let from = host.log().len();
    tell(&host, "enable");
    at_gate.release();
    assert_eq!(client.reply().number("version"), 2);
    host.said_of(from, "versioned", SERVES);
}

#[test]
fn what_is_enabled_while_the_disk_fails_takes_new_files_and_serves_after_a_restart() {
    let disk = Disk::new();
    let host = start(&disk);
    tell(&host, "disable");
    fails(&host, &disk);
    tell(&host, "enable");
    let from = host.log().len();
    host.recovers_from(&disk, "fail");
    host.said_of(from, "versioned", SERVES);
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut host.connect()), 2);
    let host = ended(host).start();
    assert_eq!(version(&mut host.connect()), 2);
}

#[test]
fn a_command_whose_batch_the_disk_does_not_take_is_in_doubt_and_kept_later() {
    let disk = Disk::new();
    let host = start(&disk);
    let (mut buyer, mut operator) = (host.connect(), host.operate());
    disk.begin("hold");
    buyer.tell("getTickets", Value::Null);
    disk.wait_until_held();
    operator.tell("rm.plugin", json!({ "name": "versioned", "do": "disable" }));
    operator.sync();
    disk.begin("fail");
    disk.end("hold");
    let reply = operator.reply();
    assert_eq!(reply.result["code"], "storage_failed");
    assert_eq!(reply.result["outcome"], "unknown");
    host.recovers_from(&disk, "fail");
    assert_eq!(operator.plugin("versioned")["state"], "disabled");
    let host = ended(host).start();
    host.said_of(0, "versioned", &["WARN", "stays disabled"]);
    assert_eq!(host.operate().plugin("versioned")["state"], "disabled");
}

#[test]
fn a_file_that_is_taken_out_while_the_disk_fails_takes_along_what_was_decided_of_it() {
    let disk = Disk::new();
    let host = start(&disk);
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    tell_until_it_serves(&host, "rollback");
    fails(&host, &disk);
    host.remove("versioned");
    host.recovers_from(&disk, "fail");
    host.connect().ask("getTickets", Value::Null).ok();
    let plan = ended(host);
    let host = plan.library("versioned", &fixture("versioned_2")).start();
    assert_eq!(version(&mut host.connect()), 2);
}

#[test]
fn of_two_versions_that_came_one_after_the_other_and_wait_the_later_serves() {
    let disk = Disk::new();
    let host = start(&disk);
    host.drop_in("renamed", &fixture("versioned_2"), &["waits"]);
    fails(&host, &disk);
    host.drop_in("renamed", &fixture("versioned_3"), WAITS);
    // What the first one waited for goes while the disk still fails.
    let from = host.log().len();
    fs::remove_file(host.folder().join("libversioned.so")).expect("it is there");
    host.said_of(from, "versioned", &["removed; its states are kept"]);
    let from = host.log().len();
    host.recovers_from(&disk, "fail");
    host.said_of(from, "renamed", SERVES);
    assert_eq!(version(&mut host.connect()), 3);
}

#[test]
fn what_is_enabled_while_the_disk_fails_can_be_rolled_back_as_before() {
    let disk = Disk::new();
    let host = start(&disk);
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell("getVersionAtGate", gate.payload("old"));
    let at_gate = gate.entered();
    tell(&host, "disable");
    fails(&host, &disk);
    let from = host.log().len();
    tell(&host, "enable");
    at_gate.release();
    host.said_of(from, "versioned", &["removed; its states are kept"]);
    host.recovers_from(&disk, "fail");
    host.said_of(from, "versioned", SERVES);
    tell_until_it_serves(&host, "rollback");
    assert_eq!(version(&mut host.connect()), 1);
}
