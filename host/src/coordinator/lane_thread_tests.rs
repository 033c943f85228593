use super::*;
use crate::coordinator::{
    job::{Asked, TypeId},
    once::{Fingerprint, RequestId, UnderWay},
};

/// A thread that never comes to run what it has.
fn without_thread() -> LaneThread {
    let shared = Shared {
        window: Mutex::default(),
        filled: Condvar::new(),
    };
    LaneThread {
        shared: Arc::new(shared),
    }
}

/// The one after `index - 1` others.
fn once(index: u64) -> UnderWayId {
    let mut under_way = UnderWay::default();
    let ids = (1..=index).map(|id| {
        let of = RequestId { session: 1, id };
        under_way.begin(of, Fingerprint(id), TypeId(0))
    });
    ids.last().expect("they count from 1")
}

fn handed(slot: u32, index: &str) -> Handed {
    let asked = Asked {
        client: 0,
        attempt: 1,
        wait: false,
        deadline_ms: u64::MAX,
        once: index.parse().ok().map(once),
        query_index: index,
        payload: "",
    };
    Handed {
        job: Job::new(ClientSlot(slot), 0, TypeId(0), &asked),
        jobber: 0,
        waited: false,
    }
}

fn hand(thread: &LaneThread, slot: u32, indices: &[&str]) {
    let jobs = indices.iter().map(|index| handed(slot, index));
    let mut jobs: VecDeque<_> = jobs.collect();
    thread.hand(&mut jobs);
    assert!(jobs.is_empty());
}

fn indices(jobs: impl IntoIterator<Item = Handed>) -> String {
    let jobs = jobs.into_iter();
    jobs.map(|handed| handed.job.query_index().to_owned())
        .collect()
}

#[test]
fn what_is_taken_back_comes_last_first_also_from_a_thread_that_takes_nothing() {
    let thread = without_thread();
    hand(&thread, 1, &["1", "2"]);
    thread.shared.lock().held = true;
    hand(&thread, 1, &["3", "4"]);
    assert_eq!(indices(thread.take_back()), "4321");
    assert_eq!(thread.room(Instant::now()), 0);
    assert_eq!(indices(thread.take_back()), "");
}

#[test]
fn one_job_or_one_clients_jobs_are_taken_out_of_all_the_others() {
    let thread = without_thread();
    hand(&thread, 1, &["1", "2"]);
    hand(&thread, 2, &["3"]);
    hand(&thread, 1, &["4"]);
    thread.shared.lock().held = true;
    hand(&thread, 2, &["5", "6"]);
    hand(&thread, 1, &["7"]);
    for (wanted, found) in [(2, "2"), (6, "6"), (6, ""), (8, "")] {
        assert_eq!(indices(thread.take_once(once(wanted))), found);
    }
    assert_eq!(indices(thread.remove_client(ClientSlot(2))), "35");
    assert_eq!(indices(thread.remove_client(ClientSlot(2))), "");
    assert_eq!(indices(thread.take_back()), "741");
}

#[test]
fn a_thread_keeps_what_it_does_in_a_millisecond_and_nothing_behind_a_slow_job() {
    let (thread, began) = (without_thread(), Instant::now());
    let room = thread.room(began);
    let many: Vec<String> = (1..=2 * room).map(|index| index.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    hand(&thread, 1, &many[..room]);
    assert_eq!(thread.room(began), 0);
    hand(&thread, 1, &many[room..]);
    assert_eq!(
        thread.take_back_surplus(began).0.count(),
        0,
        "it is not far more"
    );
    hand(&thread, 1, &["last"]);
    let (surplus, is_loaded) = thread.take_back_surplus(began);
    assert_eq!((surplus.count(), is_loaded), (room + 1, true));
    for _ in 0..100 {
        thread.shared.lock().size.ran(Duration::from_micros(50));
    }
    let (surplus, is_loaded) = thread.take_back_surplus(began);
    assert_eq!((surplus.count(), is_loaded), (0, true), "it takes 1.6 ms");
    thread.shared.lock().entered = Some((handed(1, "entered"), began));
    let later = began + 2 * limits::QUICK_JOB;
    assert_eq!(thread.room(later), 0);
    let (surplus, is_loaded) = thread.take_back_surplus(later);
    assert_eq!((surplus.count(), is_loaded), (room, false));
}
