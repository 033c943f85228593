//! What one lane holds: its queue, and who waits for its state to change.

use super::{job::TypeId, list::List};

/// The jobs of one lane, in their orders.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    pub(super) queue: List,
    pub(super) waiting: Vec<Waiting>,
    pub(super) retrying: usize,
    pub(super) text_bytes: usize,
}

/// The jobs of one type that the jobber said "not yet" to, longest first.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) type_id: TypeId,
    pub(super) jobs: List,
    /// The code and the text that the first one was refused with.
    pub(super) refusal: Refusal,
    /// The state has changed since then.
    pub(super) worth_a_try: bool,
    /// The longest waiting one is out, being tried: no other may overtake it meanwhile.
    pub(super) in_trial: bool,
}

/// A jobber's "not yet": its code and its text.
pub type Refusal = (Box<str>, Box<str>);

impl Waiting {
    /// What it waits for may be there now.
    pub(super) fn changed(&mut self) {
        self.worth_a_try = self.jobs.len() > 0 || self.in_trial;
    }

    /// Whether its first job is to be tried.
    pub(super) fn is_next(&self) -> bool {
        self.worth_a_try && !self.in_trial && self.jobs.len() > 0
    }
}

impl LaneQueue {
    pub(super) fn len(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|waiting| waiting.jobs.len()).sum();
        self.queue.len() + waiting + self.retrying
    }

    pub(super) fn waiting_of(&mut self, type_id: TypeId) -> &mut Waiting {
        let known = self.waiting.iter().position(|of| of.type_id == type_id);
        let index = known.unwrap_or_else(|| {
            self.waiting.push(Waiting {
                type_id,
                jobs: List::default(),
                refusal: Refusal::default(),
                worth_a_try: false,
                in_trial: false,
            });
            self.waiting.len() - 1
        });
        &mut self.waiting[index]
    }
}
