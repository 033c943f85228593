//! Many requests, many clients, and clients that do not read: every answer is unique and none is missing.

use std::{collections::HashSet, sync::Arc, thread};

use client::{Client, ClientOptions, RequestOptions};
use rm_tests::{Gate, RawClient, TestHost};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

#[derive(Deserialize)]
struct Got {
    tickets: Vec<u64>,
    token: u64,
}

async fn connect(host: &TestHost) -> Client {
    let server: client::Server = host
        .address()
        .to_string()
        .parse()
        .expect("an address is a server");
    ClientOptions::default()
        .server(server)
        .connect()
        .await
        .expect("the host listens")
}

/// Runs all of them at once and checks that together they got the first tickets there are, each once.
async fn expect_each_once(asking: JoinSet<Vec<Got>>, count: u64) {
    let grants: Vec<Got> = asking.join_all().await.into_iter().flatten().collect();
    let tokens: HashSet<u64> = grants.iter().map(|got| got.token).collect();
    assert_eq!(tokens.len(), grants.len(), "a token was given twice");
    let mut tickets: Vec<u64> = grants.into_iter().flat_map(|got| got.tickets).collect();
    tickets.sort_unstable();
    assert_eq!(tickets, Vec::from_iter(1..=count));
}

#[tokio::test]
async fn two_thousand_requests_in_flight_on_one_connection_are_all_answered() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 100_000\n")
        .start();
    let client = connect(&host).await;
    let ready = Arc::new(Barrier::new(2_000));
    let mut asking = JoinSet::new();
    for _ in 0..2_000 {
        let (client, ready) = (client.clone(), Arc::clone(&ready));
        asking.spawn(async move {
            ready.wait().await;
            vec![
                client
                    .request("getTickets", ())
                    .await
                    .expect("there are enough"),
            ]
        });
    }
    expect_each_once(asking, 2_000).await;
}

#[tokio::test]
async fn two_thousand_requests_that_stand_behind_one_job_are_all_answered() {
    let host = TestHost::with_fixture("gates");
    let client = connect(&host).await;
    let gate = Gate::new();
    let mut first = host.connect();
    first.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    let mut asking = JoinSet::new();
    for _ in 0..2_000 {
        let client = client.clone();
        asking.spawn(async move {
            let counted: Value = client.request("add", ()).await.expect("it is served");
            counted["count"].as_u64().expect("a number")
        });
    }
    // They are all there.
    loop {
        let queue = client.print_server_queue().await.expect("the host answers");
        let queue: Value = serde_json::from_str(queue.get()).expect("it is JSON");
        if queue["length"] == 2_000 {
            break;
        }
    }
    entered.release();
    let mut counts = asking.join_all().await;
    counts.sort_unstable();
    assert_eq!(counts, Vec::from_iter(2..=2_001));
}

#[tokio::test]
async fn two_hundred_clients_at_once_never_get_the_same_ticket() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 100_000\n")
        .start();
    let ready = Arc::new(Barrier::new(200));
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let (client, ready) = (connect(&host).await, Arc::clone(&ready));
        asking.spawn(async move {
            ready.wait().await;
            let mut got = Vec::new();
            for _ in 0..10 {
                got.push(
                    client
                        .request("getTickets", json!({ "count": 2 }))
                        .await
                        .expect("there are enough"),
                );
            }
            got
        });
    }
    expect_each_once(asking, 200 * 10 * 2).await;
}

#[tokio::test]
async fn of_too_few_tickets_each_is_sold_once_and_the_rest_is_refused() {
    let host = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", "seats = 50\n")
        .start();
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let client = connect(&host).await;
        asking.spawn(async move {
            match client.request::<Got>("getTickets", ()).await {
                Ok(got) => vec![got],
                Err(error) => {
                    assert_eq!(error.code(), Some("sold_out"));
                    Vec::new()
                }
            }
        });
    }
    expect_each_once(asking, 50).await;
}

#[tokio::test]
async fn the_client_library_waits_for_what_another_client_returns() {
    let host = TestHost::plan()
        .plugin("proxies")
        .file("proxies.toml", "urls = [\"a\"]\n")
        .start();
    let (holder, waiting) = (connect(&host).await, connect(&host).await);
    let _: Value = holder.request("getProxy", ()).await.expect("it is free");
    let patient = RequestOptions::default().wait(true);
    let asked = tokio::spawn(async move {
        waiting
            .request_with::<Value>("getProxy", (), &patient)
            .await
    });
    loop {
        let queue = holder.print_server_queue().await.expect("the host answers");
        if queue.get().contains("\"length\":1") {
            break;
        }
    }
    let _: Value = holder
        .request("returnProxy", json!({ "id": 1 }))
        .await
        .expect("it is taken");
    let got = asked
        .await
        .expect("it does not panic")
        .expect("it was returned");
    assert_eq!(got["id"], 1);
}

#[tokio::test]
async fn the_client_library_fails_all_that_waits_when_the_host_is_gone() {
    let host = TestHost::with_fixture("gates");
    let gate = Gate::new();
    let client = connect(&host).await;
    let asked = {
        let (client, payload) = (client.clone(), gate.payload(""));
        tokio::spawn(async move { client.request::<Value>("addAtGate", payload).await })
    };
    let entered = tokio::task::spawn_blocking(move || gate.entered())
        .await
        .expect("it comes");
    drop(host);
    let lost = asked.await.expect("it does not panic");
    assert!(
        matches!(lost, Err(client::ClientError::Lost { .. })),
        "{lost:?}"
    );
    assert!(!client.is_connected());
    drop(entered);
}

#[test]
fn a_client_that_does_not_read_is_let_go_and_disturbs_nobody() {
    let host = TestHost::with_fixture("gates");
    let (gate, mut deaf, mut other) = (Gate::new(), host.connect(), host.connect());
    // Asked for before a single reply could pile up, and together more than is ever kept for one client.
    let large = (0..85).map(|_| ("large", json!({ "bytes": 1_000_000 })));
    deaf.tell_all(
        [("stopBeforeLarge", gate.payload(""))]
            .into_iter()
            .chain(large),
    );
    let entered = gate.entered();
    deaf.tell_all([("add", Value::Null)]);
    host.log().wait_from(0, &["type=add"]);
    entered.release();
    let from = host.log().len();
    let others = thread::spawn(move || {
        for count in 2..500 {
            assert_eq!(other.ask("add", Value::Null).number("count"), count);
        }
    });
    host.log()
        .wait_from(from, &["WARN", "disconnected", "has not read"]);
    others.join().expect("nobody else is disturbed");
    assert_eq!(
        host.connect().ask("large", json!({ "bytes": 1 })).ok()["padding"],
        "x"
    );
    drop(deaf);
}

#[test]
fn a_client_that_asks_on_and_never_reads_is_let_go_in_the_end() {
    let host = TestHost::with_fixture("answers");
    let mut deaf = host.connect();
    // More than its socket and the host's keep, so that the host stops to read it.
    deaf.tell_all((0..400).map(|_| ("padded", json!({ "bytes": 100_000 }))));
    let mut other = host.connect();
    other.sync();
    host.log()
        .wait_from(0, &["WARN", "disconnected", "has taken nothing"]);
    other.sync();
    drop(deaf);
}

#[test]
fn a_client_that_reads_late_still_gets_every_reply_in_order() {
    let host = TestHost::with_fixture("answers");
    let mut late = host.connect();
    late.tell_all((0..300).map(|at| ("padded", json!({ "bytes": 100_000 + at }))));
    // The host has long stopped to read it.
    let mut other = host.connect();
    (0..100).for_each(|_| other.sync());
    for (reply, at) in late.replies(300).iter().zip(0..) {
        assert_eq!(
            reply.result["padding"].as_str().map(str::len),
            Some(100_000 + at)
        );
    }
    late.sync();
}

#[test]
fn connections_come_and_go_without_a_trace() {
    let host = TestHost::with_plugin("tickets");
    for _ in 0..300 {
        let mut client = host.connect();
        client.send_bytes(b"{\"type\":\"getTickets\",");
        client.reset();
    }
    let mut client = RawClient::connect(host.address());
    assert_eq!(
        client.ask("getTickets", Value::Null).ok()["tickets"],
        json!([1])
    );
}
