//! What runs next, without anything that runs.

use super::{lane_queue::Refusal, *};
use crate::{
    coordinator::sessions::{Fingerprint, InFlight, RequestId},
    lane::RequestRef,
};

const NEVER: u64 = u64::MAX;
const WAIT_MS_MAX: u64 = 10_000;

struct Bench {
    schedule: Schedule,
    lane: LaneId,
}

impl Bench {
    fn new() -> Self {
        let mut schedule = Schedule::new(1_000, WAIT_MS_MAX);
        let lane = schedule.open_lane();
        Self { schedule, lane }
    }

    fn queue(&mut self, number: u32) {
        self.schedule.queue(self.lane, job(number, 0, 0, NEVER));
    }

    /// The numbers of the jobs that run from here on, each waiting one marked.
    fn runs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.schedule.next(self.lane))
            .map(|job| {
                let waits = if job.is_in_line() { "w" } else { "" };
                format!("{}{waits}", job.query_index())
            })
            .collect()
    }

    fn wait(&mut self, number: u32, client: u32) {
        self.wait_of_type(number, client, 0, NEVER);
    }

    fn wait_of_type(&mut self, number: u32, client: u32, type_id: u32, deadline_ms: u64) {
        let job = job(number, client, type_id, deadline_ms);
        self.schedule.wait(self.lane, job, refusal(), 0);
    }

    fn expired(&mut self, now_ms: u64) -> Vec<Expired> {
        let mut expired = Vec::new();
        let ready = &mut Vec::new();
        self.schedule.due(now_ms, usize::MAX, &mut expired, ready);
        expired
    }
}

fn refusal() -> Refusal {
    ("none_free".into(), "0 free".into())
}

fn job(number: u32, client: u32, type_id: u32, deadline_ms: u64) -> Job {
    let query_index = number.to_string();
    let asked = RequestRef {
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
    let mut in_flight = InFlight::default();
    let mut once = |id| in_flight.begin(RequestId { session: 1, id }, Fingerprint(id), TypeId(0));
    let [queued, waiting, retrying] = [once(1), once(2), once(3)];
    let mut bench = Bench::new();
    for (number, once) in [(0, queued), (1, waiting), (2, retrying)] {
        let mut job = job(number, 7, 0, u64::MAX);
        job.once = Some(once);
        match number {
            0 => bench.schedule.queue(bench.lane, job),
            1 => bench.schedule.wait(bench.lane, job, refusal(), 0),
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
    let first = bench.schedule.next(bench.lane).unwrap();
    let second = bench.schedule.next(bench.lane).unwrap();
    bench.schedule.put_back(bench.lane, second);
    bench.schedule.put_back(bench.lane, first);
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
    let expired = bench.expired(1_000);
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].job.query_index(), "2");
    assert!(bench.schedule.is_idle(bench.lane));
    assert_eq!(bench.schedule.next_due_ms(), None);
}

#[test]
fn a_deadline_takes_a_job_out_not_earlier_and_little_later() {
    let mut bench = Bench::new();
    bench.schedule.queue(bench.lane, job(1, 0, 0, 1_000));
    bench.schedule.queue(bench.lane, job(2, 0, 0, 5_000));
    let due = bench.schedule.next_due_ms().unwrap();
    assert!((1_000..1_000 + limits::DEADLINE_GRAIN_MS).contains(&due));
    assert!(bench.expired(due - 1).is_empty());
    assert_eq!(bench.expired(due).len(), 1);
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
    bench.schedule.due(999, 10, &mut Vec::new(), &mut ready);
    assert!(ready.is_empty());
    bench.schedule.due(1_000, 10, &mut Vec::new(), &mut ready);
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
    let first = bench.schedule.next(bench.lane).unwrap();
    assert_eq!((first.query_index(), first.is_in_line()), ("1", true));
    // In vain: it stays the first, and the one behind it is not tried.
    bench.schedule.wait(bench.lane, first, refusal(), 0);
    let newcomer = bench.schedule.next(bench.lane).unwrap();
    assert_eq!(
        (newcomer.query_index(), newcomer.is_in_line()),
        ("3", false)
    );
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
    let mut schedule = Schedule::new(3, NEVER);
    let lane = schedule.open_lane();
    schedule.queue(lane, job(1, 0, 0, NEVER));
    schedule.retry_at(lane, job(2, 0, 0, NEVER), 10);
    assert_eq!(schedule.room_for(lane, ClientSlot(0), 10), Ok(()));
    schedule.wait(lane, job(3, 0, 0, NEVER), refusal(), 0);
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
    let mut schedule = Schedule::new(1_000, NEVER);
    schedule.count_in(requests.clone());
    let lane = schedule.open_lane();
    let large = "x".repeat(limits::CLIENT_QUEUE_BYTES_MAX - 1_000);
    let queue = |schedule: &mut Schedule, client| {
        let slot = ClientSlot(client);
        schedule.room_for(lane, slot, large.len())?;
        let asked = RequestRef {
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
    bench.schedule.due(10, 10, &mut Vec::new(), &mut ready);
    assert_eq!(ready, [one]);
    assert_eq!(bench.runs(), ["5"]);
}

#[test]
fn the_longest_waiting_is_tried_first_whatever_its_type() {
    let mut bench = Bench::new();
    // The line of the type 0 is the lane's first one, and is then empty for a while.
    bench.wait(1, 0);
    bench.schedule.state_changed(bench.lane);
    let before = bench.schedule.next(bench.lane).unwrap();
    bench.schedule.try_next(bench.lane, before.type_id);
    bench.wait_of_type(2, 0, 1, NEVER);
    bench.wait(3, 0);
    for (changes, number) in [(1, "2"), (2, "3")] {
        bench.schedule.state_changed(bench.lane);
        let tried = bench.schedule.next(bench.lane).unwrap();
        assert_eq!(tried.query_index(), number, "after {changes} changes");
        bench.schedule.try_next(bench.lane, tried.type_id);
    }
}

#[test]
fn nobody_waits_longer_than_the_longest_that_is_allowed() {
    let mut bench = Bench::new();
    bench.wait(1, 0);
    bench.wait_of_type(2, 0, 0, WAIT_MS_MAX / 2);
    bench
        .schedule
        .join(bench.lane, job(3, 0, 0, 3 * WAIT_MS_MAX), 1_000);
    let ended = |expired: Vec<Expired>| -> Vec<(String, bool, Option<usize>)> {
        let ended = expired.into_iter().map(|Expired { job, place }| {
            let is_capped = job.waits.as_ref().is_some_and(|waits| waits.is_capped);
            (job.query_index().to_owned(), is_capped, place)
        });
        ended.collect()
    };
    let grain = limits::DEADLINE_GRAIN_MS;
    let first = ended(bench.expired(WAIT_MS_MAX / 2 + grain));
    assert_eq!(first, [("2".to_owned(), false, Some(2))]);
    let second = ended(bench.expired(WAIT_MS_MAX + grain));
    assert_eq!(second, [("1".to_owned(), true, Some(1))]);
    let third = ended(bench.expired(WAIT_MS_MAX + 1_000 + grain));
    assert_eq!(third, [("3".to_owned(), true, Some(1))]);
}

#[test]
fn a_place_counts_all_before_it_also_the_one_that_is_tried() {
    let mut bench = Bench::new();
    let deadline_ms = |number| 1_000 + 100 * u64::from(number % 7);
    for number in 1..=2_000 {
        bench.wait_of_type(number, number, number % 2, deadline_ms(number));
    }
    // Those who end earlier, or stand in the other line, are not before it.
    for end in 0..7 {
        let expired = bench.expired(1_000 + 100 * end + limits::DEADLINE_GRAIN_MS);
        for Expired { job, place } in expired {
            let number: u32 = job.query_index().parse().unwrap();
            let stand_before =
                (1..number).filter(|other| other % 2 == number % 2 && u64::from(other % 7) > end);
            assert_eq!(place, Some(stand_before.count() + 1), "{number}");
        }
    }
    assert!(bench.schedule.is_idle(bench.lane));
    bench.wait(1, 0);
    bench.wait_of_type(2, 0, 0, 5_000);
    bench.schedule.state_changed(bench.lane);
    let _tried = bench.schedule.next(bench.lane).unwrap();
    let places: Vec<_> = bench.expired(6_000).iter().map(|of| of.place).collect();
    assert_eq!(places, [Some(2)]);
}

#[test]
fn so_many_expire_and_so_many_are_given_up_at_once_as_are_asked_for() {
    let mut bench = Bench::new();
    for number in 0..10 {
        bench.schedule.queue(bench.lane, job(number, 0, 0, 1_000));
        bench
            .schedule
            .retry_at(bench.lane, job(number, 0, 0, NEVER), 1_000);
        bench.wait(number, 0);
    }
    let (mut expired, mut ready) = (Vec::new(), Vec::new());
    bench.schedule.due(2_000, 3, &mut expired, &mut ready);
    assert_eq!(expired.len(), 3);
    let held = bench.schedule.held(TypeId(0));
    assert_eq!((held.queued, held.retrying, held.waiting), (10, 7, 10));
    assert!(bench.schedule.next_due_ms().unwrap() <= 2_000);
    let mut taken = 0;
    bench.schedule.drain_lane(bench.lane, 25, |_| taken += 1);
    assert_eq!((taken, bench.schedule.len()), (25, 2));
    bench.schedule.drain_lane(bench.lane, 25, |_| taken += 1);
    assert_eq!(taken, 27);
    assert!(bench.schedule.is_idle(bench.lane));
    assert_eq!(bench.schedule.next_due_ms(), None);
}
