//! How fast a large log is read: `cargo test --release -p rm-host speed -- --ignored --nocapture`.

use std::{sync::Arc, time::Instant};

use super::model::ID;
use crate::state::{
    disk::RealDisk,
    effects::{self, Declared, StateId},
    log::{BatchNo, FileLog, Log, Policy},
    sim_disk::Random,
};

const EFFECTS: u64 = 10_000_000;
const BATCH_EFFECTS: u64 = 1_000;

#[test]
#[ignore = "it takes a minute, and only a release build tells anything"]
#[expect(clippy::print_stderr, reason = "the figures are what it is for")]
fn ten_million_effects_are_read_within_thirty_seconds() {
    for snapshot_due_bytes in [u64::MAX, Policy::default().snapshot_due_bytes] {
        let folder = tempfile::tempdir().unwrap();
        let policy = Policy {
            snapshot_due_bytes,
            ..Policy::default()
        };
        let open =
            || FileLog::open_with(Arc::new(RealDisk), folder.path(), policy, ID, None).unwrap();
        fill(open().0);
        let begin = Instant::now();
        let (_, found) = open();
        let took = begin.elapsed();
        assert_eq!(found.last, BatchNo(EFFECTS / BATCH_EFFECTS));
        eprintln!("read in {took:?}: {:?}", found.report);
        assert!(took.as_secs() < 30);
    }
}

/// Entries like those of a scattered number pool, in no order.
fn fill(mut log: FileLog) {
    let mut random = Random::new(1);
    let mut out = Vec::new();
    let declared = Declared {
        plugin: "tickets",
        name: "hall",
        kind: "numbers",
        schema: 1,
    };
    effects::declare(&mut out, StateId(0), &declared);
    for batch in 1..=EFFECTS / BATCH_EFFECTS {
        for _ in 0..BATCH_EFFECTS {
            let mut key = [1; 9];
            key[1..].copy_from_slice(&random.below(2 * EFFECTS).to_be_bytes());
            effects::put(&mut out, StateId(0), &key, &random.number().to_be_bytes());
        }
        log.append(BatchNo(batch), batch, &out).unwrap();
        log.sync().unwrap();
        out.clear();
        if let Some(task) = log.snapshot_task() {
            let done = task.run().unwrap();
            log.snapshot_done(done).unwrap();
        }
    }
}
