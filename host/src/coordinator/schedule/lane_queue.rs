//! What one lane holds: its queue, and who waits for its state to change.

use std::collections::BTreeMap;

use slab::Slab;

use crate::{
    coordinator::list::{Linked, List},
    lane::TypeId,
};

/// The jobs of one lane, in their orders.
#[derive(Debug, Default)]
pub(in crate::coordinator) struct LaneQueue {
    pub(in crate::coordinator) queue: List,
    pub(in crate::coordinator) waiting: Vec<Waiting>,
    /// To be run again, in the order in which they said so.
    pub(in crate::coordinator) retrying: List,
    pub(in crate::coordinator) text_bytes: usize,
}

/// The jobs of one type that the jobber said "not yet" to, longest first.
#[derive(Debug)]
pub(in crate::coordinator) struct Waiting {
    pub(in crate::coordinator) type_id: TypeId,
    jobs: List,
    /// How many of them arrived in each span of [`ARRIVALS`], so that a place is told without going through all.
    arrived: BTreeMap<u64, usize>,
    /// The code that the longest waiting one was refused with.
    pub(in crate::coordinator) code: Box<str>,
    /// The state has changed since then.
    pub(in crate::coordinator) worth_a_try: bool,
    /// The longest waiting one is out, being tried: no other may overtake it meanwhile.
    pub(in crate::coordinator) in_trial: bool,
}

/// Arrivals that are counted together.
const ARRIVALS: u64 = 256;

/// A jobber's "not yet": its code and its text.
pub type Refusal = (Box<str>, Box<str>);

/// An entry that began to wait at some time.
pub(in crate::coordinator) trait Arrived {
    /// See [`Waits::arrival`](super::job::Waits::arrival).
    fn arrival(&self) -> u64;
}

impl Waiting {
    fn new(type_id: TypeId) -> Self {
        Self {
            type_id,
            jobs: List::default(),
            arrived: BTreeMap::new(),
            code: Box::default(),
            worth_a_try: false,
            in_trial: false,
        }
    }

    /// What it waits for may be there now.
    pub(in crate::coordinator) fn changed(&mut self) {
        self.worth_a_try = self.jobs.len() > 0 || self.in_trial;
    }

    /// Whether its first job is to be tried.
    pub(in crate::coordinator) fn is_next(&self) -> bool {
        self.worth_a_try && !self.in_trial && self.jobs.len() > 0
    }

    pub(in crate::coordinator) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(in crate::coordinator) fn front(&self) -> Option<u32> {
        self.jobs.front()
    }

    pub(in crate::coordinator) fn iter<'a, const W: usize, T: Linked>(
        &self,
        slab: &'a Slab<T>,
    ) -> impl Iterator<Item = u32> + use<'a, W, T> {
        self.jobs.iter::<W, T>(slab)
    }

    /// Adds a job behind all others or, if it is `back` from a trial, before them.
    pub(in crate::coordinator) fn add<const W: usize>(
        &mut self,
        slab: &mut Slab<impl Linked + Arrived>,
        id: u32,
        back: bool,
    ) {
        let span = slab[id as usize].arrival() / ARRIVALS;
        *self.arrived.entry(span).or_default() += 1;
        if back {
            self.jobs.push_front::<W>(slab, id);
            self.in_trial = false;
        } else {
            self.jobs.push_back::<W>(slab, id);
        }
    }

    pub(in crate::coordinator) fn unlink<const W: usize>(
        &mut self,
        slab: &mut Slab<impl Linked + Arrived>,
        id: u32,
    ) {
        let span = slab[id as usize].arrival() / ARRIVALS;
        self.jobs.unlink::<W>(slab, id);
        let count = self.arrived.get_mut(&span).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            self.arrived.remove(&span);
        }
    }

    /// The place in the line of a job that stands in it, from 1.
    pub(in crate::coordinator) fn place<const W: usize>(
        &self,
        slab: &Slab<impl Linked + Arrived>,
        id: u32,
    ) -> usize {
        let span = slab[id as usize].arrival() / ARRIVALS;
        let earlier: usize = self.arrived.range(..span).map(|(_, count)| count).sum();
        let before = self.jobs.iter_back::<W, _>(slab, id);
        let before = before.take_while(|id| slab[*id as usize].arrival() / ARRIVALS == span);
        usize::from(self.in_trial) + earlier + before.count()
    }
}

impl LaneQueue {
    pub(in crate::coordinator) fn len(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(Waiting::len).sum();
        self.queue.len() + waiting + self.retrying.len()
    }

    pub(in crate::coordinator) fn waiting_of(&mut self, type_id: TypeId) -> &mut Waiting {
        let known = self.waiting.iter().position(|of| of.type_id == type_id);
        let index = known.unwrap_or_else(|| {
            self.waiting.push(Waiting::new(type_id));
            self.waiting.len() - 1
        });
        &mut self.waiting[index]
    }
}
