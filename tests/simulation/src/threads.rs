//! Workers that stand still until they are told to take a step.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use host::threads::{Step, Threads, Worker};

/// All workers of one host.
#[derive(Default)]
pub struct SimThreads {
    workers: Mutex<Vec<Slot>>,
}

struct Slot {
    name: String,
    /// None while it takes a step.
    worker: Option<Box<dyn Worker>>,
    /// It takes no step before this moment: it hangs, or is slow.
    asleep_until: Option<Instant>,
    /// When time alone gives it something to do.
    due: Option<Instant>,
}

/// How many steps the workers that keep the state may take while the host waits for them to end.
const STEPS_TO_END: usize = 10_000;

impl SimThreads {
    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots().len()
    }

    /// The name of a worker.
    pub fn name(&self, index: usize) -> String {
        self.slots()[index].name.clone()
    }

    /// Has a worker take no step before `until`.
    pub fn put_to_sleep(&self, index: usize, until: Instant) {
        self.slots()[index].asleep_until = Some(until);
    }

    /// Has all workers go on.
    pub fn wake_all(&self) {
        for slot in self.slots().iter_mut() {
            slot.asleep_until = None;
        }
    }

    /// When the next worker has something to do by time alone.
    pub fn next_due(&self) -> Option<Instant> {
        let slots = self.slots();
        let dues = slots
            .iter()
            .filter_map(|slot| slot.asleep_until.or(slot.due));
        dues.min()
    }

    /// Has a worker take a step. Says whether it did something.
    pub fn step(&self, index: usize, now: Instant) -> bool {
        let mut worker = {
            let mut slots = self.slots();
            let Some(slot) = slots.get_mut(index) else {
                return false;
            };
            if slot.asleep_until.is_some_and(|until| until > now) {
                return false;
            }
            slot.asleep_until = None;
            let Some(worker) = slot.worker.take() else {
                return false;
            };
            worker
        };
        let step = worker.step();
        let mut slots = self.slots();
        match step {
            Step::Ended => {
                slots.remove(index);
                drop(slots);
                drop(worker);
            }
            Step::Did => (slots[index].worker, slots[index].due) = (Some(worker), None),
            Step::Idle(due) => {
                (slots[index].worker, slots[index].due) = (Some(worker), due);
                return false;
            }
        }
        true
    }

    /// Drops all of them, as the end of a process does.
    pub fn kill(&self) {
        let slots = std::mem::take(&mut *self.slots());
        drop(slots);
    }
}

impl Threads for SimThreads {
    fn start(&self, name: &str, _: Option<usize>, worker: Box<dyn Worker>) -> io::Result<()> {
        self.slots().push(Slot {
            name: name.to_owned(),
            worker: Some(worker),
            asleep_until: None,
            due: None,
        });
        Ok(())
    }

    fn wait(&self, last: &Receiver<bool>, _: Duration) -> Result<bool, RecvTimeoutError> {
        for step in 0..STEPS_TO_END {
            match last.try_recv() {
                Ok(word) => return Ok(word),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let keepers: Vec<usize> = {
                let slots = self.slots();
                let keeps = |slot: &Slot| ["state", "snapshot"].contains(&&*slot.name);
                (0..slots.len())
                    .filter(|index| keeps(&slots[*index]))
                    .collect()
            };
            if keepers.is_empty() {
                break;
            }
            let index = keepers[step % keepers.len()];
            self.slots()[index].asleep_until = None;
            self.step(index, Instant::now());
        }
        last.try_recv().map_err(|_| RecvTimeoutError::Timeout)
    }
}
