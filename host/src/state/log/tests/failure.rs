//! Every operation fails in turn: nothing acknowledged is lost, and the log comes back by itself and by a restart.

use super::model::{Author, open, run};
use crate::state::{
    log::{BatchNo, FileLog, Log, LogError, Recovered},
    sim_disk::{Failure, Fault, Operation, Replay, SimDisk, seeds},
};

const BATCHES: u64 = 40;

/// What is done about a failed append or sync.
#[derive(Clone, Copy, Debug)]
enum Then {
    Recover,
    RecoverAndLosePower,
    Restart,
    RestartTwiceAndLosePower,
}

fn open_in_the_end(disk: &SimDisk) -> (FileLog, Recovered) {
    (0..8)
        .find_map(|_| open(disk).ok())
        .expect("the fault does not last")
}

fn recover(log: &mut FileLog) -> Recovered {
    (0..8)
        .find_map(|_| {
            assert!(matches!(
                log.append(log.appended().next(), 0, &[]),
                Err(LogError::Poisoned)
            ));
            assert!(matches!(log.sync(), Err(LogError::Poisoned)));
            log.recover_after_failure().ok()
        })
        .expect("the fault does not last")
}

fn go_on(disk: &SimDisk, log: FileLog, then: Then) -> (FileLog, Recovered) {
    let mut log = log;
    match then {
        Then::Recover => {
            let found = recover(&mut log);
            (log, found)
        }
        Then::RecoverAndLosePower => {
            let durable = recover(&mut log).last;
            disk.lose_power();
            disk.power_up();
            let (log, found) = open(disk).unwrap();
            assert!(found.last >= durable);
            (log, found)
        }
        Then::Restart => {
            drop(log);
            open_in_the_end(disk)
        }
        Then::RestartTwiceAndLosePower => {
            drop(log);
            let (_, first) = open_in_the_end(disk);
            disk.lose_power();
            disk.power_up();
            let (log, found) = open(disk).unwrap();
            assert_eq!(found.last, first.last, "what was found once is found again");
            (log, found)
        }
    }
}

fn fail(seed: u64, fault: Fault, then: Then, each_synced: bool) {
    let disk = SimDisk::new(seed);
    let mut author = Author::new(seed);
    disk.fail(fault);
    let (mut log, _) = open_in_the_end(&disk);
    while let Err(failed) = run(&mut log, &mut author, BATCHES, each_synced) {
        assert!(disk.has_failed(), "{failed}");
        let acknowledged = log.durable();
        let (again, found) = go_on(&disk, log, then);
        assert!(found.last >= acknowledged);
        assert_eq!(
            (again.durable(), again.appended()),
            (found.last, found.last)
        );
        author.check(&found);
        author.go_back_to(found.last);
        log = again;
    }
    drop(log);
    disk.lose_power();
    disk.power_up();
    let (_, found) = open(&disk).unwrap();
    assert_eq!(found.last, BatchNo(BATCHES));
    author.check(&found);
}

/// Every operation of these kinds fails in turn, in these ways.
fn fail_each(operations: &[Operation], failures: &[(Failure, u64)], each_synced: bool) {
    for seed in seeds(1) {
        let _replay = Replay(seed);
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk).unwrap();
        run(&mut log, &mut Author::new(seed), BATCHES, each_synced).unwrap();
        for operation in operations.iter().copied() {
            for nth in 0..disk.done(operation) {
                for (failure, times) in failures.iter().copied() {
                    let fault = Fault {
                        operation,
                        nth,
                        times,
                        failure,
                    };
                    for then in [
                        Then::Recover,
                        Then::RecoverAndLosePower,
                        Then::Restart,
                        Then::RestartTwiceAndLosePower,
                    ] {
                        fail(seed, fault, then, each_synced);
                    }
                }
            }
        }
    }
}

#[test]
fn whichever_operation_fails_nothing_acknowledged_is_lost() {
    fail_each(&Operation::ALL, &[(Failure::Broken, 1)], true);
}

#[test]
fn a_failure_among_batches_that_wait_for_a_sync_loses_nothing_acknowledged() {
    use Operation::{Rename, Sync, SyncFolder, Write};
    fail_each(
        &[Write, Sync, Rename, SyncFolder],
        &[(Failure::Broken, 2)],
        false,
    );
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing_acknowledged() {
    let failures = [(Failure::Full, 3), (Failure::Short, 1), (Failure::Short, 3)];
    fail_each(&[Operation::Write], &failures, true);
    fail_each(&[Operation::Create], &[(Failure::Full, 3)], true);
}
