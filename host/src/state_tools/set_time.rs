//! The host's time, brought back to the system's clock after it was ahead of it.

use std::{path::Path, time::Duration};

use super::{StateError, inspection};
use crate::{
    clock::Span,
    data_folder::{DataFolder, Wanted},
};

/// Brings the host's time in a data folder that no host has back to `wall_ms`, if it is ahead of that. Nothing else of the
/// state changes. Returns what is to be said.
///
/// # Errors
/// It is not `confirmed`: nothing in the folder is touched then. A host has the folder; the disk fails.
pub fn set_time(data: &Path, wall_ms: u64, confirmed: bool) -> Result<String, StateError> {
    let ahead = |now_ms: u64| {
        let ahead_ms = now_ms.saturating_sub(wall_ms);
        (ahead_ms > 0).then(|| Span(Duration::from_millis(ahead_ms)))
    };
    // Whoever opens the log to write cuts off its torn end, so that comes last.
    let Some(seen) = ahead(inspection(data)?.read()?.now_ms) else {
        return Ok(
            "the host's time is not ahead of the system's clock: nothing was changed\n".to_owned(),
        );
    };
    if !confirmed {
        return Err(StateError::TimeNotConfirmed(seen));
    }
    let folder = DataFolder::open(data, Wanted::State)?;
    let (mut log, recovered, _) = folder.open_log()?;
    // A host may have served since.
    let Some(seen) = ahead(recovered.now_ms) else {
        folder.close_log(log)?;
        return Ok("the host's time is not ahead any more: nothing was changed\n".to_owned());
    };
    log.set_time(wall_ms)?;
    folder.close_log(log)?;
    Ok(format!(
        "the host's time was {seen} ahead of the system's clock, and is brought back to it\n"
    ))
}
