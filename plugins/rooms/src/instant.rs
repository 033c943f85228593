//! An instant, as clients write it and as bookings are kept.

use std::fmt;

use jiff::Timestamp;
use plugin_api::prelude::*;

/// What is before it could not be written as RFC 3339, once its offset is taken away.
const YEAR_0: i64 = -62_167_219_200;

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
        let shown = || text.chars().take(40).collect::<String>();
        let expected = "expected RFC 3339, as in 2026-05-04T09:30:00+02:00";
        if !is_rfc_3339(text.as_bytes()) {
            return Err(format!("{:?} is no instant, {expected}", shown()));
        }
        let read: Timestamp = text
            .parse()
            .map_err(|error| format!("{:?} is no instant, {expected}: {error}", shown()))?;
        if read.as_second() < YEAR_0 {
            return Err(format!("{:?} is before the year 0 of UTC", shown()));
        }
        Ok(Self(read))
    }
}

/// Whether the text has the shape that RFC 3339 describes, with hours, minutes and seconds that there are. Jiff
/// reads much more than that, and reads a leap second as another one.
fn is_rfc_3339(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked("2026-05-04T09:30:00".len()) else {
        return false;
    };
    let date = has_shape(&date_time[..10], b"0000-00-00");
    let time = &date_time[11..];
    let offset = match rest.strip_prefix(b".") {
        None => Some(rest),
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit());
            let digits = digits.count();
            (digits > 0).then(|| &fraction[digits..])
        }
    };
    date && matches!(date_time[10], b'T' | b't' | b' ')
        && has_shape(time, b"00:00:00")
        && number(&time[..2]) <= 23
        && number(&time[3..5]) <= 59
        && number(&time[6..]) <= 59
        && offset.is_some_and(is_offset)
}

fn is_offset(text: &[u8]) -> bool {
    match text {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => {
            has_shape(offset, b"00:00") && number(&offset[..2]) <= 23 && number(&offset[3..]) <= 59
        }
        _ => false,
    }
}

/// Whether there is a digit wherever `shape` has a 0, and the same as there everywhere else.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

/// Of two digits.
fn number(digits: &[u8]) -> u8 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + (digit - b'0'))
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
