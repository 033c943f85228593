//! An export is the state, to the byte, and a wrong one is none.

use plugin_api::limits::STATE_ENTRY_BYTES_MAX;
use proptest::prelude::*;

use super::*;
use crate::{
    limits::{EXPORT_LINE_BYTES_MAX, HOST_TIME_MS_MAX, STATE_NUMBERS_MAX},
    state::{
        StateMap,
        effects::StateId,
        log::{BatchNo, Recovered, RecoveredState},
    },
};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn recovered(states: Vec<(u32, Entries)>, gap: u32) -> Recovered {
    let next = states.last().map_or(0, |(id, _)| id + 1) + gap;
    let states = states.into_iter().map(|(id, entries)| {
        let mut map = StateMap::default();
        for (key, value) in entries {
            map.write(&key, &value, |_| ());
        }
        RecoveredState {
            id: StateId(id),
            plugin: format!("plugin \"{id}\" 🦀"),
            name: "hall".to_owned(),
            kind: "map".to_owned(),
            schema: id + 1,
            map,
        }
    });
    Recovered {
        states: states.collect(),
        last: BatchNo(9),
        now_ms: 1_795_422_052_628,
        next_state: StateId(next),
        ..Recovered::default()
    }
}

/// Imports a text into a new data folder, and reads it back.
fn imported(text: &[u8]) -> Result<Recovered, StateError> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (data, file) = (folder.path().join("data"), folder.path().join("export"));
    std::fs::write(&file, text).expect("it can be written");
    let done = import(&data, &file);
    let left: Vec<_> = (data.read_dir().expect("it was made"))
        .map(|entry| entry.expect("it can be read").file_name())
        .filter(|name| name != "lock" && name != "identity")
        .collect();
    match done {
        Ok(_) => assert_eq!(left, ["state"]),
        Err(_) => assert!(left.is_empty(), "{left:?}"),
    }
    done?;
    Ok(inspection(&data)?.read()?)
}

fn exported(recovered: &Recovered) -> Vec<u8> {
    let mut text = Vec::new();
    export::write(recovered, None, &mut text).expect("memory takes it");
    text
}

/// An entry as the line of an export, and what that line is read as.
fn as_a_line(key: &[u8], value: &[u8]) -> (String, Entries) {
    let line = serde_json::to_string(&line::Entry::new(key, value)).expect("memory takes it");
    let read: line::Entry = serde_json::from_str(&line).expect("it was written as one");
    (line, vec![read.into_parts().expect("it was written whole")])
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_imported_is_what_was_exported(
        entries in proptest::collection::vec(proptest::collection::vec((any_bytes(), any_bytes()), 0..5), 0..4),
        gap in 0..3_u32,
    ) {
        let states = (0..).map(|index| index * 2).zip(entries).collect();
        let before = recovered(states, gap);
        let after = imported(&exported(&before)).expect("it is whole");
        prop_assert_eq!(&after.states, &before.states);
        prop_assert_eq!((after.now_ms, after.next_state), (before.now_ms, before.next_state));
    }

    #[test]
    fn any_entry_is_a_line_that_a_terminal_can_show(
        key in proptest::collection::vec(any::<u8>(), 0..24),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        chars in proptest::collection::vec(prop_oneof![any::<char>(), any::<u8>().prop_map(char::from)], 0..24),
    ) {
        for value in [bytes, String::from_iter(chars).into_bytes()] {
            let (line, read) = as_a_line(&key, &value);
            prop_assert!(!line.contains(char::is_control), "{line:?}");
            prop_assert_eq!(read, [(key.clone(), value)]);
        }
    }
}

/// Hexadecimal, text, and a state that is empty.
fn some_export() -> String {
    let entries = vec![
        (b"a".to_vec(), b"1".to_vec()),
        (b"b".to_vec(), vec![0xff]),
        (b"c".to_vec(), "a \"note\"\n".into()),
    ];
    let text = exported(&recovered(vec![(0, entries), (2, Vec::new())], 1));
    String::from_utf8(text).expect("it is JSON")
}

#[test]
fn a_head_that_no_host_could_go_on_from_is_refused() {
    let text = some_export();
    let (lines, end) = text.trim_end().rsplit_once('\n').expect("it has an end");
    let end = end.split_once(",\"crc32\"").expect("it has a checksum").0;
    let headed = |before: &str, now: String| {
        let changed = format!("{}\n{end}}}\n", lines.replacen(before, &now, 1));
        assert!(changed.contains(&now), "{changed}");
        imported(changed.as_bytes())
    };
    let time = |now_ms: u64| headed("\"now_ms\":1795422052628", format!("\"now_ms\":{now_ms}"));
    let next = |next: u32| headed("\"next_state\":4", format!("\"next_state\":{next}"));
    time(HOST_TIME_MS_MAX).expect("a host can go on from it");
    next(STATE_NUMBERS_MAX).expect("a host can go on from it");
    for (refused, part) in [
        (time(HOST_TIME_MS_MAX + 1), "a time of at most"),
        (time(u64::MAX), "a time of at most"),
        (next(STATE_NUMBERS_MAX + 1), "states with numbers below"),
        (next(u32::MAX), "states with numbers below"),
    ] {
        let refusal = refused.unwrap_err().to_string();
        assert!(
            refusal.contains("line 1 ") && refusal.contains(part),
            "{refusal}"
        );
    }
}

#[test]
fn a_change_of_any_byte_of_an_export_is_noticed() {
    let text = some_export().into_bytes();
    for at in 0..text.len() - 1 {
        let mut changed = text.clone();
        changed[at] ^= 1;
        assert!(imported(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_changed_value_is_refused_by_checksum_with_a_way_out() {
    let text = some_export();
    let changed = text.replace("\"value\":\"1\"", "\"value\":\"2\"");
    assert_ne!(changed, text);
    let refusal = imported(changed.as_bytes()).unwrap_err().to_string();
    let found = format!("{:08x}", crc32fast::hash(lines_before_end(&changed)));
    let expected = format!("{:08x}", crc32fast::hash(lines_before_end(&text)));
    assert!(text.contains(&expected), "{text}");
    for part in [
        "/export",
        &*expected,
        &*found,
        "Nothing was imported",
        "export anew",
    ] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    // As hosts wrote it before there was one, and as whoever changes it on purpose may.
    let (without, _) = changed.rsplit_once(",\"crc32\"").expect("it is the last");
    imported(format!("{without}}}\n").as_bytes()).expect("there is nothing to compare");
}

fn lines_before_end(text: &str) -> &[u8] {
    let end = text.find("{\"end\"").expect("it has one");
    &text.as_bytes()[..end]
}

#[test]
fn the_largest_entry_is_imported_and_a_larger_one_is_not() {
    for larger in [0, 1] {
        let key = vec![0xfe; 100];
        let value = vec![b'a'; STATE_ENTRY_BYTES_MAX - key.len() + larger];
        let before = recovered(vec![(0, vec![(key, value)])], 0);
        let text = exported(&before);
        assert!(text.len() < EXPORT_LINE_BYTES_MAX);
        let after = imported(&text).map(|after| after.states == before.states);
        if larger == 0 {
            assert!(after.expect("it may be"));
            continue;
        }
        let refusal = after.expect_err("no job could have written it").to_string();
        for part in ["line 3 of", &*STATE_ENTRY_BYTES_MAX.to_string()] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}

#[test]
fn values_are_text_where_a_person_can_read_it() {
    for code in 0..=0xff_u8 {
        let character = char::from(code);
        let value = format!("a{character}b").into_bytes();
        let (line, read) = as_a_line(b"k", &value);
        assert_eq!(read, [(b"k".to_vec(), value)]);
        let is_text = !character.is_control() || "\n\r\t".contains(character);
        assert_eq!(line.contains("\"value\""), is_text, "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn an_export_that_is_cut_off_anywhere_or_changed_is_refused_by_line() {
    let entries = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), vec![0xff])];
    let text = exported(&recovered(vec![(0, entries)], 0));
    let text = String::from_utf8(text).expect("it is JSON");
    let end = text.trim_end().len();
    for cut in (0..end).step_by(7) {
        let refusal = imported(&text.as_bytes()[..cut]).unwrap_err().to_string();
        assert!(refusal.starts_with("line "), "{cut}: {refusal}");
    }
    let twice = text.replace("{\"end\"", "{\"state\":0}\n{\"end\"");
    let behind = format!("{text}more\n");
    for wrong in [twice, behind] {
        assert!(imported(wrong.as_bytes()).is_err());
    }
    for (from, to, expected) in [
        (
            "\"batch\":9",
            "\"batch\":9,\"damage\":\"byte 7\"",
            "ends at a damage: byte 7",
        ),
        ("\"rm-host-state\":1", "\"rm-host-state\":2", "line 1 of"),
        ("\"state\":0", "\"state\":5", "line 2 of"),
        ("\"schema\":1", "\"schema\":-1", "line 2 of"),
        ("\"key\":\"61\"", "\"key\":\"6\"", "line 3 of"),
        ("\"key\":\"62\"", "\"key\":\"61\"", "line 4 of"),
        ("\"hex\":\"ff\"", "\"hex\":\"fg\"", "line 4 of"),
        ("\"hex\":\"ff\"", "\"hax\":\"ff\"", "line 4 of"),
        ("\"entries\":2", "\"entries\":3", "1 states with 3 entries"),
    ] {
        assert!(text.contains(from), "{from}");
        let refusal = imported(text.replace(from, to).as_bytes()).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains(expected), "{to}: {refusal}");
    }
}
