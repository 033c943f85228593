//! What is not as it was written is an error that names file and place, never a loss that nobody hears of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::model::{Author, COPY, FOLDER, ID};
use crate::state::{
    effects::{self, Declared, StateId},
    log::{
        BatchNo, Expected, FileLog, Inspection, Log, LogEnd, OpenError, Policy, Recovered,
        file_header, names, recovery, replay::Replayed, tests::model,
    },
    sim_disk::SimDisk,
};

/// A snapshot, a closed segment, and a newest one with two batches and some zeros.
struct Small {
    disk: SimDisk,
    whole: Recovered,
}

const POLICY: Policy = Policy {
    segment_bytes: 300,
    snapshot_due_bytes: 600,
    zeroed_ahead_bytes: 512,
    snapshot_piece_bytes: 1024,
    snapshot_runs_max: 4,
};

fn open(disk: &SimDisk) -> Result<(FileLog, Recovered), OpenError> {
    FileLog::open_with(Arc::new(disk.clone()), Path::new(FOLDER), POLICY, ID, None)
}

fn inspection(disk: &SimDisk) -> Inspection {
    Inspection::new(Arc::new(disk.clone()), Path::new(FOLDER))
}

fn small() -> Small {
    let disk = SimDisk::new(0);
    let (mut log, _) = open(&disk).unwrap();
    let mut next = BatchNo(1);
    let declared = Declared {
        plugin: "p",
        name: "n",
        kind: "k",
        schema: 1,
    };
    loop {
        let mut out = Vec::new();
        if next == BatchNo(1) {
            effects::declare(&mut out, StateId(0), &declared);
        }
        effects::put(
            &mut out,
            StateId(0),
            &[next.0 as u8 % 3],
            &next.0.to_le_bytes(),
        );
        log.append(next, next.0, &out).unwrap();
        log.sync().unwrap();
        next = next.next();
        model::snapshot(&mut log);
        let newest = segments(&disk).pop().unwrap();
        if segments(&disk).len() == 2 && !snapshots(&disk).is_empty() && next.0 == newest.0 + 2 {
            break;
        }
    }
    drop(log);
    let whole = inspection(&disk).read().unwrap();
    assert_eq!(whole.last.next(), next);
    Small { disk, whole }
}

fn numbers(disk: &SimDisk, before: &str) -> Vec<BatchNo> {
    let names = disk.names();
    let names = names.iter().filter_map(|name| name.file_name()?.to_str());
    names
        .filter_map(|name| name.strip_prefix(before)?.get(..20)?.parse().ok())
        .map(BatchNo)
        .collect()
}

fn segments(disk: &SimDisk) -> Vec<BatchNo> {
    numbers(disk, "log-")
}

fn snapshots(disk: &SimDisk) -> Vec<BatchNo> {
    numbers(disk, "snapshot-")
}

fn segment(first: BatchNo) -> PathBuf {
    Path::new(FOLDER).join(names::segment(first))
}

/// That the log cannot be opened, that the error says all of this, and that nothing on the disk was changed.
#[track_caller]
fn refused(disk: &SimDisk, said: &[&str]) {
    let before = contents(disk);
    let refusal = open(disk).expect_err("it is damaged").to_string();
    for part in said {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert_eq!(contents(disk), before);
    assert_eq!(inspection(disk).read().unwrap_err().to_string(), refusal);
}

fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let names = disk.names().into_iter();
    names
        .map(|name| (name.clone(), disk.edit(&name, |bytes| bytes.clone())))
        .collect()
}

#[test]
fn any_bit_that_flips_is_found_out_or_harms_nothing() {
    let small = small();
    let ends = ends(&small.disk);
    for (name, bytes) in contents(&small.disk) {
        // Beyond it are zeros that nothing was written to, and in a closed segment the note that another one follows.
        let end = ends.get(&name).map_or(bytes.len(), |end| *end as usize);
        for bit in 0..bytes.len() * 8 {
            let disk = small.disk.fork();
            disk.edit(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            match open(&disk) {
                Err(refusal) => {
                    let refusal = refusal.to_string();
                    assert!(refusal.contains(&*name.to_string_lossy()), "{refusal}");
                }
                Ok((_, found)) => {
                    assert!(bit / 8 >= end, "bit {bit} of {}", name.display());
                    assert_eq!(found.states, small.whole.states);
                    assert_eq!(found.last, small.whole.last);
                    assert_eq!(found.now_ms, small.whole.now_ms);
                    assert_eq!(found.next_state, small.whole.next_state);
                }
            }
        }
    }
}

/// Where what counts of each segment ends.
fn ends(disk: &SimDisk) -> BTreeMap<PathBuf, u64> {
    let contents = recovery::read(
        disk,
        Path::new(FOLDER),
        &Expected::default(),
        &mut Replayed::default(),
    )
    .unwrap();
    let newest = contents.newest.unwrap();
    let closed = contents
        .closed
        .iter()
        .map(|closed| (closed.first, closed.end));
    let segments = closed.chain([(newest.header.first, newest.end)]);
    segments.map(|(first, end)| (segment(first), end)).collect()
}

#[test]
fn a_missing_piece_is_named_with_what_calls_for_it() {
    let small = small();
    let [closed, newest] = segments(&small.disk)[..] else {
        panic!("two segments");
    };
    let [snapshot] = snapshots(&small.disk)[..] else {
        panic!("one snapshot");
    };
    for (missing, said, witness) in [
        (
            names::segment(closed),
            names::segment(closed),
            names::snapshot(snapshot),
        ),
        (
            names::segment(newest),
            names::segment(newest),
            names::segment(closed),
        ),
        (
            names::snapshot(snapshot),
            format!("a snapshot of batch {snapshot}"),
            names::segment(closed),
        ),
    ] {
        let disk = small.disk.fork();
        disk.edit_names(|names| {
            names.remove(&Path::new(FOLDER).join(missing)).unwrap();
        });
        refused(&disk, &["lacks", &said, &witness, "backup"]);
    }
}

#[test]
fn a_segment_that_is_missing_in_the_middle_is_named() {
    let disk = SimDisk::new(0);
    let policy = Policy {
        snapshot_due_bytes: u64::MAX,
        ..model::TINY
    };
    let (mut log, _) =
        FileLog::open_with(Arc::new(disk.clone()), Path::new(FOLDER), policy, ID, None).unwrap();
    model::run(&mut log, &mut Author::new(1), 30, true).unwrap();
    drop(log);
    let firsts = segments(&disk);
    assert!(firsts.len() > 3);
    for missing in &firsts[1..] {
        let disk = disk.fork();
        disk.edit_names(|names| {
            names.remove(&segment(*missing)).unwrap();
        });
        refused(&disk, &["lacks", &names::segment(*missing)]);
    }
    let disk = disk.fork();
    disk.edit_names(|names| {
        let (one, other) = (names[&segment(firsts[1])], names[&segment(firsts[2])]);
        names.insert(segment(firsts[1]), other);
        names.insert(segment(firsts[2]), one);
    });
    refused(&disk, &["damaged at byte 0", &names::segment(firsts[1])]);
}

#[test]
fn a_file_that_is_something_else_is_named_with_a_way_out() {
    let small = small();
    let newest = segment(*segments(&small.disk).last().unwrap());
    let name = newest.display().to_string();
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let disk = small.disk.fork();
        disk.edit(&newest, |bytes| edit(bytes));
        disk
    };
    refused(
        &edited(&|bytes| bytes.clear()),
        &[&name, "byte 0", "0 bytes", "backup"],
    );
    refused(
        &edited(&|bytes| bytes.truncate(63)),
        &[&name, "byte 0", "63 bytes"],
    );
    refused(
        &edited(&|bytes| bytes.fill(0)),
        &[&name, "byte 0", "file header"],
    );
    refused(
        &edited(&|bytes| bytes[..8].copy_from_slice(b"rmsnap\r\n")),
        &[&name, "file header"],
    );
    let newer = edited(&|bytes| {
        bytes[8] = 3;
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    });
    let supported = format!("up to {}", file_header::FORMAT);
    refused(
        &newer,
        &[&name, "format 3", &supported, "run the version of rm-host"],
    );
    let disk = small.disk.fork();
    disk.add("/data/state/notes.txt", b"");
    refused(&disk, &["/data/state/notes.txt", "move it elsewhere"]);
}

#[test]
fn what_can_be_read_before_a_damage_can_be_taken_out() {
    let small = small();
    let newest = segment(*segments(&small.disk).last().unwrap());
    let disk = small.disk.fork();
    disk.edit(&newest, |bytes| bytes[64 + 20] ^= 1);
    let partial = inspection(&disk).read_until_damage();
    let damaged = BatchNo(small.whole.last.0 - 1);
    assert_eq!(partial.recovered.last.next(), damaged);
    let damage = partial.damage.expect("it is damaged").to_string();
    assert!(damage.contains(&format!("batch {damaged}")), "{damage}");
    assert!(damage.contains("at byte 64"), "{damage}");
}

#[test]
fn a_file_of_another_log_is_named() {
    let small = small();
    let newest = segment(*segments(&small.disk).last().unwrap());
    let snapshot = Path::new(FOLDER).join(names::snapshot(snapshots(&small.disk)[0]));
    for file in [newest, snapshot] {
        let disk = small.disk.fork();
        disk.edit(&file, |bytes| {
            let header = bytes.first_chunk_mut().unwrap();
            file_header::set_id(header, COPY);
        });
        let refusal = open(&disk).unwrap_err().to_string();
        for part in [&*file.to_string_lossy(), "another log", &COPY.to_string()] {
            assert!(refusal.contains(part), "{refusal}");
        }
        let expected = Expected {
            id: Some(ID),
            end: None,
        };
        let looked = inspection(&disk).expecting(expected).read();
        assert_eq!(looked.unwrap_err().to_string(), refusal);
    }
}

/// As a host made it that gave its log no identity.
fn of_format_1(disk: &SimDisk) {
    for name in disk.names() {
        disk.edit(&name, |bytes| {
            bytes[8] = 1;
            bytes[40..56].fill(0);
            let checksum = crc32fast::hash(&bytes[..60]);
            bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        });
    }
}

#[test]
fn a_log_without_an_identity_gets_one_with_its_next_segment() {
    let small = small();
    let disk = small.disk.fork();
    of_format_1(&disk);
    assert_eq!(inspection(&disk).identity().unwrap(), Some(None));
    for _ in 0..2 {
        let (_, found) = open(&disk).unwrap();
        assert_eq!(found.states, small.whole.states);
        assert_eq!(found.last, small.whole.last);
        assert_eq!(inspection(&disk).identity().unwrap(), Some(Some(ID)));
    }
    let empty = SimDisk::new(0);
    drop(open(&empty).unwrap());
    of_format_1(&empty);
    assert_eq!(open(&empty).unwrap().1.last, BatchNo(0));
    assert_eq!(inspection(&empty).identity().unwrap(), Some(Some(ID)));
}

#[test]
fn a_log_that_ends_before_its_last_clean_stop_is_damaged_there() {
    let small = small();
    let whole = small.whole.report.end.unwrap();
    assert_eq!(whole.last(), small.whole.last);
    let newest = segment(*segments(&small.disk).last().unwrap());
    let opened = |disk: &SimDisk, end: LogEnd| {
        let disk = Arc::new(disk.clone());
        FileLog::open_with(disk, Path::new(FOLDER), POLICY, ID, Some(end))
    };
    let (log, _) = opened(&small.disk, whole).unwrap();
    assert_eq!(log.end(), Some(whole));
    for cut in 64..whole.byte as usize {
        let disk = small.disk.fork();
        disk.edit(&newest, |bytes| bytes.truncate(cut));
        assert!(open(&disk).is_ok(), "without it, that is a torn end");
        let refusal = opened(&disk, whole).unwrap_err().to_string();
        for part in [
            &*newest.to_string_lossy(),
            "damaged",
            "stopped in order",
            &whole.byte.to_string(),
        ] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}

#[test]
fn a_file_of_somebody_else_stops_a_start_and_no_log_that_is_open() {
    let small = small();
    let foreign = Path::new(FOLDER).join("notes");
    let disk = small.disk.fork();
    let (mut log, found) = open(&disk).unwrap();
    disk.add(&foreign.to_string_lossy(), b"");
    log.look(true).unwrap();
    let files_before = disk.names().len();
    for batch in 1..600 {
        let number = BatchNo(found.last.0 + batch);
        log.append(number, found.now_ms, &[]).unwrap();
        log.sync().unwrap();
        model::snapshot(&mut log);
    }
    log.look(true).unwrap();
    let files = disk.names().len();
    assert!(
        files <= files_before,
        "{files}: what a snapshot stands for goes"
    );
    drop(log);
    let refusal = open(&disk).unwrap_err().to_string();
    assert!(refusal.contains(&*foreign.to_string_lossy()), "{refusal}");
}

#[test]
fn a_file_that_goes_while_the_log_is_open_is_noticed() {
    let small = small();
    for name in small.disk.names() {
        let disk = small.disk.fork();
        let (log, _) = open(&disk).unwrap();
        log.look(true).unwrap();
        disk.edit_names(|names| {
            names.remove(&name).unwrap();
        });
        let noticed = log.look(true).unwrap_err().to_string();
        assert!(noticed.contains(&*name.to_string_lossy()), "{noticed}");
        let is_newest = name == segment(*segments(&small.disk).last().unwrap());
        assert_eq!(log.look(false).is_err(), is_newest);
        disk.add(&name.to_string_lossy(), b"");
        assert_eq!(log.look(true).is_err(), is_newest, "another in its place");
    }
}
