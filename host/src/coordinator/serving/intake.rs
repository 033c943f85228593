//! A request that has come: run where it stands, queued, or refused for lack of room.

use std::{rc::Rc, time::Duration};

use protocol::{ErrorCode, encoder};

use super::dispatch::debug_start;
use crate::{
    coordinator::{coordinator::Coordinator, schedule::Full},
    lane::{ClientSlot, Job, LaneId, Output, RequestRef, Runner, TypeId, Verdict},
    limits,
    planted::{Fault, planted},
};

impl Coordinator {
    /// Runs a request where it stands, or queues it.
    pub(in crate::coordinator) fn asked(
        &mut self,
        slot: ClientSlot,
        type_id: TypeId,
        asked: &RequestRef<'_>,
    ) {
        let served = &self.routing[type_id];
        let (id, jobber) = (served.lane, served.jobber);
        let lane = self.routing.lane(id);
        let free =
            !lane.paused && !self.schedule.has_next(id) && !self.schedule.has_waiting(id, type_id);
        let free = free && !(lane.waits_for_disk() && self.persistence.is_full());
        // Its reply may have to wait, or is kept.
        let is_held = lane.waits_for_disk() || asked.once.is_some();
        match lane.runner() {
            Runner::Inline(code) if free => {
                let client = self.clients.at(slot);
                let started = debug_start();
                let outlet = Rc::clone(client.outlet());
                let (clock, now) = (&self.clock, self.turn.now());
                let effects = Some(self.persistence.effects());
                let verdict = if is_held {
                    let reply = &mut self.reply;
                    reply.clear();
                    code.run(jobber, asked, clock, now, Output { reply, effects })
                } else {
                    let reply = &mut outlet.unsent();
                    code.run(jobber, asked, clock, now, Output { reply, effects })
                };
                self.turn.job_ended(code.ended());
                let took_us = code.took_us();
                self.note_served(type_id, asked, &verdict, || {
                    started.map_or(Duration::ZERO, |at| at.elapsed())
                });
                let misdeed = verdict.misdeed();
                match verdict {
                    Verdict::Replied { changed, result } => {
                        if is_held {
                            let reply = std::mem::take(&mut self.reply);
                            self.keep_answer(id, (slot, asked.once), &reply, (&result, changed));
                            if !self.send_or_hold(id, slot, &reply, changed) {
                                self.clients.at(slot).unanswered += 1;
                            }
                            self.reply = reply;
                        } else {
                            self.clients.mark(slot);
                        }
                        if changed {
                            self.state_changed(id);
                        }
                    }
                    verdict if self.has_room(id, slot, type_id, asked) => {
                        self.clients.at(slot).unanswered += 1;
                        let job = Job::new(slot, asked.client, type_id, asked);
                        self.set_aside(id, job, verdict);
                    }
                    _ => {}
                }
                if let Some(misdeed) = misdeed {
                    self.failed_on(id, type_id, asked.who(), misdeed);
                }
                self.took(id, took_us);
            }
            _ => self.queue(id, slot, type_id, asked),
        }
    }

    fn queue(&mut self, lane: LaneId, slot: ClientSlot, type_id: TypeId, asked: &RequestRef<'_>) {
        if !self.has_room(lane, slot, type_id, asked) {
            return;
        }
        self.schedule
            .queue(lane, Job::new(slot, asked.client, type_id, asked));
        self.clients.at(slot).unanswered += 1;
        self.agenda.mark(lane);
    }

    /// Whether a request can be kept; if not, it is answered `busy`.
    fn has_room(
        &mut self,
        lane: LaneId,
        slot: ClientSlot,
        type_id: TypeId,
        asked: &RequestRef<'_>,
    ) -> bool {
        let text_bytes = asked.query_index.len() + asked.payload.len();
        let unanswered = self.clients.at(slot).unanswered;
        let full = match self.schedule.room_for(lane, slot, text_bytes) {
            Ok(()) if unanswered < limits::CLIENT_JOBS_MAX => return true,
            Ok(()) => format!("{unanswered} requests of this connection are queued already"),
            Err(Full::Jobs(jobs)) => format!("{jobs} requests are queued already"),
            Err(Full::Bytes(bytes)) => format!("requests of {bytes} bytes are queued already"),
            Err(Full::Client(bytes)) => {
                format!("requests of {bytes} bytes of this connection are queued already")
            }
            Err(Full::Host(spent)) => spent.to_string(),
        };
        let type_name = Rc::clone(&self.routing[type_id].name);
        self.busy(slot, &type_name, asked.query_index, &full);
        if let Some(once) = asked.once.filter(|_| !planted(Fault::BusyKeepsId)) {
            // It has come just now, so nobody has joined it.
            self.sessions.end(once);
        }
        false
    }

    /// Answers that something is full.
    pub(in crate::coordinator) fn busy(
        &mut self,
        slot: ClientSlot,
        type_name: &str,
        query_index: &str,
        full: &str,
    ) {
        let retry_after_ms = limits::BUSY_RETRY_AFTER_MS.to_string();
        let extra = [("retry_after_ms", &*retry_after_ms)];
        let text = format!("{full}; try again in {retry_after_ms} ms");
        self.clients.reply(slot, |out| {
            let code = ErrorCode::Busy.as_str();
            encoder::error_with(out, type_name, query_index, code, &text, &extra);
        });
    }
}
