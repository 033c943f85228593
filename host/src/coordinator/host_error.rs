//! The errors that the host answers with in place of a jobber.

use protocol::{ErrorCode, encoder};

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
