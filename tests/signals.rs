//! What the host does with the signals that do not stop it.

use std::fs;

use rm_tests::{SERVES, TestHost, fixture};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_hang_up_reads_all_files_anew_and_user_signals_are_ignored() {
    let mut host = TestHost::plan()
        .plugin("tickets")
        .file("libbad.so", "no library")
        .start();
    let mut client = host.connect();
    assert_eq!(client.ask("getTickets", Value::Null).ok()["tickets"][0], 1);

    for (signal, name) in [(Signal::USR1, "USR1"), (Signal::USR2, "USR2")] {
        let from = host.log().len();
        host.signal(signal);
        host.log().wait_from(from, &["INFO", name, "ignored"]);
    }

    let from = host.log().len();
    host.signal(Signal::HUP);
    host.log().wait_from(from, &["INFO", "HUP", "read anew"]);
    let looked = host.log().wait_from(from, &["INFO", "looked anew: "]);
    assert!(
        looked.contains("as they were: tickets; refused: bad"),
        "{looked}"
    );

    // What was mended is taken, as always.
    let from = host.log().len();
    fs::copy(fixture("shelf"), host.folder().join("libbad.so")).expect("it was built");
    host.said_of(from, "bad", SERVES);
    let from = host.log().len();
    host.signal(Signal::HUP);
    let looked = host.log().wait_from(from, &["INFO", "looked anew: "]);
    assert!(looked.ends_with("as they were: bad, tickets"), "{looked}");

    // One that goes while it is looked at anew is gone.
    let from = host.log().len();
    host.signal(Signal::HUP);
    host.log().wait_from(from, &["INFO", "HUP", "read anew"]);
    fs::remove_file(host.folder().join("libbad.so")).expect("it was there");
    host.said_of(from, "bad", &["removed"]);
    host.log().wait_from(from, &["INFO", "looked anew: "]);

    // The same connection, the same state.
    assert_eq!(client.ask("getTickets", Value::Null).ok()["tickets"][0], 2);
    host.expect_running();
    host.signal(Signal::TERM);
    assert_eq!(host.wait().code, Some(0));
}
