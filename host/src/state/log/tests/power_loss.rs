//! The power goes at every operation of a run: nothing acknowledged is lost, nothing is half there.

use super::model::{Author, open, run};
use crate::state::{
    log::{BatchNo, Log},
    sim_disk::{Random, Replay, SimDisk, seeds},
};

const BATCHES: u64 = 40;

/// Runs until the power goes after so many changes of the disk, and again while it recovers, until it goes no more.
fn lose_power(seed: u64, after: u64, each_synced: bool) {
    let disk = SimDisk::new(seed ^ after << 20);
    let mut author = Author::new(seed);
    let mut random = Random::new(after);
    let mut acknowledged = BatchNo(0);
    disk.lose_power_after(after);
    let mut losses = 0;
    loop {
        if let Ok((mut log, found)) = open(&disk) {
            assert!(
                found.last >= acknowledged,
                "{} of {acknowledged}",
                found.last
            );
            author.check(&found);
            author.go_back_to(found.last);
            acknowledged = found.last;
            let ran = run(&mut log, &mut author, BATCHES, each_synced);
            assert!(log.durable() >= acknowledged);
            acknowledged = log.durable();
            if ran.is_ok() {
                break;
            }
        } else {
            assert!(
                disk.is_off(),
                "only the power may keep it from opening: {:?}",
                open(&disk).err()
            );
        }
        disk.power_up();
        losses += 1;
        if losses < 4 {
            disk.lose_power_after(random.below(30));
        }
    }
    disk.lose_power();
    disk.power_up();
    let (_, found) = open(&disk).unwrap();
    assert_eq!(found.last, BatchNo(BATCHES));
    author.check(&found);
}

fn lose_power_at_every_change(each_synced: bool) {
    for seed in seeds(2) {
        let _replay = Replay(seed);
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk).unwrap();
        run(&mut log, &mut Author::new(seed), BATCHES, each_synced).unwrap();
        for after in 0..disk.changes_done() {
            lose_power(seed, after, each_synced);
        }
    }
}

#[test]
fn a_power_loss_at_any_moment_takes_nothing_that_was_acknowledged() {
    lose_power_at_every_change(true);
}

#[test]
fn a_power_loss_among_batches_that_wait_for_a_sync_leaves_whole_ones_in_order() {
    lose_power_at_every_change(false);
}
