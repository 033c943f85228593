//! What a client promises, against a host that does only what each test says.

mod support;

use std::time::Duration;

use client::{Client, ClientError, ClientOptions, RequestOptions, limits::OUTGOING_BYTES_MAX};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Peer, TestServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

#[derive(Debug, PartialEq, Deserialize)]
struct Count {
    n: u64,
}

/// A client, and the host's side of its connection.
async fn connected(server: &TestServer) -> (Client, Peer) {
    connected_with(server, ClientOptions::default()).await
}

async fn connected_with(server: &TestServer, options: ClientOptions) -> (Client, Peer) {
    let (client, peer) = tokio::join!(options.server(server.address()).connect(), server.accept());
    (client.unwrap(), peer)
}

#[tokio::test]
async fn a_request_goes_out_in_the_plain_form_and_its_result_is_typed() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let answering = async {
        let expected = "{\"type\":\"count\",\"queryIndex\":1,\"payload\":{\"by\":2}}🦀{\"type\":\"ping\",\"queryIndex\":2}🦀";
        let mut bytes = vec![0; expected.len()];
        peer.stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        peer.reply("count", "1", r#"{"n":7}"#).await;
        peer.reply("ping", "2", r#"{"pong":0}"#).await;
    };
    let (count, pong, ()) = tokio::join!(
        client.request("count", json!({"by": 2})),
        client.request::<Value>("ping", ()),
        answering
    );
    assert_eq!(
        (count.unwrap(), pong.unwrap()),
        (Count { n: 7 }, json!({"pong": 0}))
    );
}

#[tokio::test]
async fn replies_in_any_order_reach_those_that_asked() {
    const REQUESTS: u64 = 2000;
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let mut asking = JoinSet::new();
    for n in 0..REQUESTS {
        let client = client.clone();
        asking.spawn(async move {
            let type_name = if n % 2 == 0 { "even" } else { "odd" };
            let got: Count = client.request(type_name, json!({ "n": n })).await.unwrap();
            assert_eq!(got.n, n);
        });
    }
    let mut asked = Vec::new();
    for _ in 0..REQUESTS {
        asked.push(peer.asked().await);
    }
    // Those of one type in order, the types interleaved backwards.
    asked.sort_by_key(|asked| asked.type_name != "odd");
    for asked in asked {
        peer.reply(
            &asked.type_name,
            &asked.query_index,
            &asked.payload.unwrap(),
        )
        .await;
    }
    asking.join_all().await;
}

#[tokio::test]
async fn a_reply_of_another_type_under_the_same_number_is_not_taken() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let (got, ()) = tokio::join!(client.request::<Count>("a", ()), async {
        peer.asked().await;
        peer.reply("b", "1", r#"{"n":1}"#).await;
        peer.reply("a", "2", r#"{"n":2}"#).await;
        peer.stream.write_all("no JSON🦀".as_bytes()).await.unwrap();
        peer.reply("a", "1", r#"{"n":3}"#).await;
    });
    assert_eq!(got.unwrap(), Count { n: 3 });
}

#[tokio::test]
async fn a_result_that_is_hardly_text_costs_nobody_the_connection() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    for result in [
        r#"{"\ud800":1}"#,
        r#"{"\ud800":1,"code":"\udc00","err":"\ud800"}"#,
        r#"{"n":1e999999,"n":"\ud800"}"#,
    ] {
        let options = RequestOptions::default();
        let (got, _) = tokio::join!(client.request_raw("a", None, &options), peer.serve(result));
        assert_eq!(got.unwrap().get(), result);
    }
    let (got, _) = tokio::join!(client.request::<Count>("a", ()), peer.serve(r#"{"n":1}"#));
    assert_eq!(got.unwrap(), Count { n: 1 });
}

#[tokio::test]
async fn an_error_reply_becomes_a_refusal_with_its_code_and_the_whole_result() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let result = r#"{"err":"the queue is full","code":"busy","retry_after_ms":50}"#;
    let (got, _) = tokio::join!(client.request::<Value>("a", ()), peer.serve(result));
    let error = got.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Some("busy"), "busy: the queue is full")
    );
    let ClientError::Refused { result: raw, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(raw.get(), result);
}

#[tokio::test]
async fn a_complaint_about_a_message_reaches_the_one_that_sent_it() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let (got, ()) = tokio::join!(client.request::<Value>("a", ()), async {
        let asked = peer.asked().await;
        let result = r#"{"msg":"nested too deep","err":"{…","code":"bad_message"}"#;
        peer.reply("errMsgFromClient", &asked.query_index, result)
            .await;
    });
    assert_eq!(got.unwrap_err().to_string(), "bad_message: nested too deep");
}

#[tokio::test]
async fn a_result_of_another_form_is_an_error_that_keeps_it() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let (got, _) = tokio::join!(client.request::<Count>("a", ()), peer.serve(r#"{"m":1}"#));
    let Err(ClientError::Result { result, .. }) = got else {
        panic!("{got:?}")
    };
    assert_eq!(result.get(), r#"{"m":1}"#);
}

#[tokio::test]
async fn a_lost_connection_fails_all_that_wait_and_all_that_come_later() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        asking.spawn(async move { client.request::<Value>("a", ()).await });
    }
    for _ in 0..100 {
        peer.asked().await;
    }
    assert!(client.is_connected());
    drop(peer);
    for got in asking.join_all().await {
        assert!(matches!(got, Err(ClientError::Lost { .. })), "{got:?}");
    }
    assert!(!client.is_connected());
    let later = client.request::<Value>("a", ()).await;
    assert!(matches!(later, Err(ClientError::Lost { .. })), "{later:?}");
    assert!(matches!(
        client.send("a", ()).await,
        Err(ClientError::Lost { .. })
    ));
}

#[tokio::test]
async fn a_request_without_reply_times_out_and_its_late_reply_is_ignored() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    // The clock then moves by itself as soon as nobody has anything to do.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let error = client.request::<Value>("slow", ()).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 20);
    assert_eq!(error.to_string(), "no reply to `slow` within 20s");
    tokio::time::resume();

    let late = peer.asked().await;
    let (got, ()) = tokio::join!(client.request::<Count>("slow", ()), async {
        let asked = peer.asked().await;
        peer.reply("slow", &late.query_index, r#"{"n":1}"#).await;
        peer.reply("slow", &asked.query_index, r#"{"n":2}"#).await;
    });
    assert_eq!(got.unwrap(), Count { n: 2 });
}

#[tokio::test]
async fn a_request_outwaits_its_own_deadline() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected_with(
        &server,
        ClientOptions::default().timeout(Duration::from_secs(1)),
    )
    .await;
    let minute = RequestOptions::default().deadline(Duration::from_secs(60));
    let (got, _) = tokio::join!(client.request_with::<Value>("a", (), &minute), async {
        peer.serve(r#"{"v":1}"#).await;
        peer.serve("{}").await
    });
    got.unwrap();
    tokio::time::pause();
    let error = client
        .request_with::<Value>("a", (), &minute)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no reply to `a` within 62s");
}

#[tokio::test]
async fn hello_is_said_once_and_only_for_requests_that_need_it() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let patient = RequestOptions::default()
        .wait(true)
        .deadline(Duration::from_millis(1500));
    let (plain, _) = tokio::join!(client.request::<Value>("a", ()), peer.serve("{}"));
    plain.unwrap();
    let (first, second, ()) = tokio::join!(
        client.request_with::<Value>("a", (), &patient),
        client.request_with::<Value>("b", (), &patient),
        async {
            let hello = peer.asked().await;
            assert_eq!(
                (hello.type_name.as_str(), hello.payload.as_deref()),
                ("rm.hello", Some(r#"{"v":1}"#))
            );
            peer.reply(
                "rm.hello",
                &hello.query_index,
                r#"{"v":1,"server":"test","session":"s"}"#,
            )
            .await;
            for _ in 0..2 {
                let asked = peer.serve("{}").await;
                assert_eq!(
                    asked.meta.as_deref(),
                    Some(r#"{"deadline_ms":1500,"wait":true}"#),
                    "{asked:?}"
                );
            }
        }
    );
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_refused_hello_fails_its_request_and_is_tried_again() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let patient = RequestOptions::default().wait(true);
    let (got, _) = tokio::join!(
        client.request_with::<Value>("a", (), &patient),
        peer.serve(r#"{"err":"no jobber","code":"unknown_type"}"#)
    );
    assert_eq!(got.unwrap_err().code(), Some("unknown_type"));
    let (got, ()) = tokio::join!(client.request_with::<Value>("a", (), &patient), async {
        assert_eq!(peer.serve(r#"{"v":1}"#).await.type_name, "rm.hello");
        peer.serve("{}").await;
    });
    got.unwrap();
}

#[tokio::test]
async fn reset_fails_what_waits_and_connects_anew() {
    let server = TestServer::start().await;
    let (client, mut old) = connected(&server).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.request::<Value>("a", ()).await }
    });
    old.asked().await;
    // The second finds its work done and must not drop the new connection.
    let (first, second, mut new) = tokio::join!(client.reset(), client.reset(), server.accept());
    first.unwrap();
    second.unwrap();
    let got = waiting.await.unwrap();
    assert!(matches!(got, Err(ClientError::Lost { .. })), "{got:?}");
    assert_eq!(old.next().await, None);
    let (got, _) = tokio::join!(client.request::<Count>("a", ()), new.serve(r#"{"n":1}"#));
    assert_eq!(got.unwrap(), Count { n: 1 });
}

#[tokio::test]
async fn a_failed_reset_can_be_repeated() {
    let server = TestServer::start().await;
    let (client, _peer) = connected(&server).await;
    let address = server.address();
    drop(server);
    let error = client.reset().await.unwrap_err();
    assert!(
        matches!(error, ClientError::NoConnection { .. }),
        "{error:?}"
    );
    assert!(!client.is_connected());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    client.reset().await.unwrap();
    listener.accept().await.unwrap();
    assert!(client.is_connected());
}

#[tokio::test]
async fn close_writes_what_was_sent_and_fails_what_waits() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.request::<Value>("a", ()).await }
    });
    peer.asked().await;
    for n in 0..1000 {
        client.send("b", json!({ "n": n })).await.unwrap();
    }
    let reading = tokio::spawn(async move {
        for n in 0..1000 {
            assert_eq!(
                peer.asked().await.payload.unwrap(),
                json!({ "n": n }).to_string()
            );
        }
        assert_eq!(peer.next().await, None);
    });
    client.close().await;
    assert!(matches!(waiting.await.unwrap(), Err(ClientError::Closed)));
    assert!(matches!(
        client.request::<Value>("a", ()).await,
        Err(ClientError::Closed)
    ));
    assert!(!client.is_connected());
    reading.await.unwrap();
}

#[tokio::test]
async fn the_last_clone_dropped_still_writes_what_was_sent() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    client.clone().send("a", json!({"n": 1})).await.unwrap();
    drop(client);
    assert_eq!(peer.asked().await.type_name, "a");
    assert_eq!(peer.next().await, None);
}

#[tokio::test]
async fn a_message_too_large_for_a_host_is_not_sent() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let error = client.send("a", "x".repeat(1 << 20)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::TooLarge {
                bytes_max: 1_048_576,
                ..
            }
        ),
        "{error:?}"
    );
    client.send("b", ()).await.unwrap();
    assert_eq!(peer.asked().await.type_name, "b");
}

#[tokio::test]
async fn a_host_that_does_not_read_holds_the_sender_back() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let text = "x".repeat(1_000_000);
    tokio::time::pause();
    let mut sent = 0;
    let error = loop {
        match client.send("a", &text).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        // What the kernel takes besides is its own; far beyond it, something is unbounded.
        assert!(sent < 100);
    };
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    assert!(sent * text.len() >= OUTGOING_BYTES_MAX - text.len());
    tokio::time::resume();
    for _ in 0..sent {
        peer.asked().await;
    }
    client.send("b", ()).await.unwrap();
    assert_eq!(peer.asked().await.type_name, "b");
}

#[tokio::test]
async fn the_servers_queue_is_printed_and_given() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server).await;
    let (queue, asked) = tokio::join!(client.print_server_queue(), peer.serve(r#"{"length":0}"#));
    assert_eq!(queue.unwrap().get(), r#"{"length":0}"#);
    assert_eq!(
        (asked.type_name.as_str(), asked.payload),
        ("srvQueuePrint", None)
    );
}

#[tokio::test]
async fn every_address_of_a_name_is_tried_and_named() {
    let server = TestServer::start().await;
    let name = format!("localhost:{}", server.address().port());
    let (client, _peer) = tokio::join!(Client::connect_to(&name), server.accept());
    assert!(client.unwrap().is_connected());
    drop(server);
    let error = Client::connect_to(&name).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot connect to {name}: ")),
        "{error}"
    );
    assert!(
        error.contains("127.0.0.1:") && error.ends_with("is rm-host running there?"),
        "{error}"
    );
}
