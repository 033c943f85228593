//! A data folder that vanishes, in whole or in part, under a host that serves: nothing more is acknowledged, and no other host
//! serves from what is left.

use std::{fs, path::Path};

use rm_tests::{RawClient, TestHost, failed_start};
use rustix::process::Signal;
use serde_json::Value;

fn ticket(client: &mut RawClient) -> u64 {
    let sold = client.ask("getTickets", Value::Null).ok();
    sold["tickets"][0].as_u64().expect("a number was sold")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is text")
}

/// That another host does not serve from this host's data folder.
#[track_caller]
fn no_other_serves(host: &TestHost, data: &Path) {
    let (code, stdout, stderr) = failed_start(&host.folder(), &["--data", text(data)]);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
}

fn serves(tickets: u64) -> (TestHost, RawClient) {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    for number in 1..=tickets {
        assert_eq!(ticket(&mut client), number);
    }
    (host, client)
}

#[track_caller]
fn fails(client: &mut RawClient) {
    let reply = client.ask("getTickets", Value::Null);
    assert_eq!(reply.result["code"], "storage_failed", "{reply:?}");
}

fn segment_of(data: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(data.join("state")).expect("it is there");
    let segment = files.next().expect("there is a log");
    segment.expect("it can be read").path()
}

#[test]
fn nothing_is_acknowledged_once_the_log_is_removed() {
    for whole in [true, false] {
        let (host, mut client) = serves(2);
        let data = host.beside().join("data");
        if whole {
            fs::remove_dir_all(&data).expect("it is there");
        } else {
            fs::remove_file(segment_of(&data)).expect("it is there");
        }
        fails(&mut client);
        host.log()
            .wait_from(0, &["ERROR", "the state cannot be kept", text(&data)]);
        fails(&mut client);
        no_other_serves(&host, &data);
        fails(&mut client);
        host.signal(Signal::TERM);
        let (ended, plan) = host.wait_and_plan();
        assert_eq!(ended.code, Some(3));
        let (code, _, stderr) = failed_start(&plan.folder(), &["--data", text(&data)]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("rm-host init"), "{stderr}");
    }
}

#[test]
fn a_host_whose_lock_is_removed_is_alone_all_the_same() {
    let (host, mut client) = serves(2);
    let data = host.beside().join("data");
    fs::remove_file(data.join("lock")).expect("it is there");
    no_other_serves(&host, &data);
    host.log()
        .wait_from(0, &["ERROR", "the state cannot be kept", "lock"]);
    host.log().wait_from(0, &["the state has been read back"]);
    no_other_serves(&host, &data);
    assert_eq!(ticket(&mut client), 3);
}

#[test]
fn a_folder_that_is_moved_away_stops_the_serving_until_it_is_back() {
    for inner in ["", "state"] {
        let (host, mut client) = serves(2);
        let data = host.beside().join("data");
        let place = if inner.is_empty() {
            data.clone()
        } else {
            data.join(inner)
        };
        let aside = host.beside().join("aside");
        fs::rename(&place, &aside).expect("it is there");
        host.log()
            .wait_from(0, &["ERROR", "the state cannot be kept", text(&place)]);
        fails(&mut client);
        no_other_serves(&host, &data);
        if inner.is_empty() {
            no_other_serves(&host, &aside);
        }
        let from = host.log().len();
        fs::rename(&aside, &place).expect("it is there");
        host.log()
            .wait_from(from, &["the state has been read back"]);
        assert_eq!(ticket(&mut client), 3);
    }
}

#[test]
fn another_folder_in_its_place_is_not_served_from() {
    let (host, mut client) = serves(2);
    let data = host.beside().join("data");
    let aside = host.beside().join("aside");
    fs::rename(&data, &aside).expect("it is there");
    fs::create_dir_all(data.join("state")).expect("it can be made");
    fs::write(data.join("lock"), "").expect("it can be written");
    host.log()
        .wait_from(0, &["ERROR", "the state cannot be kept", text(&data)]);
    fails(&mut client);
    no_other_serves(&host, &data);
    no_other_serves(&host, &aside);
    assert_eq!(
        fs::read_dir(data.join("state"))
            .expect("it is ours")
            .count(),
        0,
        "nothing is written there"
    );
}
