//! `rm-cli` against the real host: the result on stdout, everything else on stderr, and an exit code that says who is
//! at fault.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
};

use rm_tests::{Gate, TestHost};
use serde_json::{Value, json};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(server: &str, arguments: &[&str], stdin: Option<&str>) -> Ran {
    let mut command = Command::new(rm_tests::cli());
    command
        .args(["-s", server])
        .args(arguments)
        .env_remove("RM_SERVER")
        .env_remove("RM_DATA")
        .stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it was built");
    if let Some(text) = stdin {
        let mut pipe = child.stdin.take().expect("it is piped");
        pipe.write_all(text.as_bytes())
            .expect("it reads what it is given");
    }
    let output = child.wait_with_output().expect("it is our child");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("it writes UTF-8"),
        err: String::from_utf8(output.stderr).expect("it writes UTF-8"),
    }
}

/// Through the operators' socket.
fn operate(host: &TestHost, arguments: &[&str]) -> Ran {
    let data = host.data();
    let data = data.to_str().expect("a temporary folder is text");
    let arguments = [arguments, &["--data", data]].concat();
    // Named too, and not listened to: the flag goes before it.
    run("127.0.0.1:1", &arguments, None)
}

fn ask(host: &TestHost, arguments: &[&str]) -> Ran {
    run(&host.address().to_string(), arguments, None)
}

#[track_caller]
fn expect_result(ran: &Ran, result: &Value) {
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
    assert_eq!(
        ran.out.lines().count(),
        1,
        "one line when it is piped: {}",
        ran.out
    );
    assert_eq!(
        &serde_json::from_str::<Value>(&ran.out).expect("JSON"),
        result
    );
}

#[test]
fn a_result_is_json_on_stdout() {
    let host = TestHost::with_plugin("tickets");
    let first = ask(&host, &["request", "getTickets"]);
    let first: Value = serde_json::from_str(&first.out).expect("JSON");
    let of_first = first["token"].clone();
    assert_eq!(
        (&first["tickets"], &first["left"]),
        (&json!([1]), &json!(499))
    );
    let second = ask(&host, &["request", "getTickets", "{\"count\": 2}"]);
    let token = serde_json::from_str::<Value>(&second.out).expect("JSON")["token"].clone();
    expect_result(
        &second,
        &json!({ "tickets": [2, 3], "left": 497, "token": token }),
    );
    let server = host.address().to_string();
    // Each call is a client of its own, so it shows the token of the grant that it gives back.
    for (last, payload, left) in [
        (Some("-"), json!({ "token": of_first }), 498),
        (None, json!({ "token": token, "tickets": [2] }), 499),
    ] {
        let arguments: Vec<&str> = ["request", "returnTickets"]
            .into_iter()
            .chain(last)
            .collect();
        let piped = run(&server, &arguments, Some(&format!("{payload}\n")));
        expect_result(&piped, &json!({ "left": left }));
    }
}

#[test]
fn ping_and_queue_ask_the_host_itself() {
    let host = TestHost::plan().flags(&["--name", "SRV1"]).start();
    expect_result(&ask(&host, &["ping"]), &json!({ "pong": 0 }));
    expect_result(&ask(&host, &["ping"]), &json!({ "pong": 1 }));
    expect_result(
        &ask(&host, &["queue"]),
        &json!({ "length": 0, "types": {} }),
    );
    host.log().wait_from(0, &["SRV1", "queue:"]);
}

#[test]
fn an_error_reply_is_on_stderr_with_its_code_and_exits_1() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 2\n")
        .start();
    expect_code_0(&ask(&host, &["request", "getTickets"]));
    for (arguments, code) in [
        (&["request", "nobody"][..], "unknown_type"),
        (&["request", "getTickets", "{\"count\": 2}"], "sold_out"),
        (
            &["request", "getTickets", "{\"count\": \"x\"}"],
            "bad_payload",
        ),
        (
            &[
                "request",
                "getTickets",
                "{\"count\": 2}",
                "--wait",
                "--deadline",
                "30ms",
            ],
            "expired",
        ),
    ] {
        let ran = ask(&host, arguments);
        assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{arguments:?}");
        assert!(ran.err.contains(code), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn plugins_are_listed_and_do_as_they_are_told() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("libbroken.so", "no library")
        .start();
    expect_code_0(&ask(&host, &["request", "getTickets"]));
    let listed = ask(&host, &["plugins"]);
    expect_code_0(&listed);
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", listed.out);
    assert!(lines[0].starts_with("NAME     STATE    VERSION  HASH "));
    assert!(lines[1].starts_with("broken   refused  -        - "));
    assert!(lines[2].starts_with("  error: ") && lines[2].contains("libbroken.so"));
    assert!(lines[3].starts_with("tickets  serving  0.1.0    "));
    assert!(lines[3].ends_with("  1       0  getTickets, returnTickets, addTickets"));

    for (told, state) in [
        ("disable", "disabled"),
        ("enable", "serving"),
        ("reload", "serving"),
    ] {
        let ran = operate(&host, &["plugins", told, "tickets", "--json"]);
        expect_code_0(&ran);
        let report: Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!(
            (&report["state"], &report["coming"]),
            (&json!(state), &Value::Null)
        );
    }
    let sold = ask(&host, &["request", "getTickets"]);
    assert!(sold.out.contains("\"tickets\":[2]"), "{}", sold.out);

    // Opened anew, it is still the only version there was.
    let ran = operate(&host, &["plugins", "rollback", "tickets"]);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    assert!(
        ran.err
            .starts_with("bad_payload: no version of `tickets` served before")
    );
    let ran = operate(&host, &["plugins", "rollback", "nobody"]);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    assert!(
        ran.err
            .starts_with("bad_payload: no plugin is named `nobody`")
    );
}

#[track_caller]
fn expect_code_0(ran: &Ran) {
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
}

#[test]
fn with_wait_it_gets_what_comes_back() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\"]\n")
        .start();
    let mut holder = host.connect();
    holder.ask("getProxy", Value::Null).ok();
    let server = host.address().to_string();
    let waiting = std::thread::spawn(move || {
        run(
            &server,
            &["request", "getProxy", "--wait", "--deadline", "30s"],
            None,
        )
    });
    host.log().wait_from(0, &["getProxy", "not yet"]);
    holder.ask("returnProxy", json!({ "id": 1 })).ok();
    let ran = waiting.join().expect("it ends");
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert!(ran.out.contains("\"id\":1"), "{}", ran.out);
}

#[test]
fn no_connection_and_a_lost_one_exit_2() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port is free")
        .local_addr()
        .expect("it is bound");
    let ran = run(&closed.to_string(), &["ping"], None);
    assert_eq!((ran.code, &*ran.out), (Some(2), ""));
    assert!(ran.err.contains(&closed.to_string()), "{}", ran.err);
    let host = TestHost::with_fixture("gates");
    let gate = Gate::new();
    let (server, payload) = (host.address().to_string(), gate.payload("").to_string());
    let asked = std::thread::spawn(move || run(&server, &["request", "addAtGate", &payload], None));
    let entered = gate.entered();
    drop(host);
    let ran = asked.join().expect("it ends");
    assert_eq!((ran.code, &*ran.out), (Some(2), ""));
    assert!(!ran.err.is_empty());
    drop(entered);
}

#[test]
fn wrong_usage_exits_64_and_says_what_to_do() {
    for (arguments, says) in [
        (&["request"][..], "TYPE"),
        (&["request", "a", "{count:2}"], "not JSON"),
        (&["request", "a", "--deadline", "soon"], "5s"),
        (&["no-such-command"], "no-such-command"),
        (&[], "request"),
    ] {
        let ran = run("127.0.0.1:1", arguments, None);
        assert_eq!((ran.code, &*ran.out), (Some(64), ""), "{arguments:?}");
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn operators_commands_find_the_socket_by_themselves_and_over_tcp_say_what_to_do() {
    let host = TestHost::with_plugin("tickets");
    let in_folder = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(rm_tests::cli());
        command
            .args(arguments)
            .current_dir(host.beside())
            .env_remove("RM_SERVER")
            .env_remove("RM_DATA")
            .envs(environment.iter().copied());
        let output = command.output().expect("it was built");
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("it writes UTF-8"),
            err: String::from_utf8(output.stderr).expect("it writes UTF-8"),
        }
    };
    let disable = ["plugins", "disable", "tickets"];
    let enable = ["plugins", "enable", "tickets"];
    // Beside the folder `data`, and with it named in the environment, where an address stands for requests.
    expect_code_0(&in_folder(&disable, &[]));
    let address = host.address().to_string();
    let environment = [("RM_DATA", "./data"), ("RM_SERVER", &*address)];
    expect_code_0(&in_folder(&enable, &environment));
    expect_code_0(&in_folder(&["request", "getTickets"], &environment));
    expect_code_0(&in_folder(
        &["request", "getTickets", "--data", "data"],
        &[],
    ));

    let ran = ask(&host, &disable);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    assert!(
        ran.err.starts_with("operators_only: ") && ran.err.contains("--data DIR"),
        "{}",
        ran.err
    );
    let ran = in_folder(&["plugins"], &[("RM_DATA", "elsewhere")]);
    assert_eq!((ran.code, &*ran.out), (Some(2), ""));
    assert!(ran.err.contains("elsewhere/operators.sock"), "{}", ran.err);
}
