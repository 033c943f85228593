//! A pool of resources with data, by its promises.

use std::collections::HashMap;

use super::*;
use crate::testing::{MemoryHost, Opened};

type Proxies = Opened<PoolState<String>>;

fn proxies(urls: &[&str]) -> Proxies {
    open(&MemoryHost::new(), urls)
}

fn open(host: &MemoryHost, urls: &[&str]) -> Proxies {
    let urls = urls.iter().map(|&url| url.to_owned());
    Opened::new(host, Pool::list("proxies", urls))
}

fn all(proxies: &mut Proxies) -> Vec<(u64, String)> {
    (1..20)
        .filter_map(|id| proxies.data(id).map(|url| (id, url)))
        .collect()
}

#[test]
fn the_lowest_ids_are_taken_all_or_none() {
    let mut proxies = proxies(&["a", "b", "c"]);
    let one = proxies.take_one().unwrap();
    assert_eq!((one.id, one.data.as_str(), one.left), (1, "a", 2));
    assert_eq!(proxies.take(3).unwrap_err().free, 2);
    let two = proxies.take(2).unwrap();
    assert!(two.token > one.token);
    assert_eq!(two.left, 0);
    assert_eq!(
        two.resources,
        [(2, "b"), (3, "c")].map(|(id, url)| Resource {
            id,
            data: url.to_owned()
        })
    );
    proxies.release(2).unwrap();
    assert_eq!(proxies.release(2).unwrap_err().number, 2);
    assert_eq!(proxies.take_one().unwrap().id, 2);
}

#[test]
fn the_same_data_is_one_resource() {
    let mut proxies = proxies(&["a", "a"]);
    assert_eq!(proxies.len(), 1);
    let a = proxies.take_one().unwrap().id;
    assert_eq!(proxies.add(&"a".to_owned()), Added { id: a, new: false });
    assert_eq!(proxies.free(), 0);
    assert!(proxies.add(&"b".to_owned()).new);
    assert_eq!(proxies.find(&"b".to_owned()), Some(2));
    assert_eq!(proxies.find(&"c".to_owned()), None);
}

#[test]
fn maps_with_the_same_entries_are_the_same_data() {
    let entries = |keys: &mut dyn Iterator<Item = u32>| -> HashMap<String, u32> {
        keys.map(|key| (key.to_string(), key)).collect()
    };
    let mut pool = Opened::new(&MemoryHost::new(), Pool::list("pool", []));
    pool.add(&entries(&mut (0..50)));
    assert!(!pool.add(&entries(&mut (0..50).rev())).new);
}

#[test]
fn data_whose_hashes_collide_are_told_apart() {
    let mut proxies = proxies(&["a", "b"]);
    // As if "a", which has id 1, had the hash of "b" and that of "c", too.
    let map = &mut proxies.handle.stock.map;
    map.write(&index_key(hash(br#""b""#), 1), &[]);
    map.write(&index_key(hash(br#""c""#), 1), &[]);
    assert_eq!(proxies.find(&"b".to_owned()), Some(2));
    assert_eq!(proxies.find(&"c".to_owned()), None);
}

#[test]
fn stored_hashes_stay_what_they_are() {
    assert_eq!(hash(br#""http://10.0.0.1:8080""#), 0xdfafa67107546975);
}

#[test]
fn a_removed_resource_leaves_no_trace_and_its_id_is_not_used_again() {
    let mut proxies = proxies(&[]);
    proxies.add(&"a".to_owned());
    let entries = proxies.host.entries(0).len();
    let held = proxies.add(&"b".to_owned()).id;
    proxies.remove(1);
    assert_eq!(proxies.take_one().unwrap().id, held);
    assert!(proxies.remove(held));
    assert_eq!(proxies.data(held).as_deref(), Some("b"));
    proxies.release(held).unwrap();
    assert_eq!(proxies.data(held), None);
    assert!(!proxies.remove(held));
    assert_eq!(proxies.add(&"a".to_owned()), Added { id: 3, new: true });
    assert_eq!(proxies.host.entries(0).len(), entries);
}

#[test]
fn what_is_added_while_it_drains_stays() {
    let mut proxies = proxies(&["a"]);
    proxies.take_one().unwrap();
    proxies.remove(1);
    assert_eq!(proxies.add(&"a".to_owned()), Added { id: 1, new: false });
    proxies.release(1).unwrap();
    assert_eq!(proxies.free(), 1);
}

#[test]
fn another_configuration_adds_and_drains_and_revokes_nothing() {
    let mut first = proxies(&["a", "b", "c"]);
    first.add(&"by hand".to_owned());
    first.add(&"c".to_owned());
    assert_eq!(first.take_one().unwrap().data, "a");

    let mut second = open(&first.host, &["d", "b"]);
    let left = [(1, "a"), (2, "b"), (3, "c"), (4, "by hand"), (5, "d")];
    assert_eq!(all(&mut second), left.map(|(id, url)| (id, url.to_owned())));
    assert_eq!(second.free(), 4);
    second.release(1).unwrap();
    assert_eq!((second.free(), second.data(1)), (4, None));

    let mut third = open(&second.host, &[]);
    let left = [(3, "c"), (4, "by hand")];
    assert_eq!(all(&mut third), left.map(|(id, url)| (id, url.to_owned())));
}

#[test]
fn what_was_removed_by_hand_is_not_configured_anew() {
    let mut first = proxies(&["a", "b"]);
    first.remove(1);
    let mut second = open(&first.host, &["a", "b"]);
    assert_eq!(second.free(), 1);
    assert_eq!(second.find(&"a".to_owned()), None);
    assert_eq!(second.add(&"a".to_owned()), Added { id: 3, new: true });

    // Out of the configuration and in again it is new.
    second.remove(3);
    let third = open(&second.host, &["b"]);
    let mut fourth = open(&third.host, &["a", "b"]);
    assert_eq!(fourth.find(&"a".to_owned()), Some(4));
}

#[test]
fn data_of_another_type_is_refused_with_its_name_and_key() {
    let first = proxies(&["a"]);
    let opened = Opened::try_new(&first.host, Pool::<u64>::list("proxies", []));
    let text = opened.err().unwrap();
    assert!(text.contains("state `proxies`"), "{text}");
    assert!(text.contains("key 10 00 00 00 00 00 00 00 01"), "{text}");
    assert!(text.contains("the JSON of u64"), "{text}");
}
