//! What an operator does with the state on the disk, with and without a host that serves from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use rm_tests::{Disk, HostPlan, RawClient, TestHost, failed_start, host};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Runs `rm-host state` on a data folder.
fn state(data: &Path, words: &[&str]) -> Output {
    order(data, words).output().expect("the host was built")
}

fn order(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(host());
    command.arg("state").args(words).arg("--data").arg(data);
    command.env_remove("RM_DATA").stdin(Stdio::null());
    command
}

#[track_caller]
fn done(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("it is text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is text")
}

fn ticket(client: &mut RawClient) -> u64 {
    let sold = client.ask("getTickets", Value::Null).ok();
    sold["tickets"][0].as_u64().expect("a number was sold")
}

/// A host that has sold tickets and was killed.
fn sold(tickets: u64) -> HostPlan {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    for number in 1..=tickets {
        assert_eq!(ticket(&mut client), number);
    }
    host.signal(Signal::KILL);
    host.wait_and_plan().1
}

#[test]
fn a_time_that_is_ahead_of_the_clock_is_told_and_brought_back_by_an_order() {
    let disk = Disk::new();
    disk.set_clock(400 * 24 * 3600);
    let host = TestHost::plan().plugin("tickets").disk(&disk).start();
    let mut client = host.connect();
    client.session();
    assert_eq!(ticket(&mut client), 1);
    host.signal(Signal::TERM);
    let plan = host.wait_and_plan().1;

    disk.set_clock(0);
    let host = plan.start();
    let ahead = [
        "WARN",
        "ahead of the system's clock",
        "state set-time --data",
    ];
    host.log().wait_from(0, &ahead);
    assert_eq!(ticket(&mut host.connect()), 2);
    let data = host.beside().join("data");
    let said = refused(&state(&data, &["set-time", "--yes"]));
    assert!(said.contains("in use"), "{said}");
    host.signal(Signal::TERM);
    let plan = host.wait_and_plan().1;
    let data = plan.data();

    let said = refused(&state(&data, &["set-time"]));
    assert!(
        said.contains("ahead of the system's clock") && said.contains("--yes"),
        "{said}"
    );
    let said = done(&state(&data, &["set-time", "--yes"]));
    assert!(said.contains("brought back"), "{said}");
    let said = done(&state(&data, &["set-time", "--yes"]));
    assert!(said.contains("nothing was changed"), "{said}");
    done(&state(&data, &["verify"]));

    let host = plan.start();
    let mut client = host.connect();
    assert_eq!(ticket(&mut client), 3);
    // It has looked at the clock before it serves.
    assert!(host.log().lines_with(&ahead).is_empty());
    host.signal(Signal::KILL);
    let host = host.wait_and_plan().1.start();
    assert_eq!(ticket(&mut host.connect()), 4);
}

#[test]
fn a_whole_state_is_verified_also_while_a_host_serves() {
    let host = TestHost::with_plugin("tickets");
    let data = host.beside().join("data");
    let mut client = host.connect();
    client.session();
    client.ask_once(1, "getTickets", &Value::Null).ok();
    let told = done(&state(&data, &["verify"]));
    for part in [
        "whole, as of batch",
        "tickets hall (numbers, schema 1)",
        "(host) answers",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let told = done(&state(&data, &["verify", "--json"]));
    let told: Value = serde_json::from_str(&told).expect("it is JSON");
    let states = told["states"].as_array().expect("a list");
    let hall = states.iter().find(|state| state["plugin"] == "tickets");
    assert_eq!(hall.expect("it is kept")["schema"], 1);
    assert_eq!(told["torn_end"], Value::Null);
    assert_eq!(ticket(&mut client), 2, "it serves on");
}

#[test]
fn what_is_damaged_torn_or_not_there_is_told_apart() {
    let plan = sold(20);
    let (data, segment) = (plan.data(), segment_of(&plan.data()));
    let whole = fs::read(&segment).expect("it can be read");
    let end = whole
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("it holds something");

    fs::write(&segment, &whole[..end - 3]).expect("it can be written");
    let told = done(&state(&data, &["verify"]));
    assert!(told.contains("has a torn end"), "{told}");

    let mut damaged = whole.clone();
    damaged[300] ^= 1;
    fs::write(&segment, damaged).expect("it can be written");
    let backup = plan.folder().join("backup");
    for words in [
        &["verify"][..],
        &["export"],
        &["backup", text(&backup)],
        &["drop", "tickets", "--yes"],
    ] {
        let told = refused(&state(&data, words));
        for part in [text(&segment), "byte", "backup"] {
            assert!(told.contains(part), "{words:?}: {told}");
        }
    }
    let salvaged = state(&data, &["export", "--salvage"]);
    let told = refused(&salvaged);
    assert!(told.contains(text(&segment)), "{told}");
    let salvaged = String::from_utf8(salvaged.stdout).expect("it is text");
    assert!(salvaged.starts_with("{\"rm-host-state\":1,"), "{salvaged}");

    fs::write(&segment, whole).expect("it can be written");
    done(&state(&data, &["verify"]));
    let nowhere = plan.folder().join("nowhere");
    for words in [
        &["verify"][..],
        &["export"],
        &["backup", text(&backup)],
        &["drop", "tickets", "--yes"],
    ] {
        let told = refused(&state(&nowhere, words));
        assert!(
            told.contains("there is no state") && told.contains("--data"),
            "{told}"
        );
    }
    assert!(!nowhere.exists());
}

fn segment_of(data: &Path) -> PathBuf {
    let mut files = fs::read_dir(data.join("state")).expect("it is there");
    let segment = files.next().expect("there is a log");
    segment.expect("it can be read").path()
}

#[test]
fn an_export_is_the_state_of_the_host_that_imports_it() {
    let plan = sold(7);
    let data = plan.data();
    let export = plan.folder().with_file_name("export.jsonl");
    assert_eq!(done(&state(&data, &["export", "--out", text(&export)])), "");
    let again = refused(&state(&data, &["export", "--out", text(&export)]));
    assert!(again.contains("cannot be made"), "{again}");
    assert_eq!(
        fs::read_to_string(&export).expect("it is text"),
        done(&state(&data, &["export"]))
    );

    let told = refused(&state(&data, &["import", text(&export)]));
    for part in ["is there already", "--data DIR"] {
        assert!(told.contains(part), "{told}");
    }
    let other = TestHost::plan().plugin("tickets");
    // As an import leaves it that was killed.
    fs::create_dir_all(other.data().join("state.new")).expect("it can be made");
    fs::write(other.data().join("state.new/log-1.rml"), "half").expect("it can be written");
    let into = other.data();
    let (code, _, told) = failed_start(&other.folder(), &["--data", text(&into)]);
    assert_eq!(code, Some(1));
    assert!(told.contains("did not come to its end"), "{told}");
    fs::create_dir(into.join("state")).expect("it can be made");
    let (code, _, _) = failed_start(&other.folder(), &["--data", text(&into)]);
    assert_eq!(code, Some(1), "an empty state is none");
    fs::remove_dir(into.join("state")).expect("it is empty");
    let cut_off = plan.folder().with_file_name("cut.jsonl");
    let whole = fs::read(&export).expect("it was written");
    fs::write(&cut_off, &whole[..whole.len() - 20]).expect("it can be written");
    let told = refused(&state(&other.data(), &["import", text(&cut_off)]));
    assert!(
        told.contains("line ") && told.contains("Nothing was imported"),
        "{told}"
    );
    assert!(!other.data().join("state").exists() && !other.data().join("state.new").exists());

    let told = done(&state(&other.data(), &["import", text(&export)]));
    assert!(told.contains("tickets hall"), "{told}");
    let host = other.start();
    let mut client = host.connect();
    let sold = client.ask("getTickets", Value::Null).ok();
    assert_eq!((&sold["tickets"], &sold["token"]), (&json!([8]), &json!(8)));
}

#[test]
fn what_is_dropped_is_gone_and_only_an_idle_folder_is_changed() {
    let host = TestHost::with_plugin("tickets");
    let data = host.beside().join("data");
    assert_eq!(ticket(&mut host.connect()), 1);
    let told = refused(&state(&data, &["drop", "tickets", "--yes"]));
    assert!(
        told.contains(&format!("process {}", host.process_id())),
        "{told}"
    );
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    for (words, part) in [
        (&["drop", "hotels", "--yes"][..], "there are: tickets hall"),
        (
            &["drop", "tickets", "balcony", "--yes"],
            "the state `balcony`",
        ),
        (&["drop", "", "--yes"], "there are: tickets hall"),
        (&["drop", "tickets"], "--yes to drop tickets hall"),
    ] {
        let told = refused(&state(&data, words));
        assert!(told.contains(part), "{told}");
    }
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 2);
    // A plugin that was removed leaves its state, until it is dropped.
    host.remove("tickets");
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    assert!(done(&state(&data, &["verify"])).contains("tickets hall"));
    let told = done(&state(&data, &["drop", "tickets", "hall", "--yes"]));
    assert!(told.starts_with("dropped: tickets hall"), "{told}");
    assert!(!done(&state(&data, &["verify"])).contains("tickets hall"));
    let host = plan.plugin("tickets").start();
    let sold = host.connect().ask("getTickets", Value::Null).ok();
    assert_eq!((&sold["tickets"], &sold["token"]), (&json!([1]), &json!(3)));
}

#[test]
fn an_answer_that_a_drop_made_untrue_is_forgotten_and_no_other() {
    let host = TestHost::plan()
        .plugin("tickets")
        .plugin("proxies")
        .plugin("counter")
        .file("proxies.toml", "urls = [\"http://10.0.0.1\"]\n")
        .start();
    let mut client = host.connect();
    let session = client.session();
    let asked = [
        (1, "getTickets"),
        (2, "getProxy"),
        (3, "cntResponse"),
        (4, "getTickets"),
    ];
    let before = asked.map(|(id, name)| client.ask_once(id, name, &json!(null)).ok());
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let told = done(&state(&plan.data(), &["drop", "tickets", "--yes"]));
    assert!(told.contains("2 answers"), "{told}");
    assert!(told.contains("id_forgotten"), "{told}");

    let host = plan.start();
    let mut client = host.connect();
    client.resume(&session).ok();
    for ((id, name), before) in asked.into_iter().zip(&before) {
        let again = client.ask_once(id, name, &json!(null));
        match name {
            "getTickets" => drop(again.refused("id_forgotten")),
            _ => assert_eq!(&again.ok(), before, "{name}"),
        }
    }
    let sold = client.ask("getTickets", Value::Null).ok();
    assert_eq!((&sold["tickets"], &sold["token"]), (&json!([1]), &json!(3)));

    // And again: the tokens go on from where this one ended, and what has no books has none.
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    for name in ["tickets", "proxies"] {
        done(&state(&plan.data(), &["drop", name, "--yes"]));
    }
    let host = plan.start();
    let mut client = host.connect();
    let sold = client.ask("getTickets", Value::Null).ok();
    assert_eq!((&sold["tickets"], &sold["token"]), (&json!([1]), &json!(4)));
    let lent = client.ask("getProxy", Value::Null).ok();
    assert_eq!(lent["token"], 2);
}

#[test]
fn nothing_is_copied_into_the_folder_that_is_copied() {
    let plan = sold(3);
    let data = plan.data();
    let link = data.with_file_name("link");
    std::os::unix::fs::symlink(&data, &link).expect("it can be made");
    let before = all_within(&data);
    for place in [
        &data,
        &data.join("backup"),
        &data.join("state/b"),
        &link.join("b"),
    ] {
        let told = refused(&state(&data, &["backup", text(place)]));
        assert!(told.contains("outside"), "{told}");
        let told = refused(&state(&link, &["backup", text(place)]));
        assert!(told.contains("outside"), "{told}");
    }
    for place in [&data.join("e"), &data.join("state/e"), &link.join("e")] {
        let told = refused(&state(&data, &["export", "--out", text(place)]));
        assert!(told.contains("outside"), "{told}");
    }
    assert!(all_within(&data) == before);
    assert_eq!(ticket(&mut plan.start().connect()), 4);
}

#[test]
fn what_is_said_to_be_done_is_there_after_a_loss_of_power() {
    let plan = sold(3);
    let data = plan.data();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let outside = fs::canonicalize(folder.path()).expect("it is there");
    let export = outside.join("export.jsonl");
    let (backup, import) = (outside.join("copies/of/today"), outside.join("a/new/host"));
    for (data, words, made) in [
        (&data, &["export", "--out", text(&export)][..], &export),
        (&data, &["backup", text(&backup)], &backup),
        (&import, &["import", text(&export)], &import),
    ] {
        let disk = Disk::new();
        disk.begin("note");
        let mut command = order(data, words);
        done(&command.envs(disk.environment()).output().expect("it runs"));
        let noted = disk.noted();
        let mut names: Vec<_> = (noted.iter().enumerate())
            .filter_map(|(at, line)| Some((at, Path::new(line.strip_prefix("made ")?))))
            .filter(|(_, path)| path.exists())
            .collect();
        names.push((0, made));
        for (at, path) in names {
            let folder = path.parent().expect("it is not the root");
            let synced = format!("synced {}", folder.display());
            assert!(
                noted[at..].contains(&synced),
                "{words:?}: {path:?} in {noted:#?}"
            );
        }
    }
}

#[test]
fn what_is_not_dropped_is_not_touched() {
    let plan = sold(20);
    let (data, segment) = (plan.data(), segment_of(&plan.data()));
    let whole = fs::read(&segment).expect("it can be read");
    let end = whole.iter().rposition(|byte| *byte != 0);
    let end = end.expect("it holds something");
    fs::write(&segment, &whole[..end - 3]).expect("it can be written");
    // As a crash leaves them, and as a copy without what is nobody's.
    fs::write(data.join("state/log-00000000000000000999.rml.new"), "half")
        .expect("it can be written");
    fs::remove_file(data.join("lock")).expect("a host had it");
    let before = all_within(&data);
    for (words, part) in [
        (&["drop", "tickets"][..], "--yes to drop tickets hall"),
        (&["drop", "hotels", "--yes"], "there are: tickets hall"),
        (&["drop", "tickets", "balcony", "--yes"], "`balcony`"),
    ] {
        let told = refused(&state(&data, words));
        assert!(told.contains(part), "{told}");
        assert!(all_within(&data) == before, "{words:?}");
    }
    done(&state(&data, &["drop", "tickets", "--yes"]));
    assert!(!done(&state(&data, &["verify"])).contains("torn end"));
}

/// The files within a folder, with what they hold.
fn all_within(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let kind = fs::metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            found.extend(all_within(&path));
        } else if kind.is_file() {
            let content = fs::read(&path).expect("it can be read");
            found.insert(path, content);
        }
    }
    found
}

#[test]
fn a_backup_that_is_taken_under_load_has_all_that_was_answered_before() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 100000000\n")
        .start();
    let data = host.beside().join("data");
    let backup = host.beside().join("backup/data");
    let buyers: Vec<_> = (0..3)
        .map(|_| {
            let mut client = host.connect();
            thread::spawn(move || {
                for _ in 0..8 {
                    client
                        .try_tell("getTickets", &Value::Null)
                        .expect("it serves");
                }
                let mut bought = Vec::new();
                while let Some(reply) = client.try_reply() {
                    bought.push(reply.result["tickets"][0].as_u64().expect("it was sold"));
                    if client.try_tell("getTickets", &Value::Null).is_err() {
                        break;
                    }
                }
                bought
            })
        })
        .collect();
    let mut client = host.connect();
    let before: BTreeMap<u64, Value> = (0..200)
        .map(|_| {
            let sold = client.ask("getTickets", Value::Null).ok();
            let number = sold["tickets"][0].as_u64().expect("a number was sold");
            (number, sold["token"].clone())
        })
        .collect();
    let told = done(&state(&data, &["backup", text(&backup)]));
    assert!(told.contains("tickets hall"), "{told}");
    let again = refused(&state(&data, &["backup", text(&backup)]));
    assert!(again.contains("is there already"), "{again}");
    let within = data.join("state/backup");
    refused(&state(&data, &["backup", text(&within)]));
    assert!(!within.exists(), "it would stand in the way of the state");
    host.signal(Signal::KILL);
    let bought: usize = buyers
        .into_iter()
        .map(|buyer| buyer.join().expect("it ends").len())
        .sum();
    assert!(bought > 0, "nothing else was going on");

    let (_, plan) = host.wait_and_plan();
    let host = plan.flags(&["--data", text(&backup)]).start();
    let mut client = host.connect();
    for token in before.values() {
        client.ask("returnTickets", json!({ "token": token })).ok();
    }
    let mut sold = BTreeSet::new();
    for _ in 0..before.len() {
        assert!(sold.insert(ticket(&mut client)));
    }
    assert!(
        sold.iter().eq(before.keys()),
        "the lowest that are free are those that came back"
    );
}
