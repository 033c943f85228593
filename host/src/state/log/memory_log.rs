//! A log that ends with the process.

use std::collections::VecDeque;

use super::{
    Batch, BatchNo, EachBatch, Log, LogError, Recovered, Snapshot, SnapshotDone, SnapshotTask,
    replay::Replayed,
};
use crate::limits::SNAPSHOT_DUE_BYTES;

/// Keeps its last batches in memory, and all before them as the states that they made. Nothing of it fails.
#[derive(Debug)]
pub struct MemoryLog {
    /// As of the last batch before `tail`.
    states: Replayed,
    tail: VecDeque<(u64, Box<[u8]>)>,
    tail_bytes: u64,
    tail_bytes_max: u64,
    durable: BatchNo,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::with_tail(SNAPSHOT_DUE_BYTES)
    }
}

impl MemoryLog {
    /// One whose last batches take so many bytes.
    pub fn with_tail(tail_bytes_max: u64) -> Self {
        Self {
            states: Replayed::default(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_bytes_max,
            durable: BatchNo(0),
        }
    }

    fn batches(&self) -> impl Iterator<Item = Batch<'_>> {
        let first = self.states.last().0 + 1;
        self.tail
            .iter()
            .enumerate()
            .map(move |(index, (now_ms, effects))| Batch {
                no: BatchNo(first + index as u64),
                now_ms: *now_ms,
                effects,
            })
    }

    /// Takes the oldest batches into the states.
    fn shorten(&mut self) -> Result<(), LogError> {
        while self.tail_bytes > self.tail_bytes_max {
            let Some((now_ms, effects)) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes -= effects.len() as u64;
            let batch = Batch {
                no: self.states.last().next(),
                now_ms,
                effects: &effects,
            };
            apply(&mut self.states, batch)?;
        }
        Ok(())
    }
}

fn apply(states: &mut Replayed, batch: Batch<'_>) -> Result<(), LogError> {
    states.apply(batch).map_err(|cause| LogError::BadEffects {
        batch: batch.no,
        cause,
    })
}

impl Log for MemoryLog {
    fn append(&mut self, expected: BatchNo, now_ms: u64, effects: &[u8]) -> Result<(), LogError> {
        let next = self.appended().next();
        if next != expected {
            return Err(LogError::OutOfOrder {
                expected: next,
                found: expected,
            });
        }
        self.tail_bytes += effects.len() as u64;
        self.tail.push_back((now_ms, effects.into()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.durable = self.appended();
        self.shorten()
    }

    fn appended(&self) -> BatchNo {
        BatchNo(self.states.last().0 + self.tail.len() as u64)
    }

    fn durable(&self) -> BatchNo {
        self.durable
    }

    fn read_tail(&self, after: BatchNo, each: &mut EachBatch<'_>) -> Result<(), LogError> {
        let begin = self.states.last();
        if after < begin {
            return Err(LogError::TailGone { after, begin });
        }
        self.batches()
            .filter(|batch| batch.no > after && batch.no <= self.durable)
            .try_for_each(each)
    }

    fn load_snapshot(&self) -> Result<Option<Snapshot>, LogError> {
        let has_one = self.states.last() > BatchNo(0);
        Ok(has_one.then(|| self.states.clone().into_snapshot()))
    }

    fn snapshot_task(&mut self) -> Option<SnapshotTask> {
        None
    }

    fn snapshot_done(&mut self, _done: SnapshotDone) -> Result<(), LogError> {
        Ok(())
    }

    fn recover_after_failure(&mut self) -> Result<Recovered, LogError> {
        while self.appended() > self.durable {
            let (_, effects) = self.tail.pop_back().expect("what is not durable is there");
            self.tail_bytes -= effects.len() as u64;
        }
        let snapshot = self.states.last();
        let mut states = self.states.clone();
        for batch in self.batches() {
            apply(&mut states, batch)?;
        }
        Ok(states.into_recovered((snapshot > BatchNo(0)).then_some(snapshot)))
    }
}
