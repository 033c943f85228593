//! Plugins that were built against an older or a newer version of the ABI serve while its major version is the same, and
//! neither side misses what it does not know; all others are refused before anything of theirs is called.

use std::{path::Path, sync::OnceLock};

use rm_tests::{Edition, RawClient, SERVES, TestHost, fixture};
use serde_json::{Value, json};

/// Of a host of the future. The crates around the ABI have versions of their own.
const HOST: Edition = Edition::new("1.1.0", "1.4.0").appended(1);
const OLDER: Edition = Edition::new("1.0.0", "1.0.0");
const NEWER: Edition = Edition::new("1.2.0", "1.9.3").appended(2);
const MISFIT: Edition = Edition::new("1.1.0", "1.4.0").appended(1).misfit();
const OTHER_MAJOR: Edition = Edition::new("2.0.0", "2.0.0").appended(1);
/// Newer than the host of today.
const NEXT: Edition = Edition::new("0.1.1", "0.1.7").appended(1);

#[track_caller]
fn expect_edition(client: &mut RawClient, edition: Edition, heard: [Option<u32>; 2], asked: u64) {
    let said = client.ask("getEdition", Value::Null).ok();
    let said = [&said["abi"], &said["heard"], &said["asked"]];
    assert_eq!(said, [&json!(edition.abi), &json!(heard), &json!(asked)]);
}

#[track_caller]
fn expect_refused(host: &TestHost, library: &Path, abi: &str, speaks: &str) -> String {
    let words = [
        "ERROR",
        "refused",
        "libedition.so",
        "does not fit this host",
    ];
    let line = host.drop_in("edition", library, &words);
    let cause = format!("built against ABI {abi}, this host speaks {speaks}");
    for part in [&*cause, "rebuild it against plugin-api "] {
        assert!(line.contains(part), "{line}");
    }
    line
}

fn host_of_the_future() -> TestHost {
    static HOST_PROGRAM: OnceLock<std::path::PathBuf> = OnceLock::new();
    let program = HOST_PROGRAM.get_or_init(|| HOST.host()).clone();
    TestHost::plan().program(program).start()
}

#[test]
fn older_and_newer_plugins_serve_and_follow_each_other_with_the_state() {
    let host = host_of_the_future();
    let mut client = host.connect();
    let (older, newer) = (OLDER.plugin(), NEWER.plugin());
    let order = [
        (&older, OLDER, [None, None], ["None", "0", "0"]),
        (&newer, NEWER, [Some(21), Some(0)], ["Some(11)", "11", "11"]),
    ];
    for asked in 1..=4 {
        let (library, edition, heard, said) = order[(asked - 1) % order.len()];
        let from = host.log().len();
        host.drop_in("edition", library, SERVES);
        for (who, said) in ["module", "plugin", "lane"].into_iter().zip(said) {
            let line = format!("appended 1: its {who} says {said}");
            host.log().wait_from(from, &[&line]);
        }
        expect_edition(&mut client, edition, heard, asked as u64);
    }
}

#[test]
fn a_plugin_that_is_newer_than_the_host_of_today_serves() {
    let host = TestHost::plan().start();
    host.drop_in("edition", &NEXT.plugin(), SERVES);
    expect_edition(&mut host.connect(), NEXT, [Some(0), None], 1);
}

#[test]
fn another_major_version_is_refused_with_what_to_do() {
    let host = host_of_the_future();
    let mut client = host.connect();
    host.drop_in("edition", &OLDER.plugin(), SERVES);
    expect_edition(&mut client, OLDER, [None, None], 1);
    // Both that of the past and that of the future; the one that serves goes on.
    expect_refused(&host, &OTHER_MAJOR.plugin(), "2.0.0", "1.x");
    expect_refused(&host, &fixture("versioned_1"), "0.1.0", "1.x");
    expect_edition(&mut client, OLDER, [None, None], 2);

    let mut today = TestHost::plan().start();
    expect_refused(&today, &OTHER_MAJOR.plugin(), "2.0.0", "0.1.x");
    expect_refused(&today, &OLDER.plugin(), "1.0.0", "0.1.x");
    today.expect_running();
}

#[test]
fn what_differs_under_the_same_version_is_refused_by_what_it_consists_of() {
    let mut host = host_of_the_future();
    let mut client = host.connect();
    let line = expect_refused(&host, &MISFIT.plugin(), "1.1.0", "1.x");
    assert!(line.contains("u32") && line.contains("u64"), "{line}");
    client
        .ask("getEdition", Value::Null)
        .refused("unknown_type");
    // What was compared with it does not stand in the way of others.
    for (asked, edition, heard) in [(1, NEWER, [Some(21), Some(0)]), (2, OLDER, [None, None])] {
        host.drop_in("edition", &edition.plugin(), SERVES);
        expect_edition(&mut client, edition, heard, asked);
        expect_refused(&host, &MISFIT.plugin(), "1.1.0", "1.x");
    }
    host.expect_running();
}
