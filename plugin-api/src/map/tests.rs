use proptest::prelude::*;

use super::*;
use crate::testing::{MemoryHost, Opened};

type Key = (String, u64);

fn map() -> Opened<MapState<Key, u32>> {
    Opened::new(&MemoryHost::new(), Map::named("map"))
}

fn any_key() -> impl Strategy<Value = Key> {
    ("[\u{0}ab]{0,2}", 0..3_u64)
}

fn any_bound() -> impl Strategy<Value = Bound<Key>> {
    prop_oneof![
        any_key().prop_map(Bound::Included),
        any_key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

proptest! {
    #[test]
    fn a_range_is_that_of_a_plain_map(
        entries in proptest::collection::btree_map(any_key(), any::<u32>(), 0..12),
        low in any_bound(),
        high in any_bound(),
        from_back in proptest::collection::vec(any::<bool>(), 16),
    ) {
        let mut map = map();
        for (key, value) in &entries {
            map.insert(key, value);
        }
        let bounds = (low, high);
        let plain: BTreeMap<Key, u32> = entries
            .into_iter()
            .filter(|(key, _)| bounds.contains(key))
            .collect();
        let mut plain = plain.into_iter();
        let mut range = map.range(bounds);
        for back in from_back {
            if back {
                prop_assert_eq!(range.next_back(), plain.next_back());
            } else {
                prop_assert_eq!(range.next(), plain.next());
            }
        }
    }
}

#[test]
fn values_are_set_replaced_and_removed() {
    let mut map = map();
    let key = ("a".to_owned(), 1);
    assert!(map.is_empty());
    assert!(!map.insert(&key, &1));
    assert!(map.insert(&key, &2));
    assert!(map.contains(&key));
    assert_eq!(map.get(&key), Some(2));
    assert_eq!(map.take(&key), Some(2));
    assert_eq!(map.take(&key), None);
    assert!(!map.remove(&key));
    map.insert(&("b".to_owned(), 0), &3);
    map.insert(&key, &4);
    assert_eq!(map.first(), Some((key, 4)));
    assert_eq!(map.last(), Some((("b".to_owned(), 0), 3)));
}

#[test]
fn each_access_is_one_call() {
    let mut map = map();
    let key = ("a".to_owned(), 1);
    map.insert(&key, &1);
    map.get(&key);
    map.remove(&key);
    let cost = map.host.accesses();
    let setup = 1;
    assert_eq!(
        (cost.writes, cost.reads, cost.removals, cost.seeks),
        (1, 1, 1, setup)
    );
}

#[test]
fn values_of_another_type_are_refused_with_name_and_key() {
    let mut map = map();
    map.insert(&("a".to_owned(), 1), &1);
    let opened = Opened::try_new(&map.host, Map::<Key, String>::named("map"));
    let text = opened.err().unwrap();
    assert!(
        text.starts_with(
            "state `map`: the entry of (\"a\", 1) cannot be read as alloc::string::String: invalid type: integer `1`, \
             expected a string; the type has changed"
        ),
        "{text}"
    );
    assert!(text.contains("with `.schema(2).migrate(1, …)`"), "{text}");
    let opened = Opened::try_new(&map.host, Map::<u64, u32>::named("map"));
    let text = opened.err().unwrap();
    assert!(
        text.contains("the entry stored at key 01 61 00")
            && text.contains("cannot be read under a key of u64"),
        "{text}"
    );
}

#[test]
fn a_new_field_that_is_required_is_refused_with_the_step_that_it_needs() {
    #[derive(serde::Serialize, serde::Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Booking {
        guest: String,
        nights: u32,
    }
    let entry = serde_json::json!({ "guest": "Ann" });
    let mut map = Opened::new(&MemoryHost::new(), Map::<String, _>::named("map").schema(4));
    map.insert(&"blue".to_owned(), &entry);
    map.host.commit();
    let refused = |declared| {
        let next = Map::<String, Booking>::named("map").schema(declared);
        let opened = Opened::migrated(&map.host, next, 4);
        let text = opened.err().unwrap();
        map.host.rollback();
        text
    };
    let text = refused(4);
    assert!(
        text.contains("the entry of \"blue\" cannot be read as ")
            && text.contains("Booking: missing field `nights`; ")
            && text.contains("`.schema(5).migrate(4, …)`")
            && text.contains("`#[serde(default)]`"),
        "{text}"
    );
    let text = refused(6);
    assert!(text.contains("`.schema(6).migrate(4, …)`"), "{text}");
}

type Texts = MapState<String, String>;

fn old(entries: &[(u64, u32)]) -> MemoryHost {
    let mut old = Opened::new(&MemoryHost::new(), Map::<u64, u32>::named("map"));
    for (key, value) in entries {
        old.insert(key, value);
    }
    old.host.commit();
    old.host
}

#[test]
fn all_entries_of_an_older_schema_are_migrated_also_behind_those_that_are_checked() {
    let entries: Vec<(u64, u32)> = (0..2_000).map(|key| (key, 7)).collect();
    let host = old(&entries);
    let next: MapState<u64, String> = Map::named("map").schema(3);
    let next = next.migrate(2, |old: (u32, u32)| Ok(format!("{} of {}", old.0, old.1)));
    let next = next.migrate(1, |old: u32| Ok((old, 9_u32)));
    let mut map = Opened::migrated(&host, next, 1).unwrap();
    let texts: Vec<String> = map.range(..).map(|(_, text)| text).collect();
    assert_eq!(texts, vec!["7 of 9"; 2_000]);
}

#[test]
fn a_step_can_change_keys_and_drop_entries() {
    let host = old(&[(1, 10), (2, 20), (3, 1)]);
    // Each new key is an old one of another entry, which is still to come or was there before.
    let next: MapState<u64, u32> = Map::named("map").schema(2);
    let next = next.migrate_entries(1, |key: u64, value: u32| {
        Ok((key < 3).then_some((3 - key, value + 1)))
    });
    let mut map = Opened::migrated(&host, next, 1).unwrap();
    assert_eq!(map.range(..).collect::<Vec<_>>(), [(1, 21), (2, 11)]);
}

#[test]
fn entries_that_come_to_the_same_key_or_are_of_another_type_are_refused() {
    let host = old(&[(3, 10), (9, 20)]);
    let next: Texts = Map::named("map").schema(2);
    let next = next.migrate_entries(1, |_: u64, value: u32| {
        Ok(Some(("a".to_owned(), value.to_string())))
    });
    let text = Opened::migrated(&host, next, 1).err().unwrap();
    assert!(
        text.contains("the entry of 3 and the entry of 9 come to the same key"),
        "{text}"
    );
    host.rollback();
    let next: MapState<u64, String> = Map::named("map").schema(2);
    let next = next.migrate(1, |old: u32| Ok(old + 1));
    let text = Opened::migrated(&host, next, 1).err().unwrap();
    assert!(
        text.starts_with("state `map`: after its migration the entry of 3 cannot be read as ")
            && text.ends_with("; the last step has to give what this version reads"),
        "{text}"
    );
    host.rollback();
    let mut map = Opened::new(&host, Map::<u64, u32>::named("map"));
    assert_eq!(map.range(..).collect::<Vec<_>>(), [(3, 10), (9, 20)]);
}

#[test]
#[should_panic(expected = "state `map`: the entry of (\"a\", 1) cannot be read as ")]
fn a_job_does_not_go_on_without_what_it_cannot_read() {
    let mut map = map();
    let key = ("a".to_owned(), 1);
    map.insert(&key, &1);
    map.encode(&key);
    let stored = map.low.clone();
    map.map.write(&stored, b"junk");
    map.get(&key);
}
