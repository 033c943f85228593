//! What people and programs do in the plugin folder: what is no plugin's file is left alone, nothing is taken that
//! somebody else could have put there, and half a file never for a whole one.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use rm_tests::{RawClient, SERVES, TestHost, fixture};
use serde_json::Value;

const NOT_SAFE: &str = "can be written by everybody";

fn version(client: &mut RawClient) -> u64 {
    client.ask("getVersion", Value::Null).number("version")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is the tester's own");
}

fn start_versioned() -> TestHost {
    let plan = TestHost::plan();
    plan.library("versioned", &fixture("versioned_1")).start()
}

#[test]
fn a_name_that_is_hidden_or_for_a_while_only_is_left_alone() {
    let host = TestHost::plan().start();
    for name in [
        ".libversioned.so",
        ".libversioned.so.a1b2c3",
        ".nfs0000000001.so",
        "#libversioned.so#",
        "#libversioned.so",
        "~libversioned.so",
        "libversioned.so~",
        "libversioned.so.part",
        "libversioned.so.swp",
        "libversioned.so.tmp",
        "libversioned.so.1",
        "libversioned",
    ] {
        fs::copy(fixture("versioned_1"), host.folder().join(name)).expect("cp");
    }
    // What comes after them is seen, and so they were, too.
    host.drop_in("rival", &fixture("rival"), SERVES);
    assert_eq!(version(&mut host.connect()), 100);
    let seen = host.connect().ask("rm.plugins", Value::Null).ok();
    assert_eq!(seen["plugins"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(host.log().lines_with(&["ERROR"]), [""; 0]);
    // Under its real name each would have been a plugin.
    let (hidden, shown) = (".libversioned.so", "libversioned.so");
    let folder = host.folder();
    fs::rename(folder.join(hidden), folder.join(shown)).expect("mv");
    host.said_of(0, "versioned", &["waits"]);
}

#[test]
fn a_file_that_everybody_can_write_is_refused_until_its_mode_is_mended() {
    let host = start_versioned();
    let mut client = host.connect();
    let file = host.folder().join("libversioned.so");
    let anew = host.beside().join("anew");
    fs::copy(fixture("versioned_2"), &anew).expect("cp");
    set_mode(&anew, 0o666);
    let from = host.log().len();
    fs::rename(&anew, &file).expect("mv");
    let refused = host.said_of(from, "versioned", &["ERROR", "refused", NOT_SAFE]);
    for words in [
        "cannot be read: it can",
        "chmod o-w ",
        "libversioned.so",
        "goes on",
    ] {
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(version(&mut client), 1);

    let from = host.log().len();
    set_mode(&file, 0o664);
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut client), 2);
    let path = format!("path={}", file.display());
    host.log()
        .wait_from(from, &["WARN", "its group can write here", &path]);
}

#[test]
fn in_a_folder_that_everybody_can_write_everything_is_refused_until_that_is_mended() {
    let host = start_versioned();
    let mut client = host.connect();
    // That above counts as well: who can write there can put another folder in the place of this one.
    for (folder, number, before) in [(host.folder(), 2, 1), (host.beside().to_owned(), 1, 2)] {
        set_mode(&folder, 0o777);
        let library = fixture(&format!("versioned_{number}"));
        let refused = host.drop_in("versioned", &library, &["ERROR", "refused", NOT_SAFE]);
        let remedy = format!("chmod o-w {}", folder.display());
        assert!(refused.contains(&remedy), "{refused}");
        assert_eq!(version(&mut client), before);
        let from = host.log().len();
        // With this bit everybody may add files, and change only their own.
        set_mode(&folder, 0o1777);
        host.said_of(from, "versioned", SERVES);
        assert_eq!(version(&mut client), number);
    }
    set_mode(&host.folder(), 0o775);
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    let path = format!("path={}", host.folder().display());
    host.log()
        .wait_from(0, &["WARN", "its group can write here", &path]);
}

#[test]
fn what_is_no_file_in_the_place_of_one_is_refused_and_the_plugin_serves_on() {
    let mut host = start_versioned();
    let mut client = host.connect();
    let file = host.folder().join("libversioned.so");
    let outside = host.beside().join("outside.so");
    fs::copy(fixture("versioned_2"), &outside).expect("cp");
    let _socket = UnixListener::bind(host.beside().join("socket")).expect("a short path");
    let beside = host.beside().to_owned();
    let place = |name: &str| beside.join(name);
    let made = Command::new("mkfifo").arg(place("pipe")).status();
    assert!(made.expect("mkfifo is everywhere").success());
    fs::create_dir(place("directory")).expect("mkdir");
    symlink(&outside, place("link")).expect("ln -s");
    // Not to the same file: of a link, the file that it leads to is watched.
    fs::copy(&outside, place("outside too.so")).expect("cp");
    symlink("../outside too.so", place("relative link")).expect("ln -s");
    symlink("/dev/zero", place("link to a device")).expect("ln -s");
    symlink("libversioned.so", place("link to itself")).expect("ln -s");
    for (name, says) in [
        ("pipe", "a named pipe"),
        ("socket", "a socket"),
        ("link", "does not lead to a file within the folder"),
        ("relative link", "it is a link to ../outside too.so"),
        ("link to a device", "it is a link to /dev/zero"),
        ("link to itself", "it is a link to libversioned.so"),
        ("directory", "a folder"),
    ] {
        let from = host.log().len();
        if name == "directory" {
            fs::remove_file(&file).expect("rm");
        }
        fs::rename(place(name), &file).expect("mv");
        let refused = host.said_of(from, "versioned", &["ERROR", "refused", says]);
        assert!(refused.contains("goes on"), "{name}: {refused}");
        assert_eq!(version(&mut client), 1);
        host.expect_running();
    }
    fs::remove_dir(&file).expect("rmdir");
    host.drop_in("versioned", &fixture("versioned_2"), SERVES);
    assert_eq!(version(&mut client), 2);
}

#[test]
fn a_change_that_no_event_tells_of_is_found_by_the_look_that_comes_anyway() {
    let host = start_versioned();
    let mut client = host.connect();
    // Events come of the folder itself, and not of another one that a link in it leads to.
    let inner = host.folder().join("inner");
    fs::create_dir(&inner).expect("mkdir");
    fs::copy(fixture("versioned_2"), inner.join("real")).expect("cp");
    symlink("inner/real", host.folder().join(".link")).expect("ln -s");
    let from = host.log().len();
    let file = host.folder().join("libversioned.so");
    fs::rename(host.folder().join(".link"), &file).expect("mv");
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut client), 2);
    for number in [1, 2] {
        let from = host.log().len();
        let anew = inner.join("anew");
        fs::copy(fixture(&format!("versioned_{number}")), &anew).expect("cp");
        fs::rename(&anew, inner.join("real")).expect("mv");
        host.said_of(from, "versioned", SERVES);
        assert_eq!(version(&mut client), number);
    }
}

/// A library that is written piece by piece.
struct SlowCopy {
    file: File,
    left: Vec<Vec<u8>>,
}

impl SlowCopy {
    fn begin(host: &TestHost, pieces: usize) -> Self {
        let bytes = fs::read(fixture("versioned_2")).expect("it was built");
        let mut left: Vec<_> = bytes
            .chunks(bytes.len().div_ceil(pieces))
            .map(<[u8]>::to_vec)
            .collect();
        left.reverse();
        let path = host.folder().join("libversioned.so");
        let file = OpenOptions::new().write(true).truncate(true).open(path);
        Self {
            file: file.expect("it is there"),
            left,
        }
    }

    /// Whether there is more to write.
    fn write_next(&mut self) -> bool {
        let piece = self.left.pop().expect("there is more");
        self.file.write_all(&piece).expect("there is room");
        !self.left.is_empty()
    }
}

#[test]
fn a_copy_that_pauses_for_longer_than_files_settle_is_taken_in_the_end_and_half_of_it_never() {
    let host = start_versioned();
    let mut client = host.connect();
    let mut copy = SlowCopy::begin(&host, 4);
    loop {
        let from = host.log().len();
        if !copy.write_next() {
            // Written to the end but not closed: nobody can tell that from a copy that is done.
            host.said_of(from, "versioned", SERVES);
            break;
        }
        // So long that it is looked at as it is.
        host.said_of(from, "versioned", &["refused", "cut short", "goes on"]);
        assert_eq!(version(&mut client), 1);
    }
    assert_eq!(version(&mut client), 2);
    drop(copy);
    host.drop_in("versioned", &fixture("versioned_1"), SERVES);
    assert_eq!(version(&mut client), 1);
}

#[test]
fn a_copy_that_pauses_for_less_than_files_settle_is_taken_once_and_whole() {
    let host = TestHost::plan()
        .library("versioned", &fixture("versioned_1"))
        .flags(&["--settle", "2s"])
        .start();
    let mut client = host.connect();
    let from = host.log().len();
    let mut copy = SlowCopy::begin(&host, 100);
    while copy.write_next() {
        // A pause of which the host sees something: it answers meanwhile.
        assert_eq!(version(&mut client), 1);
    }
    drop(copy);
    host.said_of(from, "versioned", SERVES);
    assert_eq!(version(&mut client), 2);
    let refused = host.log().lines_with(&["refused"]);
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn the_programs_that_people_copy_with_all_do() {
    let host = start_versioned();
    let mut client = host.connect();
    let file = host.folder().join("libversioned.so");
    let fresh = host.beside().join("fresh.so");
    for (number, command) in [
        "cp",
        "cp -p",
        "cp -f --remove-destination",
        "mv",
        "install",
        "install -m 644",
        "ln -f",
        "dd",
    ]
    .into_iter()
    .enumerate()
    {
        let number = 2 - number as u64 % 2;
        let _ = fs::remove_file(&fresh);
        fs::copy(fixture(&format!("versioned_{number}")), &fresh).expect("cp");
        let from = host.log().len();
        let mut words = command.split(' ');
        let mut run = Command::new(words.next().expect("a word"));
        run.args(words);
        if command == "dd" {
            run.args([
                format!("if={}", fresh.display()),
                format!("of={}", file.display()),
            ]);
            run.args(["bs=1M", "status=none"]);
        } else {
            run.args([&fresh, &file]);
        }
        let status = run.status();
        let status =
            status.unwrap_or_else(|error| panic!("{command} ({error}): install coreutils"));
        assert!(status.success(), "{command}");
        host.said_of(from, "versioned", SERVES);
        assert_eq!(version(&mut client), number, "{command}");
    }
}
