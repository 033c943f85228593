//! What every log does, and what the file log does besides.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    interrupted::Interrupted,
    model::{Author, COPY, FOLDER, ID, TINY, open, run, snapshot},
};
use crate::{
    limits::BATCH_EFFECTS_BYTES_MAX,
    state::{
        disk::{Disk, RealDisk},
        effects::{self, Declared, StateId},
        log::{
            BatchNo, FileLog, Inspection, Log, LogError, MemoryLog, OpenError, Policy, Recovered,
        },
        sim_disk::{Failure, Fault, Operation, SimDisk},
    },
};

/// A log of 60 batches, of which the last two are not synced.
fn fill(log: &mut dyn Log, author: &mut Author) {
    while author.last() < BatchNo(60) {
        let (effects, now_ms) = author.write();
        log.append(author.last(), now_ms, &effects).unwrap();
        if author.last() <= BatchNo(58) {
            log.sync().unwrap();
        }
        if let Some(task) = log.snapshot_task() {
            let done = task.run().unwrap();
            log.snapshot_done(done).unwrap();
        }
    }
}

fn each_log(mut test: impl FnMut(&mut dyn Log, &Author)) {
    let mut author = Author::new(1);
    let mut memory = MemoryLog::with_tail(3000);
    fill(&mut memory, &mut author);
    test(&mut memory, &author);
    let mut author = Author::new(1);
    let (mut file, _) = open(&SimDisk::new(1)).unwrap();
    fill(&mut file, &mut author);
    test(&mut file, &author);
}

#[test]
fn the_snapshot_and_the_tail_together_are_what_was_synced() {
    each_log(|log, author| {
        assert_eq!((log.durable(), log.appended()), (BatchNo(58), BatchNo(60)));
        let snapshot = log.load_snapshot().unwrap().expect("it was due");
        let begin = snapshot.last;
        assert!(begin > BatchNo(0));
        author.check(&Recovered {
            states: snapshot.states,
            last: snapshot.last,
            now_ms: snapshot.now_ms,
            next_state: snapshot.next_state,
            ..Recovered::default()
        });
        let mut next = begin.next();
        let mut read = |batch: crate::state::log::Batch<'_>| {
            assert_eq!(batch.no, next);
            assert!(effects::read(batch.effects).all(|effect| effect.is_ok()));
            next = next.next();
            Ok(())
        };
        log.read_tail(begin, &mut read).unwrap();
        assert_eq!(next, BatchNo(59));
        let before = BatchNo(begin.0 - 1);
        let gone = log.read_tail(before, &mut |_| Ok(())).unwrap_err();
        assert!(matches!(gone, LogError::TailGone { .. }), "{gone}");
    });
}

#[test]
fn recovering_leaves_what_was_synced_and_goes_on_from_there() {
    each_log(|log, author| {
        let found = log.recover_after_failure().unwrap();
        assert_eq!(found.last, BatchNo(58));
        author.check(&found);
        assert_eq!(log.appended(), BatchNo(58));
        log.append(BatchNo(59), 1, &[]).unwrap();
        log.sync().unwrap();
        assert_eq!(log.recover_after_failure().unwrap().last, BatchNo(59));
    });
}

#[test]
fn a_batch_that_is_wrong_in_itself_changes_nothing() {
    each_log(|log, _| {
        let refusal = log.append(BatchNo(60), 0, &[]).unwrap_err();
        assert!(matches!(refusal, LogError::OutOfOrder { .. }), "{refusal}");
        log.append(BatchNo(61), 0, &[]).unwrap();
        log.sync().unwrap();
    });
    let (mut log, _) = open(&SimDisk::new(1)).unwrap();
    let too_large = vec![0; BATCH_EFFECTS_BYTES_MAX + 1];
    let refusal = log.append(BatchNo(1), 0, &too_large).unwrap_err();
    assert!(matches!(refusal, LogError::TooLarge { .. }), "{refusal}");
    log.append(BatchNo(1), 0, &[]).unwrap();
}

#[test]
fn segments_and_snapshots_that_are_of_no_use_any_more_are_removed() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    run(&mut log, &mut Author::new(1), 500, true).unwrap();
    let names = disk.names();
    let snapshots = names
        .iter()
        .filter(|name| name.extension().is_some_and(|is| is == "rms"));
    assert_eq!(snapshots.count(), 1);
    assert!(names.len() < 20, "{names:?}");
}

#[test]
fn the_greatest_time_is_known_however_long_ago_it_was() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut snapshots = 0;
    while snapshots < 3 {
        let next = log.appended().next();
        let now_ms = if next == BatchNo(1) { 1000 } else { 1 };
        let mut effects = Vec::new();
        effects::declare(&mut effects, StateId(0), &HALL);
        log.append(next, now_ms, &effects).unwrap();
        log.sync().unwrap();
        if let Some(task) = log.snapshot_task() {
            log.snapshot_done(task.run().unwrap()).unwrap();
            snapshots += 1;
        }
    }
    assert_eq!(log.recover_after_failure().unwrap().now_ms, 1000);
    assert_eq!(open(&disk).unwrap().1.now_ms, 1000);
}

const HALL: Declared<'_> = Declared {
    plugin: "tickets",
    name: "hall",
    kind: "numbers",
    schema: 1,
};

#[test]
fn one_snapshot_is_made_at_a_time_and_one_that_failed_is_made_later() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut author = Author::new(1);
    let mut until_due = |log: &mut FileLog| loop {
        let (effects, now_ms) = author.write();
        log.append(author.last(), now_ms, &effects).unwrap();
        log.sync().unwrap();
        if let Some(task) = log.snapshot_task() {
            return task;
        }
    };
    let task = until_due(&mut log);
    assert!(log.snapshot_task().is_none());
    drop(task);
    assert!(log.snapshot_task().is_none(), "nothing more was closed");
    let task = until_due(&mut log);
    disk.fail(Fault {
        operation: Operation::Create,
        nth: disk.done(Operation::Create),
        times: 1,
        failure: Failure::Full,
    });
    let failed = task.run().unwrap_err().to_string();
    assert!(failed.contains(".new could not be made"), "{failed}");
    let task = until_due(&mut log);
    let last = task.run().unwrap();
    assert!(log.snapshot_task().is_none());
    let stands_for = last.last;
    log.snapshot_done(last).unwrap();
    assert_eq!(log.load_snapshot().unwrap().unwrap().last, stands_for);
}

#[test]
fn a_copy_of_a_log_that_is_in_use_is_a_log_and_an_unfinished_copy_is_none() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut author = Author::new(1);
    run(&mut log, &mut author, 45, true).unwrap();
    let inspection = Inspection::new(Arc::new(disk.clone()), Path::new(FOLDER));
    let to = Path::new("/data/copy");
    let before = disk.changes_done();
    let whole = disk.fork();
    let copied = Inspection::new(Arc::new(whole.clone()), Path::new(FOLDER));
    let copied = copied.copy(to, COPY).unwrap();
    author.check(&copied);
    assert_eq!(copied.last, BatchNo(45));
    for after in 0..whole.changes_done() - before {
        let disk = disk.fork();
        disk.lose_power_after(after);
        let inspection = Inspection::new(Arc::new(disk.clone()), Path::new(FOLDER));
        inspection.copy(to, COPY).unwrap_err();
        disk.power_up();
        let disk: Arc<dyn Disk> = Arc::new(disk);
        if let Ok((_, found)) = FileLog::open_with(disk, to, TINY, COPY, None) {
            let is_whole_or_nothing = [BatchNo(0), BatchNo(45)].contains(&found.last);
            assert!(is_whole_or_nothing, "{} after {after}", found.last);
        }
    }
    inspection.copy(to, COPY).unwrap();
    let again = inspection.copy(to, COPY).unwrap_err();
    assert!(matches!(again, OpenError::Foreign { .. }), "{again}");
    run(&mut log, &mut author, 50, true).unwrap();
}

#[test]
fn whenever_a_host_replaces_what_is_read_there_is_newer_to_read() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut author = Author::new(1);
    run(&mut log, &mut author, 45, true).unwrap();
    drop(log);
    for is_copied in [false, true] {
        for after in 0.. {
            let disk = disk.fork();
            let served = disk.clone();
            let interrupted = Interrupted::after(after, &disk, move || {
                let (mut log, found) = open(&served).unwrap();
                // What is written is of no account here, but that it takes the place of all there was.
                for batch in found.last.0 + 1..found.last.0 + 600 {
                    log.append(BatchNo(batch), found.now_ms, &[]).unwrap();
                    log.sync().unwrap();
                    snapshot(&mut log);
                }
            });
            let inspection = Inspection::new(Arc::new(interrupted.clone()), Path::new(FOLDER));
            let found = match is_copied {
                true => inspection.copy(Path::new("/data/copy"), COPY),
                false => inspection.read(),
            };
            let states = found.unwrap().states;
            author.check(&Recovered {
                states,
                last: BatchNo(45),
                ..open(&disk).unwrap().1
            });
            if !interrupted.was() {
                break;
            }
        }
    }
}

#[test]
fn a_log_that_is_written_meanwhile_can_be_read_and_copied() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let policy = Policy {
        segment_bytes: 100_000,
        snapshot_due_bytes: 400_000,
        snapshot_piece_bytes: 50_000,
        snapshot_runs_max: 64,
        ..TINY
    };
    let (mut log, _) = FileLog::open_with(Arc::new(RealDisk), &state, policy, ID, None).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut author = Author::new(1);
            while !is_over.load(Ordering::Relaxed) {
                let until = author.last().0 + 10;
                run(&mut log, &mut author, until, true).unwrap();
            }
            author
        });
        let inspection = Inspection::new(Arc::new(RealDisk), &state);
        let found: Vec<_> = (0..30)
            .map(|round| match round % 3 {
                0 => inspection.copy(&folder.path().join(format!("copy {round}")), COPY),
                _ => inspection.read(),
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        let author = writer.join().unwrap();
        for found in found {
            author.check(&found.unwrap());
        }
    });
}

#[test]
fn a_log_on_the_real_disk_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("state");
    let mut author = Author::new(1);
    for until in [50, 70] {
        let disk = Arc::new(RealDisk);
        let (mut log, found) = FileLog::open_with(disk, &folder, TINY, ID, None).unwrap();
        author.check(&found);
        run(&mut log, &mut author, until, true).unwrap();
    }
    let (_, found) = FileLog::open(Arc::new(RealDisk), &folder, ID, None).unwrap();
    assert_eq!(found.last, BatchNo(70));
    author.check(&found);
}
