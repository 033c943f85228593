//! What `rm-cli bench` promises: what it counts, what it notices, and its exit status.

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::{
    io::Write,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Peer, TestServer};

/// A benchmark of one connection that prints JSON, under way.
fn bench(server: &TestServer, arguments: &[&str]) -> Child {
    bench_with(server, arguments, Stdio::null())
}

/// The same with a payload that is too long for an argument.
fn bench_from_stdin(server: &TestServer, arguments: &[&str], payload: &str) -> Child {
    let arguments = [arguments, &["--payload", "-"]].concat();
    let mut bench = bench_with(server, &arguments, Stdio::piped());
    let mut stdin = bench.stdin.take().unwrap();
    stdin.write_all(payload.as_bytes()).unwrap();
    bench
}

fn bench_with(server: &TestServer, arguments: &[&str], stdin: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rm-cli"))
        .args(["-s", &server.address().to_string(), "bench", "--json"])
        .args(["-c", "1"])
        .args(arguments)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

struct Ran {
    status: Option<i32>,
    figures: Value,
    err: String,
}

async fn ended(bench: Child) -> Ran {
    let waited = tokio::task::spawn_blocking(|| bench.wait_with_output().unwrap());
    read(waited.await.unwrap())
}

fn read(output: Output) -> Ran {
    let out = String::from_utf8(output.stdout).unwrap();
    Ran {
        status: output.status.code(),
        figures: serde_json::from_str(&out).unwrap_or_default(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a benchmark whose requests are answered one after the other with these results.
async fn answered(arguments: &[&str], results: &[&str]) -> Ran {
    let server = TestServer::start().await;
    let requests = results.len().to_string();
    let bench = bench(&server, &[&["--requests", &requests], arguments].concat());
    let mut peer = server.accept().await;
    for result in results {
        peer.serve(result).await;
    }
    assert_eq!(peer.next().await, None, "no more than it was told to");
    ended(bench).await
}

const ALONE: [&str; 2] = ["--pipeline", "1"];

#[tokio::test]
async fn it_sends_what_it_is_told_to_and_counts_the_replies() {
    let server = TestServer::start().await;
    let order = [
        "--type",
        "a b",
        "--payload",
        r#"{"n": 1}"#,
        "-P",
        "2",
        "--requests",
        "5",
    ];
    let bench = bench(&server, &order);
    let mut peer = server.accept().await;
    let mut numbers = Vec::new();
    let mut asked = vec![peer.asked().await, peer.asked().await];
    for _ in 0..5 {
        // The later one first.
        let Some(request) = asked.pop() else { break };
        assert_eq!(request.type_name, "a b");
        assert_eq!(request.payload.as_deref(), Some(r#"{"n": 1}"#));
        peer.reply("a b", &request.query_index, r#"{"b":"🦁"}"#)
            .await;
        numbers.push(request.query_index);
        if numbers.len() <= 3 {
            asked.push(peer.asked().await);
        }
    }
    let ran = ended(bench).await;
    assert_eq!((ran.status, &*ran.err), (Some(0), ""));
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 5, "each request has a number of its own");
    let row = &ran.figures["figures"][0];
    assert_eq!(ran.figures["types"], json!(["a b"]));
    assert_eq!(
        (&row["connections"], &row["pipeline"], &row["requests"]),
        (&json!(1), &json!(2), &json!(5))
    );
    for rate in [
        "requests_per_second",
        "mb_per_second_out",
        "mb_per_second_in",
    ] {
        assert!(row[rate].as_f64().unwrap() > 0.0, "{rate}");
    }
    assert!(row["latency_us"]["p99_9"].as_f64().unwrap() > 0.0);
    assert_eq!(row["errors"], json!({}));
}

#[tokio::test]
async fn several_types_are_asked_in_turn() {
    let server = TestServer::start().await;
    let order = ["--type", "a", "--type", "b c", "--type", "d", "-P", "1"];
    let bench = bench(&server, &[&order[..], &["--requests", "7"]].concat());
    let mut peer = server.accept().await;
    let mut asked = Vec::new();
    for _ in 0..7 {
        // Two kinds of seats may well have the same number.
        asked.push(peer.serve(r#"{"token":1}"#).await.type_name);
    }
    let ran = ended(bench).await;
    assert_eq!((ran.status, &*ran.err), (Some(0), ""));
    let turns = ["a", "b c", "d"];
    let first = turns.iter().position(|turn| *turn == asked[0]);
    let mut expected = turns.iter().cycle().skip(first.unwrap());
    assert!(
        asked.iter().all(|of| Some(&&**of) == expected.next()),
        "{asked:?}"
    );
    assert_eq!(ran.figures["types"], json!(turns));
    let row = &ran.figures["figures"][0];
    assert_eq!(
        (&row["requests"], &row["unexpected_replies"]),
        (&json!(7), &json!(0))
    );
    assert_eq!(row["unique"], Value::Null);
}

#[tokio::test]
async fn a_payload_that_is_no_argument_comes_from_stdin() {
    let server = TestServer::start().await;
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    let bench = bench_from_stdin(&server, &["-P", "1", "--requests", "1"], &large);
    let mut peer = server.accept().await;
    let asked = peer.serve("{}").await;
    assert_eq!(asked.payload, Some(large));
    let ran = ended(bench).await;
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert_eq!(ran.figures["payload_bytes"], 1_000_002);
}

#[tokio::test]
async fn a_number_that_is_given_twice_is_a_failure() {
    let twice = [
        r#"{"token":7,"left":1}"#,
        r#"{"token":8,"left":1}"#,
        r#"{"token":7,"left":1}"#,
    ];
    let ran = answered(&ALONE, &twice).await;
    assert_eq!(ran.status, Some(1));
    let unique = &ran.figures["figures"][0]["unique"];
    assert_eq!(
        (
            &unique["field"],
            &unique["numbers"],
            &unique["twice"],
            &unique["example"]
        ),
        (&json!("token"), &json!(3), &json!(1), &json!(7))
    );
    let ran = answered(&["--pipeline", "1", "--unique", "left"], &twice[..2]).await;
    assert_eq!(
        (ran.status, &ran.figures["figures"][0]["unique"]["twice"]),
        (Some(1), &json!(1))
    );
    let ran = answered(&["--pipeline", "1", "--unique", "seat"], &twice[..2]).await;
    assert_eq!(
        (ran.status, &ran.figures["figures"][0]["unique"]["missing"]),
        (Some(1), &json!(2))
    );
    let ran = answered(&["--pipeline", "1", "--no-unique"], &twice).await;
    assert_eq!(
        (ran.status, &ran.figures["figures"][0]["unique"]),
        (Some(0), &Value::Null)
    );
}

#[tokio::test]
async fn error_replies_are_counted_by_code_and_fail_unless_they_are_allowed() {
    let results = [
        r#"{"err":"none left","code":"sold_out"}"#,
        r#"{"err":"5"}"#,
        r#"{"code":"sold_out","err":"again"}"#,
        r#"{"err":"none left","code":"sold_out"}"#,
    ];
    let ran = answered(&ALONE, &results).await;
    let row = &ran.figures["figures"][0];
    assert_eq!(ran.status, Some(1));
    assert_eq!(
        (&row["requests"], &row["errors"]),
        (&json!(4), &json!({ "sold_out": 3 }))
    );
    let ran = answered(&["--pipeline", "1", "--allow", "sold_out"], &results).await;
    assert_eq!(ran.status, Some(0));
}

#[tokio::test]
async fn at_a_fixed_rate_a_stall_counts_for_all_that_was_due_meanwhile() {
    let stall = Duration::from_millis(400);
    let server = TestServer::start().await;
    // Due within 190 ms, one every 10 ms.
    let bench = bench(&server, &["-P", "1", "--rate", "100", "--requests", "20"]);
    let mut peer = server.accept().await;
    let first = peer.asked().await;
    tokio::time::sleep(stall).await;
    peer.reply(&first.type_name, &first.query_index, "{}").await;
    for _ in 1..20 {
        peer.serve("{}").await;
    }
    let ran = ended(bench).await;
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    let row = &ran.figures["figures"][0];
    let least = row["latency_us"]["p50"].as_f64().unwrap();
    // The tenth was due at 90 ms, and was sent after the stall.
    assert!(least > 290_000.0, "{row}");
}

#[tokio::test]
async fn what_was_due_and_could_not_be_sent_counts_with_the_time_that_it_waited() {
    let server = TestServer::start().await;
    let order = ["-P", "1", "--rate", "1000", "--seconds", "0.5"];
    let bench = bench(&server, &order);
    let mut peer = server.accept().await;
    // Fewer than are due in the warm-up, so that on a busy machine too the stall comes before the end.
    for _ in 0..50 {
        peer.serve("{}").await;
    }
    let last = peer.asked().await;
    // Until it must be over, a stall.
    tokio::time::sleep(Duration::from_millis(900)).await;
    peer.reply("ping", &last.query_index, "{}").await;
    let ran = ended(bench).await;
    let row = &ran.figures["figures"][0];
    assert_eq!(ran.status, Some(2), "{row}");
    assert!(row["overdue"].as_u64().unwrap() > 100, "{row}");
    // Most of those that were due had waited for long by the end.
    assert!(
        row["latency_us"]["p50"].as_f64().unwrap() > 20_000.0,
        "{row}"
    );
}

#[tokio::test]
async fn large_requests_are_as_many_in_flight_as_it_was_told() {
    let server = TestServer::start().await;
    let large = format!("\"{}\"", "x".repeat(300_000));
    let bench = bench_from_stdin(&server, &["-P", "8", "--requests", "8"], &large);
    let mut peer = server.accept().await;
    let mut asked = Vec::new();
    // None is answered before all have come.
    for _ in 0..8 {
        asked.push(peer.asked().await);
    }
    for request in asked {
        peer.reply("ping", &request.query_index, "{}").await;
    }
    assert_eq!(ended(bench).await.status, Some(0));
}

#[tokio::test]
async fn a_number_of_an_earlier_load_is_not_to_be_given_again() {
    let server = TestServer::start().await;
    let bench = bench(&server, &["-P", "1,2", "--requests", "2"]);
    for numbers in [[1, 2], [3, 1]] {
        let mut peer = server.accept().await;
        for number in numbers {
            peer.serve(&format!(r#"{{"token":{number}}}"#)).await;
        }
    }
    let ran = ended(bench).await;
    let unique = |at: usize| ran.figures["figures"][at]["unique"].clone();
    assert_eq!((ran.status, &unique(0)["twice"]), (Some(1), &json!(0)));
    assert_eq!(
        (
            &unique(1)["numbers"],
            &unique(1)["twice"],
            &unique(1)["example"]
        ),
        (&json!(2), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn figures_of_earlier_loads_are_told_when_a_later_one_cannot_begin() {
    let server = TestServer::start().await;
    let bench = bench(
        &server,
        &["-P", "1,2", "--requests", "1", "--timeout", "1s"],
    );
    let mut peer = server.accept().await;
    let asked = peer.asked().await;
    // Before it can connect again.
    drop(server);
    peer.reply("ping", &asked.query_index, "{}").await;
    let ran = ended(bench).await;
    assert_eq!(ran.status, Some(2));
    assert_eq!(ran.figures["figures"].as_array().map(Vec::len), Some(1));
    assert!(ran.err.contains("is rm-host running there?"), "{}", ran.err);
}

#[tokio::test]
async fn a_reply_of_another_type_is_none() {
    let server = TestServer::start().await;
    let bench = bench(&server, &["-P", "1", "--requests", "1"]);
    let mut peer = server.accept().await;
    let asked = peer.asked().await;
    peer.reply("other", &asked.query_index, "{}").await;
    peer.reply("ping", &asked.query_index, "{}").await;
    let ran = ended(bench).await;
    let row = &ran.figures["figures"][0];
    assert_eq!(
        (ran.status, &row["unexpected_replies"], &row["requests"]),
        (Some(2), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_pause_of_the_rate_is_no_silence_of_the_host() {
    let server = TestServer::start().await;
    let order = [
        "-P",
        "1",
        "--rate",
        "1",
        "--requests",
        "3",
        "--timeout",
        "900ms",
    ];
    let bench = bench(&server, &order);
    let mut peer = server.accept().await;
    for _ in 0..3 {
        let asked = peer.asked().await;
        // Less than it waits for a reply, and with the pause before it more.
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.reply("ping", &asked.query_index, "{}").await;
    }
    let ran = ended(bench).await;
    assert_eq!(ran.status, Some(0), "{} {}", ran.figures, ran.err);
}

#[tokio::test]
async fn a_lost_connection_and_a_reply_that_does_not_come_are_told() {
    let server = TestServer::start().await;
    let lost = bench(&server, &["-P", "2", "--requests", "10"]);
    let mut peer = server.accept().await;
    peer.serve("{}").await;
    drop(peer);
    let ran = ended(lost).await;
    let row = &ran.figures["figures"][0];
    assert_eq!((ran.status, &row["lost_connections"]), (Some(2), &json!(1)));
    assert!(row["unanswered"].as_u64().unwrap() >= 1, "{row}");

    let silent = bench(
        &server,
        &["-P", "2", "--requests", "10", "--timeout", "500ms"],
    );
    let mut peer = server.accept().await;
    peer.serve("{}").await;
    let ran = ended(silent).await;
    assert_eq!(ran.status, Some(2));
    assert_eq!(ran.figures["figures"][0]["unanswered"], 2);
}

#[tokio::test]
async fn a_reply_that_nobody_waits_for_is_told() {
    let server = TestServer::start().await;
    let bench = bench(&server, &["-P", "1", "--requests", "2"]);
    let mut peer = server.accept().await;
    let first = peer.asked().await;
    peer.reply("ping", &first.query_index, "{}").await;
    let second = peer.asked().await;
    for number in [&first.query_index, "5", "1e9", &second.query_index] {
        peer.reply("ping", number, "{}").await;
    }
    let ran = ended(bench).await;
    assert_eq!(
        (ran.status, &ran.figures["figures"][0]["unexpected_replies"]),
        (Some(2), &json!(3))
    );
}

#[tokio::test]
async fn interrupted_it_still_prints_its_figures() {
    let server = TestServer::start().await;
    let bench = bench(&server, &["-P", "1", "--seconds", "3600"]);
    let mut peer = server.accept().await;
    for _ in 0..3 {
        peer.serve("{}").await;
    }
    let id = bench.id().to_string();
    let interrupt = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(interrupt.success());
    let (ran, ()) = tokio::join!(ended(bench), serve_all(peer));
    assert_eq!(ran.status, Some(130), "{}", ran.err);
    assert_eq!(ran.figures["figures"][0]["interrupted"], true);
}

#[tokio::test]
async fn interrupted_it_waits_for_the_replies_that_are_due_for_a_while_only() {
    let server = TestServer::start().await;
    let bench = bench(&server, &["-P", "50", "--seconds", "3600"]);
    let id = bench.id().to_string();
    let mut peer = server.accept().await;
    let mut asked = Vec::new();
    for _ in 0..50 {
        asked.push(peer.asked().await);
    }
    let interrupt = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(interrupt.success());
    // One reply after the other, for longer than anybody waits.
    let slowly = async {
        for request in asked {
            tokio::time::sleep(Duration::from_millis(200)).await;
            peer.reply("ping", &request.query_index, "{}").await;
        }
    };
    let ran = tokio::select! {
        ran = ended(bench) => ran,
        () = slowly => panic!("all were waited for"),
    };
    assert_eq!(ran.status, Some(130), "{}", ran.err);
    assert!(ran.figures["figures"][0]["unanswered"].as_u64().unwrap() > 0);
}

async fn serve_all(mut peer: Peer) {
    while let Some(asked) = peer.next().await {
        peer.reply(&asked.type_name, &asked.query_index, "{}").await;
    }
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_a_remedy() {
    let server = TestServer::start().await;
    for (arguments, text) in [
        (&["--payload", "{"][..], "is not JSON"),
        (&["--pipeline", "0"], "0 is not in 1..="),
        (&["--seconds", "0"], "expected seconds from 0.001"),
        (
            &["--seconds", "1", "--requests", "1"],
            "cannot be used with",
        ),
        (&["-c", "60001"], "is not in 1..=60000"),
        (&["-P", "10", "--seconds", "1e-10"], "from 0.001"),
    ] {
        let ran = ended(bench(&server, arguments)).await;
        assert_eq!(ran.status, Some(64), "{arguments:?}");
        assert!(ran.err.contains(text), "{arguments:?}: {}", ran.err);
    }
    let many = ["-c", "1000", "-P", "100000"];
    let server_address = server.address().to_string();
    let too_many = Command::new(env!("CARGO_BIN_EXE_rm-cli"))
        .args([&["-s", &server_address, "bench"][..], &many].concat())
        .output()
        .unwrap();
    assert_eq!(too_many.status.code(), Some(64));
    let text = String::from_utf8_lossy(&too_many.stderr);
    assert!(
        text.contains("at most 10,000,000 requests in flight"),
        "{text}"
    );
    let nobody = server.address();
    drop(server);
    let alone = Command::new(env!("CARGO_BIN_EXE_rm-cli"))
        .args(["-s", &nobody.to_string(), "bench"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("is rm-host running there?"));
}
