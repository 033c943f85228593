use std::num::NonZeroU32;

use plugin_api::abi::AbiHost;
use protocol::ErrorCode;

use super::*;
use crate::{
    lane::job::{InFlightId, RequestRef, TypeId},
    state::{
        CallFacts, LentState,
        effects::{self, Effect},
    },
};

/// A thread that never comes to run what it has.
fn without_thread() -> LaneThread {
    let shared = Shared {
        window: Mutex::default(),
        filled: Condvar::new(),
    };
    LaneThread {
        shared: Arc::new(shared),
        access: SharedAccess::new(Access::new(vec![LentState::default()], true)),
    }
}

/// The one after `index - 1` others.
fn once(index: u64) -> InFlightId {
    let index = u32::try_from(index).ok().and_then(NonZeroU32::new);
    InFlightId(index.expect("they count from 1"))
}

fn handed(slot: u32, index: &str) -> Handed {
    let asked = RequestRef {
        session: 0,
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

/// One that has run a job, and nobody has heard of it yet.
pub(crate) fn with_finished_job() -> LaneThread {
    let thread = without_thread();
    enter(&thread, "1");
    let bytes = commit(&thread, "1");
    say_so(&thread, "1", bytes);
    thread
}

/// What a lane's thread does until its job has written the entry `index`.
fn enter(thread: &LaneThread, index: &str) -> Instant {
    let since = Instant::now();
    thread.shared.lock().entered = Some((handed(1, index), since));
    let mut access = thread.access.lock();
    let generation = access.generation();
    assert!(access.begin(generation, CallFacts::default(), 1024));
    drop(access);
    let host = thread.access.for_code();
    host.state_write(0, index.as_bytes().into(), b"v".as_slice().into());
    since
}

/// And what it does until its job has committed. Returns how many bytes of effects that are.
fn commit(thread: &LaneThread, index: &str) -> usize {
    let mut access = thread.access.lock();
    let generation = access.generation();
    let committed = access.commit(generation, None, index.as_bytes());
    let committed = committed.expect("it counts").expect("it is allowed");
    assert!(committed.changed);
    committed.effect_bytes
}

/// And what it does until it has said so.
fn say_so(thread: &LaneThread, index: &str, effect_bytes: usize) {
    let mut window = thread.shared.lock();
    let (handed, since) = window.entered.take().expect("it runs");
    let verdict = Verdict::Replied {
        changed: true,
        result: Outcome::Answered,
    };
    let said = (index.as_bytes(), effect_bytes);
    window.finish(handed, verdict, said, Duration::ZERO, since);
}

fn keys(effects: &[u8]) -> String {
    let keys = effects::read(effects).map(|effect| match effect.expect("it was told") {
        Effect::Put(_, key, _) => String::from_utf8_lossy(key).into_owned(),
        other => panic!("told {other:?}"),
    });
    keys.collect()
}

/// The replies, the entries that are told, and those that are in the state.
fn left_behind(fetched: &Fetched, mut access: Access) -> (String, String, String) {
    let bytes: usize = fetched.finished.iter().map(|one| one.effect_bytes).sum();
    assert_eq!(bytes, fetched.effects.len());
    let states = access.take_states();
    let entries = states[0].map.iter();
    (
        String::from_utf8_lossy(&fetched.replies).into_owned(),
        keys(&fetched.effects),
        entries
            .map(|(key, _)| String::from_utf8_lossy(key))
            .collect(),
    )
}

fn told(all: &str) -> (String, String, String) {
    (all.to_owned(), all.to_owned(), all.to_owned())
}

#[test]
fn what_a_job_has_committed_counts_though_its_thread_never_comes_to_say_so() {
    let thread = without_thread();
    enter(&thread, "1");
    let bytes = commit(&thread, "1");
    say_so(&thread, "1", bytes);
    let since = enter(&thread, "2");
    commit(&thread, "2");
    assert!(thread.abandon(since, since, false).is_none());
    let (abandoned, access) = thread.abandon(since, since, true).expect("it is given up");
    assert!(abandoned.entered.is_none() && abandoned.fetched.finished.len() == 2);
    assert_eq!(left_behind(&abandoned.fetched, access), told("12"));
}

#[test]
fn a_job_that_is_given_up_leaves_no_trace_and_what_was_committed_before_it_all() {
    let thread = without_thread();
    enter(&thread, "1");
    let bytes = commit(&thread, "1");
    say_so(&thread, "1", bytes);
    let since = enter(&thread, "2");
    let (abandoned, access) = thread.abandon(since, since, false).expect("it is given up");
    assert!(abandoned.entered.is_some());
    assert_eq!(left_behind(&abandoned.fetched, access), told("1"));
}

#[test]
fn a_job_is_not_given_up_for_one_that_was_looked_at_before_it() {
    let thread = without_thread();
    let since = enter(&thread, "1");
    let bytes = commit(&thread, "1");
    say_so(&thread, "1", bytes);
    enter(&thread, "2");
    let late = since + Duration::from_secs(60);
    assert!(thread.abandon(since, late, true).is_none());
    let bytes = commit(&thread, "2");
    let mut fetched = Fetched::default();
    thread.fetch(&mut fetched);
    assert_eq!(keys(&fetched.effects), "1", "the second has not said so");
    fetched.clear();
    say_so(&thread, "2", bytes);
    thread.fetch(&mut fetched);
    assert_eq!(keys(&fetched.effects), "2");
}

#[test]
fn what_stands_behind_a_job_that_is_given_up_comes_back_and_is_not_begun() {
    let thread = without_thread();
    hand(&thread, 1, &["2", "3"]);
    let since = enter(&thread, "1");
    let (abandoned, _) = thread.abandon(since, since, false).expect("it is given up");
    let (entered, _) = abandoned.entered.expect("it was in work");
    assert_eq!(entered.job.query_index(), "1");
    assert_eq!(indices(abandoned.inbox), "32");
    assert!(thread.is_idle(), "nothing is left that could be begun");
}

#[test]
fn what_stands_behind_a_panic_is_looked_at_anew() {
    let thread = without_thread();
    hand(&thread, 1, &["2", "3"]);
    let verdict = Verdict::Replied {
        changed: false,
        result: Outcome::Failed(ErrorCode::JobberPanicked),
    };
    let mut window = thread.shared.lock();
    window.finish(
        handed(1, "1"),
        verdict,
        (b"", 0),
        Duration::ZERO,
        Instant::now(),
    );
    drop(window);
    let mut fetched = Fetched::default();
    thread.fetch(&mut fetched);
    assert_eq!(fetched.finished.len(), 1);
    assert_eq!(indices(fetched.returned), "23");
}
