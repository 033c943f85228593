//! A plugin changes or goes while requests are served: the new code runs, no job sees half of a swap, and every request
//! is answered once.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rm_tests::{Gate, RawClient, SERVES, TestHost, Usage, fixture};
use serde_json::{Value, json};

fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

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
fn a_changed_configuration_maps_nothing_more() {
    const CHANGES: u64 = 40;
    let host = TestHost::plan().plugin("tickets").start();
    let change = |seats: u64| {
        host.configure("tickets", &format!("seats = {seats}\n"), SERVES);
    };
    // Threads that come and go leave behind what the next ones use.
    (100..110).for_each(change);
    let before = Usage::of(host.process_id());
    (200..200 + CHANGES).for_each(change);
    let after = Usage::of(host.process_id());
    assert_eq!(after.copies, before.copies, "the code is used again");
    // A mapping of the code would be four for each.
    let more = after.mappings.saturating_sub(before.mappings) as u64;
    assert!(more < CHANGES, "{more} mappings more");
    let more = after.open_files.saturating_sub(before.open_files) as u64;
    assert!(more < CHANGES / 2, "{more} open files more");
    let left = host.connect().ask("getTickets", Value::Null).number("left");
    assert_eq!(left, 200 + CHANGES - 2, "the last configuration serves");
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

/// Returns once a swap waits for a job in work: the plugin's other types stand still too. The client that is returned
/// has asked for the version, inline.
fn await_swap(host: &TestHost) -> RawClient {
    let (mut probe, mut other) = (host.connect(), host.connect());
    loop {
        probe.tell("getVersionInline", Value::Null);
        let report = other.ask("srvQueuePrint", Value::Null).ok();
        if report["types"]["getVersionInline"]["queued"] == 1 {
            return probe;
        }
        assert_eq!(probe.reply().number("version"), 1);
    }
}

#[test]
fn a_swap_waits_for_the_job_in_work_and_the_queue_goes_to_the_new_version() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("getVersionAtGate", gate.payload("old"));
    let entered = gate.entered();
    client.tell_all((0..20).map(|_| ("getVersion", Value::Null)));
    client.sync();
    fs::copy(
        fixture("versioned_2"),
        host.folder().join("libversioned.so"),
    )
    .expect("cp");
    let mut probe = await_swap(&host);
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
fn a_request_in_work_that_is_to_wait_is_told_that_its_plugin_goes() {
    let host = TestHost::with_fixture("shelf");
    let (gate, mut client) = (Gate::new(), host.connect());
    client.hello(&json!({ "wait": true }));
    let mut payload = gate.payload("");
    payload["count"] = 1.into();
    client.tell("takeAtGate", payload);
    let entered = gate.entered();
    fs::remove_file(host.folder().join("libshelf.so")).expect("it is there");
    host.said_of(0, "shelf", &["its file is gone"]);
    entered.release();
    client.reply().refused("removed");
    host.said_of(0, "shelf", &["removed; its states are kept"]);
    client.ask("look", Value::Null).refused("unknown_type");
}

/// Asks on and on, so that there is always something queued, until nobody serves the type any more; returns how often
/// it was served.
fn ask_until_it_is_gone(mut client: RawClient, type_name: &str) -> u64 {
    let batch = || (0..50).map(|_| (type_name, Value::Null));
    let (mut served, mut gone) = (0, false);
    client.tell_all(batch());
    while !gone {
        client.tell_all(batch());
        for reply in client.replies(50) {
            match reply.code() {
                None => served += 1,
                Some("removed") => {}
                Some(code) => {
                    assert_eq!(code, "unknown_type");
                    gone = true;
                }
            }
        }
    }
    // What was served before may be answered after that: it waits for the disk, and a refusal does not.
    let last = client.replies(50);
    served + last.iter().filter(|reply| reply.code().is_none()).count() as u64
}

#[test]
fn a_plugin_whose_file_goes_while_a_swap_waits_goes_under_continuing_requests() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let (gate, mut client) = (Gate::new(), host.connect());
    client.tell_all([
        ("getVersionAtGate", gate.payload("old")),
        ("getVersionAtGate", gate.payload("new")),
    ]);
    let entered = gate.entered();
    fs::copy(
        fixture("versioned_2"),
        host.folder().join("libversioned.so"),
    )
    .expect("cp");
    await_swap(&host);
    let types = ["getVersion", "getVersion", "getVersionInline"];
    let asking = types.map(|type_name| {
        let client = host.connect();
        thread::spawn(move || ask_until_it_is_gone(client, type_name))
    });
    let from = host.log().len();
    fs::remove_file(host.folder().join("libversioned.so")).expect("it is there");
    host.said_of(from, "versioned", &["its file is gone"]);
    entered.release();
    assert_eq!(client.reply().number("version"), 1);
    // What was queued is served by the new version, and nothing that comes now.
    let entered = gate.entered();
    for type_name in ["getVersion", "getVersionInline", "onlyInVersion2"] {
        let mut newcomer = host.connect();
        newcomer.ask(type_name, Value::Null).refused("removed");
    }
    entered.release();
    assert_eq!(client.reply().number("version"), 2);
    host.said_of(from, "versioned", &["removed; its states are kept"]);
    let [first, second, _] = asking.map(|asking| asking.join().expect("every request is answered"));
    // And it comes back as if nothing had been.
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
    let reply = client.ask("getVersion", Value::Null);
    assert_eq!(
        (reply.number("version"), reply.number("asked")),
        (1, first + second + 3)
    );
}
