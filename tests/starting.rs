//! What a start says of settings that do not hold, of a port that it cannot have, and of what the programs were built from.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use rm_tests::{TestHost, cli, failed_start, host};

#[test]
fn a_port_that_cannot_be_had_is_held_by_a_listener_or_by_a_connection() {
    let plugins = tempfile::tempdir().expect("a temporary folder can be made");
    let refused = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        let (code, _, stderr) = failed_start(plugins.path(), &["--listen", &address]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(&address), "{stderr}");
        stderr
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let said = refused(address.port());
    assert!(said.contains("another process listens there"), "{said}");

    let connection = TcpStream::connect(address).expect("it listens");
    let own = connection.local_addr().expect("it is connected");
    let said = refused(own.port());
    for part in [
        "no process listens there",
        "a connection has the port",
        "ip_local_reserved_ports",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_setting_that_does_not_hold_is_told_with_the_one_that_was_meant() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("libtickets.toml", "seats = 5")
        .variable("RM_DEADLIN", "1s")
        .variable("RM_SERVER", "127.0.0.1:1")
        .start();
    let said = host
        .log()
        .wait_from(0, &["WARN", "RM_DEADLIN ", "RM_DEADLINE"]);
    assert!(!said.contains("1s"), "its value may be a secret: {said}");
    assert!(host.log().lines_with(&["RM_SERVER"]).is_empty());
    host.log()
        .wait_from(0, &["WARN", "libtickets.toml", " tickets.toml"]);
}

#[test]
fn rm_cli_and_the_host_know_of_each_others_variables() {
    let help = |program: &Path, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        String::from_utf8(output.expect("it was built").stdout).expect("it is text")
    };
    let program = cli();
    let told: String = [
        &["--help"][..],
        &["request", "--help"],
        &["plugins", "--help"],
    ]
    .into_iter()
    .map(|words| help(&program, words))
    .collect();
    let variables = told.split("[env: ").skip(1);
    let variables: Vec<_> = variables
        .filter_map(|rest| rest.split('=').next())
        .collect();
    assert!(variables.contains(&"RM_SERVER"), "{variables:?}");
    let mut command = Command::new(host());
    command.args(["state", "verify", "--data", "/nowhere"]);
    command.envs(variables.iter().map(|name| (name, "1")));
    command.env("RM_DAAT", "1").env_remove("RM_DATA");
    let output = command.output().expect("it was built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let warnings: Vec<_> = stderr
        .lines()
        .filter(|line| line.starts_with("warning:"))
        .collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    assert!(warnings[0].contains("RM_DATA?"), "{stderr}");
}

#[test]
fn each_program_names_the_commit_that_it_was_built_from() {
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let in_repository = commit.is_ok_and(|commit| commit.status.success());
    for program in [host(), cli()] {
        let output = Command::new(&program).arg("--version").output();
        let said = String::from_utf8(output.expect("it was built").stdout).expect("it is text");
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
        let commit = said
            .split_once(" (commit ")
            .map(|(_, rest)| rest.trim_end());
        assert_eq!(commit.is_some(), in_repository, "{said}");
        if let Some(commit) = commit.and_then(|commit| commit.strip_suffix(')')) {
            let is_hash = commit.len() >= 12 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_hash, "{said}");
        }
    }
}
