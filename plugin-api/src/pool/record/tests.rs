//! What is written of grants is read as it was.

use proptest::prelude::*;

use super::*;

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..40_u64, any::<u64>(), Just(u64::MAX - 1)]
}

fn any_record() -> impl Strategy<Value = Record> {
    let holder = prop_oneof![
        Just(None),
        any_number().prop_map(|number| Some(Holder::Connection(number))),
        any_number().prop_map(|number| Some(Holder::Session(number))),
    ];
    let spans = proptest::collection::btree_set(0..30_u64, 1..5);
    let terms = (
        proptest::option::of(any_number()),
        any::<bool>(),
        proptest::option::of(any_number()),
        any::<bool>(),
    );
    (spans, holder, terms, any::<bool>()).prop_map(|(spans, holder, terms, high)| {
        let from = if high { u64::MAX - 200 } else { 0 };
        let spans: Vec<Span> = spans
            .into_iter()
            .map(|at| Span {
                start: from + 5 * at,
                end: from + 5 * at + at % 4,
            })
            .collect();
        let (end_ms, with_holder, account, recalled) = terms;
        Record {
            token: 0,
            first: spans[0],
            rest: spans[1..].to_vec(),
            holder,
            terms: Terms {
                end_ms,
                with_holder,
                account,
                recalled,
            },
        }
    })
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_written(
        base in 1..1_000_u64,
        records in proptest::collection::vec((any_record(), 0..3_u64), 0..20),
        cut in 0..200_usize,
    ) {
        let mut token = base;
        let mut written = Vec::new();
        for (record, later) in records {
            token += later;
            written.push(Record { token, ..record });
            token += 1;
        }
        let (mut appended, mut page) = (Vec::new(), Vec::new());
        let mut end = None;
        for (at, record) in written.iter().enumerate() {
            // Now and then a page's end is not known.
            let known = end.filter(|_| at % 3 != 2);
            end = Some(append(&mut appended, base, known, record).unwrap());
        }
        write_all(&mut page, base, &written);
        prop_assert_eq!(&appended, &page);
        let read: Result<Vec<_>, _> = Records::new(base, &page).collect();
        prop_assert_eq!(read.unwrap(), written);
        // Whatever stands there, reading it ends.
        page.truncate(cut);
        page.extend([0xff; 3]);
        prop_assert!(Records::new(base, &page).any(|record| record.is_err()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Records::new(7, &bytes).count();
    }
}

#[test]
fn a_grant_covers_what_one_of_its_ranges_holds() {
    let span = |start, end| Span { start, end };
    let record = Record {
        token: 1,
        first: span(3, 4),
        rest: vec![span(6, 6), span(8, 11)],
        holder: None,
        terms: Terms::default(),
    };
    for start in 0..14 {
        for end in start..14 {
            let expected = record
                .spans()
                .any(|span| span.start <= start && end <= span.end);
            assert_eq!(
                record.covers(span(start, end)),
                expected,
                "{start} to {end}"
            );
        }
    }
}

#[test]
fn grants_in_order_take_three_bytes_each() {
    let mut page = Vec::new();
    let base = 1_000;
    for number in 0..16_u64 {
        let record = Record {
            token: base + number,
            first: Span::one(5_000 + number),
            rest: Vec::new(),
            // Fifty connections in turn, whose numbers are as large as a host's.
            holder: Some(Holder::Connection(1_795_419_410_506_000 + number * 37 % 50)),
            terms: Terms::default(),
        };
        append(&mut page, base, None, &record).unwrap();
    }
    assert!(page.len() <= 16 * 3 + 14, "{} bytes", page.len());
}
