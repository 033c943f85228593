//! Who holds what, against a model that says plainly what it should be.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    context::{Call, Holder},
    pool::grant::NotReleased,
    testing::MemoryHost,
};

/// So few that a test comes to forget some.
const HOLDERS_KEPT: u64 = 40;

fn asked_by(holder: Holder) -> Call {
    let (client, session) = match holder {
        Holder::Connection(client) => (client, None),
        Holder::Session(session) => (1_000 + session, Some(session)),
    };
    Call {
        client,
        session,
        attempt: 1,
        now_ms: 0,
        deadline_ms: None,
    }
}

/// A stock of the numbers from 1 to `len`, and the way to say who asks.
struct Books {
    host: MemoryHost,
    stock: Stock,
}

impl Books {
    fn new(len: u64) -> Self {
        let host = MemoryHost::new();
        let mut stock = Stock::new(host.map(0));
        stock.setup().unwrap();
        stock.configure(Span { start: 1, end: len });
        stock.holders_kept = HOLDERS_KEPT;
        Self { host, stock }
    }

    /// Makes of them what they were before holders were kept: these are held, and nobody knows by whom.
    fn become_old(&mut self, held: &BTreeSet<u64>) {
        let header = self.stock.header();
        let map = &mut self.stock.map;
        for number in held {
            FREE.remove(map, Span::one(*number));
        }
        let (members, granted) = (header.len, held.len() as u64);
        let mut record = vec![2];
        for field in [granted, members, members, members - granted, 0, 1, 0] {
            record.extend(field.to_be_bytes());
        }
        map.write(&HEADER, &record);
        self.stock.setup().unwrap();
    }

    fn by(&mut self, holder: Holder) -> &mut Stock {
        self.host.commit();
        self.host.begin(asked_by(holder));
        &mut self.stock
    }

    fn take(&mut self, holder: Holder, count: u64) -> (u64, Vec<u64>) {
        let grant = self.by(holder).take(count).unwrap();
        (grant.token.number(), grant.ids())
    }

    fn release(&mut self, holder: Holder, numbers: &[u64]) -> Result<(), NotReleased> {
        let spans: Vec<Span> = numbers.iter().map(|number| Span::one(*number)).collect();
        self.by(holder).release_numbers(&spans).map(drop)
    }

    fn release_token(&mut self, holder: Holder, token: u64) -> Result<(), NotReleased> {
        self.by(holder).release_token(Token(token), None).map(drop)
    }
}

const ANN: Holder = Holder::Session(7);
const BOB: Holder = Holder::Connection(7);

#[test]
fn a_repeated_give_back_frees_nobody_elses_grant() {
    for pages in [0, 20] {
        let mut books = Books::new(100);
        // So that it stands in the header, or in a page of its own.
        let first = books.take(ANN, 1);
        let behind = |books: &mut Books| {
            for _ in 0..pages {
                books.take(BOB, 1);
            }
        };
        behind(&mut books);
        books.release(ANN, &first.1).unwrap();
        let number = first.1[0];
        assert_eq!(
            books.release(ANN, &first.1),
            Err(NotReleased::NotHeld { number })
        );
        let second = books.take(BOB, 1);
        behind(&mut books);
        assert_eq!(second.1, first.1);
        assert_eq!(
            books.release(ANN, &first.1),
            Err(NotReleased::NotYours { number })
        );
        let token = Token(first.0);
        assert_eq!(
            books.release_token(ANN, first.0),
            Err(NotReleased::StaleToken { token })
        );
        assert!(books.stock.is_held(number));
        books.stock.check().unwrap();
        books.release_token(ANN, second.0).unwrap();
        assert!(!books.stock.is_held(number));
    }
}

#[test]
fn what_a_connection_took_before_its_hello_stays_its_own() {
    let mut books = Books::new(10);
    let number = books.take(Holder::Connection(3), 1).1[0];
    let with_session = |client| Call {
        client,
        session: Some(9),
        ..asked_by(BOB)
    };
    let mut release = |call: Call| {
        books.host.commit();
        books.host.begin(call);
        let released = books.stock.release_numbers(&[Span::one(number)]);
        released.map(drop)
    };
    // The session's other connection has not taken it.
    assert_eq!(
        release(with_session(4)),
        Err(NotReleased::NotYours { number })
    );
    release(with_session(3)).unwrap();
}

#[test]
fn a_part_of_a_grant_comes_back_by_its_token_and_only_what_it_has() {
    let mut books = Books::new(100);
    let (token, numbers) = books.take(ANN, 5);
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let other = books.take(BOB, 1).1[0];
    let part = |books: &mut Books, spans: &[Span]| {
        let stock = books.by(BOB);
        stock.release_token(Token(token), Some(spans)).map(drop)
    };
    part(&mut books, &[Span { start: 2, end: 3 }]).unwrap();
    for wrong in [
        Span::one(2),
        Span {
            start: 4,
            end: other,
        },
        Span::one(other),
    ] {
        let token = Token(token);
        assert_eq!(
            part(&mut books, &[wrong]),
            Err(NotReleased::StaleToken { token })
        );
    }
    let twice = [Span::one(4), Span::one(4)];
    part(&mut books, &twice).unwrap_err();
    books.stock.check().unwrap();
    part(&mut books, &[Span::one(1), Span { start: 4, end: 5 }]).unwrap();
    assert_eq!(books.take(BOB, 5).1, [1, 2, 3, 4, 5]);
    books.stock.check().unwrap();
}

#[test]
fn what_was_granted_before_holders_were_kept_comes_back_from_whoever_names_it() {
    let mut books = Books::new(10);
    let map = &mut books.stock.map;
    // The layout before: 1 to 4 and 7 are held.
    let mut header = vec![2];
    for field in [3_u64, 10, 10, 5, 0, 5, 6] {
        header.extend(field.to_be_bytes());
    }
    map.write(&HEADER, &header);
    FREE.remove(map, Span { start: 1, end: 10 });
    FREE.insert(map, Span { start: 8, end: 10 });
    books.stock.setup().unwrap();
    books.stock.check().unwrap();
    books.release(ANN, &[2, 3]).unwrap();
    books.release(BOB, &[7]).unwrap();
    let number = 7;
    assert_eq!(
        books.release(BOB, &[number]),
        Err(NotReleased::NotHeld { number })
    );
    assert_eq!(books.take(ANN, 3), (4, vec![2, 3, 5]));
    let number = 3;
    assert_eq!(
        books.release(BOB, &[1, number]),
        Err(NotReleased::NotYours { number })
    );
    books.stock.check().unwrap();
}

#[test]
fn a_hall_that_is_sold_in_order_costs_next_to_nothing_and_tokens_stay_good() {
    let mut books = Books::new(10_000);
    for sold in 0..4_000 {
        books.take(Holder::Connection(1 + sold % 50), 2);
    }
    let entries = books.host.entries(0);
    // As many more may wait until it is worth while to make a run of them.
    let kept = HOLDERS_KEPT as usize + GRANTS_TO_FOLD as usize;
    let pages = kept / ledger::GRANTS_PER_PAGE;
    assert!(
        entries.len() <= 2 * (pages + 3) + 6,
        "{} entries",
        entries.len()
    );
    books.stock.check().unwrap();
    let number = 201;
    assert_eq!(
        books.release(Holder::Connection(1), &[number]),
        Err(NotReleased::NotYours { number })
    );
    books.release_token(BOB, 101).unwrap();
    let spans = [Span {
        start: 403,
        end: 403,
    }];
    books
        .by(BOB)
        .release_token(Token(202), Some(&spans))
        .unwrap();
    books.stock.check().unwrap();
    assert_eq!(books.take(ANN, 3), (4_001, vec![201, 202, 403]));
    books.release_token(ANN, 202).unwrap();
    let token = Token(101);
    assert_eq!(
        books.release_token(ANN, 101),
        Err(NotReleased::StaleToken { token })
    );
    books.stock.check().unwrap();
}

#[test]
fn a_grant_takes_at_most_forty_bytes_however_its_numbers_lie() {
    let mut books = Books::new(20_000);
    books.stock.holders_kept = u64::MAX;
    for _ in 0..10 {
        books.take(ANN, 1_000);
    }
    for _ in 0..ledger::GRANTS_PER_PAGE {
        books.take(ANN, 1);
    }
    // Every number that is free now is far from the next one.
    let numbers = (1..=10_000).step_by(7);
    for number in numbers.clone() {
        books.release(ANN, &[number]).unwrap();
    }
    let bytes = |books: &Books| -> usize {
        // A host packs an entry with four bytes more, and fills its leaves by seven eighths.
        let entries = books.host.entries(0);
        let sizes = entries
            .iter()
            .map(|(key, value)| key.len() + value.len() + 4);
        sizes.sum::<usize>() * 8 / 7
    };
    let granted = numbers.count();
    let before = bytes(&books);
    for nth in 0..granted as u64 {
        books.take(Holder::Connection(nth * 7_919 % 50), 1);
    }
    // What was free there cost its ranges, which are gone now.
    let free = granted * (9 + 8 + 4) * 8 / 7;
    let each = (bytes(&books) + free - before) as f64 / granted as f64;
    assert!(each <= 40.0, "{each} bytes for each");
    books.stock.check().unwrap();
}

#[test]
fn the_latest_grants_keep_their_holders_whatever_page_they_stand_in() {
    let mut books = Books::new(1_000);
    let grants = HOLDERS_KEPT + 4 * ledger::GRANTS_PER_PAGE as u64;
    for sold in 1..=grants {
        let number = books.take(BOB, 1).1[0];
        assert_eq!(number, sold);
        let oldest_kept = sold.saturating_sub(HOLDERS_KEPT - 1).max(1);
        let mut books = Books {
            host: books.host.clone(),
            stock: Stock::new(books.host.map(0)),
        };
        // Nobody is asked to give it back for good.
        books.release(BOB, &[oldest_kept]).unwrap();
        books.host.rollback();
    }
}

#[test]
fn giving_back_reads_each_page_once_however_many_numbers_come_back() {
    let mut books = Books::new(20_000);
    books.take(ANN, 4_000);
    let scattered: Vec<u64> = (1..=4_000).step_by(2).collect();
    books.release(ANN, &scattered).unwrap();
    for by_token in [false, true] {
        let (token, numbers) = books.take(ANN, 2_000);
        assert_eq!(numbers, scattered);
        let before = books.host.accesses();
        match by_token {
            false => books.release(ANN, &scattered).unwrap(),
            true => books.release_token(ANN, token).unwrap(),
        }
        let reads = (books.host.accesses() - before).reads;
        assert!(reads < 10, "{reads} reads");
    }
    books.stock.check().unwrap();
}

/// What there is to take.
const NUMBERS: u64 = 300;

#[derive(Clone, Debug)]
enum Step {
    Take(Holder, u64),
    /// One after the other, so that there come to be runs.
    TakeInOrder(Holder, u64),
    Release(Holder, Vec<u64>),
    /// Of the grants there ever were, one of the latest.
    ReleaseToken(Holder, u64),
    Remove(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let holder = || {
        prop_oneof![
            (1..4_u64).prop_map(Holder::Connection),
            (1..4_u64).prop_map(Holder::Session)
        ]
    };
    let numbers = proptest::collection::btree_set(1..=NUMBERS, 0..5);
    prop_oneof![
        8 => (holder(), prop_oneof![4 => Just(1), 1 => 0..9_u64])
            .prop_map(|(holder, count)| Step::Take(holder, count)),
        1 => (holder(), 1..40_u64).prop_map(|(holder, count)| Step::TakeInOrder(holder, count)),
        3 => (holder(), numbers)
            .prop_map(|(holder, numbers)| Step::Release(holder, numbers.into_iter().collect())),
        3 => (holder(), 0..150_u64).prop_map(|(holder, back)| Step::ReleaseToken(holder, back)),
        1 => (1..=NUMBERS).prop_map(Step::Remove),
    ]
}

/// What the books should say, as plainly as can be.
struct Model {
    free: BTreeSet<u64>,
    /// By their tokens; by 0 what is held by nobody knows whom.
    grants: BTreeMap<u64, (Option<Holder>, BTreeSet<u64>)>,
    token: u64,
}

impl Model {
    fn grant_of(&self, number: u64) -> Option<(u64, Option<Holder>)> {
        let mut grants = self.grants.iter();
        let (token, (holder, _)) = grants.find(|(_, (_, numbers))| numbers.contains(&number))?;
        Some((*token, *holder))
    }

    fn end(&mut self, numbers: &[u64], draining: &mut BTreeSet<u64>) {
        for number in numbers {
            for (_, held) in self.grants.values_mut() {
                held.remove(number);
            }
            if !draining.remove(number) {
                self.free.insert(*number);
            }
        }
        self.grants.retain(|_, (_, held)| !held.is_empty());
    }
}

proptest! {
    // Each step looks at all of the books.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn everybody_gives_back_what_is_his_own_and_nothing_else(
        steps in proptest::collection::vec(any_step(), 0..200),
        old in proptest::collection::btree_set(1..=NUMBERS, 0..40),
    ) {
        let mut books = Books::new(NUMBERS);
        books.become_old(&old);
        books.stock.check().unwrap();
        let mut model = Model {
            free: (1..=NUMBERS).filter(|number| !old.contains(number)).collect(),
            token: old.len() as u64,
            grants: BTreeMap::from([(0, (None, old))]),
        };
        let mut draining = BTreeSet::new();
        for step in steps {
            match step {
                Step::Take(holder, count) => {
                    let taken = books.by(holder).take(count);
                    let fits = count > 0 && count <= model.free.len() as u64;
                    prop_assert_eq!(taken.is_ok(), fits);
                    if let Ok(grant) = taken {
                        model.token += 1;
                        prop_assert_eq!(grant.token.number(), model.token);
                        let numbers: BTreeSet<u64> = grant.ids().into_iter().collect();
                        for number in &numbers {
                            prop_assert_eq!(model.free.pop_first(), Some(*number));
                        }
                        model.grants.insert(model.token, (Some(holder), numbers));
                    }
                }
                Step::TakeInOrder(holder, count) => {
                    for _ in 0..count.min(model.free.len() as u64) {
                        let (token, numbers) = books.take(holder, 1);
                        model.token += 1;
                        prop_assert_eq!(token, model.token);
                        prop_assert_eq!(model.free.pop_first(), Some(numbers[0]));
                        model.grants.insert(token, (Some(holder), numbers.into_iter().collect()));
                    }
                }
                Step::Release(holder, numbers) => {
                    let done = books.release(holder, &numbers);
                    let wrong = numbers.iter().find_map(|&number| match model.grant_of(number) {
                        None => Some(NotReleased::NotHeld { number }),
                        Some((_, Some(of))) if of != holder => Some(NotReleased::NotYours { number }),
                        Some(_) => None,
                    });
                    match done {
                        Ok(()) => {
                            prop_assert_eq!(wrong, None);
                            model.end(&numbers, &mut draining);
                        }
                        // The holder of one that is old may be forgotten.
                        Err(NotReleased::NotYours { number }) if Some(NotReleased::NotYours { number }) != wrong => {
                            let (token, _) = model.grant_of(number).unwrap();
                            prop_assert!(token + HOLDERS_KEPT <= model.token);
                        }
                        Err(error) => prop_assert_eq!(Some(error), wrong),
                    }
                }
                Step::ReleaseToken(holder, back) => {
                    let Some(token) = model.token.checked_sub(back).filter(|token| *token > 0) else {
                        continue;
                    };
                    let numbers = model.grants.get(&token).map(|(_, numbers)| numbers.clone());
                    prop_assert_eq!(books.release_token(holder, token).is_ok(), numbers.is_some());
                    let numbers: Vec<u64> = numbers.into_iter().flatten().collect();
                    model.end(&numbers, &mut draining);
                }
                Step::Remove(number) => {
                    books.by(ANN).remove(Span::one(number));
                    model.free.remove(&number);
                    if model.grant_of(number).is_some() {
                        draining.insert(number);
                    }
                }
            }
            books.stock.check().unwrap();
            let held: usize = model.grants.values().map(|(_, numbers)| numbers.len()).sum();
            let header = books.stock.header();
            prop_assert_eq!((header.free, header.len - header.free), (model.free.len() as u64, held as u64));
        }
    }
}
