//! State that is expected and is not there stops the start: it is never read as "nothing was given out".

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rm_tests::{HostPlan, RawClient, TestHost, failed_start, host};
use rustix::process::Signal;
use serde_json::Value;

fn ticket(client: &mut RawClient) -> u64 {
    let sold = client.ask("getTickets", Value::Null).ok();
    sold["tickets"][0].as_u64().expect("a number was sold")
}

/// A host that has sold so many tickets and ended by this signal.
fn sold(tickets: u64, end: Signal) -> HostPlan {
    let host = TestHost::with_plugin("tickets");
    let mut client = host.connect();
    for number in 1..=tickets {
        assert_eq!(ticket(&mut client), number);
    }
    host.signal(end);
    host.wait_and_plan().1
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is text")
}

/// That a host does not start on the plan's data folder, and says all of this.
#[track_caller]
fn refused(plan: &HostPlan, said: &[&str]) {
    let data = plan.data();
    let (code, stdout, stderr) = failed_start(&plan.folder(), &["--data", text(&data)]);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    for part in said {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

fn init(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(host());
    command.arg("init").arg("--data").arg(data).args(more);
    command.env_remove("RM_DATA").stdin(Stdio::null());
    command.output().expect("the host was built")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn segment_of(data: &Path) -> PathBuf {
    let mut files = fs::read_dir(data.join("state")).expect("it is there");
    let segment = files.next().expect("there is a log");
    segment.expect("it can be read").path()
}

#[test]
fn a_state_that_is_missing_in_whole_or_in_part_stops_the_start() {
    let plan = sold(3, Signal::TERM);
    let data = plan.data();
    let (state, segment) = (data.join("state"), segment_of(&data));
    let aside = data.with_file_name("aside");
    let ways_out = ["backup", "rm-host init"];

    fs::rename(&state, &aside).expect("it is there");
    refused(&plan, &[&[text(&state)][..], &ways_out].concat());
    fs::create_dir(&state).expect("it can be made");
    refused(&plan, &[&[text(&state)][..], &ways_out].concat());
    fs::remove_dir(&state).expect("it is empty");
    fs::rename(&aside, &state).expect("it is there");

    fs::rename(&segment, &aside).expect("it is there");
    refused(&plan, &[&[text(&state)][..], &ways_out].concat());
    fs::rename(&aside, &segment).expect("it is there");

    fs::rename(&data, &aside).expect("it is there");
    refused(&plan, &[&[text(&data)][..], &ways_out].concat());
    // A volume that is not mounted.
    fs::create_dir(&data).expect("it can be made");
    refused(&plan, &[&[text(&data)][..], &ways_out].concat());
    let (code, _, stderr) = failed_start(
        &plan.folder(),
        &["--data", text(&data), "--durability", "memory"],
    );
    assert_eq!(code, Some(1), "{stderr}");
    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(&aside, &data).expect("it is there");

    assert_eq!(ticket(&mut plan.start().connect()), 4);
}

#[test]
fn a_folder_that_nobody_made_is_refused_until_somebody_says_that_it_is_new() {
    let plan = TestHost::plan().plugin("tickets");
    let data = plan.data();
    fs::create_dir(&data).expect("it can be made");
    refused(&plan, &[text(&data), "mounted", "rm-host init"]);
    let made = init(&data, &[]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains(text(&data)), "{}", said(&made));
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 1);
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    // Said twice, it takes nothing away.
    let again = init(&data, &[]);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(ticket(&mut plan.start().connect()), 2);
}

#[test]
fn who_begins_with_nothing_where_there_was_something_has_to_mean_it() {
    let plan = sold(3, Signal::TERM);
    let data = plan.data();
    fs::remove_dir_all(&data).expect("it is there");
    let unmeant = init(&data, &[]);
    assert_eq!(unmeant.status.code(), Some(1), "{}", said(&unmeant));
    assert!(said(&unmeant).contains("--yes"), "{}", said(&unmeant));
    assert!(!data.exists());
    let meant = init(&data, &["--yes"]);
    assert!(meant.status.success(), "{}", said(&meant));
    assert_eq!(ticket(&mut plan.start().connect()), 1);
}

#[test]
fn each_way_out_that_is_named_leads_out() {
    let plan = sold(3, Signal::TERM);
    let data = plan.data();
    let (aside, export) = (data.with_file_name("aside"), data.with_file_name("export"));
    let order = |data: &Path, words: &[&str]| {
        let mut command = Command::new(host());
        command.arg("state").args(words).arg("--data").arg(data);
        let done = command.env_remove("RM_DATA").output();
        let done = done.expect("the host was built");
        assert!(done.status.success(), "{words:?}: {}", said(&done));
    };
    order(&data, &["export", "--out", text(&export)]);

    fs::rename(&data, &aside).expect("it is there");
    order(&aside, &["backup", text(&data)]);
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 4);
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();

    fs::remove_dir_all(data.join("state")).expect("it is there");
    order(&data, &["import", text(&export)]);
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 4);
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();

    fs::remove_dir_all(&data).expect("it is there");
    order(&data, &["import", text(&export)]);
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 4);
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();

    fs::rename(&data, data.with_file_name("later")).expect("it is there");
    fs::rename(&aside, &data).expect("it is there");
    refused(&plan, &["another", "--yes"]);
    assert!(init(&data, &["--yes"]).status.success());
    assert_eq!(ticket(&mut plan.start().connect()), 4);
}

#[test]
fn another_state_in_the_place_of_the_one_that_was_there_is_refused_until_it_is_meant() {
    let (plan, other) = (sold(5, Signal::TERM), sold(2, Signal::TERM));
    let (data, others) = (plan.data(), other.data());
    let aside = data.with_file_name("aside");

    fs::rename(data.join("state"), &aside).expect("it is there");
    fs::rename(others.join("state"), data.join("state")).expect("it is there");
    refused(
        &plan,
        &[text(&data.join("state")), "another", "rm-host init"],
    );
    fs::rename(data.join("state"), others.join("state")).expect("it is there");
    fs::rename(&aside, data.join("state")).expect("it is there");

    // As under a mount point of which the volume is not mounted.
    fs::rename(&data, &aside).expect("it is there");
    fs::rename(&others, &data).expect("it is there");
    refused(&plan, &[text(&data), "another", "rm-host init"]);
    let unmeant = init(&data, &[]);
    assert_eq!(unmeant.status.code(), Some(1), "{}", said(&unmeant));
    let meant = init(&data, &["--yes"]);
    assert!(meant.status.success(), "{}", said(&meant));
    assert_eq!(ticket(&mut plan.start().connect()), 3);
}

#[test]
fn a_folder_of_an_earlier_host_is_taken_over_once() {
    let plan = TestHost::plan().plugin("tickets");
    let data = plan.data();
    let state = data.join("state");
    fs::create_dir_all(&state).expect("it can be made");
    let segment = include_bytes!("data/earlier_host.rml");
    let name = "log-00000000000000000001.rml";
    fs::write(state.join(name), segment).expect("it can be written");
    fs::write(data.join("lock"), "4711\n").expect("it can be written");
    let host = plan.start();
    host.log().wait_from(0, &["INFO", "taken over"]);
    assert_eq!(ticket(&mut host.connect()), 6);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    // The same once more is not what was served since.
    let aside = data.with_file_name("aside");
    fs::rename(&state, &aside).expect("it is there");
    fs::create_dir(&state).expect("it can be made");
    fs::write(state.join(name), segment).expect("it can be written");
    refused(&plan, &[text(&state), "rm-host init"]);
    fs::remove_dir_all(&state).expect("it is there");
    fs::rename(&aside, &state).expect("it is there");
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 7);
    assert!(host.log().lines_with(&["taken over"]).is_empty());
}

#[test]
fn a_mark_that_is_lost_alone_is_made_anew_from_the_state() {
    let plan = sold(3, Signal::TERM);
    let data = plan.data();
    let marks: Vec<_> = fs::read_dir(&data)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.is_file())
        .collect();
    assert!(!marks.is_empty());
    for mark in marks {
        fs::remove_file(mark).expect("it is there");
    }
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 4);
    host.signal(Signal::TERM);
    let (_, plan) = host.wait_and_plan();
    fs::remove_dir_all(data.join("state")).expect("it is there");
    refused(&plan, &["rm-host init"]);
}

#[test]
fn a_log_that_became_shorter_after_a_clean_stop_is_damage() {
    let plan = sold(30, Signal::TERM);
    let segment = segment_of(&plan.data());
    let whole = fs::read(&segment).expect("it can be read");
    let end = whole.iter().rposition(|byte| *byte != 0);
    let end = end.expect("it holds something") + 1;
    for cut in [end - 1, end - 40, end / 2, 64] {
        for zeros in [0, end - cut] {
            let mut shorter = whole[..cut].to_vec();
            shorter.resize(cut + zeros, 0);
            fs::write(&segment, shorter).expect("it can be written");
            refused(&plan, &[text(&segment), "damaged", "stopped", "backup"]);
        }
    }
    fs::write(&segment, whole).expect("it can be written");
    assert_eq!(ticket(&mut plan.start().connect()), 31);
}

#[test]
fn of_an_end_that_is_cut_after_a_crash_only_what_is_known_is_said() {
    let plan = sold(30, Signal::KILL);
    let segment = segment_of(&plan.data());
    let whole = fs::read(&segment).expect("it can be read");
    let end = whole.iter().rposition(|byte| *byte != 0);
    let end = end.expect("it holds something");
    fs::write(&segment, &whole[..end - 3]).expect("it can be written");
    let host = plan.start();
    let line = host.log().wait_from(0, &["WARN", "cut off"]);
    assert!(!line.contains("never answered"), "{line}");
    assert_eq!(ticket(&mut host.connect()), 30);
}

#[test]
fn no_link_in_the_data_folder_leads_to_a_file_that_is_overwritten() {
    let plan = sold(1, Signal::TERM);
    let data = plan.data();
    let target = data.with_file_name("target");
    fs::write(&target, "precious").expect("it can be written");
    let segment = segment_of(&data);
    let unfinished = segment.with_extension("rml.new");
    let beside = data.with_file_name(".data.rm-host");
    let aside = data.with_file_name("aside");
    let is_precious = |link: &Path| {
        let found = fs::read_to_string(&target).expect("it is text");
        assert_eq!(found, "precious", "{}", link.display());
    };
    for (link, content) in [
        (data.join("lock"), "precious"),
        (data.join("crashed"), "precious"),
        (data.join("identity"), "precious"),
        (beside.clone(), "precious"),
        (segment.clone(), ""),
    ] {
        // A link to what the file holds, or to what is not the host's at all.
        let _ = fs::rename(&link, &aside);
        match content {
            "" => fs::copy(&aside, &target).map(drop),
            content => fs::write(&target, content),
        }
        .expect("it can be written");
        let before = fs::read(&target).expect("it can be read");
        symlink(&target, &link).expect("it can be made");
        refused(&plan, &[text(&link), "link"]);
        let after = fs::read(&target).expect("it can be read");
        assert!(before == after, "{}", link.display());
        fs::remove_file(&link).expect("it is there");
        let _ = fs::rename(&aside, &link);
    }
    fs::write(&target, "precious").expect("it can be written");
    // These are replaced as a whole, or left alone.
    let news = ["identity.new", "operators.sock"].map(|name| data.join(name));
    let links = news
        .into_iter()
        .chain([beside.with_extension("rm-host.new"), unfinished]);
    let links: Vec<_> = links.collect();
    for link in &links {
        symlink(&target, link).expect("it can be made");
    }
    let host = plan.start();
    assert_eq!(ticket(&mut host.connect()), 2);
    host.signal(Signal::TERM);
    let (_, _plan) = host.wait_and_plan();
    links.iter().for_each(|link| is_precious(link));
}

#[test]
fn what_others_can_write_is_not_taken_for_what_was_given_out() {
    let plan = sold(1, Signal::TERM);
    let data = plan.data();
    let (state, segment) = (data.join("state"), segment_of(&data));
    let beside = data.with_file_name(".data.rm-host");
    for path in [&data, &state, &segment, &beside] {
        let before = fs::metadata(path).expect("it is there").permissions();
        let mode = before.mode() | 0o002;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        let remedy = format!("chmod o-w {}", text(path));
        refused(&plan, &[&remedy]);
        fs::set_permissions(path, before).expect("it is ours");
    }
    // The state may lie on another disk, where others could put another in its place.
    let shared = data.with_file_name("shared");
    fs::create_dir(&shared).expect("it can be made");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("it is ours");
    fs::rename(&state, shared.join("state")).expect("it is there");
    symlink(shared.join("state"), &state).expect("it can be made");
    refused(&plan, &[&format!("chmod o-w {}", text(&shared))]);
    // What a group can write is told of, as it is of plugins.
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o770)).expect("it is ours");
    let host = plan.start();
    host.log()
        .wait_from(0, &["WARN", text(&shared), "chmod g-w"]);
    assert_eq!(ticket(&mut host.connect()), 2);
}
