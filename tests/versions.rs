//! The versions of a plugin that served stay visible: which they were, what they did, and which of them a rollback
//! brings back. One that comes back goes on where it was, and only what serves is passed over when its file comes again.

use std::{fs, path::PathBuf};

use rm_tests::{Gate, RawClient, SERVES, TestHost, fixture};
use rustix::process::Signal;
use serde_json::{Value, json};

#[track_caller]
fn tell(client: &mut RawClient, name: &str, what: &str) -> Value {
    let payload = json!({ "name": name, "do": what });
    client.ask("rm.plugin", payload).ok()
}

#[track_caller]
fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

#[track_caller]
fn rollback(host: &TestHost, client: &mut RawClient) {
    let from = host.log().len();
    tell(client, "versioned", "rollback");
    host.said_of(from, "versioned", SERVES);
}

/// Of each version that served and does not, the hash, and how often it was asked.
fn retired(seen: &Value) -> Vec<(String, u64)> {
    let retired = seen["retired"].as_array().expect("a list");
    let of = |one: &Value| Some((one["hash"].as_str()?.to_owned(), one["served"].as_u64()?));
    retired.iter().filter_map(of).collect()
}

fn hash(seen: &Value) -> String {
    seen["hash"].as_str().expect("it is listed").to_owned()
}

fn start() -> TestHost {
    TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start()
}

/// The first version with other bytes behind its end, which nobody reads.
fn another(host: &TestHost, number: usize) -> PathBuf {
    let mut library = fs::read(fixture("versioned_1")).expect("it was built");
    library.extend(number.to_le_bytes());
    let path = host.beside().join("another.so");
    fs::write(&path, library).expect("the folder can be written");
    path
}

#[test]
fn what_was_replaced_is_listed_as_retired_with_what_it_did() {
    let host = start();
    let mut client = host.operate();
    let mut hashes = Vec::new();
    let third = another(&host, 0);
    for (times, library) in [
        (1, None),
        (2, Some(fixture("versioned_2"))),
        (3, Some(third)),
    ] {
        if let Some(library) = library {
            host.drop_in("versioned", &library, SERVES);
        }
        for _ in 0..times {
            version(&mut client);
        }
        hashes.push(hash(&client.plugin("versioned")));
    }
    let seen = client.plugin("versioned");
    let [first, second, third] = &hashes[..] else {
        panic!("expected three versions, found {hashes:?}");
    };
    assert_eq!(seen["served"], 3);
    let listed = [(second.clone(), 2), (first.clone(), 1)];
    assert_eq!(retired(&seen), listed);
    assert_eq!(seen["retired_forgotten"], 0);
    let (latest, older) = (&seen["retired"][0], &seen["retired"][1]);
    assert_eq!(
        (&latest["rollback"], &older["rollback"]),
        (&json!(true), &json!(false))
    );
    let at = |of: &Value, key: &str| of[key].as_u64().expect("a time");
    assert!(at(older, "since_ms") <= at(older, "until_ms"));
    assert!(at(older, "until_ms") <= at(latest, "since_ms"));
    assert!(at(latest, "until_ms") <= at(&seen, "since_ms"));

    // And what comes back goes on counting.
    rollback(&host, &mut client);
    assert_eq!(version(&mut client), 2);
    let seen = client.plugin("versioned");
    assert_eq!((hash(&seen), &seen["served"]), (second.clone(), &json!(3)));
    let listed = [(third.clone(), 3), (first.clone(), 1)];
    assert_eq!(retired(&seen), listed);
    assert_eq!(seen["retired"][0]["rollback"], true);
}

#[test]
fn only_the_latest_retired_versions_are_listed_and_the_others_counted() {
    let host = start();
    let mut client = host.operate();
    for number in 0..18 {
        host.drop_in("versioned", &another(&host, number), SERVES);
    }
    let seen = client.plugin("versioned");
    assert_eq!(retired(&seen).len(), 16);
    assert_eq!(seen["retired_forgotten"], 2);
}

#[test]
fn another_configuration_is_another_version_and_seen_as_one() {
    let host = start();
    let mut client = host.operate();
    version(&mut client);
    host.configure("versioned", "[host]\nwait = true\n", SERVES);
    let seen = client.plugin("versioned");
    let before = &seen["retired"][0];
    assert_eq!(before["hash"], seen["hash"]);
    assert_eq!(
        (&before["config"], &before["served"]),
        (&Value::Null, &json!(1))
    );
    assert!(seen["config"].is_string() && seen["served"] == 0, "{seen}");
    assert_eq!(seen["previous"]["config"], Value::Null);
}

#[test]
fn what_a_version_did_is_counted_on_while_it_is_disabled_and_reloaded() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.operate();
    let ask = |client: &mut RawClient| {
        client.ask("runs", Value::Null).ok();
        let panic = client.ask("panic", json!({ "how": "text" }));
        panic.refused("jobber_panicked");
    };
    ask(&mut client);
    let counts = |seen: Value| (seen["served"].clone(), seen["panics"].clone());
    let disabled = tell(&mut client, "answers", "disable");
    assert_eq!(counts(disabled), (json!(2), json!(1)));
    for (what, served, panics) in [("enable", 2, 1), ("reload", 4, 2)] {
        let from = host.log().len();
        tell(&mut client, "answers", what);
        host.said_of(from, "answers", SERVES);
        let seen = client.plugin("answers");
        assert_eq!(counts(seen), (json!(served), json!(panics)), "{what}");
        ask(&mut client);
    }
    assert_eq!(client.plugin("answers")["retired"], json!([]));
}

#[test]
fn a_plugin_whose_file_is_gone_is_listed_as_retired_and_goes_on_counting_when_it_is_back() {
    let host = start();
    let mut client = host.operate();
    version(&mut client);
    let of_file = hash(&client.plugin("versioned"));
    host.remove("versioned");
    let seen = client.plugin("versioned");
    assert_eq!(
        (&seen["state"], hash(&seen)),
        (&json!("retired"), of_file.clone())
    );
    assert_eq!(seen["file"], Value::Null);
    assert!(seen["since_ms"].is_u64(), "{seen}");
    assert_eq!(retired(&seen), [(of_file.clone(), 1)]);
    // Nothing is there that could be told anything.
    for what in ["enable", "disable", "reload", "rollback"] {
        let payload = json!({ "name": "versioned", "do": what });
        let said = client.ask("rm.plugin", payload).refused("bad_payload");
        assert!(said.contains("no plugin is named `versioned`"), "{said}");
    }
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
    version(&mut client);
    let seen = client.plugin("versioned");
    assert_eq!(
        (&seen["state"], &seen["served"]),
        (&json!("serving"), &json!(2))
    );
    assert_eq!(retired(&seen), []);
}

#[test]
fn a_file_that_was_refused_and_is_gone_is_not_listed() {
    let host = TestHost::plan().file("libtext.so", "no library").start();
    let mut client = host.operate();
    assert_eq!(client.plugin("text")["state"], "refused");
    fs::remove_file(host.folder().join("libtext.so")).expect("it is there");
    let is_listed = |client: &mut RawClient| {
        let listed = client.ask("rm.plugins", Value::Null).ok();
        listed["plugins"] != json!([])
    };
    while is_listed(&mut client) {}
}

#[test]
fn a_refusal_is_forgotten_when_the_files_are_again_what_serves() {
    let host = start();
    let mut client = host.operate();
    version(&mut client);
    let serving = fixture("versioned_1");
    for (refused, words) in [
        ("versioned_broken", "licence"),
        ("versioned_unopened", "run out"),
    ] {
        host.drop_in("versioned", &fixture(refused), &["refused", words]);
        let error = client.plugin("versioned")["error"].clone();
        assert!(error.to_string().contains(words), "{error}");
        let from = host.log().len();
        host.drop_in("versioned", &serving, &["again those", "is forgotten"]);
        let seen = client.plugin("versioned");
        assert_eq!(
            (&seen["error"], &seen["error_ms"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(seen["state"], "serving");
        // It never stopped, so nothing was loaded.
        let loaded = host.log().lines_with(&["plugin=versioned", ": serves "]);
        assert_eq!(loaded.len(), 1, "{from}: {loaded:?}");
    }
    assert_eq!(version(&mut client), 1);
}

#[test]
fn what_was_rolled_back_does_not_serve_because_its_file_comes_again() {
    const SAME: &[&str] = &["its files hold what was loaded last"];
    let host = start();
    let mut client = host.operate();
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    rollback(&host, &mut client);
    assert_eq!(version(&mut client), 1);
    host.drop_in("versioned", &fixture("versioned_2"), SAME);
    assert_eq!(version(&mut client), 1);
    // An operator can have it all the same.
    rollback(&host, &mut client);
    assert_eq!(version(&mut client), 2);
    // What serves after a rollback is what is passed over.
    rollback(&host, &mut client);
    let reloads = host
        .log()
        .lines_with(&["plugin=versioned", ": serves "])
        .len();
    host.drop_in("versioned", &fixture("versioned_1"), SAME);
    assert_eq!(version(&mut client), 1);
    let serves = host.log().lines_with(&["plugin=versioned", ": serves "]);
    assert_eq!(serves.len(), reloads);
}

#[test]
fn what_came_while_a_plugin_was_disabled_can_be_rolled_back() {
    let host = start();
    let mut client = host.operate();
    let old = tell(&mut client, "versioned", "disable")["hash"].clone();
    let library = host.folder().join("libversioned.so");
    fs::copy(fixture("versioned_2"), library).expect("cp");
    while client.plugin("versioned")["hash"] == old {}
    let from = host.log().len();
    tell(&mut client, "versioned", "enable");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut client), 2);
    assert_eq!(client.plugin("versioned")["previous"]["hash"], old);
    rollback(&host, &mut client);
    assert_eq!(version(&mut client), 1);
}

#[test]
fn a_thread_whose_job_does_not_end_is_seen_for_as_long_as_it_runs() {
    let host = TestHost::plan()
        .fixture("late")
        .file("late.toml", "[host]\ntime_limit = \"400ms\"\n")
        .start();
    let (gate, mut client) = (Gate::new(), host.operate());
    let mut late = Vec::new();
    for count in 1..3 {
        client.tell("rememberLate", gate.payload("late"));
        late.push(gate.entered());
        client.reply().refused("timeout");
        // Its lane serves again, and the thread is still there.
        client.ask("remember", Value::Null).ok();
        let seen = client.plugin("late");
        assert_eq!(
            (&seen["state"], &seen["stuck_threads"]["count"]),
            (&json!("stuck"), &json!(count))
        );
        assert_eq!(seen["since_ms"], seen["stuck_threads"]["since_ms"]);
    }
    // A new version is not blamed for it.
    let mut library = fs::read(fixture("late")).expect("it was built");
    library.push(0);
    let another = host.beside().join("another.so");
    fs::write(&another, library).expect("the folder can be written");
    host.drop_in("late", &another, SERVES);
    let seen = client.plugin("late");
    assert_eq!(
        (&seen["state"], &seen["stuck_threads"]),
        (&json!("serving"), &Value::Null)
    );
    assert_eq!(seen["retired"][0]["stuck_threads"]["count"], 2);
    drop(late);
    while client.plugin("late")["retired"][0]["stuck_threads"] != Value::Null {}
}

#[test]
fn a_file_that_was_removed_while_the_host_was_down_is_gone_at_the_start() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .plugin("tickets")
        .start();
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    fs::remove_file(plan.folder().join("libversioned.so")).expect("it is there");
    let host = plan.start();
    let mut client = host.operate();
    client
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    let listed = client.ask("rm.plugins", Value::Null).ok();
    let listed = listed["plugins"].as_array().expect("a list");
    assert_eq!(listed.len(), 1, "{listed:?}");
    client.ask("getTickets", Value::Null).ok();
}
