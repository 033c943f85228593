//! A lane with a thread of its own, for jobbers that may block.
//!
//! A hand-over between threads costs a wake-up, so jobs go over in windows and replies come back gathered.
//! Three things bound what that costs the single request: only the job that has been entered is out of the
//! coordinator's reach; a job that was not quick has its reply fetched before the next one starts; and while
//! one runs for long, the coordinator comes by, fetches what is finished and takes the rest back.

mod worker;

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use self::worker::LaneWorker;
use super::{
    batch_size::BatchSize,
    code::{LaneCode, Outcome, Verdict},
    job::InFlightId,
    job::LaneId,
    job::{ClientSlot, Job},
    signal::Signal,
};
use crate::{
    clock::Clock,
    limits,
    planted::{Fault, planted},
    state::{Access, SharedAccess},
    threads::Threads,
};

/// A job on its way through a lane's thread.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The job that is handed to the lane's thread.
    pub job: Job,
    /// Which of the lane's jobbers serves it.
    pub jobber: u32,
}

/// A job that has been run.
#[derive(Debug)]
pub struct Finished {
    /// The job, as it was handed over.
    pub handed: Handed,
    /// What the lane's code made of the job.
    pub verdict: Verdict,
    /// How much of the gathered replies is its own.
    pub reply_bytes: usize,
    /// How much of the gathered effects is its own.
    pub effect_bytes: usize,
    /// How long the job ran.
    pub took: Duration,
}

/// What was fetched from a lane's thread. Kept and reused by the coordinator.
#[derive(Debug, Default)]
pub struct Fetched {
    /// In the order in which they ran.
    pub finished: Vec<Finished>,
    /// Not begun, because the last one is to wait, or has panicked.
    pub returned: Vec<Handed>,
    /// Their replies, one behind the other.
    pub replies: Vec<u8>,
    /// What they changed, one behind the other.
    pub effects: Vec<u8>,
    /// How many of the finished jobs have changed anything.
    changed_jobs: usize,
    /// Of all their effects, which the lane's [`Access`] holds until they are fetched.
    effect_bytes: usize,
}

impl Fetched {
    /// Makes it empty. What one large job has made it hold is given back.
    pub fn clear(&mut self) {
        for bytes in [&mut self.replies, &mut self.effects] {
            bytes.clear();
            bytes.shrink_to(limits::HELD_REPLY_BYTES_MAX);
        }
        self.finished.clear();
        self.returned.clear();
        (self.changed_jobs, self.effect_bytes) = (0, 0);
    }
}

/// The coordinator's end of a lane's thread. Dropped, the thread ends after the job that it has entered.
#[derive(Debug)]
pub struct LaneThread {
    shared: Arc<Shared>,
    /// Locked while the window is, where both are; the thread holds one of them at a time.
    access: SharedAccess,
}

#[derive(Debug)]
struct Shared {
    window: Mutex<Window>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Window {
    inbox: VecDeque<Handed>,
    size: BatchSize,
    /// The job that runs, and since when.
    entered: Option<(Handed, Instant)>,
    fetched: Fetched,
    /// When the oldest finished one was finished.
    finished_since: Option<Instant>,
    /// Where to raise the signal. None until the lane has its id.
    lane: Option<LaneId>,
    ends: bool,
    /// What the thread still does counts for nothing.
    abandoned: bool,
    /// Nothing is begun: the last job is to wait, or has panicked, or replies are to be fetched first.
    held: bool,
    /// The thread waits to be woken. Waking one that does not is a call to the system all the same.
    sleeps: bool,
}

/// What a thread leaves behind whose job does not end.
pub struct Abandoned {
    /// The job that does not end, and since when it ran. `None`: it has committed and did not come to say so; it counts,
    /// and is the last of those that are finished.
    pub entered: Option<(Handed, Instant)>,
    /// What has not been begun, last first.
    pub inbox: Vec<Handed>,
    /// Jobs that the thread had finished, whose replies nobody has fetched.
    pub fetched: Fetched,
    /// What is left of the thread, which the code that hangs still runs on.
    pub remains: Remains,
}

/// A thread that was given up, for as long as it runs.
#[derive(Debug)]
pub struct Remains(Weak<Shared>);

impl Remains {
    /// Whether it still runs, or drops what it ran.
    pub fn are_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl LaneThread {
    /// Starts the thread; it has nothing to do until the first [`LaneThread::hand`].
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        threads: &dyn Threads,
        name: &str,
        code: LaneCode,
        clock: Clock,
        signal: Arc<Signal>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            window: Mutex::default(),
            filled: Condvar::new(),
        });
        let access = code.access().clone();
        let worker = LaneWorker::new(Arc::clone(&shared), code, clock, signal);
        threads.start(
            &format!("lane {name}"),
            Some(limits::PLUGIN_STACK_BYTES),
            Box::new(worker),
        )?;
        Ok(Self { shared, access })
    }

    /// Names the lane that this thread works for.
    pub fn works_for(&self, lane: LaneId) {
        self.shared.lock().lane = Some(lane);
    }

    /// How many jobs it would take now: none while the one that runs is not quick, for they would only have
    /// to be taken back.
    pub fn room(&self, now: Instant) -> usize {
        let window = self.shared.lock();
        if window.held || window.is_slow(now) {
            return 0;
        }
        window.size.jobs().saturating_sub(window.inbox.len())
    }

    /// Hands over jobs, to be run after those that it has, and leaves none. Says whether it has more than one now.
    pub fn hand(&self, jobs: &mut VecDeque<Handed>) -> bool {
        let mut window = self.shared.lock();
        if window.held {
            window.fetched.returned.extend(jobs.drain(..));
            return true;
        }
        if window.inbox.is_empty() {
            std::mem::swap(&mut window.inbox, jobs);
        } else {
            window.inbox.extend(jobs.drain(..));
        }
        let has_more = window.inbox.len() > 1 || !window.has_nothing_begun();
        self.shared.wake(window);
        has_more
    }

    /// Takes back what has not been entered, last first, to be put back one before the other.
    pub fn take_back(&self) -> impl Iterator<Item = Handed> + use<> {
        let mut window = self.shared.lock();
        let inbox = std::mem::take(&mut window.inbox);
        let returned = std::mem::take(&mut window.fetched.returned);
        // What was returned was handed over after what lies in the inbox.
        returned.into_iter().rev().chain(inbox.into_iter().rev())
    }

    /// Takes back what lies there for too long: all, if the job that runs has not been quick; what is far more than
    /// the thread would be given now. Last first. Says whether it has more than the job that runs after that.
    pub fn take_back_surplus(&self, now: Instant) -> (impl Iterator<Item = Handed> + use<>, bool) {
        let mut window = self.shared.lock();
        let stays = match window.is_slow(now) {
            true => 0,
            false => window.size.jobs(),
        };
        let surplus = match window.inbox.len() > 2 * stays {
            true => window.inbox.split_off(stays),
            false => VecDeque::new(),
        };
        let is_loaded = !window.inbox.is_empty() || !window.fetched.finished.is_empty();
        (surplus.into_iter().rev(), is_loaded)
    }

    /// Takes out the job that bears an id, if it is here and has not been entered.
    pub fn take_once(&self, once: InFlightId) -> Option<Handed> {
        let mut window = self.shared.lock();
        let bears_it = |handed: &Handed| handed.job.once == Some(once);
        if let Some(at) = window.inbox.iter().position(bears_it) {
            return window.inbox.remove(at);
        }
        let returned = &mut window.fetched.returned;
        let at = returned.iter().position(bears_it)?;
        Some(returned.remove(at))
    }

    /// Since when the job runs that runs.
    pub fn running_since(&self) -> Option<Instant> {
        self.shared.lock().running_since()
    }

    /// Gives the thread up, if the job that has run since `since` is still the one that it has entered and does not end,
    /// see [`Access::abandon`]: the thread ends when the job does, and whatever it says then is not heard. Returns the
    /// way to the states for the code that comes after it.
    pub fn abandon(
        &self,
        since: Instant,
        now: Instant,
        even_if_ended: bool,
    ) -> Option<(Abandoned, Access)> {
        // At one moment with the end of its access, so that no job behind it is begun in between.
        let mut window = self.shared.lock();
        window.running_since().filter(|runs| *runs == since)?;
        let mut access = self.access.lock().abandon(even_if_ended)?;
        window.abandoned = true;
        window.ends = true;
        let mut fetched = std::mem::take(&mut window.fetched);
        access.fetch(
            fetched.changed_jobs,
            fetched.effect_bytes,
            &mut fetched.effects,
        );
        let mut entered = window.entered.take();
        if let Some((reply, effect_bytes)) = access.fetch_unheard(&mut fetched.effects)
            && !planted(Fault::CommitOfAbandonedVoid)
            && let Some((handed, _)) = entered.take()
        {
            fetched.replies.extend_from_slice(&reply);
            fetched.finished.push(Finished {
                handed,
                verdict: Verdict::Replied {
                    changed: true,
                    result: Outcome::Answered,
                },
                reply_bytes: reply.len(),
                effect_bytes,
                took: now.saturating_duration_since(since),
            });
        }
        let abandoned = Abandoned {
            entered,
            inbox: std::mem::take(&mut window.inbox)
                .into_iter()
                .rev()
                .collect(),
            fetched,
            remains: Remains(Arc::downgrade(&self.shared)),
        };
        Some((abandoned, access))
    }

    /// Takes out what a client has there that has not been entered.
    pub fn remove_client(&self, slot: ClientSlot) -> Vec<Handed> {
        let mut window = self.shared.lock();
        let is_its = |handed: &Handed| handed.job.slot == slot;
        let mut removed = Vec::new();
        if window.inbox.iter().any(is_its) {
            let (its, others): (Vec<_>, Vec<_>) = window.inbox.drain(..).partition(is_its);
            window.inbox.extend(others);
            removed = its;
        }
        let returned = &mut window.fetched.returned;
        removed.extend(returned.extract_if(.., |handed| is_its(handed)));
        removed
    }

    /// Fetches what is finished into `fetched`, which comes empty.
    pub fn fetch(&self, fetched: &mut Fetched) {
        let mut window = self.shared.lock();
        std::mem::swap(&mut window.fetched, fetched);
        let (jobs, bytes) = (fetched.changed_jobs, fetched.effect_bytes);
        if jobs > 0 {
            self.access.lock().fetch(jobs, bytes, &mut fetched.effects);
        }
        window.finished_since = None;
        window.held = false;
        if !window.inbox.is_empty() {
            self.shared.wake(window);
        }
    }

    /// Whether it has nothing: nothing to begin, nothing that runs, and nothing to be fetched.
    pub fn is_idle(&self) -> bool {
        let window = self.shared.lock();
        window.inbox.is_empty() && window.has_nothing_begun()
    }
}

impl Drop for LaneThread {
    fn drop(&mut self) {
        let mut window = self.shared.lock();
        window.ends = true;
        self.shared.wake(window);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut window: MutexGuard<'_, Window>) {
        if std::mem::take(&mut window.sleeps) {
            drop(window);
            self.filled.notify_one();
        }
    }
}

impl Window {
    fn finish(
        &mut self,
        handed: Handed,
        verdict: Verdict,
        (reply, effect_bytes): (&[u8], usize),
        took: Duration,
        ended: Instant,
    ) {
        // What stands behind may be after the same thing, or be the next of many panics.
        let stops = matches!(verdict, Verdict::Wait { .. }) || verdict.is_panic();
        self.fetched.replies.extend_from_slice(reply);
        self.fetched.effect_bytes += effect_bytes;
        let changed = matches!(verdict, Verdict::Replied { changed: true, .. });
        self.fetched.changed_jobs += usize::from(changed);
        self.fetched.finished.push(Finished {
            handed,
            verdict,
            reply_bytes: reply.len(),
            effect_bytes,
            took,
        });
        self.size.ran(took);
        self.finished_since.get_or_insert(ended);
        if stops {
            self.fetched.returned.extend(self.inbox.drain(..));
        }
        let held_bytes = self.fetched.replies.len() + self.fetched.effect_bytes;
        self.held = stops || held_bytes > limits::HELD_REPLY_BYTES_MAX;
    }

    fn running_since(&self) -> Option<Instant> {
        self.entered.as_ref().map(|(_, since)| *since)
    }

    fn has_nothing_begun(&self) -> bool {
        self.entered.is_none() && self.fetched.finished.is_empty()
    }

    fn is_slow(&self, now: Instant) -> bool {
        let entered = self.entered.as_ref();
        entered.is_some_and(|(_, since)| now.saturating_duration_since(*since) > limits::QUICK_JOB)
    }

    fn is_worth_a_signal(&self, started: Instant, ended: Instant) -> bool {
        let held = self
            .finished_since
            .map_or(Duration::ZERO, |since| ended - since);
        self.inbox.is_empty()
            || self.held
            || ended - started > limits::QUICK_JOB
            || held > limits::REPLY_HELD_MAX / 2
    }
}

#[cfg(test)]
pub mod tests;
