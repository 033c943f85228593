//! Grants of a pool that follow each other, as one entry.

use crate::pool::{
    ranges::Span,
    record::{Damaged, Record, Records, Terms, take_varint},
};

use super::GRANTS_PER_PAGE;

/// Grants whose tokens and numbers rise together, and whose holders are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) struct Run {
    /// Of the first one.
    pub(super) token: u64,
    pub(super) grants: u64,
    /// Numbers of each grant, less one.
    pub(super) longer: u64,
    /// The first one's lowest number.
    pub(super) start: u64,
}

impl Run {
    /// What the records of a page are as a run, if it is full, and they are one and never end.
    pub(super) fn of_full(base: u64, page: &[u8]) -> Result<Option<Self>, Damaged> {
        let mut run: Option<Self> = None;
        for record in Records::new(base, page) {
            let Record {
                token,
                first,
                rest,
                terms,
                ..
            } = record?;
            let next = Self {
                token,
                grants: 1,
                longer: first.end - first.start,
                start: first.start,
            };
            let so_far = match run {
                Some(run) if !run.goes_on_as(next) => return Ok(None),
                Some(run) => run,
                None => Self { grants: 0, ..next },
            };
            if !rest.is_empty() || terms != Terms::default() {
                return Ok(None);
            }
            run = Some(so_far.longer_by(next));
        }
        // What has become sparse stays: as a run it would cost as much, and its holders would be forgotten for nothing.
        Ok(run.filter(|run| run.grants >= GRANTS_PER_PAGE as u64))
    }

    pub(super) fn longer_by(self, next: Self) -> Self {
        Self {
            grants: self.grants + next.grants,
            ..self
        }
    }

    pub(super) fn numbers_of(self, at: u64) -> Span {
        let start = self.start + at * (self.longer + 1);
        Span {
            start,
            end: start + self.longer,
        }
    }

    pub(super) fn numbers(self) -> Span {
        Span {
            start: self.start,
            end: self.numbers_of(self.grants - 1).end,
        }
    }

    pub(super) fn grant(self, at: u64) -> Record {
        Record {
            token: self.token + at,
            first: self.numbers_of(at),
            rest: Vec::new(),
            holder: None,
            terms: Terms::default(),
        }
    }

    /// The grants from `from` on, up to but not with `to`, if there are any.
    pub(super) fn part(self, from: u64, to: u64) -> Option<Self> {
        (from < to).then(|| Self {
            token: self.token + from,
            grants: to - from,
            start: self.numbers_of(from).start,
            ..self
        })
    }

    pub(super) fn goes_on_as(self, next: Self) -> bool {
        self.token.checked_add(self.grants) == Some(next.token)
            && self.longer == next.longer
            && self.numbers().end.checked_add(1) == Some(next.start)
    }

    pub(super) fn read(base: u64, mut bytes: &[u8]) -> Result<Self, Damaged> {
        let mut next = || take_varint(&mut bytes);
        let run = Self {
            token: base,
            grants: next()?,
            longer: next()?,
            start: next()?,
        };
        let numbers = run.longer.checked_add(1).ok_or(Damaged)?;
        let end = run.grants.checked_mul(numbers).ok_or(Damaged)?;
        let fits = run.start.checked_add(end).is_some() && base.checked_add(run.grants).is_some();
        (run.grants > 0 && fits && bytes.is_empty())
            .then_some(run)
            .ok_or(Damaged)
    }
}
