use std::ffi::OsString;

use super::*;
use crate::command_line::Order;

fn from_words<A: Into<OsString> + Clone>(
    words: impl IntoIterator<Item = A>,
) -> Result<Config, ConfigError> {
    match Order::from_command_line(words)? {
        Order::Serve(config) => Ok(*config),
        other => panic!("expected to serve, found {other:?}"),
    }
}

/// A command line with a plugin folder that is there.
fn read(flags: &[&str]) -> Result<Config, ConfigError> {
    let words = ["rm-host", "--plugins", "/"].iter().chain(flags);
    from_words(words)
}

fn refusal(flags: &[&str]) -> String {
    let error = read(flags).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    error.to_string()
}

#[test]
fn without_flags_the_host_is_for_this_machine() {
    let config = read(&[]).unwrap();
    assert_eq!(
        config.listen,
        [
            "127.0.0.1:41969".parse().unwrap(),
            "[::1]:41969".parse().unwrap()
        ]
    );
    assert!(config.listen_is_default);
    assert_eq!(config.name, "rm-host");
    assert_eq!(config.deadline, Some(Duration::from_secs(20)));
    assert_eq!(config.queue_report, None);
    assert_eq!(config.queue_jobs_max, limits::QUEUE_JOBS_MAX);
    assert_eq!(config.quarantine, limits::QUARANTINE);
    assert_eq!(config.wait_max, Some(limits::WAIT_MAX));
    assert_eq!(config.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.settle, limits::SETTLE);
    assert_eq!(config.data, PathBuf::from("data"));
    assert_eq!(config.inline_stuck, limits::INLINE_STUCK);
    assert!(!config.retry_crashed);
    assert_eq!(config.log, "info");
}

#[test]
fn addresses_can_be_repeated_and_may_leave_the_port_open() {
    let config = read(&["--listen", "127.0.0.1:0", "--listen", "[::1]:5"]).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert!(!config.listen_is_default);
    assert!(refusal(&["--listen", "localhost:5"]).contains("[::1]:41969"));
    assert!(refusal(&["--listen", "127.0.0.1"]).contains("with a port"));
}

#[test]
fn an_address_that_others_can_reach_needs_a_word_of_consent() {
    for address in ["0.0.0.0:5", "[::]:5", "192.0.2.1:5", "[::ffff:192.0.2.1]:5"] {
        let refusal = refusal(&["--listen", "127.0.0.1:5", "--listen", address]);
        for part in [address, "1. ", "2. ", "ssh -L 5:", "3. ", "--allow-remote"] {
            assert!(refusal.contains(part), "{refusal}");
        }
        assert!(read(&["--listen", address, "--allow-remote"]).is_ok());
    }
    for address in ["127.1.2.3:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
        assert!(read(&["--listen", address]).is_ok(), "{address}");
    }
}

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, ms) in [
        ("20s", 20_000),
        ("500ms", 500),
        ("1m 30s", 90_000),
        ("1h", 3_600_000),
        ("1.5s", 1_500),
        ("0", 0),
        ("0s", 0),
        ("8760h", limits::DEADLINE_MS_MAX),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for (text, cause) in [
        ("20", "no unit"),
        ("-1s", "less than nothing"),
        ("8761h", "365 days"),
        ("soon", "`soon`"),
        ("", "``"),
        ("99999999999999999999s", "found"),
    ] {
        let error = duration(text).unwrap_err();
        assert!(
            error.contains(DURATION_EXPECTED) && error.contains(cause),
            "{error}"
        );
    }
}

#[test]
fn zero_is_no_deadline_and_no_report() {
    let config = read(&["--deadline", "0", "--queue-report", "0"]).unwrap();
    assert_eq!((config.deadline, config.queue_report), (None, None));
    let config = read(&["--queue-report", "4s"]).unwrap();
    assert_eq!(config.queue_report, Some(Duration::from_secs(4)));
}

#[test]
fn what_is_out_of_bounds_is_refused_with_its_flag() {
    for (flag, value) in [
        ("--queue-max", "0"),
        ("--queue-max", "many"),
        ("--settle", "1ms"),
        ("--settle", "2m"),
        ("--inline-stuck", "0"),
        ("--name", ""),
        ("--name", "a\nb"),
        ("--deadline", "20"),
        ("--drain-timeout", "long"),
    ] {
        let refusal = refusal(&[flag, value]);
        assert!(
            refusal.contains(flag) && refusal.contains("expected"),
            "{refusal}"
        );
    }
    assert!(refusal(&["--pluginz", "x"]).contains("--plugins"));
}

#[test]
fn a_plugin_folder_that_is_of_no_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("plugins");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (folder, expected) in [(missing, "does not exist"), (file, "cannot be read")] {
        let words = [
            "rm-host".into(),
            "--plugins".into(),
            folder.clone().into_os_string(),
        ];
        let refusal = from_words::<OsString>(words).unwrap_err();
        let refusal = refusal.to_string();
        for part in [&folder.display().to_string(), expected, "--plugins DIR"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}

#[test]
fn help_and_version_are_no_failures() {
    for flag in ["--help", "--version"] {
        let shown = read(&[flag]).unwrap_err();
        assert_eq!(shown.exit_code(), 0);
    }
    let version = read(&["--version"]).unwrap_err().to_string();
    assert!(version.contains(env!("CARGO_PKG_VERSION")));
}
