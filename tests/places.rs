//! Places are for everybody: no machine can take all of them where the host is told so, who does nothing gives his up
//! where it is told so, and operators always have theirs.

use std::{net::IpAddr, process::Command};

use rm_tests::{Gate, RawClient, TestHost};
use serde_json::Value;

#[test]
fn operators_have_places_when_clients_have_taken_all() {
    let host = TestHost::plan()
        .plugin("tickets")
        .open_files_max(100)
        .start();
    let mut clients: Vec<RawClient> = (0..50).map(|_| host.connect()).collect();
    clients.iter_mut().for_each(RawClient::sync);
    let said = host.connect().reply().refused("busy");
    assert!(said.contains("50 clients are connected"), "{said}");
    let cli = |arguments: &[&str]| {
        let mut command = Command::new(rm_tests::cli());
        command.args(arguments).env_remove("RM_SERVER");
        command.env_remove("RM_DATA").current_dir(host.beside());
        command.output().expect("it was built")
    };
    let listed = cli(&["plugins"]);
    assert!(listed.status.success(), "{listed:?}");
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains("tickets  serving"),
        "{listed:?}"
    );
    assert!(cli(&["plugins", "disable", "tickets"]).status.success());
    // Who has no place hears why, though he has asked before he could.
    let ping = cli(&["ping", "--server", &host.address().to_string()]);
    assert_eq!(ping.status.code(), Some(2));
    let said = String::from_utf8_lossy(&ping.stderr).into_owned();
    assert!(said.contains("busy: 50 clients are connected"), "{said}");
    // So does who comes after many that have none either, and stay.
    let turned_away: Vec<RawClient> = (0..20).map(|_| host.connect()).collect();
    for _ in 0..3 {
        let ping = cli(&["ping", "--server", &host.address().to_string()]);
        let said = String::from_utf8_lossy(&ping.stderr).into_owned();
        assert!(said.contains("busy: 50 clients are connected"), "{said}");
    }
    drop(turned_away);
    // Nobody takes more of the operators' places than there are.
    let mut operators: Vec<RawClient> = (0..12).map(|_| host.operate()).collect();
    operators.iter_mut().for_each(RawClient::sync);
    host.operate().reply().refused("busy");
    drop(operators);
    clients.iter_mut().for_each(RawClient::sync);
}

#[test]
fn one_address_gets_its_share_and_leaves_the_rest_to_others() {
    let host = TestHost::plan()
        .plugin("tickets")
        .flags(&["--clients-per-address", "2"])
        .start();
    let mut clients = [host.connect(), host.connect()];
    clients.iter_mut().for_each(RawClient::sync);
    for _ in 0..3 {
        let said = host.connect().reply().refused("busy");
        for part in ["2 clients", "127.0.0.1", "--clients-per-address"] {
            assert!(said.contains(part), "{said}");
        }
    }
    host.log()
        .wait_from(0, &["WARN", "turned away", "127.0.0.1"]);
    let other: IpAddr = "127.0.0.2".parse().expect("an address");
    RawClient::connect_from(other, host.address()).sync();
    host.operate().sync();
    // Who goes makes room.
    let [mut stays, goes] = clients;
    let from = host.log().len();
    drop(goes);
    host.log().wait_from(from, &["disconnected"]);
    while host.connect().try_reply_to_ping().is_none() {}
    stays.sync();
}

#[test]
fn who_does_nothing_gives_up_its_place_and_who_waits_does_not() {
    let host = TestHost::plan()
        .fixture("gates")
        .flags(&["--idle", "2s"])
        .start();
    let (gate, mut waiting) = (Gate::new(), host.connect());
    waiting.tell("addAtGate", gate.payload(""));
    let entered = gate.entered();
    let mut operator = host.operate();
    // Connected later, and let go: the other one has done nothing for longer.
    let mut idle = host.connect();
    let said = idle.reply();
    assert_eq!(said.type_name, "errMsgFromClient");
    let text = said.refused("idle_too_long");
    for part in ["2s", "--idle", "connect again"] {
        assert!(text.contains(part), "{text}");
    }
    idle.expect_end();
    entered.release();
    assert_eq!(waiting.reply().number("count"), 1);
    operator.sync();
    assert_eq!(
        operator.ask("count", Value::Null).number("count"),
        1,
        "an operator is never idle"
    );
}
