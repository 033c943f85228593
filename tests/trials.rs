//! A plugin that ends, or keeps for ever, whatever process opens it is tried where it can break nothing, and refused
//! with what it did; the host, and all other plugins, serve on.

use std::fs;

use rm_tests::{RawClient, SERVES, TestHost, fixture, wishing};
use serde_json::{Value, json};

/// What it wishes for, and what is said of it then.
const WISHES: [(u8, &str); 5] = [
    (b'a', "SIGABRT"),
    (b'e', "exit status 0"),
    (b'l', "not done after 2s"),
    (b'b', "not done after 2s"),
    (b's', "SIGSEGV"),
];

/// Another plugin serves, and what it serves counts on.
fn expect_serving(client: &mut RawClient, asked: u64) {
    let reply = client.ask("getVersion", Value::Null);
    assert_eq!((reply.number("version"), reply.number("asked")), (1, asked));
}

#[test]
fn what_breaks_its_process_when_it_is_loaded_is_refused_with_what_it_did() {
    let mut host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .start();
    let mut client = host.connect();
    let unfinished = host.beside().join("hostile.so");
    for ((wish, says), asked) in WISHES.into_iter().zip(1..) {
        fs::write(&unfinished, wishing("hostile", wish)).expect("the folder can be written");
        let line = host.drop_in("hostile", &unfinished, &["ERROR", "refused"]);
        for word in [says, "while it was loaded"] {
            assert!(line.contains(word), "{}: {line}", char::from(wish));
        }
        client.ask("harmless", Value::Null).refused("unknown_type");
        expect_serving(&mut client, asked);
        host.expect_running();
    }
    // And a version without a wish is taken.
    host.drop_in("hostile", &fixture("hostile"), SERVES);
    client.ask("harmless", Value::Null).ok();
}

#[test]
fn what_breaks_its_process_when_it_is_made_is_refused_with_what_it_did() {
    let mut host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .fixture("hostile")
        .start();
    let mut client = host.connect();
    client.ask("harmless", Value::Null).ok();
    for ((wish, says), asked) in WISHES.into_iter().zip(1..) {
        let toml = format!("wish = \"{}\"\n", char::from(wish));
        let line = host.configure("hostile", &toml, &["ERROR", "refused"]);
        for word in [says, "while it was made", "goes on"] {
            assert!(line.contains(word), "{}: {line}", char::from(wish));
        }
        // The version before serves on, and so do all others.
        assert_eq!(client.ask("harmless", Value::Null).ok()["wishes"], false);
        expect_serving(&mut client, asked);
        host.expect_running();
    }
    host.configure("hostile", "wish = \"-\"\n", SERVES);
    assert_eq!(client.ask("harmless", Value::Null).ok()["wishes"], true);
}

#[test]
fn all_of_them_at_the_start_delay_it_and_do_not_prevent_it() {
    let mut plan = TestHost::plan().library("versioned", &fixture("versioned_1"));
    for (wish, _) in WISHES {
        let name = format!("libhostile_{}.so", char::from(wish));
        plan = plan.file(&name, wishing("hostile", wish));
    }
    let mut host = plan.start();
    for (wish, says) in WISHES {
        let name = format!("hostile_{}", char::from(wish));
        let refused = host.said_of(0, &name, &["ERROR", "refused"]);
        assert!(refused.contains(says), "{refused}");
    }
    let mut client = host.connect();
    expect_serving(&mut client, 1);
    client.ask("harmless", Value::Null).refused("unknown_type");
    host.expect_running();
}

#[test]
fn the_stack_that_a_plugin_has_in_its_trial_it_has_in_the_host() {
    let mut host = TestHost::with_fixture("deep");
    let mut client = host.connect();
    let depths = json!({ "made": 768, "opened": 768, "asked": 768 });
    assert_eq!(client.ask("depths", Value::Null).ok(), depths);
    // Another version is made and opened, and the one before is dropped.
    host.configure("deep", "depth = 5\n", SERVES);
    assert_eq!(client.ask("depths", Value::Null).number("made"), 5);
    host.remove("deep");
    host.said_of(0, "deep", &["removed"]);
    host.expect_running();
}
