//! Durations as people write them.

use std::time::Duration;

use jiff::SignedDuration;

use crate::limits;

/// The time limits of everything that can be set end here.
const DURATION_MAX: Duration = Duration::from_millis(limits::DEADLINE_MS_MAX);

/// How a duration is written.
pub(crate) const DURATION_EXPECTED: &str = "a duration like 20s, 500ms, 1m 30s or 0";

/// Reads a duration as people write it. What is too long to mean anything is refused.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let refused = |cause: &str| {
        Err(format!(
            "expected {DURATION_EXPECTED}, found `{text}`{cause}"
        ))
    };
    let Ok(signed) = trimmed.parse::<SignedDuration>() else {
        let cause = match trimmed.parse::<f64>() {
            Ok(_) => ", which has no unit",
            Err(_) => "",
        };
        return refused(cause);
    };
    match Duration::try_from(signed) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => refused(", which is more than 365 days"),
        Err(_) => refused(", which is less than nothing"),
    }
}
