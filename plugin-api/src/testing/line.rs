//! What is set aside: requests that wait for the state to change, and those that are to be run again. It is in
//! the order of a host's: first come, first served for each type, and of several types the longest waiting one first.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    Refusal,
    limits::{RETRY_DELAY_MS, WAIT_MS_MAX},
};

/// A request that a client has sent and does not stand still for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Of all that were sent.
    pub(super) number: u64,
    pub(super) client: u64,
    pub(super) session: Option<u64>,
    pub(super) attempt: u32,
    pub(super) deadline_ms: Option<u64>,
    /// Set while it stands in line.
    pub(super) waits: Option<Waits>,
    pub(super) type_name: String,
    pub(super) payload: Vec<u8>,
}

/// Of a request that stands in line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// Lower than that of everybody who began to wait later, in whatever line.
    arrival: u64,
    /// Its deadline is the longest that a host lets anybody wait.
    pub(super) is_capped: bool,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    /// In the order in which somebody first waited for each.
    waiting: Vec<Waiting>,
    /// By when they are due, and then by their number.
    retries: BTreeMap<(u64, u64), Request>,
    /// Of the next one that begins to wait.
    next_arrival: u64,
}

/// Those of one type, longest first.
#[derive(Debug)]
struct Waiting {
    type_name: String,
    requests: VecDeque<Request>,
    /// What the first one was told.
    refusal: Refusal,
    /// The state has changed since then.
    worth_a_try: bool,
}

impl Line {
    /// What the first of those was told that wait for a type, if there are any.
    pub(super) fn refusal(&self, type_name: &str) -> Option<&Refusal> {
        let mut waiting = self.waiting.iter();
        let waiting = waiting.find(|of| of.type_name == type_name)?;
        (!waiting.requests.is_empty()).then_some(&waiting.refusal)
    }

    /// Puts a request behind the others of its type. If there are none, this is what it was told.
    pub(super) fn join(&mut self, mut request: Request, refusal: Refusal, now_ms: u64) {
        let longest_ms = now_ms.saturating_add(WAIT_MS_MAX);
        request.waits = Some(Waits {
            arrival: self.next_arrival,
            is_capped: request.deadline_ms.is_none_or(|ms| longest_ms < ms),
        });
        self.next_arrival += 1;
        request.deadline_ms = Some(
            request
                .deadline_ms
                .map_or(longest_ms, |ms| ms.min(longest_ms)),
        );
        let waiting = self.of(&request.type_name, &refusal);
        if waiting.requests.is_empty() {
            waiting.refusal = refusal;
        }
        waiting.requests.push_back(request);
    }

    /// Puts a request back that was tried in vain: before all others.
    pub(super) fn stay(&mut self, request: Request, refusal: Refusal) {
        let waiting = self.of(&request.type_name, &refusal);
        waiting.refusal = refusal;
        waiting.requests.push_front(request);
    }

    /// Has a request run again after a while.
    pub(super) fn retry(&mut self, mut request: Request, now_ms: u64) {
        request.attempt += 1;
        request.waits = None;
        let due_ms = now_ms.saturating_add(RETRY_DELAY_MS);
        self.retries.insert((due_ms, request.number), request);
    }

    /// The first of each type for which this holds may be luckier now.
    pub(super) fn changed(&mut self, is_of: impl Fn(&str) -> bool) {
        for waiting in &mut self.waiting {
            waiting.worth_a_try |= !waiting.requests.is_empty() && is_of(&waiting.type_name);
        }
    }

    /// Takes out the longest waiting request that is worth a try.
    pub(super) fn next_to_try(&mut self) -> Option<Request> {
        let arrival = |waiting: &Waiting| waiting.requests.front()?.waits.map(|of| of.arrival);
        let worth = self
            .waiting
            .iter_mut()
            .filter(|waiting| waiting.worth_a_try);
        let worth = worth.filter_map(|waiting| Some((arrival(waiting)?, waiting)));
        let (_, longest) = worth.min_by_key(|(arrival, _)| *arrival)?;
        longest.worth_a_try = false;
        longest.requests.pop_front()
    }

    /// Takes out a request that is due to be run again.
    pub(super) fn next_retry(&mut self, now_ms: u64) -> Option<Request> {
        let first = self.retries.first_entry()?;
        (first.key().0 <= now_ms).then(|| first.remove())
    }

    /// When time alone changes something.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let deadlines = self.waiting.iter().flat_map(|waiting| &waiting.requests);
        let deadlines = deadlines.chain(self.retries.values());
        // At its deadline a request may still be run.
        let expiries = deadlines.filter_map(|request| request.deadline_ms?.checked_add(1));
        let retry = self
            .retries
            .first_key_value()
            .map(|((due_ms, _), _)| *due_ms);
        expiries.chain(retry).min()
    }

    /// Takes out all that match. Who stood behind the first may be luckier now.
    pub(super) fn take_out(&mut self, mut matches: impl FnMut(&Request) -> bool) -> Vec<Request> {
        let mut taken = Vec::new();
        for waiting in &mut self.waiting {
            let (out, rest): (Vec<_>, Vec<_>) = waiting
                .requests
                .drain(..)
                .partition(|request| matches(request));
            waiting.requests = rest.into();
            waiting.worth_a_try |= !out.is_empty() && !waiting.requests.is_empty();
            taken.extend(out);
        }
        taken.extend(
            self.retries
                .extract_if(.., |_, request| matches(request))
                .map(|(_, request)| request),
        );
        taken
    }

    fn of(&mut self, type_name: &str, refusal: &Refusal) -> &mut Waiting {
        let known = self.waiting.iter().position(|of| of.type_name == type_name);
        let index = known.unwrap_or_else(|| {
            self.waiting.push(Waiting {
                type_name: type_name.to_owned(),
                requests: VecDeque::new(),
                refusal: refusal.clone(),
                worth_a_try: false,
            });
            self.waiting.len() - 1
        });
        &mut self.waiting[index]
    }
}
