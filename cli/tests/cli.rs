//! What `rm-cli` promises: what it sends, what it prints where, and its exit status.

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use support::{Asked, Peer, TestServer};

struct Run {
    status: i32,
    out: String,
    err: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rm-cli"));
    command
        .args(arguments)
        .env_remove("RM_SERVER")
        .env_remove("RM_DATA")
        .env_remove("RM_SESSION")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn finished(output: Output) -> Run {
    Run {
        status: output.status.code().expect("an exit status"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command against the server at its side, which is told what to do with the connection.
async fn run(
    server: &TestServer,
    mut command: Command,
    stdin: Option<&str>,
    host: impl AsyncFnOnce(&mut Peer),
) -> Run {
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command
        .env("RM_SERVER", server.address().to_string())
        .spawn()
        .unwrap();
    if let Some(text) = stdin {
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let mut peer = server.accept().await;
    host(&mut peer).await;
    drop(peer);
    finished(ended.await.unwrap())
}

fn run_alone(arguments: &[&str]) -> Run {
    finished(command(arguments).output().unwrap())
}

fn plain(type_name: &str, payload: Option<&str>) -> Asked {
    Asked {
        type_name: type_name.to_owned(),
        query_index: "1".to_owned(),
        payload: payload.map(str::to_owned),
        meta: None,
    }
}

#[tokio::test]
async fn a_result_is_one_line_on_stdout_with_its_digits_kept() {
    let server = TestServer::start().await;
    let command = command(&["request", "getTickets", r#"{"count": 2}"#]);
    let ran = run(&server, command, None, async |peer| {
        let asked = peer
            .serve("{ \"left\": 12345678901234567890,\n \"b\": 1.50, \"a\": \"🦀\" }")
            .await;
        assert_eq!(asked, plain("getTickets", Some(r#"{"count": 2}"#)));
    })
    .await;
    let expected = "{\"left\":12345678901234567890,\"b\":1.50,\"a\":\"\\ud83e\\udd80\"}\n";
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (0, expected, "")
    );
}

#[tokio::test]
async fn the_payload_comes_from_the_argument_or_from_stdin_or_is_left_out() {
    let server = TestServer::start().await;
    let cases: [(&[&str], Option<&str>, Option<&str>); 6] = [
        (&["request", "a"], None, None),
        (&["request", "a"], Some(""), None),
        (&["request", "a"], Some("{\"n\":1}\n"), Some("{\"n\":1}")),
        (&["request", "a", "-"], Some("[1]"), Some("[1]")),
        (&["request", "a", "null"], Some("ignored"), Some("null")),
        (&["request", "a", "-5"], None, Some("-5")),
    ];
    for (arguments, stdin, payload) in cases {
        let ran = run(&server, command(arguments), stdin, async |peer| {
            assert_eq!(peer.serve("{}").await, plain("a", payload));
        })
        .await;
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (0, "{}\n"),
            "{arguments:?}: {}",
            ran.err
        );
    }
}

#[test]
fn a_stdin_that_nobody_closes_ends_the_wait_with_a_remedy() {
    let mut command = command(&["request", "a", "-s", "127.0.0.1:1", "--timeout", "50ms"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let open = child.stdin.take();
    let ran = finished(child.wait_with_output().unwrap());
    drop(open);
    assert_eq!((ran.status, ran.out.as_str()), (64, ""), "{}", ran.err);
    for part in ["on stdin within 50ms", "</dev/null", "`-`"] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn a_stdin_asked_for_by_name_is_read_to_its_end() {
    let mut command = command(&["request", "a", "-", "-s", "127.0.0.1:1", "--timeout", "1ms"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds, so that it is being read; then for longer than the timeout.
    stdin.write_all(" ".repeat(1 << 19).as_bytes()).unwrap();
    let reading = Instant::now();
    while reading.elapsed() < Duration::from_millis(20) {
        stdin.write_all(b" ").unwrap();
    }
    stdin.write_all(b"{").unwrap();
    drop(stdin);
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.status, 64);
    assert!(ran.err.contains("stdin is not JSON"), "{}", ran.err);
}

#[tokio::test]
async fn ping_and_queue_ask_for_the_built_in_types() {
    let server = TestServer::start().await;
    for (name, type_name) in [("ping", "ping"), ("queue", "srvQueuePrint")] {
        let ran = run(&server, command(&[name]), None, async |peer| {
            assert_eq!(peer.serve(r#"{"n":1}"#).await, plain(type_name, None));
        })
        .await;
        assert_eq!((ran.status, ran.out.as_str()), (0, "{\"n\":1}\n"));
    }
}

const SERVING: &str = r#"{"name":"a","state":"serving","version":"1.0.0","hash":"cafe","lanes":[{"types":["x","y"]}],"served":3,"panics":1,"error":null,"coming":null}"#;

#[tokio::test]
async fn plugins_are_a_table_or_the_hosts_own_json() {
    let server = TestServer::start().await;
    let list = format!(r#"{{"durability":"memory","plugins":[{SERVING}]}}"#);
    let ran = run(&server, command(&["plugins"]), None, async |peer| {
        assert_eq!(peer.serve(&list).await, plain("rm.plugins", None));
    })
    .await;
    let table = "NAME  STATE    VERSION  HASH  SINCE  SERVED  PANICS  TYPES\n\
                 a     serving  1.0.0    cafe      -       3       1  x, y\n";
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (0, table, "")
    );

    let ran = run(
        &server,
        command(&["plugins", "--json"]),
        None,
        async |peer| {
            peer.serve(&list).await;
        },
    )
    .await;
    assert_eq!((ran.status, ran.out), (0, format!("{list}\n")));
}

#[tokio::test]
async fn a_plugin_is_told_and_its_new_state_printed_once_it_is_reached() {
    let server = TestServer::start().await;
    for told in ["enable", "disable", "reload", "rollback"] {
        let ran = run(
            &server,
            command(&["plugins", told, "a"]),
            None,
            async |peer| {
                let asked = peer
                    .serve(r#"{"name":"a","state":"waiting","coming":{"version":"1.0.0","hash":"cafe"}}"#)
                    .await;
                let payload = format!(r#"{{"name":"a","do":"{told}"}}"#);
                assert_eq!(asked, plain("rm.plugin", Some(&payload)));
                let list = format!(r#"{{"plugins":[{{"name":"b","state":"refused"}},{SERVING}]}}"#);
                assert_eq!(peer.serve(&list).await.type_name, "rm.plugins");
            },
        )
        .await;
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{told}");
        assert!(ran.out.contains("\na     serving  1.0.0"), "{}", ran.out);
    }
}

#[tokio::test]
async fn a_plugin_that_cannot_do_as_it_is_told_exits_1_with_the_reason() {
    let server = TestServer::start().await;
    let arguments = ["plugins", "rollback", "a", "--json"];
    let ran = run(&server, command(&arguments), None, async |peer| {
        peer.serve(r#"{"err":"no plugin is named `a`","code":"bad_payload"}"#)
            .await;
    })
    .await;
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (1, "", "bad_payload: no plugin is named `a`\n")
    );

    let refused = r#"{"name":"a","state":"serving","error":"its schema is older"}"#;
    let ran = run(&server, command(&arguments), None, async |peer| {
        peer.serve(refused).await;
    })
    .await;
    assert_eq!((ran.status, ran.out), (1, format!("{refused}\n")));
    assert_eq!(
        ran.err,
        "the version of `a` before goes on: its schema is older\n"
    );
}

#[tokio::test]
async fn a_swap_that_takes_long_is_not_waited_for_without_end() {
    let server = TestServer::start().await;
    let arguments = ["plugins", "reload", "a", "--timeout", "2s"];
    let report = r#"{"name":"a","state":"serving","coming":{"version":"1","hash":"cafe"}}"#;
    let list = format!(r#"{{"plugins":[{report}]}}"#);
    let ran = run(&server, command(&arguments), None, async |peer| {
        peer.serve(report).await;
        while let Some(asked) = peer.next().await {
            peer.reply(&asked.type_name, &asked.query_index, &list)
                .await;
        }
    })
    .await;
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(ran.out.contains("coming: 1 cafe"), "{}", ran.out);
    assert!(ran.err.contains("does not serve yet"), "{}", ran.err);
}

#[tokio::test]
async fn deadline_and_wait_are_sent_after_hello() {
    let server = TestServer::start().await;
    let command = command(&["request", "a", "--wait", "--deadline", "5s"]);
    let ran = run(&server, command, None, async |peer| {
        assert_eq!(peer.serve(r#"{"v":1}"#).await.type_name, "rm.hello");
        assert_eq!(
            peer.serve("{}").await.meta.as_deref(),
            Some(r#"{"deadline_ms":5000,"wait":true}"#)
        );
    })
    .await;
    assert_eq!(ran.status, 0, "{}", ran.err);
}

#[tokio::test]
async fn who_waits_in_vain_hears_so_from_the_host() {
    let server = TestServer::start().await;
    let command = command(&["request", "a", "--wait"]);
    let ran = run(&server, command, None, async |peer| {
        peer.serve(r#"{"v":1}"#).await;
        let asked = peer.serve(r#"{"err":"too late","code":"expired"}"#).await;
        let meta = r#"{"deadline_ms":18000,"wait":true}"#;
        assert_eq!(asked.meta.as_deref(), Some(meta));
    })
    .await;
    assert_eq!((ran.status, ran.err.as_str()), (1, "expired: too late\n"));
}

#[tokio::test]
async fn an_error_reply_is_told_with_its_code_on_stderr_and_exits_1() {
    let server = TestServer::start().await;
    let ran = run(
        &server,
        command(&["request", "getTickets"]),
        None,
        async |peer| {
            peer.serve(r#"{"err":"no seats are left","code":"sold_out"}"#)
                .await;
        },
    )
    .await;
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (1, "", "sold_out: no seats are left\n")
    );
}

#[tokio::test]
async fn no_connection_a_lost_one_and_no_reply_in_time_exit_2() {
    let server = TestServer::start().await;
    let ran = run(&server, command(&["ping"]), None, async |peer| {
        peer.asked().await;
    })
    .await;
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("the connection to the host is lost"),
        "{}",
        ran.err
    );

    let ran = run(
        &server,
        command(&["ping", "--timeout", "1ms"]),
        None,
        async |peer| {
            while peer.next().await.is_some() {}
        },
    )
    .await;
    assert_eq!(ran.status, 2);
    // On a slow machine the time may be over before the connection stands.
    assert!(
        ran.err.contains("no reply to `ping` within 1ms") || ran.err.contains("no answer in time"),
        "{}",
        ran.err
    );

    let address = server.address().to_string();
    drop(server);
    let ran = run_alone(&["ping", "-s", &address]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(
        ran.err
            .starts_with(&format!("cannot connect to {address}: ")),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn the_flag_for_the_server_goes_before_the_environment() {
    let (unused, server) = (TestServer::start().await, TestServer::start().await);
    let mut command = command(&["ping", "-s", &server.address().to_string()]);
    command.env("RM_SERVER", unused.address().to_string());
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    server.accept().await.serve("{}").await;
    assert_eq!(finished(ended.await.unwrap()).status, 0);
}

#[test]
fn wrong_usage_exits_64_and_says_what_to_do() {
    let cases: [(&[&str], &str); 13] = [
        (&[], "Usage:"),
        (&["plugins", "reload"], "<NAME>"),
        (&["plugins", "remove", "a"], "unrecognized subcommand"),
        (&["request"], "<TYPE>"),
        (&["nope"], "unrecognized subcommand"),
        (&["ping", "--nope"], "unexpected argument"),
        (&["ping", "-s", "http://a:1"], "expected HOST:PORT"),
        (
            &["ping", "--timeout", "5"],
            "expected a duration such as `5s`",
        ),
        (&["request", "a", "--deadline", "-5s"], "or `0`, got `-5s`"),
        (
            &["request", "a", "{count:2}"],
            "not JSON at line 1 column 2: key must be a string\n  {count:2}\n   ^\nquote it",
        ),
        (&["request", "a", ""], "not JSON"),
        (&["request", "a", "1", "2"], "unexpected argument"),
        (
            &["request", "a", "-"],
            "expected JSON on stdin, got nothing",
        ),
    ];
    for (arguments, expected) in cases {
        let ran = run_alone(arguments);
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (64, ""),
            "{arguments:?}: {}",
            ran.err
        );
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in [&["--help"][..], &["-V"], &["request", "--help"], &["help"]] {
        let ran = run_alone(arguments);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ran.out.contains("rm-cli"), "{}", ran.out);
        if arguments[0] == "request" {
            assert!(ran.out.contains("</dev/null"), "{}", ran.out);
        }
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_fault() {
    let server = TestServer::start().await;
    let mut child = command(&["ping", "-s", &server.address().to_string()])
        .spawn()
        .unwrap();
    let mut peer = server.accept().await;
    drop(child.stdout.take());
    peer.serve("{}").await;
    drop(peer);
    let ran = finished(
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
            .await
            .unwrap(),
    );
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
}

/// Serves a request that bears the id 1, of the session `mine`.
async fn serve_in_session(peer: &mut Peer) {
    let hello = peer.serve(r#"{"v":1,"session":"mine"}"#).await;
    let payload = hello.payload.expect("hello has one");
    assert!(payload.contains(r#""session":"mine""#), "{payload}");
    assert_eq!(peer.serve("{}").await.meta.as_deref(), Some(r#"{"id":1}"#));
}

#[tokio::test]
async fn a_session_is_named_where_the_list_of_processes_does_not_show_it() {
    let server = TestServer::start().await;
    let file = std::env::temp_dir().join(format!("rm-cli-session-{}", std::process::id()));
    std::fs::write(&file, "mine\n").unwrap();
    let by_file = [
        "request",
        "a",
        "--id",
        "1",
        "--session-file",
        file.to_str().unwrap(),
    ];
    let by_environment = ["request", "a", "--id", "1"];
    let by_argument = ["request", "a", "--id", "1", "--session", "mine"];
    for (arguments, in_environment, warning) in [
        (&by_file[..], "another", ""),
        (&by_environment, "mine", ""),
        (&by_argument, "another", "list of processes"),
    ] {
        let mut command = command(arguments);
        command.env("RM_SESSION", in_environment);
        let ran = run(&server, command, None, serve_in_session).await;
        assert_eq!((ran.status, &*ran.out), (0, "{}\n"), "{}", ran.err);
        assert_eq!(ran.err.is_empty(), warning.is_empty(), "{}", ran.err);
        assert!(ran.err.contains(warning), "{}", ran.err);
    }
    std::fs::remove_file(file).unwrap();

    let missing = ["request", "a", "--id", "1"];
    let nothing = ["request", "a", "--id", "1", "--session-file", "/dev/null"];
    let no_file = ["cancel", "1", "--session-file", "/no/such/file"];
    let no_id = ["request", "a", "--session-file", "/dev/null"];
    for (arguments, says) in [
        (&missing[..], "RM_SESSION"),
        (&nothing, "got nothing"),
        (&no_file, "/no/such/file"),
        (&no_id, "--id N"),
    ] {
        let ran = run_alone(&[arguments, &["-s", "127.0.0.1:1"]].concat());
        assert_eq!((ran.status, &*ran.out), (64, ""), "{arguments:?}");
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}
