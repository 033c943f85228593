//! What runs next, without anything that runs.

use super::*;
use crate::coordinator::{
    job::Asked,
    once::{Fingerprint, RequestId, UnderWay},
};

const NEVER: u64 = u64::MAX;

struct Bench {
    schedule: Schedule,
    lane: LaneId,
}

impl Bench {
    fn new() -> Self {
        let mut schedule = Schedule::new(1_000);
        let lane = schedule.open_lane();
        Self { schedule, lane }
    }

    fn queue(&mut self, number: u32) {
        self.schedule.queue(self.lane, job(number, 0, 0, NEVER));
    }

    /// The numbers of the jobs that run from here on, each waiting one marked.
    fn runs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.schedule.next(self.lane))
            .map(|(job, waited)| format!("{}{}", job.query_index(), if waited { "w" } else { "" }))
            .collect()
    }

    fn wait(&mut self, number: u32, client: u32) {
        let refusal = ("none_free".into(), "".into());
        let job = job(number, client, 0, NEVER);
        self.schedule.wait(self.lane, job, false, refusal);
    }
}

fn job(number: u32, client: u32, type_id: u32, deadline_ms: u64) -> Job {
    let query_index = number.to_string();
    let asked = Asked {
        session: 0,
        client: u64::from(client),
        attempt: 1,
        wait: false,
        deadline_ms,
        once: None,
        query_index: &query_index,
        payload: "{}",
    };
    Job::new(
        ClientSlot(client),
        u64::from(client),
        TypeId(type_id),
        &asked,
    )
}

#[test]
fn jobs_run_in_the_order_in_which_they_came() {
    let mut bench = Bench::new();
    (0..5).for_each(|number| bench.queue(number));
    assert_eq!(bench.runs(), ["0", "1", "2", "3", "4"]);
    assert!(bench.schedule.is_empty());
}

#[test]
fn what_bears_an_id_is_found_wherever_it_waits() {
    let mut under_way = UnderWay::default();
    let mut once = |id| under_way.begin(RequestId { session: 1, id }, Fingerprint(id), TypeId(0));
    let [queued, waiting, retrying] = [once(1), once(2), once(3)];
    let mut bench = Bench::new();
    for (number, once) in [(0, queued), (1, waiting), (2, retrying)] {
        let mut job = job(number, 7, 0, u64::MAX);
        job.once = Some(once);
        match number {
            0 => bench.schedule.queue(bench.lane, job),
            1 => bench
                .schedule
                .wait(bench.lane, job, false, Default::default()),
            _ => bench.schedule.retry_at(bench.lane, job, 5),
        }
    }
    for (once, did) in [
        (waiting, "waiting"),
        (queued, "queued"),
        (retrying, "retrying"),
    ] {
        let (job, found) = bench.schedule.take(once).expect("it is there");
        assert_eq!((job.once, found), (Some(once), did));
        assert!(bench.schedule.take(once).is_none());
    }
    assert!(bench.schedule.is_empty());
}

#[test]
fn what_is_put_back_comes_first_again() {
    let mut bench = Bench::new();
    (0..3).for_each(|number| bench.queue(number));
    let (first, _) = bench.schedule.next(bench.lane).unwrap();
    let (second, _) = bench.schedule.next(bench.lane).unwrap();
    bench.schedule.put_back(bench.lane, second, false);
    bench.schedule.put_back(bench.lane, first, false);
    assert_eq!(bench.runs(), ["0", "1", "2"]);
}

#[test]
fn a_client_that_goes_takes_its_jobs_out_of_every_list() {
    let mut bench = Bench::new();
    bench.schedule.queue(bench.lane, job(1, 7, 0, 500));
    bench.schedule.queue(bench.lane, job(2, 8, 0, 500));
    bench
        .schedule
        .retry_at(bench.lane, job(3, 7, 0, NEVER), 100);
    bench.wait(4, 7);
    let mut ready = Vec::new();
    let mut removed = 0;
    let count = |_| removed += 1;
    bench
        .schedule
        .remove_client(ClientSlot(7), &mut ready, count);
    assert_eq!(removed, 3);
    assert_eq!(ready, [bench.lane]);
    let mut expired = Vec::new();
    bench.schedule.due(1_000, &mut expired, &mut ready);
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].query_index(), "2");
    assert!(bench.schedule.is_idle(bench.lane));
    assert_eq!(bench.schedule.next_due_ms(), None);
}

#[test]
fn a_deadline_takes_a_job_out_not_earlier_and_little_later() {
    let mut bench = Bench::new();
    bench.schedule.queue(bench.lane, job(1, 0, 0, 1_000));
    bench.schedule.queue(bench.lane, job(2, 0, 0, 5_000));
    let mut expired = Vec::new();
    let due = bench.schedule.next_due_ms().unwrap();
    assert!((1_000..1_000 + limits::DEADLINE_GRAIN_MS).contains(&due));
    bench.schedule.due(due - 1, &mut expired, &mut Vec::new());
    assert!(expired.is_empty());
    bench.schedule.due(due, &mut expired, &mut Vec::new());
    assert_eq!(expired.len(), 1);
    assert_eq!(bench.runs(), ["2"]);
}

#[test]
fn a_job_to_be_tried_again_holds_nobody_up_and_comes_behind_them() {
    let mut bench = Bench::new();
    bench
        .schedule
        .retry_at(bench.lane, job(1, 0, 0, NEVER), 1_000);
    bench.queue(2);
    bench.queue(3);
    assert!(!bench.schedule.is_idle(bench.lane));
    let mut ready = Vec::new();
    bench.schedule.due(999, &mut Vec::new(), &mut ready);
    assert!(ready.is_empty());
    bench.schedule.due(1_000, &mut Vec::new(), &mut ready);
    assert_eq!(ready, [bench.lane]);
    assert_eq!(bench.runs(), ["2", "3", "1"]);
}

#[test]
fn who_waits_is_tried_only_after_a_change_and_before_newcomers() {
    let mut bench = Bench::new();
    bench.wait(1, 0);
    bench.wait(2, 0);
    assert!(!bench.schedule.has_next(bench.lane));
    bench.queue(3);
    bench.schedule.state_changed(bench.lane);
    let (first, waited) = bench.schedule.next(bench.lane).unwrap();
    assert_eq!((first.query_index(), waited), ("1", true));
    // In vain: it stays the first, and the one behind it is not tried.
    let refusal = ("none_free".into(), "".into());
    bench.schedule.wait(bench.lane, first, true, refusal);
    let (newcomer, waited) = bench.schedule.next(bench.lane).unwrap();
    assert_eq!((newcomer.query_index(), waited), ("3", false));
    bench.schedule.state_changed(bench.lane);
    assert_eq!(bench.runs(), ["1w"]);
    bench.schedule.try_next(bench.lane, TypeId(0));
    assert_eq!(bench.runs(), ["2w"]);
}

#[test]
fn when_the_first_that_waits_goes_the_next_is_tried() {
    let mut bench = Bench::new();
    bench.wait(1, 7);
    bench.wait(2, 8);
    let mut ready = Vec::new();
    bench
        .schedule
        .remove_client(ClientSlot(7), &mut ready, drop);
    assert_eq!(ready, [bench.lane]);
    assert_eq!(bench.runs(), ["2w"]);
}

#[test]
fn a_full_lane_says_so_and_counts_all_that_it_holds() {
    let mut schedule = Schedule::new(3);
    let lane = schedule.open_lane();
    schedule.queue(lane, job(1, 0, 0, NEVER));
    schedule.retry_at(lane, job(2, 0, 0, NEVER), 10);
    assert_eq!(schedule.room_for(lane, ClientSlot(0), 10), Ok(()));
    schedule.wait(lane, job(3, 0, 0, NEVER), false, Refusal::default());
    assert_eq!(
        schedule.room_for(lane, ClientSlot(0), 10),
        Err(Full::Jobs(3))
    );
    let other = schedule.open_lane();
    assert!(matches!(
        schedule.room_for(other, ClientSlot(0), limits::QUEUE_BYTES_MAX + 1),
        Err(Full::Bytes(0))
    ));
}

#[test]
fn one_client_has_a_share_of_what_all_may_queue_and_what_leaves_makes_room() {
    let requests = Budget::whole("queued requests", 3 * limits::CLIENT_QUEUE_BYTES_MAX / 2);
    let mut schedule = Schedule::new(1_000);
    schedule.count_in(requests.clone());
    let lane = schedule.open_lane();
    let large = "x".repeat(limits::CLIENT_QUEUE_BYTES_MAX - 1_000);
    let queue = |schedule: &mut Schedule, client| {
        let slot = ClientSlot(client);
        schedule.room_for(lane, slot, large.len())?;
        let asked = Asked {
            client: 1,
            session: 0,
            attempt: 1,
            wait: false,
            deadline_ms: NEVER,
            once: None,
            query_index: "1",
            payload: &large,
        };
        schedule.queue(lane, Job::new(slot, 1, TypeId(0), &asked));
        Ok(())
    };
    assert_eq!(queue(&mut schedule, 0), Ok(()));
    assert!(matches!(queue(&mut schedule, 0), Err(Full::Client(_))));
    assert!(matches!(queue(&mut schedule, 1), Err(Full::Host(_))));
    schedule.remove_client(ClientSlot(0), &mut Vec::new(), |_| ());
    assert_eq!(requests.bytes(), 0);
    assert_eq!(queue(&mut schedule, 1), Ok(()));
}

#[test]
fn jobs_follow_their_types_to_other_lanes() {
    let mut bench = Bench::new();
    let old = bench.lane;
    bench.schedule.queue(old, job(1, 0, 0, NEVER));
    bench.schedule.queue(old, job(2, 0, 1, NEVER));
    bench.schedule.queue(old, job(3, 0, 0, NEVER));
    bench.schedule.queue(old, job(4, 0, 2, NEVER));
    bench.schedule.retry_at(old, job(5, 0, 1, NEVER), 10);
    let (zero, one) = (bench.schedule.open_lane(), bench.schedule.open_lane());
    let homeless = bench.schedule.regroup(&[old], |type_id| match type_id {
        TypeId(0) => Some(zero),
        TypeId(1) => Some(one),
        _ => None,
    });
    assert_eq!(homeless.len(), 1);
    assert_eq!(homeless[0].query_index(), "4");
    bench.schedule.close_lane(old);
    bench.lane = zero;
    assert_eq!(bench.runs(), ["1", "3"]);
    bench.lane = one;
    assert_eq!(bench.runs(), ["2"]);
    let mut ready = Vec::new();
    bench.schedule.due(10, &mut Vec::new(), &mut ready);
    assert_eq!(ready, [one]);
    assert_eq!(bench.runs(), ["5"]);
}
