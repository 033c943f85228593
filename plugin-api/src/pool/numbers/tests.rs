//! A pool of numbers against a model that says plainly what it should be.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::testing::{MemoryHost, Opened};

#[expect(
    clippy::reversed_empty_ranges,
    reason = "how a configuration says that there are none"
)]
const NOTHING: RangeInclusive<u64> = 1..=0;

fn hall(range: RangeInclusive<u64>) -> Opened<NumbersState> {
    Opened::new(&MemoryHost::new(), Numbers::range("hall", range))
}

fn reconfigured(hall: &Opened<NumbersState>, range: RangeInclusive<u64>) -> Opened<NumbersState> {
    Opened::new(&hall.host, Numbers::range("hall", range))
}

#[test]
fn the_lowest_numbers_are_taken_all_or_none() {
    let mut hall = hall(1..=5);
    assert_eq!(hall.take(2).unwrap().ids(), [1, 2]);
    let refused = hall.take(4).unwrap_err();
    assert_eq!((refused.asked, refused.free), (4, 3));
    assert_eq!(refused.to_string(), "4 asked for, 3 free");
    assert_eq!(hall.take(3).unwrap().ids(), [3, 4, 5]);
    assert_eq!(hall.free(), 0);
    assert_eq!(hall.take(1).unwrap_err().free, 0);
}

#[test]
fn a_grant_knows_what_is_left_and_tokens_grow() {
    let mut hall = hall(1..=3);
    let (first, second) = (hall.take(1).unwrap(), hall.take(1).unwrap());
    assert_eq!((first.left, second.left), (2, 1));
    assert!(first.token < second.token);
    assert_eq!(first.token.number(), 1);
    hall.release_ids(&[1]).unwrap();
    assert_eq!(
        reconfigured(&hall, 1..=3).take(1).unwrap().token.number(),
        3
    );
}

#[test]
fn nothing_is_no_grant() {
    let mut hall = hall(1..=3);
    let refusal = Refusal::from(hall.take(0).unwrap_err());
    assert_eq!(refusal.kind(), crate::RefusalKind::Final);
    assert_eq!(refusal.message(), "0 asked for, 3 free");
    assert_eq!(hall.take(1).unwrap().token.number(), 1);
}

#[test]
fn more_than_there_is_at_all_is_refused_for_good() {
    let mut hall = hall(1..=3);
    hall.take(2).unwrap();
    let mut refused = |count| {
        let refusal = Refusal::from(hall.take(count).unwrap_err());
        (refusal.kind(), refusal.message().to_owned())
    };
    let not_yet = |text: &str| (crate::RefusalKind::NotYet, text.to_owned());
    let never = |text: &str| (crate::RefusalKind::Final, text.to_owned());
    assert_eq!(refused(3), not_yet("3 asked for, 1 free"));
    assert_eq!(refused(4), never("4 asked for, 1 free, 3 there are at all"));
    // What leaves the pool when it comes back is not to be had any more.
    let mut hall = reconfigured(&hall, 1..=1);
    let refusal = Refusal::from(hall.take(2).unwrap_err());
    assert_eq!(refusal.kind(), crate::RefusalKind::Final);
    // Who waits for the first ones of an empty pool holds up nobody.
    let mut hall = reconfigured(&hall, NOTHING);
    hall.release_ids(&[1, 2]).unwrap();
    let refusal = Refusal::from(hall.take(2).unwrap_err());
    assert_eq!(refusal.message(), "2 asked for, 0 free");
    assert_eq!(refusal.kind(), crate::RefusalKind::NotYet);
}

#[test]
fn one_ticket_costs_one_look_up_and_one_write() {
    let mut hall = hall(1..=500);
    hall.take(3).unwrap();
    hall.release_ids(&[2]).unwrap();
    hall.take(2).unwrap();
    let before = hall.host.accesses();
    hall.take(1).unwrap();
    let cost = hall.host.accesses() - before;
    assert_eq!(
        (cost.reads, cost.seeks, cost.writes, cost.removals),
        (1, 0, 1, 0)
    );
}

#[test]
fn books_of_the_first_layout_are_read_and_go_on() {
    let before = hall(1..=5);
    // As it was written before the lowest free range stood in the header: it is among the others.
    let mut header = vec![1];
    for field in [2_u64, 5, 5, 3, 0] {
        header.extend(field.to_be_bytes());
    }
    let map = &mut before.host.map(0);
    map.write(&[0], &header);
    let mut free = vec![2];
    free.extend(5_u64.to_be_bytes());
    map.write(&free, &3_u64.to_be_bytes());
    let mut hall = reconfigured(&before, 1..=6);
    assert_eq!((hall.free(), hall.len()), (4, 6));
    assert!(hall.is_held(2));
    hall.release_ids(&[1]).unwrap();
    let grant = hall.take(4).unwrap();
    assert_eq!((grant.ids(), grant.token.number()), (vec![1, 3, 4, 5], 3));
}

#[test]
fn numbers_come_back_in_any_order_all_or_none() {
    let mut hall = hall(1..=10);
    hall.take(6).unwrap();
    for wrong in [&[5, 7, 1][..], &[5, 3, 5], &[99], &[0], &[u64::MAX]] {
        hall.release_ids(wrong).unwrap_err();
        assert_eq!(hall.free(), 4);
    }
    assert_eq!(
        hall.release_ids(&[5, 3, 5]),
        Err(NotReleased::NotHeld { number: 5 })
    );
    hall.release_ids(&[5, 1, 6]).unwrap();
    hall.release_ids(&[]).unwrap();
    assert_eq!(hall.free(), 7);
    assert_eq!(
        hall.release_ids(&[5]).unwrap_err().to_string(),
        "5 is not held"
    );
    assert_eq!(hall.take(7).unwrap().ids(), [1, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_hundred_million_seats_cost_what_one_costs() {
    let hall = &mut hall(1..=100_000_000);
    assert_eq!(hall.free(), 100_000_000);
    let entries = || hall.host.entries(0).len();
    let few = entries();
    assert!(few <= 5, "{few} entries");
    hall.handle.take(10_000_000).unwrap();
    assert!(entries() <= few);
}

#[test]
fn a_smaller_range_takes_nothing_from_its_holder() {
    let mut hall = hall(1..=5);
    hall.take(4).unwrap();
    let mut hall = reconfigured(&hall, 1..=2);
    assert_eq!((hall.free(), hall.len()), (0, 4));
    assert!(hall.is_held(3));
    hall.release_ids(&[3]).unwrap();
    hall.release_ids(&[2]).unwrap();
    assert_eq!((hall.free(), hall.len()), (1, 3));
    assert_eq!(
        hall.release_ids(&[3]),
        Err(NotReleased::NotHeld { number: 3 })
    );
    // Seat 4 is wanted again while it is still out.
    let mut hall = reconfigured(&hall, 1..=4);
    assert_eq!((hall.free(), hall.len()), (2, 4));
    hall.release_ids(&[4]).unwrap();
    assert_eq!(hall.take(3).unwrap().ids(), [2, 3, 4]);
}

#[test]
fn what_was_added_or_removed_by_hand_stays_so() {
    let mut hall = hall(1..=3);
    assert_eq!(hall.add(2), Ok(4..6));
    assert!(hall.remove(2));
    assert!(!hall.remove(2));
    let mut hall = reconfigured(&hall, 1..=3);
    assert_eq!(hall.free(), 4);
    let mut hall = reconfigured(&hall, NOTHING);
    assert_eq!(hall.take(2).unwrap().ids(), [4, 5]);
    assert_eq!(hall.add(1), Ok(6..7));
    assert!(hall.remove(5));
    hall.release_ids(&[4, 5]).unwrap();
    assert_eq!((hall.free(), hall.len()), (2, 2));
}

#[test]
fn numbers_end_where_they_cannot_be_counted() {
    let mut all = hall(0..=u64::MAX - 1);
    assert_eq!(all.free(), u64::MAX);
    assert_eq!(all.take(u64::MAX).unwrap().left, 0);
    assert_eq!(all.add(1), Err(OutOfNumbers { count: 1 }));
    assert_eq!(all.add(0), Ok(u64::MAX..u64::MAX));
    all.release_ids(&[u64::MAX - 1, 0]).unwrap();
    assert_eq!(all.free(), 2);

    let mut few = hall(NOTHING);
    assert_eq!(few.add(u64::MAX), Err(OutOfNumbers { count: u64::MAX }));
    assert_eq!(few.add(u64::MAX - 1), Ok(1..u64::MAX));

    let text = Opened::try_new(&MemoryHost::new(), Numbers::range("hall", 0..=u64::MAX));
    let text = text.err().expect("one number too many");
    assert!(
        text.contains("`hall`") && text.contains("18446744073709551614"),
        "{text}"
    );
}

#[test]
fn what_is_no_pool_is_refused_with_its_name() {
    for (key, value) in [(&[0][..], &b"junk"[..]), (&[9], b""), (&[0], b"")] {
        let host = MemoryHost::new();
        host.map(0).write(key, value);
        let opened = Opened::try_new(&host, Numbers::range("hall", 1..=2));
        let text = opened.err().unwrap();
        assert!(
            text.contains("state `hall`: the entry stored at key 00"),
            "{text}"
        );
    }
}

/// What the pool should be, said as plainly as can be.
#[derive(Default)]
struct Model {
    free: BTreeSet<u64>,
    held: BTreeSet<u64>,
    draining: BTreeSet<u64>,
    configured: BTreeSet<u64>,
    added: BTreeSet<u64>,
    highest: u64,
}

impl Model {
    fn admit(&mut self, number: u64) {
        self.draining.remove(&number);
        if !self.held.contains(&number) {
            self.free.insert(number);
        }
        self.highest = self.highest.max(number);
    }

    fn drain(&mut self, number: u64) {
        self.free.remove(&number);
        if self.held.contains(&number) {
            self.draining.insert(number);
        }
    }

    fn configure(&mut self, range: RangeInclusive<u64>) {
        let now: BTreeSet<u64> = range.collect();
        let before = std::mem::replace(&mut self.configured, now.clone());
        for &number in before.difference(&now) {
            if !self.added.contains(&number) {
                self.drain(number);
            }
        }
        for &number in now.difference(&before) {
            self.admit(number);
        }
    }

    fn release(&mut self, numbers: &[u64]) -> bool {
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        if distinct.len() < numbers.len() || !distinct.is_subset(&self.held) {
            return false;
        }
        for number in distinct {
            self.held.remove(&number);
            if !self.draining.remove(&number) {
                self.free.insert(number);
            }
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Release(Vec<u64>),
    Add(u64),
    Remove(u64),
    Configure(u64, u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..8_u64).prop_map(Step::Take),
        3 => proptest::collection::vec(0..24_u64, 0..4).prop_map(Step::Release),
        1 => (0..4_u64).prop_map(Step::Add),
        1 => (0..24_u64).prop_map(Step::Remove),
        1 => (0..9_u64, 0..20_u64).prop_map(|(start, end)| Step::Configure(start, end)),
    ]
}

proptest! {
    #[test]
    fn a_pool_is_what_its_plain_model_is(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut hall = hall(1..=9);
        let mut model = Model::default();
        model.configure(1..=9);
        let mut token = 0;
        for step in steps {
            match step {
                Step::Take(count) => {
                    let fits = count > 0 && count <= model.free.len() as u64;
                    match hall.take(count) {
                        Ok(grant) => {
                            prop_assert!(fits);
                            token += 1;
                            prop_assert_eq!(grant.token.number(), token);
                            for number in grant.ids() {
                                prop_assert_eq!(model.free.pop_first(), Some(number));
                                model.held.insert(number);
                            }
                            prop_assert_eq!(grant.left, model.free.len() as u64);
                        }
                        Err(_) => prop_assert!(!fits),
                    }
                }
                Step::Release(numbers) => {
                    prop_assert_eq!(hall.release_ids(&numbers).is_ok(), model.release(&numbers));
                }
                Step::Add(count) => {
                    let range = hall.add(count).unwrap();
                    prop_assert_eq!(range.clone(), model.highest + 1..model.highest + 1 + count);
                    for number in range {
                        model.added.insert(number);
                        model.admit(number);
                    }
                }
                Step::Remove(number) => {
                    let known = model.free.contains(&number) || model.held.contains(&number);
                    prop_assert_eq!(hall.remove(number), known);
                    model.added.remove(&number);
                    model.drain(number);
                }
                Step::Configure(start, end) => {
                    hall = reconfigured(&hall, start..=end);
                    model.configure(start..=end);
                }
            }
            prop_assert_eq!(hall.free(), model.free.len() as u64);
            prop_assert_eq!(hall.len(), (model.free.len() + model.held.len()) as u64);
            for number in 0..32 {
                prop_assert_eq!(hall.is_held(number), model.held.contains(&number));
            }
        }
    }
}

#[test]
fn a_reload_that_changes_nothing_costs_the_same_for_any_number_of_ranges() {
    let host = MemoryHost::new();
    let mut hall = Opened::new(&host, Numbers::range("hall", 1..=20_000));
    for number in (1..=20_000).step_by(2) {
        hall.remove(number);
    }
    let before = host.accesses();
    Opened::new(&host, Numbers::range("hall", 1..=20_000));
    let cost = (host.accesses() - before).total();
    assert!(cost < 10, "{cost} accesses");
}
