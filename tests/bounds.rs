//! What one client may use up is bounded, far above what any honest one needs; who reaches a bound is told so, and
//! nobody else notices.

use std::{fs, time::Instant};

use rm_tests::{GUARD, Gate, RawClient, Reply, TestHost};
use serde_json::{Value, json};

const CLIENT_JOBS_MAX: usize = 100_000;

/// With queues that one client alone cannot fill, and without a line of the log for every request.
fn start() -> TestHost {
    TestHost::plan()
        .fixture("gates")
        .flags(&["--queue-max", "1000000", "--log", "info"])
        .start()
}

/// Asks so often in writes that end, so that the host is never the one who waits.
fn tell_many(client: &mut RawClient, type_name: &str, count: usize) {
    for _ in 0..count / 1_000 {
        client.tell_all((0..1_000).map(|_| (type_name, Value::Null)));
    }
    client.tell_all((0..count % 1_000).map(|_| (type_name, Value::Null)));
}

#[test]
fn a_hundred_thousand_open_requests_of_one_connection_are_kept_and_no_more() {
    let host = start();
    let (gate, mut client, mut other) = (Gate::new(), host.connect(), host.connect());
    other.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    tell_many(&mut client, "add", CLIENT_JOBS_MAX);
    client.sync();
    for _ in 0..3 {
        let refused = client.ask("add", Value::Null);
        assert!(refused.number("retry_after_ms") > 0);
        let said = refused.refused("busy");
        assert!(
            said.contains("100000") && said.contains("this connection"),
            "{said}"
        );
    }
    // What is answered at once needs no place.
    client.ask("who", Value::Null).ok();
    // Another one's queue is not full.
    other.tell("add", Value::Null);
    other.sync();
    entered.release();
    assert_eq!(other.reply().number("count"), 1);
    for (reply, count) in client.replies(CLIENT_JOBS_MAX).iter().zip(2..) {
        assert_eq!(reply.number("count"), count);
    }
    assert_eq!(other.reply().number("count"), CLIENT_JOBS_MAX as u64 + 2);
    client.ask("add", Value::Null).ok();
}

#[test]
fn the_report_of_a_long_queue_is_exact_while_others_are_served() {
    let host = start();
    let (gate, mut client, mut second, mut other) =
        (Gate::new(), host.connect(), host.connect(), host.connect());
    client.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    tell_many(&mut client, "add", 60_000);
    tell_many(&mut second, "count", 40_000);
    client.sync();
    second.sync();
    let queued =
        |report: &Reply, type_name: &str| report.result["types"][type_name]["queued"].clone();
    for _ in 0..20 {
        let report = other.ask("srvQueuePrint", Value::Null);
        assert_eq!(report.number("length"), 100_000);
        assert_eq!(queued(&report, "add"), 60_000);
        assert_eq!(queued(&report, "count"), 40_000);
        assert_eq!(
            report.result["types"].as_object().map(serde_json::Map::len),
            Some(2)
        );
        other.ask("alone", Value::Null).ok();
        other.ask("who", Value::Null).ok();
    }
    // The half of it goes with its client.
    second.reset();
    loop {
        let report = other.ask("srvQueuePrint", Value::Null);
        assert_eq!(queued(&report, "add"), 60_000);
        if report.number("length") == 60_000 {
            assert_eq!(queued(&report, "count"), Value::Null);
            break;
        }
    }
    entered.release();
    assert_eq!(client.replies(60_001).len(), 60_001);
    let report = other.ask("srvQueuePrint", Value::Null);
    assert_eq!(report.result, json!({ "length": 0, "types": {} }));
}

#[test]
fn an_eager_reader_gets_many_large_replies_of_a_lane_thread() {
    const BYTES: usize = 1024 * 1024;
    // Together more than is ever kept for one client.
    const COUNT: usize = 70;
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--deadline", "0"])
        .start();
    let mut client = host.connect();
    client.tell_all((0..COUNT).map(|_| ("large", json!({ "bytes": BYTES }))));
    for _ in 0..COUNT {
        let padding = client.reply().result["padding"].as_str().map(str::len);
        assert_eq!(padding, Some(BYTES));
    }
    client.sync();
}

#[test]
fn what_a_client_says_of_a_wrong_message_comes_back_whole_and_is_cut_in_the_log() {
    let host = TestHost::plan().start();
    let mut client = host.connect();
    for payload in [
        json!("ä".repeat(250_000)),
        json!({ "text": "x".repeat(500_000) }),
        json!(vec![7; 250_000]),
    ] {
        let from = host.log().len();
        let reply = client.ask("errMsgFromClient", payload.clone());
        assert_eq!(reply.result["err"], payload);
        let line = host
            .log()
            .wait_from(from, &["WARN", "the client says that a message was wrong"]);
        assert!(line.len() < 4_096, "a line of {} bytes", line.len());
    }
}

/// How many sockets a host has open.
fn sockets(host: &TestHost) -> usize {
    let of_process = format!("/proc/{}/fd", host.process_id());
    let files = fs::read_dir(of_process).expect("the host runs");
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links
        .filter(|link| link.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
        .count()
}

/// What has come of both when the host begins is not left to chance: the host stands still.
#[test]
fn what_the_host_itself_answers_counts_for_its_clients_turn() {
    let host = TestHost::with_fixture("blocks");
    let gate = Gate::new();
    let (mut blocking, mut greedy, mut other) = (host.connect(), host.connect(), host.connect());
    greedy.sync();
    other.sync();
    blocking.tell("blockAtGate", gate.payload(""));
    let entered = gate.entered();
    for client in [&mut greedy, &mut other] {
        let round = (0..20).map(|_| "rm.plugins").chain(["ping"]);
        let rounds = round.cycle().take(21 * 10);
        client.tell_all(rounds.map(|type_name| (type_name, Value::Null)));
    }
    entered.release();
    blocking.reply().ok();
    // Pings are counted over all clients, so they tell who was served when.
    let pongs = |client: &mut RawClient| -> Vec<u64> {
        let replies = client.replies(21 * 10);
        let pongs = replies.iter().filter(|reply| reply.type_name == "ping");
        pongs.map(|reply| reply.number("pong")).collect()
    };
    let (greedy, other) = (pongs(&mut greedy), pongs(&mut other));
    assert!(
        other.first() < greedy.last() && greedy.first() < other.last(),
        "{greedy:?} {other:?}"
    );
}

/// The most memory that a host has ever had, in bytes.
fn highest_memory(host: &TestHost) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", host.process_id()));
    let status = status.expect("the host runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: usize = kilobytes
        .and_then(|number| number.parse().ok())
        .expect("Linux says so");
    kilobytes * 1024
}

/// The number of the client that began a session.
fn client_id(session: &str) -> u64 {
    let (id, _) = session.split_once('-').expect("a name has two parts");
    u64::from_str_radix(id, 16).expect("a number")
}

#[test]
fn half_messages_of_many_take_no_more_than_their_share_and_the_longest_go_first() {
    const MIB: usize = 1024 * 1024;
    let host = TestHost::plan()
        .fixture("answers")
        .flags(&["--log", "info"])
        .start();
    let mut honest = host.connect();
    let first_id = client_id(&honest.session());
    honest.send_bytes(br#"{"type":"ping","queryIndex":1,"#);
    let mut hoarders: Vec<RawClient> = (0..300).map(|_| host.connect()).collect();
    for hoarder in &mut hoarders {
        // Those that are let go meanwhile may not take it.
        let _ = hoarder.try_send_bytes(&vec![b'x'; MIB - 1]);
    }
    let mut other = host.connect();
    other.sync();
    let highest = highest_memory(&host) / MIB;
    assert!(highest < 260, "{highest} MiB");
    let line = host
        .log()
        .wait_from(0, &["WARN", "disconnected:", "unfinished messages"]);
    let id = line.split_once("client=").expect("it names who").1;
    let id: u64 = id
        .split_whitespace()
        .next()
        .and_then(|id| id.parse().ok())
        .expect("a number");
    let hoarder = usize::try_from(id - first_id - 1).expect("it came after the first");
    hoarders[hoarder].reply().refused("busy");
    honest.send_bytes("\"payload\":1}🦀".as_bytes());
    honest.reply().ok();
}

#[test]
fn a_message_that_does_not_end_is_given_up() {
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--message-timeout", "300ms"])
        .start();
    let (gate, mut slow, mut patient) = (Gate::new(), host.connect(), host.connect());
    slow.tell("stop", gate.payload("in work"));
    let entered = gate.entered();
    slow.send_bytes(br#"{"type":"ping""#);
    host.log().wait_from(0, &["WARN", "disconnected:", "300ms"]);
    // It is told, after what it is owed.
    entered.release();
    assert_eq!(slow.reply().ok()["name"], "in work");
    let told = slow.reply();
    assert!(told.text.contains(r#"{\"type\":\"ping\""#), "{}", told.text);
    assert!(told.refused("bad_message").contains("300ms"));
    slow.expect_end();
    // Who has not begun one is not hurried.
    patient.sync();
}

#[test]
fn an_answer_that_is_asked_for_again_and_never_read_takes_no_more_than_its_share() {
    const MIB: usize = 1024 * 1024;
    let host = TestHost::plan()
        .fixture("answers")
        .flags(&["--log", "info"])
        .start();
    let mut first = host.connect();
    let session = first.session();
    let payload = json!({ "bytes": 3_900_000 });
    first.ask_once(1, "padded", &payload).ok();
    let mut deaf = Vec::new();
    for _ in 0..120 {
        let mut client = host.connect();
        client.resume(&session).ok();
        for _ in 0..3 {
            client.tell_with(&json!({ "id": 1 }), "padded", &payload);
        }
        deaf.push(client);
        first.sync();
    }
    let highest = highest_memory(&host) / MIB;
    assert!(highest < 400, "{highest} MiB");
    first.ask_once(1, "padded", &payload).refused("busy");
    drop(deaf);
    while first.ask_once(1, "padded", &payload).code() == Some("busy") {}
}

#[test]
fn who_asks_again_for_what_is_under_way_and_goes_leaves_nothing_behind() {
    let host = TestHost::with_plugin("proxies");
    let mut first = host.connect();
    let session = first.session();
    let ask = |client: &mut RawClient| {
        for id in 1..=4 {
            let meta = json!({ "id": id, "wait": true, "deadline_ms": 0 });
            client.tell_with(&meta, "getProxy", &Value::Null);
        }
        client.sync();
    };
    ask(&mut first);
    let before = sockets(&host);
    for round in 0..40 {
        let mut again = host.connect();
        again.resume(&session).ok();
        ask(&mut again);
        if round % 2 == 0 {
            again.reset();
        } else {
            // It takes back what has not begun, so nothing is left that it could be told.
            again.finish();
            again.expect_end();
        }
    }
    let since = Instant::now();
    while sockets(&host) > before {
        assert!(
            since.elapsed() < GUARD,
            "{} sockets are left of {before}",
            sockets(&host)
        );
        first.sync();
    }
    // Those who stay are served all the same.
    let mut again = host.connect();
    again.resume(&session).ok();
    ask(&mut again);
    again.tell("rm.cancel", json!({ "id": 2 }));
    for client in [&mut first, &mut again] {
        client.reply().refused("cancelled");
    }
    assert_eq!(again.reply().ok()["was"], "waiting");
}

/// As slow as such a client is let go: the host's own patience passes.
#[test]
fn a_client_that_keeps_asking_and_reads_nothing_is_let_go_soon() {
    let host = TestHost::with_fixture("answers");
    let (mut deaf, mut other) = (host.connect(), host.connect());
    // More than its socket takes.
    deaf.tell_all((0..100).map(|_| ("padded", json!({ "bytes": 100_000 }))));
    let since = Instant::now();
    let ping = format!(r#"{{"type":"ping","queryIndex":0}}{}"#, rm_tests::SEPARATOR);
    while deaf.try_send_bytes(ping.as_bytes()).is_ok() {
        // Sets the pace, and shows that nobody else is kept from anything.
        other.sync();
        assert!(since.elapsed() < GUARD, "it is never let go");
    }
    host.log()
        .wait_from(0, &["WARN", "disconnected", "has taken nothing"]);
    other.sync();
}
