//! The threads that prepare plugins: several at once, so that one whose code hangs holds up no other; never two of
//! one name, so that what is told of a name comes in order.
//!
//! A trial ends in any case. What cannot be ended is code of a plugin that hangs in this process, where it passed its
//! trial before: its thread is given up, and its file refused. There are so many threads and no more.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Instant,
};

use super::{
    error::{CheckError, Step},
    folder::Entry,
    inspect::Content,
    prepare::{Outcome, Preparation},
    progress::Progress,
    signals::Signals,
};
use crate::limits::{
    OPENING_TIME_MAX, PLUGIN_STACK_BYTES, PREPARATION_TIME_MAX, PREPARED_AT_ONCE_MAX,
    PREPARED_SLOWLY_MAX, SLOW_PREPARATION,
};

/// Has plugins prepared, and keeps account of what is in work.
pub(super) struct PreparationPool {
    preparation: Arc<Preparation>,
    signals: Signals,
    /// Each thread holds a clone for as long as it lives.
    running: Sender<()>,
    orders: VecDeque<Order>,
    threads: Vec<Worker>,
    done: Sender<Finished>,
    finished: Receiver<Finished>,
    /// What no thread has to tell of.
    given_up: VecDeque<Finished>,
    in_work: BTreeMap<String, InWork>,
    begun: u64,
}

/// What came of the preparation of one file.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: String,
    pub(super) entry: Box<Entry>,
    pub(super) outcome: Outcome,
    /// It was ordered again meanwhile.
    pub(super) again: bool,
    thread: Option<u64>,
}

#[derive(Debug, Default)]
struct InWork {
    again: bool,
    /// Nobody wants to know what comes of it.
    abandoned: bool,
}

struct Order {
    name: String,
    entry: Box<Entry>,
    last: Option<Content>,
}

struct Worker {
    number: u64,
    name: String,
    entry: Box<Entry>,
    began: Instant,
    progress: Arc<Progress>,
    /// Nobody waits for it any more.
    is_lost: bool,
}

impl Worker {
    fn is_slow(&self, now: Instant) -> bool {
        self.is_lost || now.saturating_duration_since(self.began) >= SLOW_PREPARATION
    }

    /// When it is given up, as it looks now.
    fn given_up_at(&self) -> Instant {
        let makes_since = self.progress.makes_since();
        let made = makes_since.map(|since| since + OPENING_TIME_MAX);
        made.unwrap_or(self.began + PREPARATION_TIME_MAX)
    }
}

impl PreparationPool {
    /// Without anything to do. Each thread holds a clone of `running` for as long as it lives; `signals` wakes
    /// whoever is to ask for what is finished.
    pub(super) fn new(
        preparation: &Arc<Preparation>,
        signals: &Signals,
        running: &Sender<()>,
    ) -> Self {
        let (done, finished) = mpsc::channel();
        Self {
            preparation: Arc::clone(preparation),
            signals: signals.clone(),
            running: running.clone(),
            orders: VecDeque::new(),
            threads: Vec::new(),
            done,
            finished,
            given_up: VecDeque::new(),
            in_work: BTreeMap::new(),
            begun: 0,
        }
    }

    /// Has `name` prepared; if it is in work, once more after that.
    pub(super) fn order(&mut self, name: &str, entry: &Entry, last: Option<Content>) {
        if let Some(in_work) = self.in_work.get_mut(name) {
            in_work.again = true;
            return;
        }
        self.in_work.insert(name.to_owned(), InWork::default());
        self.orders.push_back(Order {
            name: name.to_owned(),
            entry: Box::new(entry.clone()),
            last,
        });
        self.begin(Instant::now());
    }

    /// What is in work of `name` comes to nothing.
    pub(super) fn abandon(&mut self, name: &str) {
        if let Some(in_work) = self.in_work.get_mut(name) {
            *in_work = InWork {
                again: false,
                abandoned: true,
            };
        }
    }

    pub(super) fn is_in_work(&self, name: &str) -> bool {
        self.in_work.contains_key(name)
    }

    /// Gives up what hangs, and begins what there is a thread for. Returns when that is to be done again at the
    /// latest.
    pub(super) fn advance(&mut self, now: Instant) -> Option<Instant> {
        for at in 0..self.threads.len() {
            let worker = &self.threads[at];
            if !worker.is_lost && worker.given_up_at() <= now {
                self.give_up(at);
            }
        }
        self.begin(now);
        let alive = self.threads.iter().filter(|worker| !worker.is_lost);
        let given_up = alive.clone().map(Worker::given_up_at);
        let slow = alive
            .filter(|worker| !self.orders.is_empty() && !worker.is_slow(now))
            .map(|worker| worker.began + SLOW_PREPARATION);
        given_up.chain(slow).min()
    }

    /// One that is finished, if there is one. Of what was abandoned only that it may have been ordered again.
    pub(super) fn take_finished(&mut self) -> Option<Finished> {
        let mut finished = loop {
            let given_up = self.given_up.pop_front();
            let finished = given_up.or_else(|| self.finished.try_recv().ok())?;
            let at = self
                .threads
                .iter()
                .position(|worker| Some(worker.number) == finished.thread);
            let worker = at.map(|at| self.threads.swap_remove(at));
            if !worker.is_some_and(|worker| worker.is_lost) {
                break finished;
            }
            self.drop_off_thread(finished.outcome);
            tracing::info!(plugin = %finished.name, "what hung while it was opened has come to an end");
        };
        let in_work = self.in_work.remove(&finished.name).unwrap_or_default();
        if in_work.abandoned {
            self.drop_off_thread(std::mem::replace(&mut finished.outcome, Outcome::Same));
        }
        finished.again = in_work.again;
        self.begin(Instant::now());
        Some(finished)
    }

    /// Begins what waits, as long as there is a thread for it. One that has taken long makes room for another.
    fn begin(&mut self, now: Instant) {
        while !self.orders.is_empty() && !self.signals.is_stopped() {
            let lost = self.threads.iter().filter(|worker| worker.is_lost).count();
            let slow = self.threads.iter().filter(|worker| worker.is_slow(now));
            let slow = slow.count().min(PREPARED_SLOWLY_MAX);
            let all_are_lost = lost >= PREPARED_AT_ONCE_MAX + PREPARED_SLOWLY_MAX;
            if self.threads.len() - slow >= PREPARED_AT_ONCE_MAX && !all_are_lost {
                return;
            }
            let Some(order) = self.orders.pop_front() else {
                return;
            };
            if all_are_lost {
                self.refuse(order.name, order.entry, no_thread_is_left());
            } else {
                self.start(order, now);
            }
        }
    }

    fn start(&mut self, order: Order, now: Instant) {
        self.begun += 1;
        let (number, progress) = (self.begun, Arc::<Progress>::default());
        let worker = Worker {
            number,
            name: order.name.clone(),
            entry: order.entry.clone(),
            began: now,
            progress: Arc::clone(&progress),
            is_lost: false,
        };
        let (preparation, signals) = (Arc::clone(&self.preparation), self.signals.clone());
        let (done, running) = (self.done.clone(), self.running.clone());
        let started = thread::Builder::new()
            .name("plugin check".into())
            .stack_size(PLUGIN_STACK_BYTES)
            .spawn(move || {
                let Order { name, entry, last } = order;
                let mut outcome = preparation.prepare(&name, &entry, last, &progress);
                if progress.is_given_up() {
                    outcome = Outcome::Same;
                }
                // With nobody to hear it, the host goes down.
                let _ = done.send(Finished {
                    name,
                    entry,
                    outcome,
                    again: false,
                    thread: Some(number),
                });
                signals.wake();
                drop(running);
            });
        match started {
            Ok(_) => self.threads.push(worker),
            Err(error) => {
                let refusal = CheckError::of_system(
                    Step::Load,
                    format!("no thread can be started to look at it: {error}"),
                    &error,
                    "let the host start threads, and touch the file",
                );
                self.refuse(worker.name, worker.entry, refusal);
            }
        }
    }

    /// Nobody waits any more for what hangs.
    fn give_up(&mut self, at: usize) {
        let worker = &mut self.threads[at];
        worker.is_lost = true;
        worker.progress.give_up();
        let refusal = match worker.progress.makes_since() {
            Some(_) => CheckError::new(
                Step::Load,
                format!(
                    "it hangs in this process while it is made from its configuration, for \
                     {OPENING_TIME_MAX:?} now, although it passed its trial"
                ),
                "mend what hangs, and replace the file; the thread that it hangs on is lost until the host is \
                 restarted",
            ),
            None => CheckError::new(
                Step::Read,
                format!("it could not be looked at within {PREPARATION_TIME_MAX:?}"),
                "look at what the folder lies on, and touch the file",
            ),
        };
        let (name, entry) = (worker.name.clone(), worker.entry.clone());
        self.refuse(name, entry, refusal);
    }

    fn refuse(&mut self, name: String, entry: Box<Entry>, refusal: CheckError) {
        self.given_up.push_back(Finished {
            name,
            entry,
            outcome: Outcome::Refused(refusal),
            again: false,
            thread: None,
        });
        self.signals.wake();
    }

    /// To be dropped, which runs the plugin's code.
    fn drop_off_thread(&self, outcome: Outcome) {
        let running = self.running.clone();
        let buried = thread::Builder::new()
            .name("plugin drop".into())
            .stack_size(PLUGIN_STACK_BYTES);
        // Without a thread for it, it is dropped with the closure, here.
        let _ = buried.spawn(move || {
            drop(outcome);
            drop(running);
        });
    }
}

fn no_thread_is_left() -> CheckError {
    let threads = PREPARED_AT_ONCE_MAX + PREPARED_SLOWLY_MAX;
    CheckError::new(
        Step::Load,
        format!("all {threads} threads that load plugins hang in plugins"),
        "restart the host without those that were refused for it",
    )
}
