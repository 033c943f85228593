//! The client library asks again by itself: whatever becomes of the host meanwhile, each request is served once.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use client::ClientOptions;
use rm_tests::TestHost;
use rustix::process::Signal;
use serde_json::Value;

const KILLS: usize = 10;
const BUYERS: usize = 4;
const TICKETS: usize = 300;

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn a_program_that_buys_hears_nothing_of_a_host_that_is_killed_again_and_again() {
    let listen = format!("127.0.0.1:{}", free_port());
    let flags = ["--listen", &*listen, "--settle", "10ms"];
    let seats = "seats = 1000000\n";
    let plan = TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", seats);
    let mut host = plan.flags(&flags).start();
    let address = host.address();
    let buyers = thread::spawn(move || buy(address));
    for _ in 0..KILLS {
        // So that something is sold between two of them.
        let mut other = host.connect();
        for _ in 0..20 {
            other.sync();
        }
        host.signal(Signal::KILL);
        host = host.wait_and_plan().1.flags(&flags).start();
    }
    let mut sold = BTreeSet::new();
    for ticket in buyers.join().expect("they do not fail") {
        assert!(sold.insert(ticket), "{ticket} was sold twice");
    }
    let left = host.connect().ask("getTickets", Value::Null).number("left");
    let expected = 1_000_000 - (BUYERS * TICKETS) as u64 - 1;
    assert_eq!((sold.len(), left), (BUYERS * TICKETS, expected));
}

/// Several buyers share a client, and buy one ticket after the other.
fn buy(address: SocketAddr) -> Vec<u64> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("it can be made");
    runtime.block_on(async {
        let patience = Duration::from_secs(60);
        let options = ClientOptions::default().server(address).timeout(patience);
        let client = options.reconnect(patience).connect().await;
        let client = client.expect("the host listens");
        let buyers: Vec<_> = (0..BUYERS)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut bought = Vec::new();
                    for _ in 0..TICKETS {
                        let got: Value =
                            client.request("getTickets", ()).await.expect("it is sold");
                        bought.push(got["tickets"][0].as_u64().expect("a number"));
                    }
                    bought
                })
            })
            .collect();
        let mut bought = Vec::new();
        for buyer in buyers {
            bought.extend(buyer.await.expect("it does not fail"));
        }
        bought
    })
}
