//! The self-tests that a plugin carries decide, before its file is opened, whether it comes to serve, and
//! `rm-host check` tells how they went.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rm_tests::{SERVES, TestHost, host, marked};
use serde_json::{Value, json};

const MARKER: &[u8] = b"fault of the tested: ";

/// What it does wrong, and what is said of it then.
const FAULTS: [(u8, &[&str]); 3] = [
    (
        b'w',
        &["request 1, `countTested`: expected `count` to be 1, found 8"],
    ),
    (
        b's',
        &[
            "the inline function for `countTested` took ",
            "at most 10 are allowed: take `inline` away from its block",
        ],
    ),
    (
        b'p',
        &[
            "request 1, `countTested`: expected an answer, found the error `jobber_panicked`",
            "as it was told",
        ],
    ),
];

/// The fixture with another fault.
fn failing(folder: &Path, fault: u8) -> PathBuf {
    let library = marked("self_tested", MARKER, fault);
    let file = folder.join("libself_tested.so");
    fs::write(&file, library).expect("the folder can be written");
    file
}

fn check(file: &Path) -> (Output, Value) {
    let output = Command::new(host())
        .args(["check", "--json"])
        .arg(file)
        .output()
        .expect("the host was built");
    let said: Value = serde_json::from_slice(&output.stdout).expect("it speaks JSON");
    let said = match said {
        Value::Array(mut files) => files.remove(0),
        said => said,
    };
    (output, said)
}

#[test]
fn a_version_that_fails_its_self_tests_is_refused_and_the_one_before_goes_on() {
    let mut host = TestHost::plan().fixture("self_tested").start();
    let mut client = host.connect();
    assert_eq!(client.ask("countTested", Value::Null).number("count"), 1);
    for ((fault, says), count) in FAULTS.into_iter().zip(2..) {
        let unfinished = failing(host.beside(), fault);
        let line = host.drop_in("self_tested", &unfinished, &["ERROR", "refused"]);
        for words in says
            .iter()
            .chain(&["its self-tests", "it counts up", "goes on"])
        {
            assert!(line.contains(words), "{}: {line}", char::from(fault));
        }
        assert_eq!(
            client.ask("countTested", Value::Null).number("count"),
            count
        );
    }
    host.expect_running();
    // What they count is on state of their own.
    host.drop_in("self_tested", &failing(host.beside(), b'x'), SERVES);
    assert_eq!(client.ask("countTested", Value::Null).number("count"), 5);
}

#[test]
fn a_check_tells_how_each_self_test_went() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (output, said) = check(&failing(folder.path(), b'-'));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        said["self_tests"],
        json!([
            { "name": "it counts up", "failure": null },
            { "name": "nobody else is asked", "failure": null },
        ])
    );
    for (fault, says) in FAULTS {
        let (output, said) = check(&failing(folder.path(), fault));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said["fits"], false);
        assert_eq!(said["refusal"]["step"], "self_test");
        let failure = said["self_tests"][0]["failure"].as_str();
        let failure = failure.expect("it failed");
        for words in says {
            assert!(failure.contains(words), "{}: {failure}", char::from(fault));
        }
        assert_eq!(said["self_tests"][1]["failure"], Value::Null);
    }
}
