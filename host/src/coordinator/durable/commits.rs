//! What has been changed and is not durable yet, and the replies that wait for it.
//!
//! Effects of all lanes gather in one batch while the one before it is written and synced, so that however many
//! jobs end meanwhile share the next sync. A reply is held until the batch is durable in which its lane has
//! changed something last. A lane that has changed nothing waits for nobody.

use std::{collections::VecDeque, time::Duration};

use crate::{
    lane::ClientSlot,
    limits::{BATCH_GATHERED_BYTES_MAX, UNSYNCED_BYTES_MAX},
    planted::{Fault, planted},
    state::{BatchNo, Committer},
};

/// The batches on their way, of a host that keeps what its jobs change.
pub struct Commits {
    /// `None`: what is in memory is all there is, and nothing waits.
    committer: Option<Committer>,
    /// What was changed since the last batch was sent on its way, or is full.
    gathering: Batch,
    /// Full, and waiting for those before them. Hardly ever are there any.
    full: VecDeque<Batch>,
    /// The batch that the committer writes.
    under_way: Option<Batch>,
    /// The number of the batch that gathers, which the committer has not got yet.
    number: BatchNo,
    /// Nothing is submitted before the state has been read back.
    failed: bool,
    /// A batch is full with so many bytes of effects.
    gathered_bytes_max: usize,
}

/// Effects that are committed together, and the replies that tell of them.
#[derive(Default)]
pub struct Batch {
    /// What jobs have changed, as the log takes it.
    effects: Vec<u8>,
    /// Of effects that were submitted: they count until they are durable.
    submitted_bytes: usize,
    /// The bytes of all replies, one after the other.
    replies: Vec<u8>,
    /// Whose the replies are, in the same order.
    held: Vec<Held>,
}

/// A reply that waits until its batch is durable.
struct Held {
    /// The client that it is for.
    slot: ClientSlot,
    /// How long it is.
    bytes: usize,
    /// What it tells of is undone with its batch.
    undone: bool,
}

impl Commits {
    /// Commits go to `committer`, the next one as `number`; without one nothing is kept.
    pub fn new(committer: Option<Committer>, number: BatchNo) -> Self {
        Self {
            committer,
            gathering: Batch::default(),
            full: VecDeque::new(),
            under_way: None,
            number,
            failed: false,
            gathered_bytes_max: BATCH_GATHERED_BYTES_MAX,
        }
    }

    /// Whether what jobs change is kept at all.
    pub fn are_kept(&self) -> bool {
        self.committer.is_some()
    }

    /// Where jobs put what they change. What stands here goes with the next batch.
    pub fn effects(&mut self) -> &mut Vec<u8> {
        &mut self.gathering.effects
    }

    /// Sees that so many bytes of effects, at most those of one opening, can be added without making a batch larger
    /// than the log takes.
    pub fn make_room(&mut self, bytes: usize) {
        let gathered = self.gathering.effects.len();
        if self.committer.is_some() && gathered > 0 && gathered + bytes > self.gathered_bytes_max {
            self.full.push_back(std::mem::take(&mut self.gathering));
            self.number.0 += 1;
        }
    }

    /// The last batch in which anything is, durable or not.
    pub fn latest(&self) -> BatchNo {
        match self.gathering.effects.is_empty() {
            true => BatchNo(self.number.0 - 1),
            false => self.number,
        }
    }

    /// Whether a batch is still on its way.
    pub fn is_awaited(&self, batch: BatchNo) -> bool {
        let before = self.full.len() as u64 + u64::from(self.under_way.is_some());
        batch.0 >= self.number.0 - before
    }

    /// Keeps a reply until `batch` is durable, which is still on its way.
    /// `undone`: what it tells of has not happened if the batch never comes to be.
    pub fn hold(&mut self, batch: BatchNo, slot: ClientSlot, reply: &[u8], undone: bool) {
        debug_assert!(self.is_awaited(batch));
        let before = usize::try_from(self.number.0 - batch.0).unwrap_or(usize::MAX);
        let into = match (before, &mut self.under_way) {
            (0, _) => &mut self.gathering,
            _ if planted(Fault::HeldInNextBatch) => &mut self.gathering,
            (_, Some(under_way)) if before > self.full.len() => under_way,
            _ => {
                let index = self.full.len() - before;
                &mut self.full[index]
            }
        };
        into.replies.extend_from_slice(reply);
        into.held.push(Held {
            slot,
            bytes: reply.len(),
            undone,
        });
    }

    /// Sends what has gathered on its way, unless something still is.
    pub fn submit(&mut self, now_ms: impl FnOnce() -> u64) {
        let Some(committer) = &self.committer else {
            self.gathering.effects.clear();
            return;
        };
        if self.failed || self.under_way.is_some() {
            return;
        }
        let number = BatchNo(self.number.0 - self.full.len() as u64);
        let mut batch = match self.full.pop_front() {
            Some(full) => full,
            None if self.gathering.effects.is_empty() => return,
            None => {
                self.number.0 += 1;
                std::mem::take(&mut self.gathering)
            }
        };
        let effects = std::mem::take(&mut batch.effects);
        batch.submitted_bytes = effects.len();
        committer.commit(number, now_ms(), effects);
        self.under_way = Some(batch);
    }

    /// What was on its way is durable. `buffer` is what its effects were in.
    pub fn committed(&mut self, mut buffer: Vec<u8>) -> Batch {
        if self.gathering.effects.is_empty() && buffer.capacity() <= BUFFER_BYTES_KEPT_MAX {
            buffer.clear();
            self.gathering.effects = buffer;
        }
        self.under_way.take().unwrap_or_default()
    }

    /// Nothing that is not durable will come to be: neither what was on its way, of which that is not certain
    /// yet, nor what has gathered. Returns both.
    pub fn fail(&mut self) -> (Batch, Batch) {
        self.failed = true;
        let in_doubt = self.under_way.take().unwrap_or_default();
        let mut void = Batch::default();
        for batch in self.full.drain(..) {
            void.follow_with(batch);
        }
        void.follow_with(std::mem::take(&mut self.gathering));
        (in_doubt, void)
    }

    /// Has the state read back from what is durable.
    pub fn rebuild(&self) {
        if let Some(committer) = &self.committer {
            committer.rebuild();
        }
    }

    /// The state is what is durable: the next batch is `number`.
    pub fn go_on(&mut self, number: BatchNo) {
        self.gathering = Batch::default();
        self.full.clear();
        self.number = number;
        self.failed = false;
    }

    /// Whether so much waits to be durable that jobs with state have to wait.
    pub fn are_full(&self) -> bool {
        let under_way = self.under_way.as_ref().map_or(0, Batch::bytes);
        let full: usize = self.full.iter().map(Batch::bytes).sum();
        self.gathering.bytes() + full + under_way > UNSYNCED_BYTES_MAX
    }

    /// Whether nothing is on its way and nobody waits. What comes after a failure is not kept.
    pub fn are_empty(&self) -> bool {
        let none_waits = self.under_way.is_none() && self.full.is_empty();
        self.failed || (none_waits && self.gathering.bytes() == 0)
    }

    /// Ends the keeping, with all that was submitted; false if that takes longer than `patience`.
    pub fn close(&mut self, patience: Duration) -> bool {
        self.committer
            .take()
            .is_none_or(|committer| committer.close(patience))
    }
}

/// A buffer that one large batch has made larger than this is not kept for the next, in bytes.
const BUFFER_BYTES_KEPT_MAX: usize = 4 * 1024 * 1024;

impl Batch {
    fn bytes(&self) -> usize {
        self.effects.len() + self.submitted_bytes + self.replies.len()
    }

    /// Adds the replies of a later batch.
    fn follow_with(&mut self, later: Self) {
        self.replies.extend_from_slice(&later.replies);
        self.held.extend(later.held);
    }

    /// The replies, in the order in which they were held, and whether what they tell of is undone with the batch.
    pub fn replies(&self) -> impl Iterator<Item = (ClientSlot, &[u8], bool)> {
        let mut rest = &self.replies[..];
        self.held.iter().map(move |held| {
            let (reply, later) = rest.split_at(held.bytes);
            rest = later;
            (held.slot, reply, held.undone)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::Clock,
        state::{
            Durability, Kept,
            effects::{self, StateId},
            log::MemoryLog,
        },
        threads::SystemThreads,
    };

    fn commits() -> (Commits, std::sync::mpsc::Receiver<Kept>) {
        let (tell, told) = std::sync::mpsc::channel();
        let threads = Arc::new(SystemThreads);
        let log = (MemoryLog::default(), ());
        let keep = move |kept| {
            let _ = tell.send(kept);
        };
        let committer = Committer::start(threads, Clock::new(), log, Durability::Sync, keep);
        let committer = committer.expect("a thread can be started");
        (Commits::new(Some(committer), BatchNo(1)), told)
    }

    fn next(commits: &mut Commits, told: &std::sync::mpsc::Receiver<Kept>) -> Vec<Vec<u8>> {
        commits.submit(|| 0);
        match told.recv().expect("the committer's thread runs") {
            Kept::Committed { buffer } => commits.committed(buffer),
            Kept::Failed(error) => panic!("{error}"),
            Kept::Rebuilt(_) => panic!("nobody asked for it"),
        }
        .replies()
        .map(|(_, reply, _)| reply.to_vec())
        .collect()
    }

    #[test]
    fn what_is_under_way_counts_until_it_is_durable() {
        let (mut commits, told) = commits();
        // Put of the state 0, without a key, with a value of this length.
        let length = [0x80, 0x80, 0x80, 0x28];
        commits.effects().extend_from_slice(&[1, 0, 0]);
        commits.effects().extend_from_slice(&length);
        let end = commits.effects().len() + 0x28 * 128 * 128 * 128;
        commits.effects().resize(end, 0);
        assert!(commits.are_full());
        commits.submit(|| 0);
        assert!(
            commits.are_full(),
            "nobody would tell those who wait for room"
        );
        let _ = told.recv();
        commits.committed(Vec::new());
        assert!(!commits.are_full());
    }

    #[test]
    fn more_than_a_batch_may_have_becomes_several_that_follow_one_another() {
        let (mut commits, told) = commits();
        let state = StateId(1);
        let declared = effects::Declared {
            plugin: "p",
            name: "s",
            kind: "value",
            schema: 1,
        };
        effects::declare(commits.effects(), state, &declared);
        let mut put = Vec::new();
        effects::put(&mut put, state, b"key", &[0; 90]);
        commits.gathered_bytes_max = 100 * 3 + 50;
        for number in 1..=6_u8 {
            commits.make_room(put.len());
            commits.effects().extend_from_slice(&put);
            let latest = commits.latest();
            assert!(commits.is_awaited(latest));
            commits.hold(latest, ClientSlot(0), &[number], true);
        }
        // Three fit into each.
        assert_eq!(commits.latest(), BatchNo(2));
        assert!(!commits.are_empty());
        let first = next(&mut commits, &told);
        assert_eq!(first, [[1], [2], [3]]);
        assert!(!commits.is_awaited(BatchNo(1)) && commits.is_awaited(BatchNo(2)));
        let second = next(&mut commits, &told);
        assert_eq!(second, [[4], [5], [6]]);
        assert!(commits.are_empty());
    }

    #[test]
    fn what_waits_for_a_batch_that_failed_is_void_with_all_that_follow() {
        let (mut commits, _told) = commits();
        commits.gathered_bytes_max = 4;
        for number in 1..=3_u8 {
            commits.make_room(3);
            commits.effects().extend_from_slice(&[0; 3]);
            commits.hold(commits.latest(), ClientSlot(0), &[number], true);
            if number == 1 {
                commits.submit(|| 0);
            }
        }
        let told = |batch: &Batch| {
            batch
                .replies()
                .map(|(_, reply, _)| reply[0])
                .collect::<Vec<_>>()
        };
        let (in_doubt, void) = commits.fail();
        assert_eq!((told(&in_doubt), told(&void)), (vec![1], vec![2, 3]));
        assert!(commits.are_empty());
    }
}
