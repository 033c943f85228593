//! The errors that the host answers with in place of a jobber.

use std::time::Instant;

use protocol::{ErrorCode, encoder};

use super::types::Closed;

/// Writes an error of the host's for a request that was not run, or of which nothing stays.
pub(super) fn host_error(
    out: &mut Vec<u8>,
    type_name: &str,
    query_index: &str,
    code: ErrorCode,
    text: &str,
) {
    // Programs are told there as well whether the request may count.
    let outcome: &[(&str, &str)] = match code {
        ErrorCode::StorageFailed => &[("outcome", "\"void\"")],
        _ => &[],
    };
    encoder::error_with(out, type_name, query_index, code.as_str(), text, outcome);
}

/// Writes why a request was not run. Where that ends by itself, programs are told in how long from `now`.
pub(super) fn closed_error(
    out: &mut Vec<u8>,
    type_name: &str,
    query_index: &str,
    closed: &Closed,
    now: Instant,
) {
    let Some(until) = closed.until else {
        return host_error(out, type_name, query_index, closed.code, &closed.text);
    };
    let left = until.saturating_duration_since(now);
    // The next millisecond is not too early.
    let retry_after_ms = (left.as_millis() + 1).to_string();
    let extra = [("retry_after_ms", &*retry_after_ms)];
    encoder::error_with(
        out,
        type_name,
        query_index,
        closed.code.as_str(),
        &closed.text,
        &extra,
    );
}
