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
    /// The number itself: 1 for the first grant of a state. It can be guessed, so a token is no secret: it names a grant, and
    /// whoever shows it may end a grant that does not end with its holder.
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

/// Fewer are free than were asked for; nothing was taken. As a [`Refusal`]: code `none_free`; "not yet", or final where it can
/// never be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoneFree {
    /// How many were asked for. 0 is refused for good: a request for nothing is a mistake, and the
    /// jobber that lets it pass as far as here has not checked its payload.
    pub asked: u64,
    /// How many are free.
    pub free: u64,
    /// How many there are, free and held, without those that leave the pool when they come back. More than that is refused for
    /// good, unless there are none yet: who waited for it would wait in vain, and hold up everybody behind.
    pub members: u64,
}

impl NoneFree {
    /// Whether waiting for it makes sense. Of a pool that has nothing yet nobody knows what it will have, and who waits for
    /// that holds up nobody: there is nothing to be had.
    fn is_possible(&self) -> bool {
        let most = match self.members {
            0 => u64::MAX,
            members => members,
        };
        (1..=most).contains(&self.asked)
    }
}

impl Display for NoneFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} asked for, {} free", self.asked, self.free)?;
        match self.is_possible() || self.asked == 0 {
            true => Ok(()),
            false => write!(f, ", {} there are at all", self.members),
        }
    }
}

impl Error for NoneFree {}

impl From<NoneFree> for Refusal {
    fn from(error: NoneFree) -> Self {
        match error.is_possible() {
            false => Self::new("none_free", error.to_string()),
            true => Self::not_yet("none_free", error.to_string()),
        }
    }
}

/// What was to be given back is not current, or not the asker's; nothing was given back. As a [`Refusal`]: final, with the
/// code that each case names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReleased {
    /// Code `not_held`.
    NotHeld {
        /// The lowest number, or the id, that is free, unknown, or given back twice at once.
        number: u64,
    },
    /// By numbers alone one gives back what one holds oneself: the session, else the connection that it was granted to. Code
    /// `not_yours`.
    NotYours {
        /// The lowest number, or the id, that another one holds, or whose holder is
        /// [not kept any more](crate::limits::GRANT_HOLDERS_KEPT).
        number: u64,
    },
    /// The grant with this token has ended, or does not have what was to be given back. Code `stale_token`.
    StaleToken {
        /// The token that was shown.
        token: Token,
    },
}

impl NotReleased {
    /// As a [`Refusal`] whose code is `not_held` where something is not held; the other two cases keep theirs.
    ///
    /// ```
    /// # use plugin_api::{Numbers, prelude::*};
    /// fn give_back(seats: Vec<u64>, hall: &mut Numbers) -> Answer {
    ///     hall.release_ids(&seats).map_err(|error| error.with_code_if_not_held("not_sold"))
    /// }
    /// ```
    pub fn with_code_if_not_held(self, not_held: &'static str) -> Refusal {
        let refusal = Refusal::from(self);
        match self {
            Self::NotHeld { .. } => refusal.with_code(not_held),
            Self::NotYours { .. } | Self::StaleToken { .. } => refusal,
        }
    }
}

impl Display for NotReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeld { number } => write!(f, "{number} is not held"),
            Self::NotYours { number } => write!(
                f,
                "{number} was not granted to this session or connection; show the token of its grant to give it back"
            ),
            Self::StaleToken { token } => write!(
                f,
                "the grant with the token {token} has ended, or does not have all that was to be given back"
            ),
        }
    }
}

impl Error for NotReleased {}

impl From<NotReleased> for Refusal {
    fn from(error: NotReleased) -> Self {
        let code = match error {
            NotReleased::NotHeld { .. } => "not_held",
            NotReleased::NotYours { .. } => "not_yours",
            NotReleased::StaleToken { .. } => "stale_token",
        };
        Self::new(code, error.to_string())
    }
}
