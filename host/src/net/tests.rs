//! Connections over real sockets, driven by hand on the core thread's own runtime.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream as StdStream},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{consume_budget, yield_now},
};

use super::{
    Admission, Hub, Patience,
    connection::{self, Closed, Connection},
    core_runtime,
    transport::Stream,
};
use crate::{
    coordinator::{Outlet as _, Peer, tests::coordinator},
    limits,
};

const PING: &[u8] = "{\"type\":\"ping\",\"queryIndex\":1}🦀".as_bytes();

fn hub() -> Rc<Hub> {
    Hub::new(coordinator(), Patience::default())
}

/// A client's end, and the host's.
async fn pair() -> (StdStream, Stream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(socket.connect(address), listener.accept());
    let (stream, peer) = accepted.unwrap();
    stream.writable().await.unwrap();
    (
        client.unwrap().into_std().unwrap(),
        Stream::Tcp(stream),
        peer,
    )
}

async fn connected(hub: &Rc<Hub>) -> (StdStream, Connection) {
    let (client, stream, peer) = pair().await;
    let connection = Connection::new(Rc::clone(hub), stream, Peer::Client(peer));
    (client, connection)
}

async fn polled(connection: &mut Connection) -> Option<Closed> {
    poll_fn(|cx| {
        Poll::Ready(match connection.poll(cx) {
            Poll::Ready(closed) => Some(closed),
            Poll::Pending => None,
        })
    })
    .await
}

/// What has come, without waiting for more.
fn received(client: &mut StdStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
        _ => bytes,
    }
}

/// What a client does that asks without end and reads what it is answered.
fn flood(client: &mut StdStream) {
    let many = PING.repeat(1_000);
    while client.write(&many).is_ok() {}
    received(client);
}

#[test]
fn a_client_that_never_rests_delays_a_request_by_its_own_turn_and_no_more() {
    core_runtime().unwrap().block_on(async {
        let hub = hub();
        let admission = Rc::new(Admission::raised(None));
        let (mut client, stream, peer) = pair().await;
        connection::begin(&hub, &admission, stream, Peer::Client(peer));
        let (mut flooding, mut flooded) = connected(&hub).await;
        flood(&mut flooding);
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        tokio::task::spawn_local(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            flooded.poll(cx)
        }));
        let mut longest = 0;
        for _ in 0..200 {
            flood(&mut flooding);
            client.write_all(PING).unwrap();
            let asked_at = turns.get();
            while received(&mut client).is_empty() {
                yield_now().await;
            }
            longest = longest.max(turns.get() - asked_at);
        }
        assert!(longest <= 4, "{longest} turns of another one came between");
        assert!(
            turns.get() >= 200,
            "the other one had {} turns",
            turns.get()
        );
    });
}

#[test]
fn what_had_come_when_the_host_lets_go_is_answered_though_the_tasks_turn_is_over() {
    core_runtime().unwrap().block_on(async {
        let hub = hub();
        let (mut client, mut connection) = connected(&hub).await;
        assert!(polled(&mut connection).await.is_none());
        client.write_all(&PING.repeat(20)).unwrap();
        hub.coordinator.borrow_mut().dismiss_clients();
        let spent = poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(connection.poll(cx).is_pending())
        });
        assert!(spent.await);
        // What comes later is not.
        client.write_all(&PING.repeat(5)).unwrap();
        let mut answers = Vec::new();
        for _ in 0..20 {
            yield_now().await;
            assert!(polled(&mut connection).await.is_none());
            answers.extend(received(&mut client));
        }
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("\"pong\"").count(), 20, "{answers}");
    });
}

#[test]
fn who_was_accepted_as_the_host_let_go_is_answered_and_let_go_as_well() {
    core_runtime().unwrap().block_on(async {
        let hub = hub();
        hub.coordinator.borrow_mut().dismiss_clients();
        let (mut client, mut connection) = connected(&hub).await;
        client.write_all(PING).unwrap();
        let mut answer = Vec::new();
        // Its end comes behind the answer.
        while client.read_to_end(&mut answer).is_err() {
            assert!(polled(&mut connection).await.is_none());
            yield_now().await;
        }
        assert!(String::from_utf8(answer).unwrap().contains("\"pong\""));
        drop(client);
        while polled(&mut connection).await.is_none() {
            yield_now().await;
        }
    });
}

#[test]
fn a_client_that_reads_little_by_little_is_kept_and_one_that_does_not_is_let_go() {
    let runtime = core_runtime().unwrap();
    runtime.block_on(async {
        tokio::time::pause();
        let hub = hub();
        let (mut client, mut connection) = connected(&hub).await;
        client.set_nonblocking(false).unwrap();
        let pipe = connection.pipe();
        pipe.unsent().resize(32 * 1024 * 1024, b' ');
        pipe.flush();
        assert!(polled(&mut connection).await.is_none());
        // Five seconds for each 128 KiB: no more than 26 KiB a second, and much less than lies in the system.
        for _ in 0..20 {
            client.read_exact(&mut [0; 128 * 1024]).unwrap();
            tokio::time::advance(limits::STALLED_WRITE_MAX / 2).await;
            let closed = polled(&mut connection).await;
            assert!(closed.is_none(), "{closed:?}");
        }
        assert!(pipe.has_unsent(), "there is still something to take");
        let mut looks = 0;
        let closed = loop {
            tokio::time::advance(limits::STALLED_WRITE_LOOK).await;
            if let Some(closed) = polled(&mut connection).await {
                break closed;
            }
            looks += 1;
            assert!(looks <= 10, "it is never let go");
        };
        assert!(matches!(closed, Closed::Stalled(_)), "{closed:?}");
    });
}

#[test]
fn the_system_looks_whether_a_client_is_still_there() {
    core_runtime().unwrap().block_on(async {
        let (_client, stream, _) = pair().await;
        stream.prepare().unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        let every = sockopt::tcp_keepintvl(&stream).unwrap();
        let tries = sockopt::tcp_keepcnt(&stream).unwrap();
        assert!(idle + every * tries <= Duration::from_secs(60));
        let gone_ms = sockopt::tcp_user_timeout(&stream).unwrap();
        assert_eq!(u128::from(gone_ms), limits::UNACKNOWLEDGED_MAX.as_millis());
    });
}
