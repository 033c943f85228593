//! A client that comes back by itself: what was not answered is asked again, under the same id and in the same session, and
//! what cannot be told is not guessed.

use std::time::Duration;

use client::{Client, ClientError, ClientOptions, RequestOptions};
use serde_json::{Value, json};

mod support;

use support::{Peer, TestServer};

const PATIENCE: Duration = Duration::from_secs(20);

/// How long a host may be silent. Far more than it takes here to answer, on a busy machine too.
const SILENCE: Duration = Duration::from_millis(500);

async fn connected(server: &TestServer, options: ClientOptions) -> (Client, Peer) {
    let options = options.server(server.address());
    let (client, peer) = tokio::join!(options.connect(), server.accept());
    (client.unwrap(), peer)
}

fn reconnecting() -> ClientOptions {
    ClientOptions::default().reconnect(PATIENCE)
}

/// Answers hello, which must bear this session or none, with the session `s`.
async fn greet(peer: &mut Peer, session: Option<&str>) {
    let hello = peer.serve(r#"{"v":1,"session":"s"}"#).await;
    assert_eq!(hello.type_name, "rm.hello");
    let payload: Value = serde_json::from_str(&hello.payload.unwrap()).unwrap();
    assert_eq!(payload.get("session").and_then(Value::as_str), session);
}

fn ask(
    client: &Client,
    type_name: &'static str,
) -> tokio::task::JoinHandle<Result<Value, ClientError>> {
    let client = client.clone();
    tokio::spawn(async move { client.request(type_name, ()).await })
}

#[tokio::test]
async fn what_was_in_flight_is_asked_again_under_its_id_in_the_same_session() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, reconnecting()).await;
    let (first, second) = (ask(&client, "a"), ask(&client, "b"));
    greet(&mut peer, None).await;
    let before = [peer.next().await.unwrap(), peer.next().await.unwrap()];
    drop(peer);
    let mut peer = server.accept().await;
    greet(&mut peer, Some("s")).await;
    for _ in 0..2 {
        let again = peer.serve(r#"{"n":1}"#).await;
        let same = before
            .iter()
            .find(|asked| asked.type_name == again.type_name);
        assert_eq!(same.unwrap().meta, again.meta);
        assert!(again.meta.unwrap().contains("\"id\":"));
    }
    for asked in [first, second] {
        assert_eq!(asked.await.unwrap().unwrap(), json!({ "n": 1 }));
    }
}

#[tokio::test]
async fn a_host_that_stops_or_is_in_doubt_is_asked_again() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, reconnecting()).await;
    let asked = ask(&client, "a");
    greet(&mut peer, None).await;
    let doubt = r#"{"err":"e","code":"storage_failed","outcome":"unknown"}"#;
    let first = peer.serve(doubt).await;
    let second = peer.serve(r#"{"err":"e","code":"shutting_down"}"#).await;
    let mut peer = server.accept().await;
    greet(&mut peer, Some("s")).await;
    let third = peer.serve(r#"{"n":1}"#).await;
    assert_eq!((&first.meta, &second.meta), (&second.meta, &third.meta));
    assert_eq!(asked.await.unwrap().unwrap(), json!({ "n": 1 }));
}

#[tokio::test]
async fn what_was_sent_in_a_session_that_is_forgotten_is_not_sent_in_another() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, reconnecting()).await;
    let asked = [ask(&client, "a"), ask(&client, "b")];
    greet(&mut peer, None).await;
    peer.next().await.unwrap();
    peer.next().await.unwrap();
    drop(peer);
    let mut peer = server.accept().await;
    let forgotten = r#"{"err":"e","code":"id_forgotten"}"#;
    let hello = peer.serve(forgotten).await;
    assert_eq!(hello.payload.as_deref(), Some(r#"{"v":1,"session":"s"}"#));
    // One of the two has heard that; the other says hello anew, and finds itself in another session.
    let other = peer.serve(r#"{"v":1,"session":"t"}"#).await;
    assert_eq!(other.payload.as_deref(), Some(r#"{"v":1}"#));
    for (asked, type_name) in asked.into_iter().zip(["a", "b"]) {
        let error = asked.await.unwrap().unwrap_err();
        let is_forgotten =
            matches!(&error, ClientError::Forgotten { type_name: of } if of == type_name);
        assert!(is_forgotten, "{error}");
    }
    let later = ask(&client, "c");
    assert_eq!(peer.serve("{}").await.type_name, "c");
    later.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_host_that_stays_away_is_given_up() {
    let server = TestServer::start().await;
    let options = ClientOptions::default().reconnect(Duration::from_millis(50));
    let (client, mut peer) = connected(&server, options).await;
    let asked = ask(&client, "a");
    greet(&mut peer, None).await;
    peer.next().await.unwrap();
    drop(server);
    drop(peer);
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::NoConnection { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_is_closed_does_not_come_back() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, reconnecting()).await;
    let asked = ask(&client, "a");
    greet(&mut peer, None).await;
    peer.next().await.unwrap();
    let (closed, ()) = tokio::join!(client.close(), async {
        assert!(peer.next().await.is_none())
    });
    let () = closed;
    assert!(matches!(
        asked.await.unwrap().unwrap_err(),
        ClientError::Closed
    ));
}

#[tokio::test]
async fn ids_and_sessions_of_the_callers_own_are_sent_as_they_are() {
    let server = TestServer::start().await;
    let options = ClientOptions::default().session("mine");
    let (client, mut peer) = connected(&server, options).await;
    let asked = async {
        let once = RequestOptions::default().id(7);
        client.request_with::<Value>("a", (), &once).await.unwrap();
        assert!(client.cancel(8).await.unwrap());
        assert_eq!(client.session().await.unwrap(), "mine");
    };
    let served = async {
        let hello = peer.serve(r#"{"v":1,"session":"mine"}"#).await;
        assert_eq!(
            hello.payload.as_deref(),
            Some(r#"{"v":1,"session":"mine"}"#)
        );
        assert_eq!(peer.serve("{}").await.meta.as_deref(), Some(r#"{"id":7}"#));
        let cancel = peer.serve(r#"{"cancelled":true,"was":"queued"}"#).await;
        assert_eq!(
            (&*cancel.type_name, cancel.payload.as_deref()),
            ("rm.cancel", Some(r#"{"id":8}"#))
        );
    };
    tokio::join!(asked, served);
}

#[tokio::test]
async fn a_session_of_the_callers_own_that_is_forgotten_is_an_error_and_no_other_begins() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, reconnecting().session("mine")).await;
    let once = RequestOptions::default().id(1);
    let asked = client.request_with::<Value>("a", (), &once);
    let (asked, _) = tokio::join!(asked, peer.serve(r#"{"err":"e","code":"id_forgotten"}"#));
    assert_eq!(asked.unwrap_err().code(), Some("id_forgotten"));
}

#[tokio::test]
async fn an_id_of_the_callers_own_never_goes_to_another_session() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, ClientOptions::default()).await;
    let once = RequestOptions::default().id(1);
    let asked = async { client.request_with::<Value>("a", (), &once).await };
    let (lost, ()) = tokio::join!(asked, async {
        greet(&mut peer, None).await;
        peer.next().await.unwrap();
        drop(peer);
    });
    assert!(matches!(lost.unwrap_err(), ClientError::Lost { .. }));
    for _ in 0..2 {
        let (reset, mut peer) = tokio::join!(client.reset(), server.accept());
        reset.unwrap();
        let asked = client.request_with::<Value>("a", (), &once);
        let (asked, hello) =
            tokio::join!(asked, peer.serve(r#"{"err":"e","code":"id_forgotten"}"#));
        assert_eq!(hello.payload.as_deref(), Some(r#"{"v":1,"session":"s"}"#));
        assert_eq!(asked.unwrap_err().code(), Some("id_forgotten"));
    }
}

#[tokio::test]
async fn who_names_a_session_chooses_the_ids_and_who_does_not_chooses_none() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, reconnecting().session("mine")).await;
    let asked = ask(&client, "a");
    assert_eq!(peer.serve("{}").await.meta, None);
    asked.await.unwrap().unwrap();
    let (client, _peer) = connected(&server, reconnecting()).await;
    let once = RequestOptions::default().id(1);
    let error = client
        .request_with::<Value>("a", (), &once)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::OwnId { id: 1 }), "{error}");
}

#[tokio::test]
async fn a_host_that_only_accepts_and_hangs_up_is_away() {
    let server = TestServer::start().await;
    let options = ClientOptions::default().reconnect(Duration::from_millis(200));
    let (client, peer) = connected(&server, options).await;
    let asked = ask(&client, "a");
    drop(peer);
    let mut tries = 0;
    let hang_up = async {
        loop {
            drop(server.accept().await);
            tries += 1;
        }
    };
    let error = tokio::select! {
        asked = asked => asked.unwrap().unwrap_err(),
        () = hang_up => unreachable!("it has no end"),
    };
    assert!(matches!(error, ClientError::Lost { .. }), "{error}");
    assert!(tries < 10, "{tries}");
}

#[tokio::test]
async fn a_connection_on_which_the_host_is_silent_is_left() {
    let server = TestServer::start().await;
    let options = reconnecting().silence(SILENCE);
    let (client, mut silent) = connected(&server, options).await;
    let asked = ask(&client, "a");
    greet(&mut silent, None).await;
    let before = silent.next().await.unwrap();
    assert_eq!(before.type_name, "a");
    // It is asked whether it is there, and does not say so.
    assert_eq!(silent.next().await.unwrap().type_name, "ping");
    let mut peer = server.accept().await;
    assert!(silent.next().await.is_none(), "the silent one is closed");
    greet(&mut peer, Some("s")).await;
    assert_eq!(peer.serve(r#"{"n":1}"#).await.meta, before.meta);
    assert_eq!(asked.await.unwrap().unwrap(), json!({ "n": 1 }));
    assert!(client.is_connected());
}

#[tokio::test]
async fn a_host_that_takes_long_and_answers_pings_is_not_left() {
    let server = TestServer::start().await;
    let options = reconnecting().silence(SILENCE);
    let (client, mut peer) = connected(&server, options).await;
    let asked = ask(&client, "a");
    greet(&mut peer, None).await;
    let slow = peer.next().await.unwrap();
    for _ in 0..3 {
        assert_eq!(peer.serve(r#"{"pong":0}"#).await.type_name, "ping");
    }
    peer.reply(&slow.type_name, &slow.query_index, r#"{"n":1}"#)
        .await;
    assert_eq!(asked.await.unwrap().unwrap(), json!({ "n": 1 }));
}

#[tokio::test]
async fn what_the_host_says_before_it_hangs_up_is_the_reason() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, ClientOptions::default()).await;
    let asked = ask(&client, "a");
    peer.next().await.unwrap();
    let full = r#"{"err":"10 clients are connected already","code":"busy"}"#;
    peer.reply("errMsgFromClient", "0", full).await;
    drop(peer);
    let said = asked.await.unwrap().unwrap_err().to_string();
    assert!(
        said.contains("busy: 10 clients are connected already"),
        "{said}"
    );
}

#[tokio::test]
async fn what_the_host_says_before_a_reset_is_the_reason_too() {
    let server = TestServer::start().await;
    let (client, mut peer) = connected(&server, ClientOptions::default()).await;
    let asked = ask(&client, "a");
    let full = r#"{"err":"10 clients are connected already","code":"busy"}"#;
    peer.reply("errMsgFromClient", "0", full).await;
    // With what it has not read.
    peer.stream.readable().await.unwrap();
    drop(peer);
    let said = asked.await.unwrap().unwrap_err().to_string();
    assert!(
        said.contains("busy: 10 clients are connected already"),
        "{said}"
    );
}

#[tokio::test]
async fn a_silent_connection_is_left_though_nobody_waits_so_long_for_a_reply() {
    let server = TestServer::start().await;
    let options = reconnecting().silence(SILENCE);
    let options = options.timeout(Duration::from_millis(10));
    let (client, mut silent) = connected(&server, options).await;
    let error = ask(&client, "a").await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    while silent.asked().await.type_name != "ping" {}
    assert!(silent.next().await.is_none(), "the silent one is closed");
}
