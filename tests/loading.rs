//! Plugins come, change and go while requests are served; a file that is no plugin, or a bad version of one, touches
//! nobody.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rm_tests::{Gate, RawClient, SERVES, TestHost, example_plugin, fixture};
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

/// A file's plugin name, how it is put there, and what its refusal says.
type Refused<'a> = (&'a str, &'a dyn Fn(&str), &'a str);

/// Puts a library into the folder in one of the ways people do.
type Way = fn(library: &Path, target: &Path);

const WAYS: [(&str, Way); 6] = [
    ("cp", |library, target| {
        fs::copy(library, target).expect("cp");
    }),
    ("mv", |library, target| {
        let unfinished = target.with_extension("so.tmp");
        fs::copy(library, &unfinished).expect("cp");
        fs::rename(unfinished, target).expect("mv");
    }),
    ("install", |library, target| {
        fs::remove_file(target).expect("install removes first");
        fs::copy(library, target).expect("install");
    }),
    ("ln", |library, target| {
        // As cargo does it. Beside the folder, so that the link stays on one file system.
        let beside = target
            .ancestors()
            .nth(2)
            .expect("a folder in a folder")
            .join("built.so");
        let _ = fs::remove_file(&beside);
        fs::copy(library, &beside).expect("cp");
        fs::remove_file(target).expect("rm");
        fs::hard_link(beside, target).expect("ln");
    }),
    ("a link in the folder", |library, target| {
        let real = target.with_extension(format!(
            "so.{}",
            library.file_stem().expect("a name").to_string_lossy()
        ));
        fs::copy(library, &real).expect("cp");
        fs::remove_file(target).expect("rm");
        symlink(real.file_name().expect("a name"), target).expect("ln -s");
    }),
    ("in two pieces", |library, target| {
        let bytes = fs::read(library).expect("it was built");
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let _ = fs::remove_file(target);
        fs::write(target, first).expect("the first piece");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(target)
            .expect("it is there");
        std::io::Write::write_all(&mut file, second).expect("the second piece");
    }),
];

#[test]
fn a_replaced_file_runs_its_new_code_whichever_way_it_was_replaced() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    assert_eq!(version(&mut client), 1);
    let mut asked = 1;
    for (name, way) in WAYS {
        for number in [2, 1] {
            let from = host.log().len();
            way(
                &fixture(&format!("versioned_{number}")),
                &host.folder().join("libversioned.so"),
            );
            host.said_of(from, "versioned", SERVES);
            let reply = client.ask("getVersion", Value::Null);
            asked += 1;
            assert_eq!(
                (reply.number("version"), reply.number("asked")),
                (number, asked),
                "{name}"
            );
        }
    }
}

#[test]
fn each_of_many_reloads_runs_the_code_that_was_dropped_in() {
    let mut host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    for round in 0..12 {
        let number = 2 - round % 2;
        let from = host.log().len();
        // Over the file that was loaded, in place.
        fs::copy(
            fixture(&format!("versioned_{number}")),
            host.folder().join("libversioned.so"),
        )
        .expect("cp");
        host.said_of(from, "versioned", SERVES);
        assert_eq!(version(&mut client), number);
    }
    host.expect_running();
}

#[test]
fn types_come_and_go_with_versions() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    client.ask("onlyInVersion1", Value::Null).ok();
    client
        .ask("onlyInVersion2", Value::Null)
        .refused("unknown_type");
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    client
        .ask("onlyInVersion1", Value::Null)
        .refused("unknown_type");
    client.ask("onlyInVersion2", Value::Null).ok();
}

#[test]
fn a_swap_waits_for_the_job_in_work_and_the_queue_goes_to_the_new_version() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (gate, mut client, mut probe, mut other) =
        (Gate::new(), host.connect(), host.connect(), host.connect());
    client.tell("getVersionAtGate", gate.payload("old"));
    let entered = gate.entered();
    client.tell_all((0..20).map(|_| ("getVersion", Value::Null)));
    client.sync();
    fs::copy(
        fixture("versioned_2"),
        host.folder().join("libversioned.so"),
    )
    .expect("cp");
    // The swap is under way once the plugin's other types stand still too.
    loop {
        probe.tell("getVersionInline", Value::Null);
        let report = other.ask("srvQueuePrint", Value::Null).ok();
        if report["types"]["getVersionInline"]["queued"] == 1 {
            break;
        }
        assert_eq!(probe.reply().number("version"), 1);
    }
    // Of a type that the new version does not have.
    other.tell("onlyInVersion1", Value::Null);
    other.sync();
    entered.release();
    let old = client.reply();
    assert_eq!((old.number("version"), old.number("asked")), (1, 1));
    for (reply, asked) in client.replies(20).iter().zip(2..) {
        assert_eq!((reply.number("version"), reply.number("asked")), (2, asked));
    }
    assert_eq!(probe.reply().number("version"), 2);
    other.reply().refused("removed");
}

#[test]
fn a_request_that_is_to_be_tried_again_is_tried_on_the_new_version() {
    let host = TestHost::with_fixture("gates");
    let mut client = host.connect();
    client.tell("flaky", json!({ "fails": 1 }));
    host.log().wait_from(0, &["flaky", "try again"]);
    host.configure("gates", "[host]\nwait = false\n", SERVES);
    assert_eq!(client.reply().number("attempt"), 2);
}

#[test]
fn a_request_that_is_to_be_tried_again_is_answered_before_its_plugin_goes() {
    let host = TestHost::with_fixture("gates");
    let mut client = host.connect();
    client.tell("flaky", json!({ "fails": 1 }));
    host.log().wait_from(0, &["flaky", "try again"]);
    host.remove("gates");
    assert_eq!(client.reply().query_index, "1");
    client
        .ask("flaky", json!({ "fails": 0 }))
        .refused("unknown_type");
}

#[test]
fn under_load_every_request_is_answered_once_while_versions_change() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (stop, address) = (AtomicBool::new(false), host.address());
    let load = |type_name: &'static str| {
        let mut client = RawClient::connect(address);
        let mut asked = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let indexes = client.tell_all((0..16).map(|_| (type_name, Value::Null)));
            for (reply, index) in client.replies(16).iter().zip(&indexes) {
                assert_eq!(&reply.query_index, index);
                asked.push(reply.number("asked"));
            }
        }
        assert!(asked.is_sorted());
        asked
    };
    let load = &load;
    let counted = thread::scope(|scope| {
        let types = [
            "getVersion",
            "getVersion",
            "getVersionInline",
            "getVersionInline",
        ];
        let threads = types.map(|type_name| scope.spawn(move || load(type_name)));
        for round in 0..6 {
            let library = fixture(&format!("versioned_{}", 2 - round % 2));
            host.drop_in("versioned", &library, SERVES);
        }
        stop.store(true, Ordering::Relaxed);
        threads.map(|thread| thread.join().expect("every request is answered"))
    });
    for of_type in [&counted[..2], &counted[2..]] {
        let mut asked = of_type.concat();
        asked.sort_unstable();
        assert_eq!(
            asked,
            Vec::from_iter(1..=asked.len() as u64),
            "lost or run twice"
        );
    }
}

#[test]
fn a_removed_file_stops_serving_once_its_queue_is_served() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("getVersionAtGate", gate.payload(""));
    let entered = gate.entered();
    client.tell_all([("getVersion", Value::Null), ("getVersion", Value::Null)]);
    client.sync();
    fs::remove_file(host.folder().join("libversioned.so")).expect("it is there");
    host.said_of(0, "versioned", &["its file is gone"]);
    for type_name in ["getVersion", "getVersionInline", "onlyInVersion1"] {
        other.ask(type_name, Value::Null).refused("removed");
    }
    entered.release();
    for (reply, asked) in client.replies(3).iter().zip(1..) {
        assert_eq!(reply.number("asked"), asked);
    }
    host.said_of(0, "versioned", &["removed; its states are kept"]);
    other.ask("getVersion", Value::Null).refused("unknown_type");
}

#[test]
fn who_waits_for_a_plugin_that_goes_is_told() {
    let host = TestHost::with_plugin("proxies");
    let mut client = host.connect();
    client.hello(&json!({ "wait": true }));
    client.tell("getProxy", Value::Null);
    client.sync();
    host.remove("proxies");
    client.reply().refused("removed");
}

#[test]
fn a_file_that_is_no_plugin_is_reported_with_its_reason_and_skipped() {
    let mut host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    let folder = host.folder();
    let tickets = fs::read(example_plugin("tickets")).expect("it was built");
    let mut other_machine = tickets.clone();
    // The machine in the file's header: IA-64.
    other_machine[18] = 50;
    let libc = fs::read_to_string("/proc/self/maps").expect("this is Linux");
    let libc = libc
        .split_whitespace()
        .find(|path| path.ends_with("libc.so.6"))
        .expect("this test is linked to it");
    let whole = |name: &str, content: &[u8]| {
        let unfinished = folder.join(".unfinished");
        fs::write(&unfinished, content).expect("the folder can be written");
        fs::rename(unfinished, folder.join(format!("lib{name}.so"))).expect("it was just written");
    };
    let cases: [Refused<'_>; 10] = [
        (
            "text",
            &|name| whole(name, b"#!/bin/sh\necho hello\n"),
            "#!/bin/sh",
        ),
        ("empty", &|name| whole(name, b""), "empty"),
        (
            "short",
            &|name| whole(name, &tickets[..tickets.len() / 2]),
            "cut short",
        ),
        ("header", &|name| whole(name, &tickets[..40]), "40 bytes"),
        (
            "libc",
            &|name| whole(name, &fs::read(libc).expect("it is there")),
            "no rm-host plugin",
        ),
        ("machine", &|name| whole(name, &other_machine), "machine 50"),
        (
            "link",
            &|name| {
                symlink(
                    example_plugin("tickets"),
                    folder.join(format!("lib{name}.so")),
                )
                .expect("ln")
            },
            "is a link to",
        ),
        (
            "dangling",
            &|name| symlink("nowhere", folder.join(format!("lib{name}.so"))).expect("ln"),
            "is a link to nowhere",
        ),
        (
            "pipe",
            &|name| make_fifo(&folder.join(format!("lib{name}.so"))),
            "named pipe",
        ),
        (
            "folder",
            &|name| fs::create_dir(folder.join(format!("lib{name}.so"))).expect("mkdir"),
            "a folder",
        ),
    ];
    for (name, put, says) in cases {
        let from = host.log().len();
        put(name);
        let line = host.said_of(from, name, &["ERROR", "refused"]);
        assert!(
            line.contains(says) && line.contains(&format!("lib{name}.so")),
            "{line}"
        );
        client.ask("getTickets", Value::Null).ok();
    }
    host.expect_running();
}

fn make_fifo(path: &Path) {
    let status = Command::new("mkfifo")
        .arg(path)
        .status()
        .expect("mkfifo is everywhere");
    assert!(status.success());
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
    fs::remove_dir_all(&folder).expect("rm -r");
    let from = host.log().len();
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
