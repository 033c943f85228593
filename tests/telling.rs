//! What clients and plugins say can neither flood the log nor steer the terminal of who reads it, or look like a line of
//! the host's own.

use std::process::{Command, Output};

use rm_tests::{TestHost, cli, host};
use rustix::process::Signal;
use serde_json::json;

/// Clears the screen, forges a line, and turns the rest around.
const HOSTILE: &str = "a\u{1b}[2J\n2026-01-01T00:00:00Z ERROR forged\u{202e}\u{9b}31m";

/// How many lines with these words stand in the log of a host that has ended, and how many it says were left out.
fn shown_and_left_out(host: TestHost, words: &str, left_out: &str) -> (u64, u64) {
    host.signal(Signal::TERM);
    let log = host.wait().log;
    let told = log.lines_with(&["WARN", left_out]);
    let left_out = told.iter().map(|line| {
        let count = line.split_whitespace().nth(3);
        let count = count.and_then(|count| count.parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("expected a count: {line}"))
    });
    (log.lines_with(&[words]).len() as u64, left_out.sum())
}

#[test]
fn clients_cannot_flood_the_log_and_what_is_left_out_is_counted() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    let sent = 5_000;
    let complaint = json!({ "of": "x".repeat(500) });
    for _ in 0..10 {
        let some = vec![("errMsgFromClient", complaint.clone()); sent / 10];
        for _ in client.tell_all(some) {
            client.reply();
        }
    }
    drop(client);
    let left_out = "lines like those before were left out";
    let (shown, left_out) = shown_and_left_out(host, "the client says", left_out);
    assert_eq!(shown + left_out, sent as u64);
    assert!(left_out > 0);
}

#[test]
fn a_plugin_cannot_flood_the_log_and_what_is_left_out_is_counted() {
    let host = TestHost::with_fixture("answers");
    let said = json!({ "text": "it goes on and on", "times": 100_000 });
    host.connect().ask("say", said).ok();
    let left_out = "lines of the plugin were left out";
    let (shown, left_out) = shown_and_left_out(host, "it goes on and on", left_out);
    assert_eq!(shown + left_out, 100_000);
    assert!(left_out > 0);
}

#[test]
fn names_of_files_and_what_plugins_say_steer_no_terminal() {
    let name = format!("lib{HOSTILE}.so").replace('/', "");
    let host = TestHost::plan()
        .fixture("answers")
        .file(&name, "no library")
        .start();
    let said = json!({ "text": HOSTILE, "times": 1 });
    host.connect().ask("say", said).ok();
    host.log()
        .wait_from(0, &["INFO", "plugin=\"answers\"", "forged"]);
    let file = host.folder().join(&name);
    let server = host.address().to_string();
    let data = host.data();
    let data = data.to_str().expect("a temporary folder is text");
    let outputs = [
        check(&[file.as_os_str()]),
        check(&["--json".as_ref(), file.as_os_str()]),
        ask(&server, &["plugins"]),
        ask(&server, &["plugins", "--json"]),
        ask(&server, &["plugins", "disable", HOSTILE, "--data", data]),
        ask(
            &server,
            &[
                "request",
                "refuse",
                &json!({ "code": "full", "text": HOSTILE }).to_string(),
            ],
        ),
        ask(
            &server,
            &[
                "request",
                "answer",
                &json!({ "raw": json!({ "type": "answer", "a": HOSTILE }).to_string() })
                    .to_string(),
            ],
        ),
    ];
    for (at, output) in outputs.iter().enumerate() {
        let text = [&*output.stdout, &*output.stderr].concat();
        let text = String::from_utf8(text).expect("it writes UTF-8");
        assert!(text.contains("forged"), "{at}: {text}");
        expect_harmless(&text);
    }
    let log = host.log().to_string();
    assert!(log.contains("refused") && log.contains("forged"));
    expect_harmless(&log);
}

#[track_caller]
fn expect_harmless(text: &str) {
    for steering in ['\u{1b}', '\u{202e}', '\u{9b}'] {
        assert!(!text.contains(steering), "{steering:?} in {text}");
    }
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("2026-01-01"), "{line}");
    }
}

fn check(arguments: &[&std::ffi::OsStr]) -> Output {
    let mut check = Command::new(host());
    let done = check.arg("check").args(arguments).output();
    done.expect("it was built")
}

fn ask(server: &str, arguments: &[&str]) -> Output {
    let mut ask = Command::new(cli());
    let done = ask.args(["-s", server]).args(arguments).output();
    done.expect("it was built")
}

#[test]
fn the_name_of_a_folder_steers_no_terminal_either() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let missing = folder.path().join("a\u{1b}[2J\u{202e}");
    let start = Command::new(host()).arg("--plugins").arg(&missing).output();
    let said = String::from_utf8(start.expect("it was built").stderr).expect("it writes UTF-8");
    assert!(said.contains("does not exist"), "{said}");
    expect_harmless(&said);
}
