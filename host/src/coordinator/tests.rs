//! What the coordinator does by itself as time passes, with lanes that are told what they have done.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Commits, Coordinator, SessionKey, Settings,
    lane::{Lane, Origin},
    serving::quarantine::Back,
};
use crate::{
    clock::Clock,
    lane::{LaneId, Opener, Runner, Signal, TypeId, thread_tests},
    limits,
    state::{Access, BatchNo, SharedAccess, Store},
    threads::SystemThreads,
};

/// Without plugins, clients and a disk.
pub(crate) fn coordinator() -> Coordinator {
    let settings = Settings {
        name: "test".to_owned(),
        deadline: None,
        queue_jobs_max: 10,
        wait_max: None,
        quarantine: limits::QUARANTINE,
        drain_timeout: Duration::ZERO,
        durability: "memory",
        operators_over_tcp: false,
    };
    let clock = Clock::not_before(0);
    let signal = Arc::new(Signal::default());
    let opener = Opener::new(
        Arc::new(SystemThreads),
        clock,
        Arc::clone(&signal),
        None,
        |_| {},
    );
    let kept = (Store::default(), Commits::new(None, BatchNo(1)));
    let key = SessionKey([0; SessionKey::BYTES]);
    Coordinator::new(settings, clock, signal, opener, kept, key)
}

/// A lane that waits for nobody, whose thread has run a job.
fn with_finished_job(coordinator: &mut Coordinator) -> LaneId {
    let id = coordinator.schedule.open_lane();
    coordinator.routing.put_lane(id, lane_with_finished_job());
    id
}

fn lane_with_finished_job() -> Lane {
    let origin = Origin {
        plugin: "test".into(),
        open: Arc::new(|_, _| Err("it has no code".to_owned())),
        index: 0,
        types: Arc::default(),
        time_limit: None,
    };
    let access = SharedAccess::new(Access::new(Vec::new(), false));
    let runner = Runner::Thread(thread_tests::with_finished_job());
    Lane::new(origin, access, runner, false)
}

#[test]
fn a_job_that_ends_as_it_is_about_to_be_given_up_does_not_hold_the_core_thread() {
    let mut coordinator = coordinator();
    let lane = with_finished_job(&mut coordinator);
    let before = Instant::now();
    coordinator.cut_at(lane, before);
    // It would not return.
    coordinator.look_at_watches();
    let next = coordinator.next_due().expect("it is looked at again");
    assert!(next >= before + limits::TIME_LIMIT_GRACE);
}

#[test]
fn a_lane_is_watched_once_however_often_a_new_version_waits_for_it() {
    let mut coordinator = coordinator();
    let id = with_finished_job(&mut coordinator);
    for _ in 0..3 {
        coordinator.cut_at(id, Instant::now());
        coordinator.look_at_watches();
    }
    assert_eq!(coordinator.agenda.watches_len(), 1);
}

#[test]
fn a_lane_whose_place_another_one_has_taken_is_watched_no_more() {
    let mut coordinator = coordinator();
    let id = with_finished_job(&mut coordinator);
    coordinator.cut_at(id, Instant::now());
    coordinator.routing.put_lane(id, lane_with_finished_job());
    coordinator.look_at_watches();
    assert_eq!(coordinator.next_due(), None);
}

#[test]
fn whose_time_out_of_service_ends_while_the_host_stops_does_not_keep_it_awake() {
    let mut coordinator = coordinator();
    let back = Back::Type(TypeId(0));
    coordinator.agenda.comes_back(Instant::now(), back);
    assert!(coordinator.next_due().is_some());
    coordinator.stop();
    coordinator.advance();
    assert_eq!(coordinator.next_due(), None);
}

#[test]
fn a_quarantined_plugin_that_is_on_its_way_out_is_tried_again_should_it_stay() {
    let mut coordinator = coordinator();
    coordinator.settings.quarantine = Duration::ZERO;
    coordinator.quarantine("test", "it failed");
    coordinator.routing.slot("test").removing = true;
    coordinator.end_quarantines();
    assert!(coordinator.next_due().is_some_and(|at| at > Instant::now()));
}
