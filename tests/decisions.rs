//! What an operator decided of a plugin outlives the host, until he, or a new file, says otherwise.

use rm_tests::{HostPlan, RawClient, SERVES, TestHost, fixture};
use rustix::process::Signal;
use serde_json::{Value, json};

#[track_caller]
fn tell(host: &TestHost, name: &str, what: &str) -> Value {
    let command = json!({ "name": name, "do": what });
    host.operate().ask("rm.plugin", command).ok()
}

#[track_caller]
fn restarted(host: TestHost) -> TestHost {
    ended(host).start()
}

#[track_caller]
fn ended(host: TestHost) -> HostPlan {
    host.signal(Signal::TERM);
    host.wait_and_plan().1
}

#[track_caller]
fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

#[test]
fn what_was_disabled_stays_so_until_it_is_enabled() {
    let host = TestHost::plan().plugin("tickets").plugin("counter").start();
    tell(&host, "tickets", "disable");
    // What was answered is kept, however the host ends.
    host.signal(Signal::KILL);
    let mut host = host.wait_and_plan().1.start();
    for _ in 0..2 {
        host.said_of(0, "tickets", &["WARN", "stays disabled", "uid "]);
        assert_eq!(host.operate().plugin("tickets")["state"], "disabled");
        let mut client = host.connect();
        client
            .ask("getTickets", Value::Null)
            .refused("unknown_type");
        client.ask("cntResponse", json!(0)).ok();
        host = restarted(host);
    }
    tell(&host, "tickets", "enable");
    host.said_of(0, "tickets", SERVES);
    let host = restarted(host);
    host.connect().ask("getTickets", Value::Null).ok();
    assert!(host.log().lines_with(&["stays disabled"]).is_empty());
}

#[test]
fn a_new_file_of_what_was_disabled_serves_once_it_is_enabled() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    tell(&host, "versioned", "disable");
    host.drop_in("versioned", &fixture("versioned_2"), &["once the plugin"]);
    let host = restarted(host);
    host.said_of(0, "versioned", &["stays disabled"]);
    host.connect()
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    let from = host.log().len();
    tell(&host, "versioned", "enable");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut host.connect()), 2);
}

#[test]
fn what_is_disabled_and_is_not_there_or_refused_can_be_enabled() {
    let host = TestHost::plan().plugin("tickets").plugin("counter").start();
    tell(&host, "tickets", "disable");
    tell(&host, "counter", "disable");
    let plan = ended(host);
    std::fs::remove_file(plan.folder().join("libtickets.so")).expect("it is there");
    let host = plan.file("libcounter.so", "no library").start();
    host.said_of(0, "tickets", &["stays disabled"]);
    host.said_of(0, "counter", &["stays disabled"]);
    tell(&host, "tickets", "enable");
    tell(&host, "counter", "enable");
    host.drop_in("counter", &rm_tests::example_plugin("counter"), SERVES);
    let plan = ended(host);
    let host = plan.plugin("tickets").start();
    host.connect().ask("getTickets", Value::Null).ok();
    assert!(host.log().lines_with(&["stays disabled"]).is_empty());
}

#[test]
fn a_file_that_is_taken_out_takes_along_what_was_decided_of_it() {
    let host = TestHost::plan().plugin("tickets").start();
    tell(&host, "tickets", "disable");
    let host = restarted(host);
    std::fs::remove_file(host.folder().join("libtickets.so")).expect("it is there");
    let mut operator = host.operate();
    while operator.ask("rm.status", Value::Null).ok()["not_serving"] != json!({}) {
        // Only so as not to spin.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    host.drop_in("tickets", &rm_tests::example_plugin("tickets"), SERVES);
    let host = restarted(host);
    host.connect().ask("getTickets", Value::Null).ok();
}

#[test]
fn what_was_rolled_back_stays_so_until_a_new_file_comes() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    let from = host.log().len();
    tell(&host, "versioned", "rollback");
    host.said_of(from, "versioned", SERVES);
    let mut host = restarted(host);
    for _ in 0..2 {
        host.said_of(0, "versioned", &["WARN", "stays rolled back"]);
        assert_eq!(version(&mut host.connect()), 1);
        host = restarted(host);
    }
    host.drop_in("versioned", &fixture("versioned_3"), SERVES);
    assert_eq!(version(&mut host.connect()), 3);
    let host = restarted(host);
    assert_eq!(version(&mut host.connect()), 3);
    assert!(host.log().lines_with(&["stays rolled back"]).is_empty());
}

#[test]
fn a_rollback_that_waits_is_kept_though_what_serves_is_opened_anew_meanwhile() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    host.drop_in("successor", &fixture("successor"), SERVES);
    let from = host.log().len();
    tell(&host, "versioned", "rollback");
    host.said_of(from, "versioned", &["waits"]);
    let from = host.log().len();
    tell(&host, "versioned", "reload");
    host.said_of(from, "versioned", SERVES);
    let from = host.log().len();
    host.remove("successor");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut host.connect()), 1);
    let host = restarted(host);
    host.said_of(0, "versioned", &["stays rolled back"]);
    assert_eq!(version(&mut host.connect()), 1);
}

#[test]
fn a_backup_carries_what_was_decided() {
    let host = TestHost::plan()
        .plugin("tickets")
        .library("versioned", &fixture("versioned_1"))
        .start();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    let from = host.log().len();
    tell(&host, "versioned", "rollback");
    host.said_of(from, "versioned", SERVES);
    tell(&host, "tickets", "disable");
    let plan = ended(host);
    let copy = plan.folder().with_file_name("copy");
    let backup = std::process::Command::new(rm_tests::host())
        .args(["state", "--data"])
        .arg(plan.data())
        .arg("backup")
        .arg(&copy)
        .output();
    let backup = backup.expect("it was built");
    assert!(backup.status.success(), "{backup:?}");
    let copy = copy.display().to_string();
    let host = plan.flags(&["--data", &copy]).start();
    assert_eq!(version(&mut host.connect()), 1);
    host.said_of(0, "tickets", &["stays disabled"]);
}

#[test]
fn what_serves_in_the_place_of_a_file_and_is_lost_is_told_and_the_file_is_not_served() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    let from = host.log().len();
    tell(&host, "versioned", "rollback");
    host.said_of(from, "versioned", SERVES);
    let plan = ended(host);
    std::fs::remove_dir_all(plan.data().join("rolled_back")).expect("it is there");
    let host = plan.start();
    host.said_of(
        0,
        "versioned",
        &[
            "refused",
            "an operator has rolled it back",
            "put that version",
        ],
    );
    host.connect()
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
}
