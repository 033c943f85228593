//! What runs next: the queue of every lane, what was set aside, what is to be tried again, and when patience
//! ends. Pure: time comes as an argument, nothing here runs or answers a request.
//!
//! Every job stands in up to three lists at once: the one that orders it (its lane's queue, the waiting ones
//! of its type, or those to be tried again), that of its client, and that of its deadline. So a client that
//! goes, or a deadline that comes, takes a job out of the middle of a million at the cost of that job alone.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use serde::Serialize;
use slab::Slab;

use super::{
    list::{Linked, Links, List},
    schedule::lane_queue::{Arrived, LaneQueue, Waiting},
};
use crate::{
    budget::{Budget, Budgets, Spent},
    lane::{ClientSlot, InFlightId, Job, LaneId, TypeId},
    limits,
};

mod lane_queue;
mod line;

/// The jobs of the whole host that wait for something.
#[derive(Debug)]
pub struct Schedule {
    /// All jobs that are here.
    jobs: Slab<Entry>,
    /// What each lane has to run, and what waits in it; by the lane's id.
    lanes: Slab<LaneQueue>,
    /// The jobs of each client, by slot.
    clients: Vec<List>,
    /// What each client's jobs take, by slot.
    client_bytes: Vec<usize>,
    /// By the time, in units of [`limits::DEADLINE_GRAIN_MS`], at which they end.
    deadlines: BTreeMap<u64, List>,
    /// By the time at which they are due.
    retries: BTreeSet<(u64, u32)>,
    /// The places, in `jobs`, of those jobs that bear an id.
    once: FxHashMap<InFlightId, u32>,
    /// How many jobs of each type wait, and for what; by type id.
    held: Vec<Held>,
    /// The bytes of all jobs count in this budget.
    requests: Budget,
    /// How many jobs a lane may have.
    jobs_max: usize,
    /// How long a job may wait for the state to change; `u64::MAX` for as long as its deadline lets it.
    wait_ms_max: u64,
    /// Of the next one that begins to wait.
    next_arrival: u64,
}

/// A job whose deadline has passed.
#[derive(Debug)]
pub struct Expired {
    /// The job, which is in no list any more.
    pub job: Job,
    /// Where it stood in its line, from 1, if it stood in one.
    pub place: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    /// What is to be run.
    job: Job,
    /// The lane that the job is to run in.
    lane: LaneId,
    /// The list that orders the job.
    place: Place,
    /// The job's neighbours in each list.
    links: Links<3>,
}

/// What a job takes beside its text, in bytes.
const JOB_BYTES: usize = size_of::<Entry>();

/// In which list a job stands that orders it: each job is in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queue,
    Waiting,
    Retry { due_ms: u64 },
}

/// The indexes of a job's links: one pair for each list that it stands in.
const ORDER: usize = 0;
const CLIENT: usize = 1;
const DEADLINE: usize = 2;

/// Why a job was not queued.
#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    /// The lane has so many jobs, which is as many as it may have.
    Jobs(usize),
    /// This many bytes of requests are queued.
    Bytes(usize),
    /// This many are, of this client.
    Client(usize),
    /// The host has no room for its bytes.
    Host(Spent),
}

/// How many jobs of one type a lane holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// To be run as soon as the lane is free.
    pub queued: usize,
    /// Set aside until the state changes.
    pub waiting: usize,
    /// To be run again after "try again".
    pub retrying: usize,
}

impl Schedule {
    /// With at most `jobs_max` jobs for each lane, of which none waits longer than `wait_ms_max` for the state to
    /// change; `u64::MAX` for as long as its deadline lets it.
    pub fn new(jobs_max: usize, wait_ms_max: u64) -> Self {
        Self {
            jobs: Slab::new(),
            lanes: Slab::new(),
            clients: Vec::new(),
            client_bytes: Vec::new(),
            deadlines: BTreeMap::new(),
            retries: BTreeSet::new(),
            once: FxHashMap::default(),
            held: Vec::new(),
            requests: Budgets::default().requests,
            jobs_max,
            wait_ms_max,
            next_arrival: 0,
        }
    }

    /// Counts what jobs take in the host's budget. To be said before there are any.
    pub fn count_in(&mut self, requests: Budget) {
        self.requests = requests;
    }

    /// Opens a lane without jobs. Returns its id, which may have been another one's before.
    pub fn open_lane(&mut self) -> LaneId {
        LaneId(
            u32::try_from(self.lanes.insert(LaneQueue::default())).expect("fewer than 2^32 lanes"),
        )
    }

    /// Gives a lane up. It must be empty.
    pub fn close_lane(&mut self, lane: LaneId) {
        debug_assert!(self.is_idle(lane), "a lane is drained before it is closed");
        self.lanes.remove(lane.0 as usize);
    }

    /// Whether a lane takes one more job.
    ///
    /// # Errors
    /// The lane, or the host, is full.
    pub fn room_for(
        &self,
        lane: LaneId,
        client: ClientSlot,
        text_bytes: usize,
    ) -> Result<(), Full> {
        let in_lane = &self.lanes[lane.0 as usize];
        let jobs = in_lane.len();
        if jobs >= self.jobs_max {
            return Err(Full::Jobs(jobs));
        }
        if in_lane.text_bytes + text_bytes > limits::QUEUE_BYTES_MAX {
            return Err(Full::Bytes(in_lane.text_bytes));
        }
        let bytes = JOB_BYTES + text_bytes;
        let of_client = self.client_bytes.get(client.0 as usize).copied();
        let of_client = of_client.unwrap_or_default();
        if of_client + bytes > limits::CLIENT_QUEUE_BYTES_MAX {
            return Err(Full::Client(of_client));
        }
        self.requests.has_room(bytes).map_err(Full::Host)
    }

    /// Puts a new job at the end of a lane's queue, which has room for it.
    pub fn queue(&mut self, lane: LaneId, job: Job) {
        let id = self.insert(lane, job, Place::Queue);
        let queue = &mut self.lanes[lane.0 as usize].queue;
        queue.push_back::<ORDER>(&mut self.jobs, id);
    }

    /// Puts a job back to where [`Schedule::next`] took it: it was handed out, but not begun.
    pub fn put_back(&mut self, lane: LaneId, job: Job) {
        if job.is_in_line() {
            self.stand(lane, job, true).worth_a_try = true;
        } else {
            let id = self.insert(lane, job, Place::Queue);
            let queue = &mut self.lanes[lane.0 as usize].queue;
            queue.push_front::<ORDER>(&mut self.jobs, id);
        }
    }

    /// Has a job run again, behind what its lane has queued by `due_ms`. It stands in no line any more.
    pub fn retry_at(&mut self, lane: LaneId, mut job: Job, due_ms: u64) {
        job.waits = None;
        let id = self.insert(lane, job, Place::Retry { due_ms });
        self.retries.insert((due_ms, id));
        let retrying = &mut self.lanes[lane.0 as usize].retrying;
        retrying.push_back::<ORDER>(&mut self.jobs, id);
    }

    /// Takes the job out that runs next in a lane: of those that are worth a try the longest waiting one, whatever its
    /// type, else the first of the queue.
    pub fn next(&mut self, lane: LaneId) -> Option<Job> {
        let in_lane = &self.lanes[lane.0 as usize];
        let worth = in_lane.waiting.iter().enumerate();
        let worth = worth.filter(|(_, waiting)| waiting.is_next());
        let first = |waiting: &Waiting| waiting.front().expect("only what has jobs is next");
        let longest = worth.min_by_key(|(_, of)| self.jobs[first(of) as usize].arrival());
        if let Some((index, waiting)) = longest {
            let job = self.remove(first(waiting));
            let waiting = &mut self.lanes[lane.0 as usize].waiting[index];
            (waiting.worth_a_try, waiting.in_trial) = (false, true);
            return Some(job);
        }
        let id = in_lane.queue.front()?;
        Some(self.remove(id))
    }

    /// Whether a lane has something to run.
    pub fn has_next(&self, lane: LaneId) -> bool {
        let lane = &self.lanes[lane.0 as usize];
        lane.queue.len() > 0 || lane.waiting.iter().any(Waiting::is_next)
    }

    /// Whether a lane holds no job at all.
    pub fn is_idle(&self, lane: LaneId) -> bool {
        self.lanes[lane.0 as usize].len() == 0
    }

    /// When [`Schedule::due`] has something to do, on the host's clock.
    pub fn next_due_ms(&self) -> Option<u64> {
        let deadline = self.deadlines.keys().next();
        let deadline = deadline.map(|grain| grain * limits::DEADLINE_GRAIN_MS);
        let retry = self.retries.first().map(|(due_ms, _)| *due_ms);
        deadline.into_iter().chain(retry).min()
    }

    /// Takes out jobs whose deadline has passed into `expired`, and queues those that are to be tried again, `at_once` of
    /// each at most. `ready` gets the lanes that may have something to run now.
    pub fn due(
        &mut self,
        now_ms: u64,
        at_once: usize,
        expired: &mut Vec<Expired>,
        ready: &mut Vec<LaneId>,
    ) {
        for _ in 0..at_once {
            let Some(entry) = self.deadlines.first_entry() else {
                break;
            };
            if entry.key() * limits::DEADLINE_GRAIN_MS > now_ms {
                break;
            }
            let id = entry.get().front().expect("an empty list is removed");
            let Entry { lane, place, .. } = self.jobs[id as usize];
            let place = (place == Place::Waiting).then(|| self.place(id));
            ready.push(lane);
            let job = self.remove(id);
            expired.push(Expired { job, place });
        }
        for _ in 0..at_once {
            let Some((due_ms, id)) = self.retries.first().copied() else {
                break;
            };
            if due_ms > now_ms {
                break;
            }
            self.retries.pop_first();
            let entry = &mut self.jobs[id as usize];
            entry.place = Place::Queue;
            let (lane, held) = (entry.lane, &mut self.held[entry.job.type_id.0 as usize]);
            (held.retrying, held.queued) = (held.retrying - 1, held.queued + 1);
            let in_lane = &mut self.lanes[lane.0 as usize];
            in_lane.retrying.unlink::<ORDER>(&mut self.jobs, id);
            in_lane.queue.push_back::<ORDER>(&mut self.jobs, id);
            ready.push(lane);
        }
    }

    /// Takes out all jobs of a client that has gone. `ready` gets the lanes that may have something to run now.
    pub fn remove_client(
        &mut self,
        client: ClientSlot,
        ready: &mut Vec<LaneId>,
        mut removed: impl FnMut(Job),
    ) {
        while let Some(id) = self.clients.get(client.0 as usize).and_then(List::front) {
            let entry = &self.jobs[id as usize];
            if entry.place == Place::Waiting {
                ready.push(entry.lane);
            }
            removed(self.remove(id));
        }
    }

    /// Whether the job that bears an id is here: it has not begun, or is set aside.
    pub fn holds(&self, once: InFlightId) -> bool {
        self.once.contains_key(&once)
    }

    /// Takes out the job that bears an id, if it is here, and says in a word what it did.
    pub fn take(&mut self, once: InFlightId) -> Option<(Job, &'static str)> {
        let id = *self.once.get(&once)?;
        let did = match self.jobs[id as usize].place {
            Place::Queue => "queued",
            Place::Waiting => "waiting",
            Place::Retry { .. } => "retrying",
        };
        Some((self.remove(id), did))
    }

    /// Takes out jobs of a lane, `at_once` at most: first those that wait, then those to be tried again, then the queue.
    pub fn drain_lane(&mut self, lane: LaneId, at_once: usize, mut taken: impl FnMut(Job)) {
        for _ in 0..at_once {
            let in_lane = &self.lanes[lane.0 as usize];
            let waiting = in_lane.waiting.iter().find_map(Waiting::front);
            let retrying = || in_lane.retrying.front();
            let Some(id) = waiting.or_else(retrying).or_else(|| in_lane.queue.front()) else {
                return;
            };
            taken(self.remove(id));
        }
    }

    /// Moves everything that stands in `from` into `into`, each job by its type.
    ///
    /// Lanes change only when a plugin is replaced by one that shares its state differently. Where they stay
    /// as they were, the lane keeps its id and nothing has to move.
    pub fn regroup(
        &mut self,
        from: &[LaneId],
        into: impl Fn(TypeId) -> Option<LaneId>,
    ) -> Vec<Job> {
        let mut homeless = Vec::new();
        let ids: Vec<u32> = from.iter().flat_map(|lane| self.ids_of(*lane)).collect();
        for id in ids {
            let Entry { place, lane, .. } = self.jobs[id as usize];
            let type_id = self.jobs[id as usize].job.type_id;
            let code = (place == Place::Waiting).then(|| self.code_of_line(lane, type_id));
            let job = self.remove(id);
            match (into(type_id), place) {
                (None, _) => homeless.push(job),
                (Some(lane), Place::Waiting) => {
                    // It keeps its arrival, and they come in its order.
                    let waiting = self.stand(lane, job, false);
                    waiting.code = code.expect("who waits was refused");
                }
                (Some(lane), Place::Retry { due_ms }) => self.retry_at(lane, job, due_ms),
                (Some(lane), Place::Queue) => {
                    let id = self.insert(lane, job, Place::Queue);
                    let queue = &mut self.lanes[lane.0 as usize].queue;
                    queue.push_back::<ORDER>(&mut self.jobs, id);
                }
            }
        }
        homeless
    }

    /// How many jobs of a type wait, and for what.
    pub fn held(&self, type_id: TypeId) -> Held {
        self.held
            .get(type_id.0 as usize)
            .copied()
            .unwrap_or_default()
    }

    /// All jobs of the host that wait for something.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether nothing of the host waits for anything.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn ids_of(&self, lane: LaneId) -> Vec<u32> {
        let in_lane = &self.lanes[lane.0 as usize];
        let waiting = in_lane.waiting.iter();
        waiting
            .flat_map(|waiting| waiting.iter::<ORDER, _>(&self.jobs))
            .chain(in_lane.queue.iter::<ORDER, _>(&self.jobs))
            .chain(in_lane.retrying.iter::<ORDER, _>(&self.jobs))
            .collect()
    }

    fn count(&mut self, type_id: TypeId, place: Place, change: impl FnOnce(&mut usize)) {
        let index = type_id.0 as usize;
        if self.held.len() <= index {
            self.held.resize(index + 1, Held::default());
        }
        let held = &mut self.held[index];
        change(match place {
            Place::Queue => &mut held.queued,
            Place::Waiting => &mut held.waiting,
            Place::Retry { .. } => &mut held.retrying,
        });
    }

    fn insert(&mut self, lane: LaneId, job: Job, place: Place) -> u32 {
        let client = job.slot.0 as usize;
        let (type_id, deadline_ms) = (job.type_id, job.deadline_ms);
        let (text_bytes, once) = (job.text_bytes(), job.once);
        let id = u32::try_from(self.jobs.insert(Entry {
            job,
            lane,
            place,
            links: Links::default(),
        }))
        .expect("every lane and the number of lanes is bounded");
        if self.clients.len() <= client {
            self.clients.resize_with(client + 1, List::default);
            self.client_bytes.resize(client + 1, 0);
        }
        self.clients[client].push_back::<CLIENT>(&mut self.jobs, id);
        if let Some(once) = once {
            self.once.insert(once, id);
        }
        if deadline_ms != u64::MAX {
            let grain = deadline_ms.div_ceil(limits::DEADLINE_GRAIN_MS);
            let deadline = self.deadlines.entry(grain).or_default();
            deadline.push_back::<DEADLINE>(&mut self.jobs, id);
        }
        self.count(type_id, place, |count| *count += 1);
        self.requests.add(JOB_BYTES + text_bytes);
        self.client_bytes[client] += JOB_BYTES + text_bytes;
        self.lanes[lane.0 as usize].text_bytes += text_bytes;
        id
    }

    /// Takes a job out of all its lists.
    fn remove(&mut self, id: u32) -> Job {
        let entry = &self.jobs[id as usize];
        let (lane, place, deadline_ms) = (entry.lane, entry.place, entry.job.deadline_ms);
        let (client, type_id) = (entry.job.slot.0 as usize, entry.job.type_id);
        let in_lane = &mut self.lanes[lane.0 as usize];
        match place {
            Place::Queue => in_lane.queue.unlink::<ORDER>(&mut self.jobs, id),
            Place::Waiting => {
                let waiting = in_lane.waiting_of(type_id);
                waiting.unlink::<ORDER>(&mut self.jobs, id);
                // If it was the first, the next one may want less. If not, one try too many does no harm.
                waiting.changed();
            }
            Place::Retry { due_ms } => {
                in_lane.retrying.unlink::<ORDER>(&mut self.jobs, id);
                self.retries.remove(&(due_ms, id));
            }
        }
        self.count(type_id, place, |count| *count -= 1);
        self.clients[client].unlink::<CLIENT>(&mut self.jobs, id);
        if deadline_ms != u64::MAX {
            let grain = deadline_ms.div_ceil(limits::DEADLINE_GRAIN_MS);
            if let Some(deadline) = self.deadlines.get_mut(&grain) {
                deadline.unlink::<DEADLINE>(&mut self.jobs, id);
                if deadline.len() == 0 {
                    self.deadlines.remove(&grain);
                }
            }
        }
        let job = self.jobs.remove(id as usize).job;
        if let Some(once) = &job.once {
            self.once.remove(once);
        }
        let bytes = JOB_BYTES + job.text_bytes();
        self.requests.give_back(bytes);
        self.client_bytes[client] -= bytes;
        let in_lane = &mut self.lanes[lane.0 as usize];
        in_lane.text_bytes -= job.text_bytes();
        job
    }
}

impl Arrived for Entry {
    fn arrival(&self) -> u64 {
        let waits = self.job.waits.as_ref();
        waits.expect("who stands in line waits").arrival
    }
}

impl Linked for Entry {
    fn links(&self) -> &Links<3> {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links<3> {
        &mut self.links
    }
}

#[cfg(test)]
mod tests;
