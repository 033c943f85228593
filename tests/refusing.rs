//! A file that is no plugin, a bad version of one and a wrong configuration are each reported with their reason, and
//! touch nobody.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use rm_tests::{RawClient, SERVES, TestHost, example_plugin, fixture};
use serde_json::Value;

fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

/// Waits for the refusal of `libNAME.so`, and checks that a plugin beside it serves on.
#[track_caller]
fn expect_refused(host: &mut TestHost, name: &str, says: &str) {
    let line = host.said_of(0, name, &["ERROR", "refused"]);
    assert!(
        line.contains(says) && line.contains(&format!("lib{name}.so")),
        "{line}"
    );
    host.connect().ask("getTickets", Value::Null).ok();
    host.expect_running();
}

#[test]
fn a_file_whose_content_is_no_plugin_is_reported_with_its_reason_and_skipped() {
    let mut host = TestHost::with_plugin("tickets");
    let tickets = fs::read(example_plugin("tickets")).expect("it was built");
    let mut other_machine = tickets.clone();
    // The machine in the file's header: IA-64.
    other_machine[18] = 50;
    let maps = fs::read_to_string("/proc/self/maps").expect("this is Linux");
    let libc = maps
        .split_whitespace()
        .find(|path| path.ends_with("libc.so.6"));
    let libc = fs::read(libc.expect("this test is linked to it")).expect("it is there");
    for (name, content, says) in [
        ("text", &b"#!/bin/sh\necho hello\n"[..], "#!/bin/sh"),
        ("empty", b"", "empty"),
        ("half", &tickets[..tickets.len() / 2], "cut short"),
        ("header", &tickets[..40], "40 bytes"),
        ("libc", &libc, "no rm-host plugin"),
        ("machine", &other_machine, "machine 50"),
    ] {
        let unfinished = host.folder().join(".unfinished");
        fs::write(&unfinished, content).expect("the folder can be written");
        let dropped = host.folder().join(format!("lib{name}.so"));
        fs::rename(unfinished, dropped).expect("it was just written");
        expect_refused(&mut host, name, says);
    }
}

/// Compiles a library of C.
fn c_library(target: &Path, source: &str) {
    let file = target.with_extension("c");
    fs::write(&file, source).expect("a temporary folder can be written");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([target, &file])
        .status();
    let status = status.unwrap_or_else(|error| panic!("cc ({error}): install a C compiler"));
    assert!(status.success(), "{source}");
}

#[test]
fn a_library_of_c_is_refused_whatever_it_exports() {
    const EXPORT: &str = "_1as_0lib_1header_0root_bmodule_bloader";
    let mut host = TestHost::with_plugin("tickets");
    // What a plugin's export begins with, and nothing behind it.
    let imitation = format!(
        "struct {{ char magic[32]; unsigned major, minor; char rest[400]; }} {EXPORT} = \
         {{\"abi stable library for Rust     \", 0, 11}};"
    );
    for (name, source, says) in [
        (
            "other",
            "int compress(void) { return 0; }",
            "no rm-host plugin",
        ),
        ("short", &format!("char {EXPORT} = 1;"), "no rm-host plugin"),
        (
            "function",
            &format!("int {EXPORT}(void) {{ return 0; }}"),
            "no rm-host plugin",
        ),
        (
            "data",
            &format!("char {EXPORT}[400] = {{1}};"),
            "is not what plugin_api::plugin! writes",
        ),
        (
            "imitation",
            &imitation,
            "ended it with SIGSEGV while it was loaded",
        ),
        (
            "needy",
            &format!(
                "extern int is_nowhere; int *needs = &is_nowhere; char {EXPORT}[400] = {{1}};"
            ),
            "undefined symbol: is_nowhere",
        ),
    ] {
        let library = host.beside().join(format!("{name}.so"));
        c_library(&library, source);
        fs::rename(library, host.folder().join(format!("lib{name}.so"))).expect("mv");
        expect_refused(&mut host, name, says);
    }
}

#[test]
fn what_is_no_file_of_the_folder_is_reported_with_its_reason_and_skipped() {
    let mut host = TestHost::with_plugin("tickets");
    let library = |name: &str| host.folder().join(format!("lib{name}.so"));
    symlink(example_plugin("tickets"), library("link")).expect("ln -s");
    symlink("nowhere", library("dangling")).expect("ln -s");
    fs::create_dir(library("folder")).expect("mkdir");
    let status = Command::new("mkfifo").arg(library("pipe")).status();
    assert!(status.expect("mkfifo is everywhere").success());
    for (name, says) in [
        ("link", "is a link to"),
        ("dangling", "is a link to nowhere"),
        ("folder", "a folder"),
        ("pipe", "named pipe"),
    ] {
        expect_refused(&mut host, name, says);
    }
}

#[test]
fn a_large_file_that_is_no_plugin_is_refused_by_its_head() {
    const FILES: usize = 24;
    const MIB: u64 = 1024 * 1024;
    let plan = TestHost::plan().plugin("counter");
    for number in 0..FILES {
        // No block of them is on the disk.
        let file = fs::File::create(plan.folder().join(format!("liblarge{number:02}.so")));
        let file = file.expect("a temporary folder can be written");
        file.set_len(512 * MIB).expect("no block is written");
    }
    let large = plan.folder().join("counter.toml");
    let large = fs::File::create(large).expect("a temporary folder can be written");
    large.set_len(512 * MIB).expect("no block is written");
    let host = plan.start();
    let refused = host
        .log()
        .lines_with(&["refused", "plugin=large", "expected a 64-bit"]);
    assert_eq!(refused.len(), FILES);
    host.said_of(
        0,
        "counter",
        &["refused", "counter.toml: it has 536870912 bytes"],
    );
    let status = fs::read_to_string(format!("/proc/{}/status", host.process_id()));
    let status = status.expect("the host runs");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.and_then(|most| most.split_whitespace().next());
    let most_kib: u64 = most.and_then(|most| most.parse().ok()).expect("a number");
    assert!(most_kib < 256 * 1024, "{most_kib} KiB at most");
}

#[test]
fn a_plugin_that_claims_what_belongs_to_the_host_is_refused_whole() {
    let host = TestHost::with_fixture("built_in");
    assert_eq!(
        host.log()
            .lines_with(&["refused", "plugin=built_in", "`ping`"])
            .len(),
        1
    );
    let mut client = host.connect();
    assert_eq!(client.ask("ping", Value::Null).number("pong"), 0);
    client.ask("harmless", Value::Null).refused("unknown_type");
}

#[test]
fn a_refused_new_version_leaves_the_old_one_serving_with_its_state() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    let library = fs::read(fixture("versioned_2")).expect("it was built");
    let damaged = host.beside().join("damaged.so");
    let refused = [
        (&b"garbage"[..], "garbage"),
        (&library[..library.len() - 1000], "cut short"),
        (
            &fs::read(fixture("versioned_broken")).expect("it was built"),
            "licence has run out",
        ),
        (b"", "empty"),
    ];
    for ((content, says), asked) in refused.into_iter().zip(1..) {
        fs::write(&damaged, content).expect("a temporary folder can be written");
        let line = host.drop_in("versioned", &damaged, &["ERROR", "refused", says]);
        assert!(line.contains("goes on"), "{line}");
        for type_name in ["getVersion", "getVersionInline"] {
            let reply = client.ask(type_name, Value::Null);
            assert_eq!((reply.number("version"), reply.number("asked")), (1, asked));
        }
    }
    client
        .ask("neverServed", Value::Null)
        .refused("unknown_type");
    // And the way forward is open.
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut client), 2);
}

#[test]
fn a_version_that_cannot_be_opened_after_its_trial_leaves_the_old_one_serving_with_its_state() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    for asked in 1..4 {
        let line = host.drop_in(
            "versioned",
            &fixture("versioned_unopened"),
            &["ERROR", "refused", "has just run out"],
        );
        assert!(line.contains("goes on"), "{line}");
        for type_name in ["getVersion", "getVersionInline"] {
            let reply = client.ask(type_name, Value::Null);
            assert_eq!((reply.number("version"), reply.number("asked")), (1, asked));
        }
    }
    client
        .ask("neverServed", Value::Null)
        .refused("unknown_type");
    // And the way forward is open.
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    let reply = client.ask("getVersion", Value::Null);
    assert_eq!((reply.number("version"), reply.number("asked")), (2, 4));
}

#[test]
fn a_good_version_that_comes_back_after_a_refused_one_serves() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    host.drop_in("versioned", &fixture("versioned_broken"), &["refused"]);
    // It never stopped serving, so nothing is loaded anew.
    host.drop_in(
        "versioned",
        &fixture("versioned_1"),
        &["again those that were loaded last"],
    );
    assert_eq!(version(&mut client), 1);
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut client), 2);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line_and_a_mended_one_serves() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "# none\nseat = 5\n")
        .start();
    let mut client = host.connect();
    let first = host.said_of(0, "tickets", &["ERROR", "refused"]);
    for word in ["tickets.toml", "line 2", "`seat`"] {
        assert!(first.contains(word), "{word}: {first}");
    }
    client
        .ask("getTickets", Value::Null)
        .refused("unknown_type");
    for (toml, words) in [
        ("seats = \"many\"\n", ["line 1", "`seats`", "many"]),
        ("\n\nseats = -1\n", ["line 3", "`seats`", "-1"]),
        ("seats = [\n", ["line 1", "unclosed array", "tickets.toml"]),
        ("[host]\nwiat = true\n", ["line 2", "wiat", "wait"]),
        ("[host]\ndeadline = 5\n", ["line 2", "deadline", "20s"]),
        (
            "[host.types.getTicket]\nwait = true\n",
            ["line 1", "getTicket", "getTickets"],
        ),
        (
            "seats = 9007199254740992\n",
            ["line 1", "`seats`", "9007199254740992"],
        ),
    ] {
        host.configure(
            "tickets",
            toml,
            &[&["ERROR", "refused"], &words[..]].concat(),
        );
    }
    host.configure("tickets", "seats = 3\n", SERVES);
    assert_eq!(client.ask("getTickets", Value::Null).number("left"), 2);
    // One that serves is not ended by a wrong edit.
    host.configure(
        "tickets",
        "seats = 3\nx = 1\n",
        &["refused", "line 2", "goes on"],
    );
    assert_eq!(client.ask("getTickets", Value::Null).number("left"), 1);
}
