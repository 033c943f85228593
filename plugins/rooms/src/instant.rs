//! An instant, as clients write it and as bookings are kept.

use std::fmt;

use jiff::Timestamp;
use plugin_api::prelude::*;

/// An instant, to the nanosecond. Read with any offset from UTC, written with none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Instant(Timestamp);

impl Instant {
    /// Since 1970, and negative before.
    pub(crate) fn nanoseconds(self) -> i128 {
        self.0.as_nanosecond()
    }
}

impl TryFrom<String> for Instant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| {
            let shown: String = text.chars().take(40).collect();
            format!(
                "{shown:?} is no instant, expected RFC 3339 with an offset, \
                 as in 2026-05-04T09:30:00+02:00: {error}"
            )
        })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
