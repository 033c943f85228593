//! What the core loop is to look at next: lanes that may begin something, threads that hold more than they have entered, jobs
//! that may be past their limits, and what comes back into service. Nothing here is done, and no clock is read.

use std::{collections::BTreeSet, rc::Rc, time::Instant};

use tokio::sync::Notify;

use super::serving::quarantine::Back;
use crate::lane::LaneId;

/// What is to be looked at, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Lanes that may have something to begin.
    marked: Vec<LaneId>,
    /// Whether a lane is among the marked ones, by its id.
    is_marked: Vec<bool>,
    /// Lanes whose threads hold more than the job that they have entered.
    loaded: Vec<LaneId>,
    /// Lanes whose running jobs may be past their limits, and when. One that the lane does not have is outdated.
    watches: BTreeSet<(Instant, LaneId)>,
    /// What comes back by itself after faults, and when.
    back_at: BTreeSet<(Instant, Back)>,
    /// More has come to be due than is dealt with in one turn.
    more_is_due: bool,
    /// Rung when something was marked, or came to be due, outside of the core loop.
    bell: Rc<Notify>,
}

impl Agenda {
    /// Rung when there is something to do.
    pub(super) fn bell(&self) -> Rc<Notify> {
        Rc::clone(&self.bell)
    }

    /// Has the core loop come by.
    #[inline]
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Whether there is more to do at once.
    pub(super) fn has_work(&self) -> bool {
        self.more_is_due || !self.marked.is_empty()
    }

    /// Notes whether more is due than was dealt with.
    pub(super) fn note_more_is_due(&mut self, more_is_due: bool) {
        self.more_is_due = more_is_due;
        if more_is_due {
            self.ring();
        }
    }

    /// Has a lane looked at, for it may have something to begin.
    #[inline]
    pub(super) fn mark(&mut self, lane: LaneId) {
        let index = lane.0 as usize;
        if self.is_marked.len() <= index {
            self.is_marked.resize(index + 1, false);
        }
        if !self.is_marked[index] {
            self.is_marked[index] = true;
            self.marked.push(lane);
            self.ring();
        }
    }

    /// The lanes that are marked, to be looked at one by one. Each stays marked until [`Agenda::unmark`].
    pub(super) fn take_marked(&mut self) -> Vec<LaneId> {
        std::mem::take(&mut self.marked)
    }

    /// A lane that was taken is looked at now: what comes to it from now on is looked at anew.
    #[inline]
    pub(super) fn unmark(&mut self, lane: LaneId) {
        self.is_marked[lane.0 as usize] = false;
    }

    /// A lane's thread holds more than the job that it has entered.
    #[inline]
    pub(super) fn note_loaded(&mut self, lane: LaneId) {
        if !self.loaded.contains(&lane) {
            self.loaded.push(lane);
        }
    }

    /// Whether a lane's thread holds more than the job that it has entered.
    pub(super) fn has_loaded(&self) -> bool {
        !self.loaded.is_empty()
    }

    /// The lanes whose threads hold more than the job that they have entered.
    pub(super) fn take_loaded(&mut self) -> Vec<LaneId> {
        std::mem::take(&mut self.loaded)
    }

    /// Has a lane's running job looked at when it is `due`, and not when that was due before.
    pub(super) fn watch_until(&mut self, lane: LaneId, due: Instant, before: Option<Instant>) {
        if let Some(before) = before {
            self.watches.remove(&(before, lane));
        }
        self.watches.insert((due, lane));
    }

    /// Takes out a watch that is due by now: when that was, and of which lane.
    pub(super) fn take_watch_due(&mut self, now: Instant) -> Option<(Instant, LaneId)> {
        let (due, _) = self.watches.first()?;
        match *due <= now {
            true => self.watches.pop_first(),
            false => None,
        }
    }

    /// When the next job may be past its limit.
    pub(super) fn next_watch(&self) -> Option<Instant> {
        self.watches.first().map(|(due, _)| *due)
    }

    /// How many jobs are watched.
    #[cfg(test)]
    pub(super) fn watches_len(&self) -> usize {
        self.watches.len()
    }

    /// Has something come back into service at that time.
    pub(super) fn comes_back(&mut self, at: Instant, back: Back) {
        self.back_at.insert((at, back));
    }

    /// Takes out something whose time out of service is over by now.
    pub(super) fn take_back_due(&mut self, now: Instant) -> Option<Back> {
        let (due, _) = self.back_at.first()?;
        let back = (*due <= now).then(|| self.back_at.pop_first())??;
        Some(back.1)
    }

    /// When the next time out of service is over.
    pub(super) fn next_back(&self) -> Option<Instant> {
        self.back_at.first().map(|(due, _)| *due)
    }
}
