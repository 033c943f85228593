use std::time::{Duration, Instant};

use plugin_api::testing::{self, TestPlugin};
use serde_json::json;

use super::*;

#[test]
fn the_self_tests_pass() {
    testing::self_tests::<RmPlugin>();
}

#[test]
fn each_type_counts_for_itself() {
    let mut plugin = TestPlugin::<RmPlugin>::new(());
    let mut ask = |type_name, payload| plugin.client(1).request(type_name, payload).unwrap();
    assert_eq!(ask("cntResponse", json!(0)), json!({ "cnt": 0 }));
    assert_eq!(ask("getIp", json!({})), json!({ "ip": 1000 }));
    assert_eq!(ask("cntResponse", json!("anything")), json!({ "cnt": 1 }));
    assert_eq!(ask("getIp", json!(null)), json!({ "ip": 1001 }));
}

#[test]
fn all_clients_share_the_numbers() {
    let mut plugin = TestPlugin::<RmPlugin>::new(());
    for client in 0..3 {
        let answer = plugin.client(client).request("cntResponse", ());
        assert_eq!(answer, Ok(json!({ "cnt": client })));
    }
}

#[test]
fn it_runs_where_requests_arrive_unless_it_sleeps_or_is_told_not_to() {
    let inline = |config| {
        let plugin = TestPlugin::<RmPlugin>::new(config);
        let lanes = &plugin.description().lanes;
        assert_eq!(lanes.len(), 2, "the types run side by side");
        lanes.iter().all(|lane| lane.inline)
    };
    assert!(inline(json!({ "delay_ms": 0 })));
    assert!(!inline(json!({ "delay_ms": 1 })));
    assert!(!inline(json!({ "own_thread": true })));
}

#[test]
fn a_delay_is_slept_in_both() {
    let mut plugin = TestPlugin::<RmPlugin>::new(json!({ "delay_ms": 5 }));
    for type_name in ["cntResponse", "getIp"] {
        let start = Instant::now();
        plugin.client(1).request(type_name, ()).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    for config in [json!({ "delay_ms": -1 }), json!({ "delay": 1 })] {
        let error = TestPlugin::<RmPlugin>::load(config).err().unwrap();
        assert!(error.contains("`delay"), "{error}");
    }
}
