use super::*;
use crate::{
    budget::Budgets,
    limits::ANSWERS_KEPT_BYTES_ALL_MAX,
    state::{
        StateMap,
        effects::{Effect, StateId},
    },
};

fn of(session: u64, id: u64) -> RequestId {
    RequestId { session, id }
}

fn looked(answers: &Answers, session: u64, id: u64) -> Looked<'_> {
    answers.look(of(session, id), Fingerprint(id))
}

/// What another host would read back from the effects that were told.
struct Copy(StateMap);

impl Copy {
    fn apply(&mut self, told: &mut Vec<u8>) {
        for effect in effects::read(told) {
            match effect.expect("they were just written") {
                Effect::Put(_, key, value) => self.0.write(key, value, |_| ()),
                Effect::Remove(_, key) => drop(self.0.remove(key)),
                other => panic!("told {other:?}"),
            }
        }
        told.clear();
    }

    fn open(&self, now_ms: u64) -> Answers {
        let lent = LentState {
            id: StateId(3),
            schema: Some(1),
            map: self.0.clone(),
        };
        Answers::new(lent, true, now_ms, &Budgets::default().answers)
    }
}

fn empty() -> (Answers, Copy, Vec<u8>) {
    let copy = Copy(StateMap::default());
    (copy.open(0), copy, Vec::new())
}

#[test]
fn an_id_is_answered_as_the_first_time_also_by_the_next_host() {
    let (mut answers, mut copy, mut told) = empty();
    answers.enter(5, Origin::default());
    assert_eq!(looked(&answers, 5, 1), Looked::New);
    answers.keep(of(5, 1), Fingerprint(1), &[], b"{}", 0, &mut told);
    answers.changed_in(5, BatchNo(9));
    answers.cancel(of(5, 2), 0, &mut told);
    answers.put_key(SessionKey([7; 16]), &mut told);
    assert_eq!(looked(&answers, 5, 1), Looked::Answered(b"{}", BatchNo(9)));
    copy.apply(&mut told);
    let answers = copy.open(0);
    let none = BatchNo::default();
    assert_eq!(looked(&answers, 5, 1), Looked::Answered(b"{}", none));
    assert_eq!(looked(&answers, 5, 2), Looked::Cancelled(none));
    assert_eq!(looked(&answers, 5, 3), Looked::New);
    assert_eq!(looked(&answers, 6, 1), Looked::New);
    let other = answers.look(of(5, 1), Fingerprint(2));
    assert_eq!(other, Looked::Conflict);
    assert_eq!(answers.key(), Some(SessionKey([7; 16])));
}

#[test]
fn what_leaves_the_window_is_forgotten_and_never_new_again() {
    let (mut answers, mut copy, mut told) = empty();
    answers.enter(5, Origin::default());
    let max = ANSWERS_KEPT_MAX as u64;
    for id in 1..=max + 10 {
        answers.keep(of(5, id), Fingerprint(id), &[], b"{}", 0, &mut told);
    }
    copy.apply(&mut told);
    for answers in [&answers, &copy.open(0)] {
        assert_eq!(looked(answers, 5, 10), Looked::Forgotten);
        assert!(matches!(looked(answers, 5, 11), Looked::Answered(..)));
        assert_eq!(looked(answers, 5, max + 11), Looked::New);
    }
    // One that took so long that the window has gone past it.
    answers.keep(of(5, 3), Fingerprint(3), &[], b"{}", 0, &mut told);
    assert_eq!(looked(&answers, 5, 3), Looked::Forgotten);
}

#[test]
fn a_session_keeps_so_many_bytes_and_no_more() {
    let (mut answers, _, mut told) = empty();
    answers.enter(5, Origin::default());
    let large = vec![b' '; 4 << 20];
    for id in 1..=5 {
        answers.keep(of(5, id), Fingerprint(id), &[], &large, 0, &mut told);
        told.clear();
    }
    assert_eq!(looked(&answers, 5, 2), Looked::Forgotten);
    assert!(matches!(looked(&answers, 5, 3), Looked::Answered(..)));
}

#[test]
fn a_session_that_nobody_comes_back_to_is_forgotten_in_the_end() {
    let (mut answers, mut copy, mut told) = empty();
    let kept_ms = u64::try_from(SESSION_KEPT.as_millis()).unwrap();
    for session in [5, 6, 7] {
        answers.enter(session, Origin::default());
        answers.keep(of(session, 1), Fingerprint(1), &[], b"{}", 0, &mut told);
    }
    answers.leave(6, 1_000);
    assert!(answers.is_known(6));
    answers.keep(
        of(5, 2),
        Fingerprint(2),
        &[],
        b"{}",
        1_000 + kept_ms,
        &mut told,
    );
    assert!(answers.is_known(6), "not yet");
    answers.keep(
        of(5, 3),
        Fingerprint(3),
        &[],
        b"{}",
        1_001 + kept_ms,
        &mut told,
    );
    copy.apply(&mut told);
    for answers in [&answers, &copy.open(0)] {
        assert!(!answers.is_known(6));
        assert!(answers.is_known(5) && answers.is_known(7) && answers.is_known(8));
        assert!(matches!(looked(answers, 7, 1), Looked::Answered(..)));
    }
    // A request of it ends at last: nothing is begun anew for it.
    answers.keep(of(6, 2), Fingerprint(2), &[], b"{}", 0, &mut told);
    assert!(!answers.is_known(6) && told.is_empty());
}

#[test]
fn a_large_session_is_forgotten_a_piece_at_a_time_and_is_never_half_known() {
    let (mut answers, mut copy, mut told) = empty();
    for session in [5, 6] {
        answers.enter(session, Origin::default());
    }
    for id in 1..=1_000 {
        answers.keep(of(6, id), Fingerprint(id), &[], b"{}", 0, &mut told);
    }
    answers.leave(6, 0);
    let late = 1 + u64::try_from(SESSION_KEPT.as_millis()).unwrap();
    let mut turns = 0;
    while answers.is_known(6) {
        turns += 1;
        answers.keep(
            of(5, turns),
            Fingerprint(turns),
            &[],
            b"{}",
            late,
            &mut told,
        );
        copy.apply(&mut told);
        let found = copy.open(0);
        let is_told = |id| looked(&found, 6, id) != Looked::New;
        assert!(!found.is_known(6) || (1..=1_000).all(is_told), "{turns}");
    }
    assert_eq!(turns, 4);
}

#[test]
fn a_session_without_answers_leaves_nothing() {
    let (mut answers, _, _) = empty();
    answers.enter(5, Origin::default());
    answers.enter(5, Origin::default());
    answers.leave(5, 1);
    assert!(answers.sessions.contains_key(&5));
    answers.leave(5, 2);
    assert!(answers.sessions.is_empty() && answers.shares.idle_len() == 0);
    assert!(answers.is_known(5), "nothing of it was ever answered");
}

#[test]
fn sessions_without_answers_are_bounded_also_where_a_younger_one_was_forgotten() {
    let (mut answers, _, mut told) = empty();
    let kept_ms = u64::try_from(SESSION_KEPT.as_millis()).unwrap();
    // Given before the host's time was brought back.
    let young = u64::MAX / 2;
    answers.enter(young, Origin::default());
    answers.keep(of(young, 1), Fingerprint(1), &[], b"{}", 0, &mut told);
    answers.leave(young, 0);
    answers.enter(1, Origin::default());
    answers.keep(of(1, 1), Fingerprint(1), &[], b"{}", 1 + kept_ms, &mut told);
    assert!(!answers.is_known(young));
    for session in 2..SESSIONS_IDLE_MAX as u64 + 100 {
        answers.enter(session, Origin::test(1));
        answers.leave(session, 1 + kept_ms);
    }
    assert_eq!(answers.shares.idle_len(), SESSIONS_IDLE_MAX);
    assert!(answers.is_known(2));
    assert_eq!(answers.sessions.len(), SESSIONS_IDLE_MAX + 1);
}

#[test]
fn a_session_whose_client_left_before_its_first_answer_is_kept_if_a_younger_one_was_forgotten() {
    let (mut answers, _, mut told) = empty();
    let kept_ms = u64::try_from(SESSION_KEPT.as_millis()).unwrap();
    for session in [5, 6, 7] {
        answers.enter(session, Origin::default());
    }
    answers.keep(of(6, 1), Fingerprint(1), &[], b"{}", 0, &mut told);
    answers.leave(6, 0);
    answers.keep(of(7, 1), Fingerprint(1), &[], b"{}", 1 + kept_ms, &mut told);
    assert!(!answers.is_known(6));
    answers.leave(5, 1 + kept_ms);
    // Its request ends only now.
    answers.keep(of(5, 1), Fingerprint(1), &[], b"{}", 2 + kept_ms, &mut told);
    assert!(answers.is_known(5));
    assert!(matches!(looked(&answers, 5, 1), Looked::Answered(..)));
}

#[test]
fn all_answers_together_stay_within_their_bound_whatever_small_sessions_were_left() {
    let (mut answers, mut copy, mut told) = empty();
    for session in 1_000..3_000 {
        answers.enter(session, Origin::default());
        answers.keep(of(session, 1), Fingerprint(1), &[], b"{}", 0, &mut told);
        answers.leave(session, session);
    }
    let large = vec![b' '; 4 << 20];
    for session in 1..=26 {
        answers.enter(session, Origin::default());
        for id in 1..=4 {
            answers.keep(
                of(session, id),
                Fingerprint(id),
                &[],
                &large,
                5_000,
                &mut told,
            );
            copy.apply(&mut told);
            assert!(
                answers.kept.bytes() <= ANSWERS_KEPT_BYTES_ALL_MAX,
                "{session} {id}"
            );
            let last = looked(&answers, session, id);
            assert!(
                matches!(last, Looked::Answered(..)),
                "{session} {id}: {last:?}"
            );
        }
    }
    assert_eq!(copy.open(0).kept.bytes(), answers.kept.bytes());
    for session in 1_000..3_000 {
        let small = looked(&answers, session, 1);
        assert!(matches!(small, Looked::Answered(..)), "{session}");
    }
    let lost = answers.take_lost(5_000).expect("so much has no room");
    assert!(lost.sessions == 0 && lost.answers > 10, "{lost:?}");
}

/// Sessions of one origin that were left after one answer each, which changed something where they `matter`.
fn leave_many(
    answers: &mut Answers,
    told: &mut Vec<u8>,
    (from, count): (u64, u64),
    origin: Origin,
    matter: bool,
) {
    for session in from..from + count {
        answers.enter(session, origin);
        answers.ran(session, origin, matter, session);
        answers.keep(of(session, 1), Fingerprint(1), &[], b"{}", session, told);
        answers.leave(session, session);
        told.clear();
    }
}

#[test]
fn whoever_leaves_too_many_sessions_loses_its_own_and_first_those_that_changed_nothing() {
    let (mut answers, _, mut told) = empty();
    let (stranger, other) = (Origin::test(1), Origin::test(2));
    let max = SESSIONS_IDLE_MAX as u64;
    leave_many(&mut answers, &mut told, (1, 10), other, false);
    leave_many(&mut answers, &mut told, (11, 10), stranger, true);
    leave_many(&mut answers, &mut told, (21, max + 200), stranger, false);
    for session in (1..=20).chain([max + 220]) {
        assert!(answers.sessions.contains_key(&session), "{session}");
    }
    let middle = max / 2 + 100;
    assert!(!answers.sessions.contains_key(&middle), "in the middle");
    // The last one was left after the last look.
    assert_eq!(answers.shares.idle_len(), SESSIONS_IDLE_MAX + 1);
    let lost = answers.take_lost(0).expect("too many were left");
    assert_eq!((lost.sessions, lost.origin), (219, stranger));
    assert_eq!(answers.take_lost(1), None);
}

#[test]
fn whoever_keeps_large_answers_loses_its_own() {
    let (mut answers, _, mut told) = empty();
    let (stranger, other) = (Origin::test(1), Origin::test(2));
    answers.enter(1, other);
    answers.keep(
        of(1, 1),
        Fingerprint(1),
        &[],
        &vec![b' '; 256 * 1024],
        0,
        &mut told,
    );
    answers.leave(1, 0);
    // Each smaller than the other's.
    let large = vec![b' '; 128 * 1024];
    for session in 10..3_000 {
        answers.enter(session, stranger);
        answers.keep(of(session, 1), Fingerprint(1), &[], &large, 0, &mut told);
        answers.leave(session, session);
        told.clear();
    }
    assert!(answers.kept.bytes() <= ANSWERS_KEPT_BYTES_ALL_MAX);
    assert!(matches!(looked(&answers, 1, 1), Looked::Answered(..)));
}

#[test]
fn who_goes_before_it_is_answered_leaves_its_session_among_its_own() {
    let (mut answers, _, mut told) = empty();
    let stranger = Origin::test(1);
    for (session, changed) in [(5, true), (6, false)] {
        answers.enter(session, stranger);
        answers.leave(session, 1);
        assert!(!answers.sessions.contains_key(&session));
        answers.ran(session, stranger, changed, 2);
        answers.keep(of(session, 1), Fingerprint(1), &[], b"{}", 2, &mut told);
        let of = &answers.sessions[&session];
        assert_eq!((of.origin, of.matters), (stranger, changed));
    }
    assert_eq!(answers.shares.least_missed(), Some(6));
}
