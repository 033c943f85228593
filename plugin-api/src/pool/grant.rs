//! What is handed out at once, and the errors of handing out and giving back.

use std::{
    error::Error,
    fmt::{self, Display},
    ops::RangeInclusive,
};

use serde::{Deserialize, Serialize};

use super::ranges::Span;
use crate::Refusal;

/// The number of one grant. It only grows, over reloads too, so that of two holders of one thing the later
/// one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub(crate) u64);

impl Token {
    /// The number itself: 1 for the first grant of a state.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers that were handed out together. See [`Numbers::take`](crate::Numbers::take).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Grows with each grant.
    pub token: Token,
    /// How many numbers are free after this grant.
    pub left: u64,
    // Nearly every grant is one range; the rest allocates only when it is needed.
    first: Span,
    rest: Vec<Span>,
}

impl Grant {
    pub(super) fn new(token: Token, left: u64, first: Span, rest: Vec<Span>) -> Self {
        Self {
            token,
            left,
            first,
            rest,
        }
    }

    /// The numbers, rising. As long as what was asked for: check a bound of your own before you ask.
    pub fn ids(&self) -> Vec<u64> {
        self.ranges().flatten().collect()
    }

    pub(super) fn lowest(&self) -> u64 {
        self.first.start
    }

    /// The numbers as ranges, rising and apart from one another.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .map(|span| span.start..=span.end)
    }
}

/// Fewer are free than were asked for; nothing was taken. As a [`Refusal`]: "not yet", code `none_free`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoneFree {
    /// How many were asked for. 0 is refused as well, for good: a request for nothing is a mistake, and the
    /// jobber that lets it pass as far as here has not checked its payload.
    pub asked: u64,
    /// How many are free.
    pub free: u64,
}

impl Display for NoneFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} asked for, {} free", self.asked, self.free)
    }
}

impl Error for NoneFree {}

impl From<NoneFree> for Refusal {
    fn from(error: NoneFree) -> Self {
        match error.asked {
            0 => Self::new("none_free", error.to_string()),
            _ => Self::not_yet("none_free", error.to_string()),
        }
    }
}

/// What was to be given back is not held; nothing was given back. As a [`Refusal`]: final, code `not_held`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotHeld {
    /// The lowest number, or the id, that is free, unknown, or given back twice at once.
    pub number: u64,
}

impl Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not held", self.number)
    }
}

impl Error for NotHeld {}

impl From<NotHeld> for Refusal {
    fn from(error: NotHeld) -> Self {
        Self::new("not_held", error.to_string())
    }
}
