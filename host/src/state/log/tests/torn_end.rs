//! An end that was never whole is cut, and said to be; one that was whole is never.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::model::{FOLDER, ID};
use crate::state::{
    effects::{self, Declared, StateId},
    log::{BatchNo, FileLog, Inspection, Log, OpenError, Policy, Recovered, names},
    sim_disk::SimDisk,
};

const POLICY: Policy = Policy {
    segment_bytes: u64::MAX,
    snapshot_due_bytes: u64::MAX,
    zeroed_ahead_bytes: 0,
    snapshot_piece_bytes: 1024,
    snapshot_runs_max: 4,
};

const LAST: BatchNo = BatchNo(3);

/// Where the last of three batches stands, of which each takes several sectors that its value would leave zero.
struct Written {
    disk: SimDisk,
    file: PathBuf,
    before: u64,
    begin: u64,
    end: u64,
}

fn open(disk: &SimDisk) -> Result<(FileLog, Recovered), OpenError> {
    FileLog::open_with(Arc::new(disk.clone()), Path::new(FOLDER), POLICY, ID, None)
}

fn write(value_bytes: usize) -> Written {
    let disk = SimDisk::new(0);
    let (mut log, _) = open(&disk).unwrap();
    let file = Path::new(FOLDER).join(names::segment(BatchNo(1)));
    let declared = Declared {
        plugin: "p",
        name: "n",
        kind: "k",
        schema: 1,
    };
    let mut ends = vec![];
    for batch in 1..=LAST.0 {
        let mut out = Vec::new();
        effects::declare(&mut out, StateId(0), &declared);
        effects::put(&mut out, StateId(0), &[batch as u8], &vec![0; value_bytes]);
        log.append(BatchNo(batch), batch, &out).unwrap();
        log.sync().unwrap();
        ends.push(disk.edit(&file, |bytes| bytes.len() as u64));
    }
    Written {
        disk,
        file,
        before: ends[0],
        begin: ends[1],
        end: ends[2],
    }
}

impl Written {
    fn edited(&self, edit: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
        let disk = self.disk.fork();
        disk.edit(&self.file, edit);
        disk
    }

    /// That the last batch is cut, that looking alone changes nothing, and that the log goes on from there.
    #[track_caller]
    fn is_cut(&self, disk: &SimDisk) {
        let before = disk.edit(&self.file, |bytes| bytes.clone());
        let looked = Inspection::new(Arc::new(disk.clone()), Path::new(FOLDER))
            .read()
            .unwrap();
        assert_eq!(disk.edit(&self.file, |bytes| bytes.clone()), before);
        let (mut log, found) = open(disk).unwrap();
        assert_eq!(found, looked);
        assert_eq!(found.last.next(), LAST);
        let is_trace_left = before[self.begin as usize..].iter().any(|byte| *byte != 0);
        assert_eq!(found.report.cut.is_some(), is_trace_left);
        if let Some(cut) = found.report.cut {
            assert_eq!(
                (cut.file, cut.byte, cut.batch),
                (self.file.clone(), self.begin, LAST)
            );
            assert!(cut.bytes <= self.end - self.begin);
        }
        log.append(LAST, 9, &[]).unwrap();
        log.sync().unwrap();
        let (_, found) = open(disk).unwrap();
        assert_eq!(
            (found.last, found.now_ms, found.report.cut),
            (LAST, 9, None)
        );
    }

    #[track_caller]
    fn is_damaged(&self, disk: &SimDisk, byte: u64) {
        let refusal = open(disk).expect_err("it was whole").to_string();
        assert!(
            refusal.contains(&format!("damaged at byte {byte}")),
            "{refusal}"
        );
    }
}

#[test]
fn an_end_that_stops_at_any_byte_of_the_last_record_is_cut() {
    for value_bytes in [0, 20, 1200] {
        let written = write(value_bytes);
        for cut in written.begin..written.end {
            written.is_cut(&written.edited(|bytes| bytes.truncate(cut as usize)));
            written.is_cut(&written.edited(|bytes| bytes[cut as usize..].fill(0)));
            written.is_cut(&written.edited(|bytes| {
                bytes[cut as usize..].fill(0);
                bytes.resize(8192, 0);
            }));
        }
    }
}

#[test]
fn an_end_of_which_any_sectors_were_not_written_is_cut() {
    let written = write(1200);
    let sectors: Vec<_> = (written.begin / 512..=(written.end - 1) / 512).collect();
    assert!(sectors.len() >= 3);
    for missing in 1_u32..1 << sectors.len() {
        let disk = written.edited(|bytes| {
            for (index, sector) in sectors.iter().enumerate() {
                if missing & 1 << index != 0 {
                    let begin = (sector * 512).max(written.begin) as usize;
                    let end = (sector * 512 + 512).min(written.end) as usize;
                    bytes[begin..end].fill(0);
                }
            }
        });
        written.is_cut(&disk);
    }
}

#[test]
fn a_last_record_that_was_whole_is_not_cut_whatever_byte_of_it_changed() {
    for value_bytes in [20, 1200] {
        let written = write(value_bytes);
        for byte in written.begin..written.end {
            for changed in [0x01, 0xff] {
                let disk = written.edited(|bytes| bytes[byte as usize] ^= changed);
                written.is_damaged(&disk, written.begin);
            }
        }
    }
}

#[test]
fn zeros_before_a_record_that_proves_them_durable_are_damage() {
    let written = write(1200);
    let (before, begin) = (written.before as usize, written.begin as usize);
    written.is_damaged(
        &written.edited(|bytes| bytes[before..begin].fill(0)),
        written.before,
    );
    let sector = before / 512 * 512 + 512;
    let disk = written.edited(|bytes| bytes[sector..sector + 512].fill(0));
    written.is_damaged(&disk, written.before);
}

#[test]
fn a_value_that_looks_like_a_record_proves_nothing() {
    // The records of a log that is further on say that much was durable.
    let further = write(100);
    let (mut log, _) = open(&further.disk).unwrap();
    for batch in LAST.0 + 1..20 {
        log.append(BatchNo(batch), 4, b"").unwrap();
        log.sync().unwrap();
    }
    let records = further
        .disk
        .edit(&further.file, |bytes| bytes[64..].to_vec());
    let written = write(1200);
    let (mut log, _) = open(&written.disk).unwrap();
    let mut out = Vec::new();
    effects::put(&mut out, StateId(0), b"log", &records);
    log.append(LAST.next(), 4, &out).unwrap();
    log.sync().unwrap();
    // The first sector of it is missing, and the copies of records stand behind.
    let hole = written.end as usize..(written.end as usize / 512 + 1) * 512;
    let disk = written.edited(|bytes| bytes[hole].fill(0));
    let (_, found) = open(&disk).unwrap();
    assert_eq!(found.last, LAST);
    assert!(found.report.cut.is_some());
}
