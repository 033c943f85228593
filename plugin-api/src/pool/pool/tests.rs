//! A pool of resources with data, by its promises.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::*;
use crate::testing::{MemoryHost, Opened};

mod model;

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
    proxies.release_ids(&[2]).unwrap();
    assert_eq!(
        proxies.release_ids(&[2]),
        Err(NotReleased::NotHeld { number: 2 })
    );
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
    proxies.release_ids(&[held]).unwrap();
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
    proxies.release_ids(&[1]).unwrap();
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
    second.release_ids(&[1]).unwrap();
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
    assert!(
        text.contains("resource 1 cannot be read as u64: "),
        "{text}"
    );
}

#[test]
fn an_id_without_data_is_refused() {
    let first = proxies(&["a"]);
    first.host.map(0).remove(&data_key(1));
    let opened = Opened::try_new(&first.host, Pool::list("proxies", ["b".to_owned()]));
    let text = opened.err().unwrap();
    assert!(
        text.contains("the data of a resource, but is not there"),
        "{text}"
    );
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Weighed {
    url: String,
    #[serde(default)]
    weight: u32,
}

/// The same, with a change deep inside that neither its size nor its own fields show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    plain: Vec<Plain>,
}

fn plain(url: impl ToString) -> Plain {
    let url = url.to_string();
    Plain { url }
}

fn weighed(url: impl ToString, weight: u32) -> Weighed {
    let url = url.to_string();
    Weighed { url, weight }
}

#[test]
fn data_that_a_later_version_writes_otherwise_stays_one_resource() {
    let listed = ["a", "b"];
    let mut first = Opened::new(&MemoryHost::new(), Pool::list("pool", listed.map(plain)));
    first.add(&plain("by hand"));
    assert_eq!(first.take_one().unwrap().id, 1);
    first.host.commit();

    let now = Pool::list("pool", listed.map(|url| weighed(url, 0)));
    let mut second = Opened::new(&first.host, now);
    assert_eq!((second.len(), second.free()), (3, 2));
    assert_eq!(second.find(&weighed("a", 0)), Some(1));
    assert!(!second.add(&weighed("by hand", 0)).new);
    assert_eq!(second.take_one().unwrap().data, weighed("b", 0));

    let third = Opened::new(&second.host, Pool::list("pool", listed.map(plain)));
    let back = (third.host.entries(0), first.host.entries(0));
    let data = |entries: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let entries = entries.clone().into_iter();
        let entries = entries.filter(|(key, _)| key[0] >= PREFIX_OF_OTHERS);
        entries.collect::<Vec<_>>()
    };
    assert_eq!(
        data(&back.0),
        data(&back.1),
        "no index entry is left behind"
    );
}

#[test]
fn resources_that_a_version_cannot_tell_apart_are_refused() {
    let both = [weighed("a", 1), weighed("b", 1), weighed("a", 2)];
    let first = Opened::new(&MemoryHost::new(), Pool::list("pool", both));
    let opened = Opened::try_new(&first.host, Pool::list("pool", [plain("a")]));
    let text = opened.err().unwrap();
    assert!(
        text.starts_with(r#"state `pool`: the resources 1 and 3, which differed when they were added, are both {"url":"a"}"#),
        "{text}"
    );
}

#[test]
fn a_form_that_changed_in_the_middle_is_seen_with_the_plugins_version() {
    let host = MemoryHost::new();
    let all = || (0..100).map(|url| vec![url]);
    let first = Opened::new(&host, Pool::list("pool", all()));
    let other = b"[ 50]";
    first.host.map(0).write(&data_key(51), other);
    let read = |version| {
        let pool = Opened::of_version(&host, Pool::list("pool", all()), version);
        pool.unwrap()
            .host
            .map(0)
            .read(&data_key(51))
            .unwrap()
            .to_vec()
    };
    assert_eq!(read("0.1.0"), other);
    assert_eq!(read("0.1.1"), b"[50]");
}

#[test]
fn a_reload_that_changes_nothing_costs_the_same_for_any_number() {
    let host = MemoryHost::new();
    let list = || Pool::list("pool", (0..30_000).map(plain));
    let mut pool = Opened::new(&host, list());
    for id in (1..30_000).step_by(2) {
        pool.remove(id);
    }
    let before = host.accesses();
    Opened::new(&host, list());
    let cost = (host.accesses() - before).total();
    assert!(cost < 50, "{cost} accesses");
}

#[test]
fn a_change_deep_inside_shows_at_the_ends() {
    #[derive(Serialize, Deserialize)]
    struct NestedOtherwise {
        plain: Vec<Weighed>,
    }
    let one = |url| Nested {
        plain: vec![plain(url)],
    };
    let first = Opened::new(&MemoryHost::new(), Pool::list("pool", [one(1), one(2)]));
    let otherwise = Pool::list(
        "pool",
        [1, 2].map(|url| NestedOtherwise {
            plain: vec![weighed(url, 0)],
        }),
    );
    let mut second = Opened::new(&first.host, otherwise);
    assert_eq!(second.len(), 2);
}

#[test]
#[should_panic(
    expected = "state `pool`: a value of type u128 cannot be stored, because it has no JSON: number out of range"
)]
fn a_number_that_json_cannot_hold_is_refused() {
    let mut pool = Opened::new(
        &MemoryHost::new(),
        Pool::list("pool", [u128::from(u64::MAX)]),
    );
    assert_eq!(pool.take_one().unwrap().data, u128::from(u64::MAX));
    pool.add(&(u128::from(u64::MAX) + 1));
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, Deserialize)]
struct Place {
    host: String,
    port: u16,
}

fn place(url: String) -> Result<Place, String> {
    let (host, port) = url.split_once(':').ok_or("expected HOST:PORT")?;
    let port = port.parse().map_err(|_| format!("no port: {port}"))?;
    let host = host.to_owned();
    Ok(Place { host, port })
}

fn places(configured: &[&str]) -> PoolState<Place> {
    let configured = configured
        .iter()
        .map(|url| place((*url).to_owned()).unwrap());
    Pool::list("proxies", configured)
        .schema(2)
        .migrate(1, place)
}

#[test]
fn data_of_an_older_schema_is_migrated_and_ids_and_grants_stay() {
    let mut old = proxies(&["a:1", "b:2", "c:3"]);
    old.take(2).unwrap();
    old.host.commit();
    // What the configuration names in its new form is what was there in its old one.
    let mut new = Opened::migrated(&old.host, places(&["a:1", "c:3"]), 1).unwrap();
    assert_eq!(new.data(2), Some(place("b:2".to_owned()).unwrap()));
    assert_eq!((new.free(), new.len()), (1, 3));
    assert!(new.is_held(1) && new.is_held(2) && !new.is_held(3));
    assert_eq!(new.find(&place("c:3".to_owned()).unwrap()), Some(3));
    new.release_ids(&[2]).unwrap();
    assert_eq!(new.len(), 2, "it is no longer configured");
    let mut again = Opened::migrated(&old.host, places(&["a:1", "c:3"]), 2).unwrap();
    assert_eq!(again.len(), 2);
}

#[test]
fn data_that_cannot_be_migrated_or_becomes_the_same_is_refused() {
    let old = proxies(&["a:1", "b"]);
    let text = Opened::migrated(&old.host, places(&[]), 1).err().unwrap();
    assert!(
        text.contains("state `proxies`: ") && text.contains("1 to 2: expected HOST:PORT"),
        "{text}"
    );
    let old = proxies(&["a:1", "a:01"]);
    let text = Opened::migrated(&old.host, places(&[]), 1).err().unwrap();
    assert!(
        text.contains("state `proxies`: the resources 1 and 2"),
        "{text}"
    );
}
