//! A plugin that hangs in the host, where it passed its trial before, is given up and refused; what else is dropped in
//! is served meanwhile.

use std::{fs, path::PathBuf};

use rm_tests::{Gate, RawClient, SERVES, TestHost, fixture, wishing};
use serde_json::Value;

fn port(gate: &Gate) -> u64 {
    gate.payload("")["gate"].as_u64().expect("a port")
}

#[track_caller]
fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

#[test]
fn plugins_that_hang_while_they_are_made_hold_up_no_other_and_are_refused() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (gate, mut client) = (Gate::new(), host.connect());
    let toml = format!("made = {}\n", port(&gate));
    let names: Vec<String> = (0..6).map(|number| format!("hangs_{number}")).collect();
    let library = |name: &str| host.folder().join(format!("lib{name}.so"));
    for name in &names {
        fs::write(host.folder().join(format!("{name}.toml")), &toml).expect("it can be written");
        fs::copy(fixture("hangs"), library(name)).expect("cp");
    }
    let hanging: Vec<_> = names.iter().map(|_| gate.entered()).collect();
    assert_eq!(
        host.log().lines_with(&["refused"]),
        [""; 0],
        "more hang at once than are looked at"
    );
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut client), 2);
    for name in &names {
        let refused = host.said_of(0, name, &["ERROR", "refused"]);
        assert!(refused.contains("hangs in this process while it is made"));
        let seen = client.plugin(name);
        assert_eq!(seen["state"], "refused");
    }
    // A mended file is taken, while the thread of the one before still hangs.
    fs::remove_file(host.folder().join("hangs_0.toml")).expect("it is there");
    host.said_of(0, "hangs_0", SERVES);
    client.ask("countHangs", Value::Null).ok();
    // What comes to an end too late comes to nothing.
    let from = host.log().len();
    drop(hanging);
    for name in &names {
        host.said_of(from, name, &["has come to an end"]);
    }
    assert_eq!(client.plugin("hangs_1")["state"], "refused");
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
}

#[test]
fn a_plugin_that_hangs_while_it_is_opened_or_dropped_holds_up_no_other() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .fixture("hangs")
        .start();
    let (gate, mut client) = (Gate::new(), host.connect());
    let port = port(&gate);
    host.configure("hangs", &format!("dropped = {port}\n"), SERVES);
    client.ask("countHangs", Value::Null).ok();
    fs::write(
        host.folder().join("hangs.toml"),
        format!("opened = {port}\n"),
    )
    .expect("it is ours");
    let opened = gate.entered();
    assert_eq!(opened.name, "opened");
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut client), 2);
    let from = host.log().len();
    opened.release();
    host.said_of(from, "hangs", SERVES);
    // What served before is dropped now.
    let dropped = gate.entered();
    assert_eq!(dropped.name, "dropped");
    client.ask("countHangs", Value::Null).ok();
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
    assert_eq!(version(&mut client), 1);
    dropped.release();
}

#[test]
fn a_version_that_hangs_while_it_is_opened_is_given_up_and_the_one_before_serves_on() {
    let host = TestHost::plan()
        .fixture("hangs")
        .flags(&["--migration-timeout", "1s"])
        .start();
    let (gate, mut client) = (Gate::new(), host.connect());
    assert_eq!(client.ask("tallyHangs", Value::Null).number("tally"), 1);
    client.ask("countHangs", Value::Null).ok();
    let toml = format!("opened = {}\n", port(&gate));
    host.configure("hangs", &toml, &["ERROR", "refused", "--migration-timeout"]);
    let opened = gate.entered();
    assert_eq!(client.ask("countHangs", Value::Null).number("count"), 2);
    assert_eq!(client.ask("tallyHangs", Value::Null).number("tally"), 2);
    // Its code reaches nothing any more, and a mended version takes over.
    let from = host.log().len();
    opened.release();
    host.said_of(from, "hangs", &["has come to an end"]);
    host.configure("hangs", "# another\n", SERVES);
    assert_eq!(client.ask("tallyHangs", Value::Null).number("tally"), 3);
}

#[test]
fn a_plugin_that_hangs_while_it_is_loaded_ends_the_host_and_is_left_out_then() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let library = host.folder().join("libhangs.so");
    let unfinished: PathBuf = host.folder().join(".unfinished");
    fs::write(&unfinished, wishing("hangs", b'l')).expect("it can be written");
    fs::rename(&unfinished, library).expect("it was just written");
    let (ended, plan) = host.wait_and_plan();
    assert_eq!(ended.code, Some(70), "{}", ended.log);
    ended
        .log
        .wait_from(0, &["ERROR", "plugin=hangs", "hangs while it is loaded"]);
    let host = plan.start();
    host.said_of(0, "hangs", &["ERROR", "is left out", "while it was loaded"]);
    assert_eq!(version(&mut host.connect()), 1);
}

#[test]
fn at_the_start_the_good_ones_serve_before_those_that_hang_are_refused() {
    let mut plan = TestHost::plan().library("versioned", &fixture("versioned_1"));
    let names: Vec<String> = (0..20)
        .map(|number| format!("hostile_{number:02}"))
        .collect();
    for name in &names {
        plan = plan.file(&format!("lib{name}.so"), wishing("hostile", b'l'));
    }
    let host = plan.start();
    assert_eq!(version(&mut host.connect()), 1);
    let told = host.log().lines_with(&["plugin="]);
    let at = |words: &[&str]| {
        let has_all = |line: &String| words.iter().all(|word| line.contains(word));
        told.iter().position(has_all).expect("it is ready")
    };
    let serves = at(&["plugin=versioned", "serves"]);
    let last = names
        .iter()
        .map(|name| at(&["refused", &format!("plugin={name}")]))
        .max();
    assert!(Some(serves) < last, "{told:#?}");
}
