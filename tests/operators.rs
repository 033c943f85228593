//! What an operator sees of the plugins, and what he can tell them, while requests are served.

use std::{os::unix::fs::PermissionsExt as _, time::SystemTime};

use rm_tests::{Gate, RawClient, SERVES, TestHost, fixture};
use rustix::process::Signal;
use serde_json::{Value, json};

fn command(name: &str, what: &str) -> Value {
    json!({ "name": name, "do": what })
}

/// Tells a plugin something, and returns what the operator sees of it then.
#[track_caller]
fn tell(client: &mut RawClient, name: &str, what: &str) -> Value {
    client.ask("rm.plugin", command(name, what)).ok()
}

#[track_caller]
fn version(client: &mut RawClient) -> (u64, u64) {
    let reply = client.ask("getVersion", Value::Null);
    (reply.number("version"), reply.number("asked"))
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.expect("it is later").as_millis()).expect("it is not that late")
}

fn start_versioned() -> TestHost {
    TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start()
}

#[test]
fn every_file_is_listed_with_its_state_and_since_when() {
    let started_ms = now_ms() - 1;
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .fixture("answers")
        .plugin("tickets")
        .file("libtext.so", "no library")
        .start();
    host.drop_in("rival", &fixture("rival"), &["waits"]);
    let mut client = host.operate();
    tell(&mut client, "tickets", "disable");
    for (name, state) in [
        ("versioned", "serving"),
        ("answers", "serving"),
        ("text", "refused"),
        ("rival", "waiting"),
        ("tickets", "disabled"),
    ] {
        let seen = client.plugin(name);
        assert_eq!(seen["state"], state, "{seen}");
        assert!(seen["since_ms"].as_u64() > Some(started_ms), "{seen}");
    }
    let error = client.plugin("text")["error"].to_string();
    assert!(error.contains("libtext.so"), "{error}");
    assert_eq!(client.plugin("versioned")["error"], Value::Null);
}

#[test]
fn a_plugin_is_listed_with_what_it_is_and_what_it_did() {
    let host = TestHost::with_fixture("answers");
    let mut client = host.connect();
    for _ in 0..3 {
        client.ask("runs", Value::Null).ok();
    }
    for _ in 0..2 {
        client
            .ask("panic", json!({ "how": "text" }))
            .refused("jobber_panicked");
    }
    let seen = client.plugin("answers");
    assert_eq!((&seen["served"], &seen["panics"]), (&json!(5), &json!(2)));
    assert_eq!(seen["declared"], "answers");
    let is_text = |key: &str| seen[key].as_str().is_some_and(|text| !text.is_empty());
    assert!(is_text("version") && is_text("hash"), "{seen}");
    let file = seen["file"].as_str().unwrap_or_default();
    assert!(file.ends_with("libanswers.so"), "{seen}");
    let line = host
        .log()
        .lines_with(&["plugin=answers", "serves"])
        .concat();
    assert!(
        line.contains(seen["hash"].as_str().unwrap_or("?")),
        "{line}"
    );
}

#[test]
fn a_refused_new_version_is_seen_beside_the_one_that_serves() {
    let host = start_versioned();
    let mut client = host.connect();
    let hash = client.plugin("versioned")["hash"].clone();
    host.drop_in("versioned", &fixture("versioned_broken"), &["refused"]);
    let seen = client.plugin("versioned");
    assert_eq!((&seen["state"], &seen["hash"]), (&json!("serving"), &hash));
    let error = seen["error"].as_str().unwrap_or_default();
    assert!(error.contains("licence has run out"), "{seen}");
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(client.plugin("versioned")["error"], Value::Null);
}

#[test]
fn a_plugin_whose_code_cannot_be_made_anew_is_listed_as_quarantined() {
    let host = TestHost::with_fixture("fragile");
    let mut client = host.connect();
    let touch = |breaks: bool| ("touch", json!({ "breaks": breaks }));
    client.tell_all([touch(true), touch(false), touch(false)]);
    client.reply().refused("jobber_panicked");
    for reply in client.replies(2) {
        reply.refused("quarantined");
    }
    let seen = client.plugin("fragile");
    assert_eq!(
        (&seen["state"], &seen["panics"]),
        (&json!("quarantined"), &json!(1))
    );
    let why = "could not be made anew";
    assert!(seen["error"].to_string().contains(why), "{seen}");
    // The log is written beside what is answered.
    let quarantined = ["ERROR", "quarantined for 60s", why];
    host.log().wait_from(0, &quarantined);
    let said = host.log().lines_with(&quarantined);
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn a_job_that_wants_another_run_of_a_quarantined_plugin_is_told_so() {
    let host = TestHost::with_fixture("fragile");
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    client.tell("tryAgainLate", gate.payload("late"));
    let late = gate.entered();
    other
        .ask("touch", json!({ "breaks": true }))
        .refused("jobber_panicked");
    other
        .ask("touch", json!({ "breaks": false }))
        .refused("quarantined");
    late.release();
    client.reply().refused("quarantined");
}

#[test]
fn a_disabled_plugin_serves_its_queue_and_then_no_more_until_it_is_enabled() {
    let host = start_versioned();
    let (gate, mut client, mut operator) = (Gate::new(), host.connect(), host.operate());
    client.tell_all([
        ("getVersionAtGate", gate.payload("")),
        ("getVersion", Value::Null),
    ]);
    let entered = gate.entered();
    assert_eq!(
        tell(&mut operator, "versioned", "disable")["state"],
        "disabled"
    );
    // Once more changes nothing.
    assert_eq!(
        tell(&mut operator, "versioned", "disable")["state"],
        "disabled"
    );
    for type_name in ["getVersion", "getVersionInline"] {
        let said = operator.ask(type_name, Value::Null).refused("removed");
        assert!(said.contains("disabled"), "{said}");
    }
    let from = host.log().len();
    entered.release();
    for (reply, asked) in client.replies(2).iter().zip(1..) {
        assert_eq!(reply.number("asked"), asked);
    }
    host.said_of(from, "versioned", &["its states are kept"]);
    operator
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    let from = host.log().len();
    tell(&mut operator, "versioned", "enable");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut operator), (1, 3));
}

#[test]
fn who_waits_is_told_when_the_plugin_is_disabled() {
    let host = TestHost::with_plugin("proxies");
    let (mut waiting, mut operator) = (host.connect(), host.operate());
    waiting.hello(&json!({ "wait": true }));
    waiting.tell("getProxy", Value::Null);
    waiting.sync();
    tell(&mut operator, "proxies", "disable");
    waiting.reply().refused("removed");
}

#[test]
fn a_file_that_comes_while_its_plugin_is_disabled_serves_once_it_is_enabled() {
    let host = start_versioned();
    let mut operator = host.operate();
    let old = tell(&mut operator, "versioned", "disable")["hash"].clone();
    let library = host.folder().join("libversioned.so");
    std::fs::copy(fixture("versioned_2"), library).expect("cp");
    // The log says nothing of it until it serves; but it is listed once it is what would.
    while operator.plugin("versioned")["hash"] == old {}
    operator
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    let from = host.log().len();
    tell(&mut operator, "versioned", "enable");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut operator), (2, 1));
}

#[test]
fn what_a_disabled_plugin_served_may_be_served_by_another() {
    let host = start_versioned();
    host.drop_in("rival", &fixture("rival"), &["waits"]);
    let mut operator = host.operate();
    let from = host.log().len();
    tell(&mut operator, "versioned", "disable");
    host.said_of(from, "rival", SERVES);
    assert_eq!(
        operator.ask("getVersion", Value::Null).number("version"),
        100
    );
    tell(&mut operator, "versioned", "enable");
    assert_eq!(operator.plugin("versioned")["state"], "waiting");
}

#[test]
fn a_reload_makes_the_plugins_memory_anew_and_keeps_its_states() {
    let host = TestHost::with_fixture("late");
    let mut operator = host.operate();
    for type_name in ["add", "remember", "add", "remember"] {
        operator.ask(type_name, Value::Null).ok();
    }
    let from = host.log().len();
    tell(&mut operator, "late", "reload");
    host.said_of(from, "late", SERVES);
    for (type_name, count) in [("remember", 1), ("add", 3)] {
        assert_eq!(operator.ask(type_name, Value::Null).number("count"), count);
    }
}

#[test]
fn a_rollback_brings_the_version_before_back_and_keeps_the_state() {
    let host = start_versioned();
    let mut operator = host.operate();
    let first = operator.plugin("versioned")["hash"].clone();
    assert_eq!(version(&mut operator), (1, 1));
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut operator), (2, 2));
    assert_eq!(operator.plugin("versioned")["previous"]["hash"], first);
    for (number, asked) in [(1, 3), (2, 4), (1, 5)] {
        let from = host.log().len();
        tell(&mut operator, "versioned", "rollback");
        host.said_of(from, "versioned", SERVES);
        assert_eq!(version(&mut operator), (number, asked));
    }
    operator
        .ask("onlyInVersion2", Value::Null)
        .refused("unknown_type");
    assert_eq!(operator.plugin("versioned")["hash"], first);
    // The file in the folder is the second version's all the same; another one is taken as ever.
    host.drop_in("versioned", &fixture("versioned_3"), SERVES);
    assert_eq!(version(&mut operator).0, 3);
}

#[test]
fn a_command_that_cannot_be_done_says_what_can() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .plugin("tickets")
        .file("libtext.so", "no library")
        .start();
    let mut client = host.operate();
    tell(&mut client, "tickets", "disable");
    for (payload, says) in [
        (
            command("nobody", "reload"),
            &["`nobody`", "tickets", "versioned", "text"][..],
        ),
        (
            command("versioned", "stop"),
            &["`stop`", "enable", "disable", "reload", "rollback"],
        ),
        (
            command("versioned", "rollback"),
            &["no version", "versioned"],
        ),
        (command("text", "reload"), &["does not serve", "text"]),
        (command("tickets", "reload"), &["disabled", "enable"]),
        (command("tickets", "rollback"), &["disabled", "enable"]),
        (json!({ "name": "versioned" }), &["`do`", "rollback"]),
        (json!({ "do": "reload" }), &["`name`"]),
        (
            json!({ "name": "versioned", "do": "reload", "now": true }),
            &["`now`"],
        ),
        (json!({ "name": 1, "do": "reload" }), &["string", "NAME"]),
        (Value::Null, &["NAME", "do"]),
    ] {
        let said = client
            .ask("rm.plugin", payload.clone())
            .refused("bad_payload");
        for word in says {
            assert!(said.contains(word), "{payload}: {word}: {said}");
        }
    }
    assert_eq!(version(&mut client), (1, 1));
}

#[test]
fn a_plugin_whose_file_is_gone_obeys_no_command_while_it_serves_its_queue() {
    let host = start_versioned();
    let (gate, mut client, mut operator) = (Gate::new(), host.connect(), host.operate());
    client.tell("getVersionAtGate", gate.payload(""));
    let entered = gate.entered();
    let library = host.folder().join("libversioned.so");
    std::fs::remove_file(library).expect("it is there");
    host.said_of(0, "versioned", &["its file is gone"]);
    for what in ["reload", "rollback", "enable", "disable"] {
        let said = operator
            .ask("rm.plugin", command("versioned", what))
            .refused("bad_payload");
        assert!(said.contains("file") && said.contains("gone"), "{said}");
        assert_eq!(operator.plugin("versioned")["state"], "removing", "{what}");
    }
    entered.release();
    assert_eq!(client.reply().number("version"), 1);
    host.said_of(0, "versioned", &["removed; its states are kept"]);
    operator
        .ask("getVersion", Value::Null)
        .refused("unknown_type");
    assert_eq!(operator.plugin("versioned")["state"], "retired");
}

#[test]
fn over_tcp_a_command_is_refused_with_the_ways_out_unless_a_flag_allows_it() {
    let host = TestHost::plan()
        .plugin("tickets")
        .flags(&["--allow-remote"])
        .start();
    let mut client = host.connect();
    let disable = command("tickets", "disable");
    // Whatever it says: nobody is told by an error what an operator could do.
    for payload in [disable.clone(), command("nobody", "reload"), Value::Null] {
        let said = client.ask("rm.plugin", payload).refused("operators_only");
        for way in ["rm-cli plugins", "--data DIR", "--operators-over-tcp"] {
            assert!(said.contains(way), "{said}");
        }
    }
    assert_eq!(client.plugin("tickets")["state"], "serving");
    client.ask("getTickets", Value::Null).ok();

    let host = TestHost::plan()
        .plugin("tickets")
        .flags(&["--operators-over-tcp"])
        .start();
    let mut client = host.connect();
    assert_eq!(client.ask("rm.plugin", disable).ok()["state"], "disabled");
    host.log()
        .wait_from(0, &["told by an operator", "by=127.0.0.1:"]);
}

#[test]
fn the_log_says_who_did_what_and_calls_a_disabled_plugin_disabled() {
    let host = TestHost::with_plugin("tickets");
    let mut operator = host.operate();
    tell(&mut operator, "tickets", "disable");
    host.said_of(0, "tickets", &["INFO", "disabled; its states are kept"]);
    let who = format!(
        "by=uid {}, process {}",
        rustix::process::getuid().as_raw(),
        std::process::id()
    );
    host.said_of(0, "tickets", &["INFO", "told", "command=Disable", &who]);
    assert!(host.log().lines_with(&["removed"]).is_empty());
}

#[test]
fn operators_are_answered_while_the_host_stops() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut client, mut operator) = (Gate::new(), host.connect(), host.operate());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    host.signal(Signal::TERM);
    host.log().wait_from(0, &["TERM"]);
    operator.sync();
    // Another one is let in, too.
    assert_eq!(host.operate().plugin("gates")["state"], "serving");
    operator.ask("add", Value::Null).refused("shutting_down");
    entered.release();
    client.reply().ok();
    client.expect_end();
    // And none of them holds the host up.
    assert_eq!(host.wait().code, Some(0));
    operator.expect_end();
}

#[test]
fn the_socket_is_the_hosts_users_alone_and_a_killed_hosts_is_replaced() {
    let host = TestHost::with_plugin("tickets");
    let socket = host.data().join("operators.sock");
    let mode = || socket.metadata().map(|found| found.permissions().mode());
    assert_eq!(mode().expect("it is there") & 0o777, 0o600);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let socket = plan.data().join("operators.sock");
    assert!(socket.symlink_metadata().is_ok(), "nobody takes it away");
    let host = plan.start();
    host.operate().sync();
    host.signal(Signal::TERM);
    let (ended, plan) = host.wait_and_plan();
    assert_eq!(ended.code, Some(0));
    assert!(
        plan.data()
            .join("operators.sock")
            .symlink_metadata()
            .is_err()
    );
    // Something else that lies there is nobody's to take away; the host says so, and serves.
    std::fs::write(plan.data().join("operators.sock"), "mine").expect("it can be written");
    let host = plan.start();
    host.log()
        .wait_from(0, &["WARN", "no socket for operators", "move it away"]);
    host.connect().sync();
}

#[test]
fn a_second_host_on_the_folder_leaves_the_first_ones_socket_alone() {
    let host = TestHost::with_plugin("tickets");
    let data = host.data().display().to_string();
    let (code, _, stderr) = rm_tests::failed_start(&host.folder(), &["--data", &data]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
    host.operate().sync();
}

#[test]
fn operators_have_their_socket_whatever_the_durability() {
    let host = TestHost::plan()
        .plugin("tickets")
        .flags(&["--durability", "memory"])
        .start();
    tell(&mut host.operate(), "tickets", "reload");
}
