//! The threads that prepare plugins: several at once, so that one whose code hangs in its trial holds up no
//! other; never two of one name, so that what is told of a name comes in order.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use super::{
    candidate::{Outcome, Preparation},
    examiner::Content,
    folder::Entry,
    signals::Signals,
};
use crate::limits::{PLUGIN_STACK_BYTES, PREPARED_AT_ONCE_MAX};

/// Has plugins prepared, and keeps account of what is in work.
pub(super) struct Workshop {
    orders: Sender<Order>,
    finished: Receiver<Finished>,
    in_work: BTreeMap<String, InWork>,
}

/// What came of the preparation of one file.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: String,
    pub(super) entry: Box<Entry>,
    pub(super) outcome: Outcome,
    /// It was ordered again meanwhile.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
struct InWork {
    again: bool,
    /// Nobody wants to know what comes of it.
    abandoned: bool,
}

enum Order {
    Prepare {
        name: String,
        entry: Box<Entry>,
        last: Option<Content>,
    },
    /// To be dropped, which runs the plugin's code.
    Bury(Outcome),
}

impl Workshop {
    /// Starts the threads. Each holds a clone of `running` for as long as it lives; `signals` wakes whoever is
    /// to ask for what is finished.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        preparation: &Arc<Preparation>,
        signals: &Signals,
        running: &Sender<()>,
    ) -> io::Result<Self> {
        let (orders, incoming) = mpsc::channel();
        let (done, finished) = mpsc::channel();
        let incoming = Arc::new(Mutex::new(incoming));
        for _ in 0..PREPARED_AT_ONCE_MAX {
            let (incoming, done) = (Arc::clone(&incoming), done.clone());
            let (preparation, signals) = (Arc::clone(preparation), signals.clone());
            let running = running.clone();
            thread::Builder::new()
                .name("plugin check".into())
                .stack_size(PLUGIN_STACK_BYTES)
                .spawn(move || {
                    work(&incoming, &preparation, &signals, &done);
                    drop(running);
                })?;
        }
        Ok(Self {
            orders,
            finished,
            in_work: BTreeMap::new(),
        })
    }

    /// Has `name` prepared; if it is in work, once more after that.
    pub(super) fn order(&mut self, name: &str, entry: &Entry, last: Option<Content>) {
        if let Some(in_work) = self.in_work.get_mut(name) {
            in_work.again = true;
            return;
        }
        self.in_work.insert(name.to_owned(), InWork::default());
        self.send(Order::Prepare {
            name: name.to_owned(),
            entry: Box::new(entry.clone()),
            last,
        });
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

    /// One that is finished, if there is one. Of what was abandoned only that it may have been ordered again.
    pub(super) fn take_finished(&mut self) -> Option<Finished> {
        let mut finished = self.finished.try_recv().ok()?;
        let in_work = self.in_work.remove(&finished.name).unwrap_or_default();
        if in_work.abandoned {
            let outcome = std::mem::replace(&mut finished.outcome, Outcome::Same);
            self.send(Order::Bury(outcome));
        }
        finished.again = in_work.again;
        Some(finished)
    }

    fn send(&self, order: Order) {
        // The threads end only with this sender.
        let _ = self.orders.send(order);
    }
}

fn work(
    incoming: &Mutex<Receiver<Order>>,
    preparation: &Preparation,
    signals: &Signals,
    done: &Sender<Finished>,
) {
    loop {
        let next = incoming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match next {
            Err(_) => return,
            Ok(Order::Bury(outcome)) => drop(outcome),
            // What waits here at the end is not begun.
            Ok(Order::Prepare { .. }) if signals.is_stopped() => return,
            Ok(Order::Prepare { name, entry, last }) => {
                let outcome = preparation.prepare(&name, &entry, last);
                // With nobody to hear it, the host goes down.
                let _ = done.send(Finished {
                    name,
                    entry,
                    outcome,
                    again: false,
                });
                signals.wake();
            }
        }
    }
}
