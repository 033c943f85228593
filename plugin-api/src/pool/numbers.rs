//! Numbers that are handed out: seats, ports, tickets. They are nothing but their number, and what costs
//! memory is only how scattered they are.

use std::{
    error::Error,
    fmt::{self, Display},
    ops::{Range, RangeInclusive},
};

use super::{
    BOOKS_VERSION,
    digest::{self, Digest},
    grant::{Grant, NoneFree, NotReleased, Token},
    ranges::Span,
    stock::{NUMBER_MAX, Stock},
};
use crate::{
    Refusal,
    description::StateDescription,
    state::{Maps, Schemas, State},
};

/// A pool of numbers, lowest first.
///
/// ```
/// use plugin_api::{Numbers, prelude::*};
///
/// #[derive(Deserialize)]
/// struct Get { count: u64 }
///
/// #[derive(Serialize)]
/// struct Got { seats: Vec<u64>, left: u64 }
///
/// fn get(ask: Get, hall: &mut Numbers) -> Answer<Got> {
///     let grant = hall.take(ask.count).or_code("sold_out")?;
///     Ok(Got { seats: grant.ids(), left: grant.left })
/// }
/// ```
pub struct Numbers {
    stock: Stock,
}

/// The declaration of a [`Numbers`].
pub struct NumbersState {
    name: String,
    schema: u32,
    range: RangeInclusive<u64>,
}

impl Numbers {
    /// Declares a pool that has the numbers of `range`, each at most `u64::MAX - 1`; an empty range is well.
    ///
    /// Where the configuration makes the range another one, later, numbers that are new in it are added and
    /// those no longer in it are drained: the free ones go at once, the held ones when they come back. What
    /// was [added](Self::add) or [removed](Self::remove) since stays so.
    ///
    /// ```
    /// let hall = plugin_api::Numbers::range("hall", 1..=500).schema(2);
    /// ```
    pub fn range(name: impl Into<String>, range: RangeInclusive<u64>) -> NumbersState {
        NumbersState {
            name: name.into(),
            schema: 1,
            range,
        }
    }

    /// Takes the `count` lowest free numbers, all or none. They are held by whoever asked, the session or else the connection,
    /// until they are given back.
    ///
    /// # Errors
    /// Fewer are free, or fewer there are, or `count` is 0: check that one yourself, to name the field of the payload.
    pub fn take(&mut self, count: u64) -> Result<Grant, NoneFree> {
        self.stock.take(count)
    }

    /// Gives back all numbers that the grant with this token still has. Whoever shows the token may.
    ///
    /// # Errors
    /// The grant has ended.
    pub fn release(&mut self, token: Token) -> Result<(), NotReleased> {
        self.stock.release_token(token, None)?;
        Ok(())
    }

    /// Gives back some of the numbers that the grant with this token has, in whatever order they come, all or none. Whoever shows
    /// the token may.
    ///
    /// # Errors
    /// The grant has ended, does not have all of them, or one is there twice.
    pub fn release_part(&mut self, token: Token, numbers: &[u64]) -> Result<(), NotReleased> {
        self.stock.release_token(token, Some(&spans_of(numbers)))?;
        Ok(())
    }

    /// Gives numbers back without a token, in whatever order they come, all or none. They have to be the asker's own, or to
    /// have been granted before plugin-api kept the holders of grants.
    ///
    /// # Errors
    /// One of them is not held, not the asker's, or is there twice.
    pub fn release_ids(&mut self, numbers: &[u64]) -> Result<(), NotReleased> {
        self.stock.release_numbers(&spans_of(numbers))?;
        Ok(())
    }

    /// Adds `count` numbers, those after the highest that ever was in the pool, and returns them. They stay
    /// whatever the configuration says. The first one of an empty pool is 1.
    ///
    /// # Errors
    /// A `u64` has no such numbers.
    pub fn add(&mut self, count: u64) -> Result<Range<u64>, OutOfNumbers> {
        let start = self.stock.unused(count).ok_or(OutOfNumbers { count })?;
        let end = start + count;
        if count > 0 {
            self.stock.add(Span {
                start,
                end: end - 1,
            });
        }
        Ok(start..end)
    }

    /// Takes a number out of the pool: at once if it is free, else when it comes back. Returns whether it was
    /// in the pool.
    pub fn remove(&mut self, number: u64) -> bool {
        let was_member = self.stock.is_member(number);
        if was_member {
            self.stock.remove(Span::one(number));
        }
        was_member
    }

    /// How many are free. Costs the same for any number of them.
    pub fn free(&mut self) -> u64 {
        self.stock.header().free
    }

    /// How many there are, free and held. Costs the same for any number of them.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a pool that has nothing is no special case"
    )]
    pub fn len(&mut self) -> u64 {
        self.stock.header().len
    }

    /// Whether the number was handed out and has not come back.
    pub fn is_held(&mut self, number: u64) -> bool {
        self.stock.is_held(number)
    }
}

impl NumbersState {
    /// The version of what is stored, 1 at first. An older one than the stored is refused.
    #[must_use]
    pub fn schema(self, schema: u32) -> Self {
        Self { schema, ..self }
    }

    /// The configured numbers, if there are any.
    fn span(&self) -> Option<Span> {
        let (start, end) = (*self.range.start(), *self.range.end());
        (start <= end).then_some(Span { start, end })
    }
}

impl State for NumbersState {
    type Handle = Numbers;

    fn describe(&self) -> Vec<StateDescription> {
        vec![StateDescription {
            name: self.name.clone(),
            kind: "numbers".to_owned(),
            schema: self.schema,
            books: BOOKS_VERSION,
        }]
    }

    fn open(&self, maps: &mut Maps) -> Numbers {
        Numbers {
            stock: Stock::new(maps.take()),
        }
    }

    fn setup(&self, numbers: &mut Numbers, stored: &mut Schemas) -> Result<(), String> {
        // It holds nothing of the author's that could be migrated.
        let _ = stored.next();
        let named = |text| format!("state `{}`: {text}", self.name);
        let now = self.span();
        if now.is_some_and(|span| span.end > NUMBER_MAX) {
            return Err(named(format!(
                "a number is at most {NUMBER_MAX}, but the range ends at {}",
                self.range.end()
            )));
        }
        let stock = &mut numbers.stock;
        stock.setup().map_err(named)?;
        // No range at all is none that there could be.
        let range = now.map_or([1, 0], |span| [span.start, span.end]);
        let range = range.map(u64::to_be_bytes);
        let digest = Digest {
            code: digest::of_books(),
            configured: digest::of(range.iter().map(|end| &end[..])),
        };
        let found = Digest::read(&mut stock.map);
        if found == Some(digest) {
            return Ok(());
        }
        if found.is_none_or(|found| found.code != digest.code) {
            stock.check().map_err(named)?;
        }
        let before = stock.configured();
        for span in &before {
            for part in span.minus(now.as_slice()) {
                stock.deconfigure(part);
            }
        }
        for part in now.map_or_else(Vec::new, |span| span.minus(&before)) {
            stock.configure(part);
        }
        digest.write(&mut stock.map);
        Ok(())
    }
}

/// As ranges, rising. A number that is there twice begins a range of its own.
pub(super) fn spans_of(numbers: &[u64]) -> Vec<Span> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut spans: Vec<Span> = Vec::new();
    for number in sorted {
        match spans.last_mut() {
            Some(span) if span.end.checked_add(1) == Some(number) => span.end = number,
            _ => spans.push(Span::one(number)),
        }
    }
    spans
}

/// A `u64` does not reach as far as was to be added; nothing was. As a [`Refusal`]: final, `out_of_numbers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfNumbers {
    /// How many were to be added.
    pub count: u64,
}

impl Display for OutOfNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} more numbers would pass the greatest there is, {NUMBER_MAX}",
            self.count
        )
    }
}

impl Error for OutOfNumbers {}

impl From<OutOfNumbers> for Refusal {
    fn from(error: OutOfNumbers) -> Self {
        Self::new("out_of_numbers", error.to_string())
    }
}

#[cfg(test)]
mod tests;
