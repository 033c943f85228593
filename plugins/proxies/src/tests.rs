use plugin_api::{
    RefusalKind,
    testing::{self, TestPlugin},
};
use serde_json::json;

use super::*;

#[test]
fn the_self_tests_pass() {
    testing::self_tests::<RmPlugin>();
}

fn pool(urls: &[&str]) -> TestPlugin<RmPlugin> {
    TestPlugin::new(json!({ "urls": urls }))
}

fn get(pool: &mut TestPlugin<RmPlugin>) -> Answer<serde_json::Value> {
    pool.client(1).request("getProxy", ())
}

#[test]
fn a_proxy_is_lent_to_one_client_at_a_time() {
    let mut pool = pool(&["a", "b"]);
    assert_eq!(
        get(&mut pool),
        Ok(json!({ "id": 1, "url": "a", "token": 1 }))
    );
    assert_eq!(
        get(&mut pool),
        Ok(json!({ "id": 2, "url": "b", "token": 2 }))
    );
    let refusal = get(&mut pool).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.kind()),
        ("none_free", RefusalKind::NotYet)
    );
    let back = pool.client(1).request("returnProxy", json!({ "id": 1 }));
    assert_eq!(back, Ok(json!({})));
    assert_eq!(
        get(&mut pool),
        Ok(json!({ "id": 1, "url": "a", "token": 3 }))
    );
}

#[test]
fn who_waits_gets_the_proxy_that_comes_back_unless_it_has_gone() {
    let mut pool = pool(&["a"]);
    get(&mut pool).unwrap();
    let hasty = pool.client(2).send("getProxy", ());
    let patient = pool.client(3).send("getProxy", ());
    pool.disconnect(2);
    pool.client(1)
        .request("returnProxy", json!({ "id": 1 }))
        .unwrap();
    assert_eq!(pool.reply(&hasty), None);
    let lent = json!({ "id": 1, "url": "a", "token": 2 });
    assert_eq!(pool.reply(&patient), Some(Ok(lent)));
}

#[test]
fn a_proxy_that_is_added_twice_is_there_once() {
    let mut pool = TestPlugin::<RmPlugin>::new(());
    for _ in 0..2 {
        let added = pool.client(1).request("addProxy", json!({ "url": "a" }));
        assert_eq!(added, Ok(json!({ "id": 1 })));
    }
    let added = pool.client(1).request("addProxy", json!({ "url": "b" }));
    assert_eq!(added, Ok(json!({ "id": 2 })));
    get(&mut pool).unwrap();
    get(&mut pool).unwrap();
    assert_eq!(get(&mut pool).unwrap_err().code(), "none_free");
}

#[test]
fn what_is_not_lent_cannot_be_returned() {
    let mut pool = pool(&["a"]);
    for id in [0, 1, 2, u64::MAX] {
        let refusal = pool.client(1).request("returnProxy", json!({ "id": id }));
        assert_eq!(refusal.unwrap_err().code(), "not_taken");
    }
}

#[test]
fn a_wrong_payload_is_named() {
    let mut pool = pool(&[]);
    let cases = [
        ("addProxy", json!({}), "`url`"),
        ("addProxy", json!({ "url": " " }), "`url`"),
        ("addProxy", json!({ "url": 7 }), "`url`"),
        (
            "addProxy",
            json!({ "url": "u".repeat(2_049) }),
            "`url`: a url of 2049 bytes, expected at most 2048",
        ),
        (
            "addProxy",
            json!({ "url": "a", "weight": 1 }),
            "unknown field `weight`, expected `url`",
        ),
        (
            "returnProxy",
            json!({ "id": 1, "url": "a" }),
            "unknown field `url`, expected `id`",
        ),
        ("returnProxy", json!({}), "`id`"),
        ("returnProxy", json!({ "id": -1 }), "`id`"),
    ];
    for (type_name, payload, field) in cases {
        let refusal = pool.client(1).request(type_name, payload).unwrap_err();
        assert_eq!(refusal.code(), "bad_payload");
        assert!(refusal.message().contains(field), "{}", refusal.message());
    }
    let longest = json!({ "url": "u".repeat(2_048) });
    assert!(pool.client(1).request("addProxy", longest).is_ok());
}

#[test]
fn another_list_takes_no_proxy_from_its_holder() {
    let mut pool = pool(&["a", "b"]);
    pool.client(1)
        .request("addProxy", json!({ "url": "by hand" }))
        .unwrap();
    get(&mut pool).unwrap();
    pool.reload(json!({ "urls": ["c"] })).unwrap();
    assert_eq!(get(&mut pool).unwrap()["url"], "by hand");
    assert_eq!(get(&mut pool).unwrap()["url"], "c");
    pool.client(1)
        .request("returnProxy", json!({ "id": 1 }))
        .unwrap();
    assert_eq!(
        get(&mut pool).unwrap_err().code(),
        "none_free",
        "`a` has left"
    );
}

#[test]
fn an_empty_url_in_the_configuration_is_refused() {
    let error = TestPlugin::<RmPlugin>::load(json!({ "urls": ["a", ""] }));
    let error = error.err().unwrap();
    assert!(error.contains("`urls[1]`"), "{error}");
}
