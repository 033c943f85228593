//! What lies in the plugin folder is served: from the start, when it is dropped in, and when the folder itself comes
//! back; two plugins that claim the same never serve together.

use std::fs;

use rm_tests::{RawClient, SERVES, TestHost, example_plugin, failed_start, fixture};
use serde_json::{Value, json};

fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

#[test]
fn everything_present_at_start_is_served_or_refused_before_the_ready_line() {
    let host = TestHost::plan()
        .plugin("counter")
        .plugin("tickets")
        .fixture("versioned_1")
        .file("libtext.so", "no library")
        .file("notes.txt", "no plugin")
        .file(".libhidden.so", "unfinished")
        .start();
    let mut client = host.connect();
    let types = ["cntResponse", "getTickets", "getVersion"];
    client.tell_all(types.map(|type_name| (type_name, Value::Null)));
    for reply in client.replies(3) {
        reply.ok();
    }
    assert_eq!(host.log().lines_with(&["refused", "plugin=text"]).len(), 1);
    assert_eq!(host.log().lines_with(&["notes"]), [""; 0]);
    assert_eq!(host.log().lines_with(&["hidden"]), [""; 0]);
}

#[test]
fn the_ready_line_says_what_does_not_serve_and_what_is_required_holds_it() {
    let refused = || {
        TestHost::plan()
            .plugin("counter")
            .file("libtext.so", "no library")
    };
    let host = refused().flags(&["--require", "counter"]).start();
    let line = host.log().wait_from(0, &["ready: listening on"]);
    assert!(
        line.contains("; not serving: text (refused); serving: counter"),
        "{line}"
    );
    for (required, reason) in [
        ("text", "refused: "),
        ("absent", "there is no libabsent.so in the plugin folder"),
    ] {
        let plan = refused();
        let folder = plan.folder();
        let (code, stdout, stderr) =
            failed_start(&folder, &["--require", "counter", "--require", required]);
        assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
        let line = stderr.lines().find(|line| line.contains("not ready: "));
        let line = line.unwrap_or_else(|| panic!("{stderr}"));
        assert!(
            line.contains(&format!("--require {required}")) && line.contains(reason),
            "{line}"
        );
    }
}

#[test]
fn a_file_dropped_in_is_served_without_a_restart() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    client
        .ask("getTickets", Value::Null)
        .refused("unknown_type");
    host.drop_in("tickets", &example_plugin("tickets"), SERVES);
    assert_eq!(
        client.ask("getTickets", Value::Null).ok()["tickets"],
        json!([1])
    );
}

#[test]
fn a_plugin_that_claims_a_served_type_waits_and_takes_over() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    let line = host.drop_in("rival", &fixture("rival"), &["waits"]);
    assert!(
        line.contains("getVersion") && line.contains("versioned"),
        "{line}"
    );
    assert_eq!(version(&mut client), 1);
    // Claims are all or none.
    client.ask("rivalOnly", Value::Null).refused("unknown_type");
    let from = host.log().len();
    host.remove("versioned");
    host.said_of(from, "rival", SERVES);
    assert_eq!(version(&mut client), 100);
    client.ask("rivalOnly", Value::Null).ok();
}

#[test]
fn a_plugin_that_waits_for_a_type_gets_it_from_a_version_that_gives_it_up() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    let line = host.drop_in("successor", &fixture("successor"), &["waits"]);
    assert!(line.contains("onlyInVersion1"), "{line}");
    let only = |client: &mut RawClient| {
        let reply = client.ask("onlyInVersion1", Value::Null);
        reply.number("version")
    };
    assert_eq!(only(&mut client), 1);
    let from = host.log().len();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    host.said_of(from, "successor", SERVES);
    assert_eq!((only(&mut client), version(&mut client)), (200, 2));
    // Now it is the other one that waits, and serves on as it is.
    host.drop_in("versioned", &fixture("versioned_1"), &["waits"]);
    assert_eq!((only(&mut client), version(&mut client)), (200, 2));
    let from = host.log().len();
    host.remove("successor");
    host.said_of(from, "versioned", SERVES);
    assert_eq!((only(&mut client), version(&mut client)), (1, 1));
}

#[test]
fn a_version_that_waits_for_a_type_takes_over_also_after_a_reload() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_2"))
        .fixture("successor")
        .start();
    let mut client = host.connect();
    host.drop_in("versioned", &fixture("versioned_1"), &["waits"]);
    let from = host.log().len();
    let reload = json!({ "name": "versioned", "do": "reload" });
    host.operate().ask("rm.plugin", reload).ok();
    host.said_of(from, "versioned", SERVES);
    // It waits on.
    host.said_of(from, "versioned", &["waits"]);
    assert_eq!(version(&mut client), 2);
    let from = host.log().len();
    host.remove("successor");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut client), 1);
}

#[test]
fn a_copy_under_another_name_waits_for_the_first() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    client.ask("getVersion", Value::Null).ok();
    host.drop_in("renamed", &fixture("versioned_2"), &["waits"]);
    assert_eq!(version(&mut client), 1);
    let from = host.log().len();
    fs::remove_file(host.folder().join("libversioned.so")).expect("it is there");
    host.said_of(from, "renamed", SERVES);
    // The state is kept under the declared name, so it is the same one.
    let reply = client.ask("getVersion", Value::Null);
    assert_eq!((reply.number("version"), reply.number("asked")), (2, 3));
}

#[test]
fn a_folder_that_is_removed_serves_on_and_is_watched_again_when_it_is_back() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    let folder = host.folder();
    let away = host.beside().join("away");
    fs::rename(&folder, &away).expect("mv");
    host.log().wait_from(0, &["WARN", "serves on"]);
    assert_eq!(version(&mut client), 1);
    // Made anew beside, so that it is whole when it comes.
    let anew = host.beside().join("anew");
    fs::create_dir(&anew).expect("mkdir");
    fs::copy(fixture("versioned_2"), anew.join("libversioned.so")).expect("cp");
    let from = host.log().len();
    fs::rename(&anew, &folder).expect("mv");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut client), 2);
    // And what happens in it now is noticed.
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
    assert_eq!(version(&mut client), 1);
    // Its file goes first, and that alone may be seen.
    let from = host.log().len();
    fs::remove_dir_all(&folder).expect("rm -r");
    fs::create_dir(&folder).expect("mkdir");
    host.said_of(from, "versioned", &["removed; its states are kept"]);
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(client.ask("getVersion", Value::Null).number("asked"), 4);
}

#[test]
fn a_plugin_that_is_renamed_goes_on_under_its_new_name() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    client.ask("getVersion", Value::Null).ok();
    let folder = host.folder();
    fs::rename(folder.join("libversioned.so"), folder.join("libother.so")).expect("mv");
    host.said_of(0, "other", SERVES);
    assert_eq!(client.ask("getVersion", Value::Null).number("asked"), 2);
}

#[test]
fn a_plugin_needs_no_lib_in_its_files_name() {
    let host = TestHost::plan().start();
    fs::copy(fixture("rival"), host.folder().join("rival.so")).expect("cp");
    host.said_of(0, "rival", SERVES);
    assert_eq!(version(&mut host.connect()), 100);
    // A second file of that name is told, and is no second plugin.
    fs::copy(fixture("rival"), host.folder().join("librival.so")).expect("cp");
    host.log()
        .wait_from(0, &["refused", "has the plugin name `rival` already"]);
    assert_eq!(version(&mut host.connect()), 100);
}
