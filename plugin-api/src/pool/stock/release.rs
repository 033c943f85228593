//! How what was granted comes back: who may give it back, by which name, and where its grant stands.

use super::{DRAINING, MEMBERS, Stock, UNNAMED};
use crate::pool::{
    grant::{NotReleased, Token},
    header::Header,
    ledger,
    ranges::Span,
    record::{self, Record},
};

/// Where a held number's grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GrantLocation {
    /// Nowhere: it was granted before the holders of grants were kept.
    Unnamed,
    /// In a page of the ledger, which has this key.
    Ledger(u64),
    /// In the header's page.
    Latest,
}

/// Numbers that come back and where their grants stand, by place and then by number: each page is read once.
struct Parts(Vec<(GrantLocation, Span)>);

impl Parts {
    fn new(mut parts: Vec<(GrantLocation, Span)>) -> Self {
        parts.sort_unstable_by_key(|(place, part)| (*place, part.start));
        Self(parts)
    }

    fn by_place(&self) -> impl Iterator<Item = (GrantLocation, Vec<Span>)> {
        let places = self.0.chunk_by(|one, next| one.0 == next.0);
        places.map(|of_place| {
            let spans = of_place.iter().map(|(_, part)| *part);
            (of_place[0].0, spans.collect())
        })
    }
}

impl Stock {
    /// Gives back all numbers of `spans`, which are in rising order, or none: by their numbers alone, so only what the asker
    /// itself holds, or what was granted before holders were kept. Returns those that left the pool with it.
    pub(in super::super) fn release_numbers(
        &mut self,
        spans: &[Span],
    ) -> Result<Vec<Span>, NotReleased> {
        for pair in spans.windows(2) {
            if pair[1].start <= pair[0].end {
                let number = pair[1].start;
                return Err(NotReleased::NotHeld { number });
            }
        }
        let header = self.header();
        let latest = self.latest(&header);
        let call = self.map.call();
        let is_own = |record: &Record| record.belongs_to(&call);
        let mut parts = Vec::new();
        let mut missing = None;
        for &span in spans {
            missing = self.locate_all(&latest, span, &mut parts);
            if missing.is_some() {
                break;
            }
        }
        let parts = Parts::new(parts);
        let foreign = parts.by_place().filter_map(|(place, spans)| match place {
            GrantLocation::Unnamed => None,
            GrantLocation::Ledger(base) => {
                ledger::first_that_may_not(&mut self.map, base, &spans, is_own)
            }
            GrantLocation::Latest => record::first_that_may_not(&latest, &spans, is_own),
        });
        match (foreign.min(), missing) {
            // All that was found is below what was not.
            (Some(number), _) => Err(NotReleased::NotYours { number }),
            (None, Some(number)) => Err(NotReleased::NotHeld { number }),
            (None, None) => Ok(self.end(header, latest, &parts)),
        }
    }

    /// Gives back what a grant has, or those of its numbers that `spans` names, all or none. Returns those that left the pool
    /// with it.
    pub(in super::super) fn release_token(
        &mut self,
        token: Token,
        spans: Option<&[Span]>,
    ) -> Result<Vec<Span>, NotReleased> {
        let header = self.header();
        let stale = NotReleased::StaleToken { token };
        let latest = self.latest(&header);
        let among_latest = latest.iter().find(|record| record.token == token.0);
        let (place, record) = match among_latest {
            Some(record) => (GrantLocation::Latest, record.clone()),
            None => match ledger::find(&mut self.map, token.0) {
                Some((base, record)) => (GrantLocation::Ledger(base), record),
                None => return Err(stale),
            },
        };
        if record.terms.with_holder && !record.belongs_to(&self.map.call()) {
            let number = record.first.start;
            return Err(NotReleased::NotYours { number });
        }
        let spans = match spans {
            None => record.spans().collect(),
            Some(spans) if spans.iter().all(|span| record.covers(*span)) => spans.to_vec(),
            Some(_) => return Err(stale),
        };
        if let Some(pair) = (spans.windows(2)).find(|pair| pair[1].start <= pair[0].end) {
            let number = pair[1].start;
            return Err(NotReleased::NotHeld { number });
        }
        let parts = spans.into_iter().map(|span| (place, span));
        Ok(self.end(header, latest, &Parts::new(parts.collect())))
    }

    /// Adds to `parts` where the grants of `span` stand. Returns the lowest number that is not held, and adds nothing behind it.
    fn locate_all(
        &mut self,
        latest: &[Record],
        span: Span,
        parts: &mut Vec<(GrantLocation, Span)>,
    ) -> Option<u64> {
        let mut left = Some(span);
        while let Some(span) = left {
            let Some((place, found)) = self.locate(latest, span.start) else {
                return Some(span.start);
            };
            let part = found.overlap(span).expect("both have the number");
            parts.push((place, part));
            left = span.minus(&[part]).first().copied();
        }
        None
    }

    /// Where a held number's grant stands, and a range of numbers around it that stand there, too.
    pub(super) fn locate(
        &mut self,
        latest: &[Record],
        number: u64,
    ) -> Option<(GrantLocation, Span)> {
        let mut latest = latest.iter().flat_map(Record::spans);
        if let Some(span) = latest.find(|span| span.overlap(Span::one(number)).is_some()) {
            return Some((GrantLocation::Latest, span));
        }
        if let Some((base, span)) = ledger::page_of(&mut self.map, number) {
            return Some((GrantLocation::Ledger(base), span));
        }
        let span = UNNAMED.ending_from(&mut self.map, number)?;
        (span.start <= number).then_some((GrantLocation::Unnamed, span))
    }

    /// Ends the grants of numbers whose places are known. Returns those that left the pool with it.
    fn end(&mut self, mut header: Header, mut latest: Vec<Record>, parts: &Parts) -> Vec<Span> {
        for (place, spans) in parts.by_place() {
            match place {
                GrantLocation::Unnamed => {
                    for &span in &spans {
                        UNNAMED.remove(&mut self.map, span);
                    }
                }
                GrantLocation::Ledger(base) => ledger::remove(&mut self.map, base, &spans),
                GrantLocation::Latest => {
                    let left = std::mem::take(&mut latest).into_iter();
                    let left: Vec<_> = left.filter_map(|record| record.without(&spans)).collect();
                    record::write_all(&mut self.page, header.page_base, &left);
                    self.page_end = None;
                    self.bound_page(&mut header);
                }
            }
        }
        let mut gone = Vec::new();
        for &(_, span) in &parts.0 {
            let leaving = match header.draining {
                0 => Vec::new(),
                _ => DRAINING.overlap(&mut self.map, span),
            };
            for &part in &leaving {
                DRAINING.remove(&mut self.map, part);
                MEMBERS.remove(&mut self.map, part);
                header.draining -= part.len();
                header.len -= part.len();
            }
            for part in span.minus(&leaving) {
                self.free(&mut header, part);
            }
            gone.extend(leaving);
        }
        self.set_header(header);
        gone
    }
}
