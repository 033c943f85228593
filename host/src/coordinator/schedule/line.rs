//! Who waits for a lane's state to change: set aside, in order, and tried again.

use super::{
    ORDER, Place, Schedule,
    lane_queue::{Refusal, Waiting},
};
use crate::lane::{Job, LaneId, TypeId, Waits};

impl Schedule {
    /// Sets a job aside that was told "not yet", until the state changes: behind those of its type that wait longer.
    /// One that had been waiting, and was tried once more in vain, keeps its place before all others.
    pub fn wait(&mut self, lane: LaneId, mut job: Job, (code, text): Refusal, now_ms: u64) {
        let was_tried = job.is_in_line();
        match &mut job.waits {
            Some(waits) => (waits.code, waits.text) = (code.clone(), Some(text)),
            None => self.begin_to_wait(&mut job, code.clone(), Some(text), now_ms),
        }
        let waiting = self.stand(lane, job, was_tried);
        if was_tried || waiting.len() == 1 {
            waiting.code = code;
        }
    }

    /// Sets a job aside that has not been run, behind the others of its type, of which there is one at least.
    pub fn join(&mut self, lane: LaneId, mut job: Job, now_ms: u64) {
        let code = self.code_of_line(lane, job.type_id);
        self.begin_to_wait(&mut job, code, None, now_ms);
        self.stand(lane, job, false);
    }

    fn begin_to_wait(
        &mut self,
        job: &mut Job,
        code: Box<str>,
        text: Option<Box<str>>,
        now_ms: u64,
    ) {
        let longest_ms = now_ms.saturating_add(self.wait_ms_max);
        job.waits = Some(Box::new(Waits {
            arrival: self.next_arrival,
            since_ms: now_ms,
            code,
            text,
            is_capped: longest_ms < job.deadline_ms,
        }));
        self.next_arrival += 1;
        job.deadline_ms = job.deadline_ms.min(longest_ms);
    }

    pub(super) fn stand(&mut self, lane: LaneId, job: Job, back: bool) -> &mut Waiting {
        let type_id = job.type_id;
        let id = self.insert(lane, job, Place::Waiting);
        let waiting = self.lanes[lane.0 as usize].waiting_of(type_id);
        waiting.add::<ORDER>(&mut self.jobs, id, back);
        waiting
    }

    /// The code that the longest waiting of a type was told.
    pub fn code_of_line(&mut self, lane: LaneId, type_id: TypeId) -> Box<str> {
        self.lanes[lane.0 as usize].waiting_of(type_id).code.clone()
    }

    /// Whether jobs of this type wait for the state to change.
    pub fn has_waiting(&self, lane: LaneId, type_id: TypeId) -> bool {
        let waiting = &self.lanes[lane.0 as usize].waiting;
        waiting
            .iter()
            .any(|of| of.type_id == type_id && of.len() > 0)
    }

    /// The lane's state has changed: the longest waiting of each type are worth a try.
    pub fn state_changed(&mut self, lane: LaneId) {
        let waiting = self.lanes[lane.0 as usize].waiting.iter_mut();
        waiting.for_each(Waiting::changed);
    }

    /// The longest waiting of a type, which was tried, waits no more: the next one may be luckier.
    pub fn try_next(&mut self, lane: LaneId, type_id: TypeId) {
        let waiting = self.lanes[lane.0 as usize].waiting_of(type_id);
        waiting.in_trial = false;
        waiting.changed();
    }

    /// Where a waiting job stands in its line, from 1.
    pub(super) fn place(&self, id: u32) -> usize {
        let entry = &self.jobs[id as usize];
        let mut lines = self.lanes[entry.lane.0 as usize].waiting.iter();
        let line = lines.find(|of| of.type_id == entry.job.type_id);
        line.map_or(1, |line| line.place::<ORDER>(&self.jobs, id))
    }
}
