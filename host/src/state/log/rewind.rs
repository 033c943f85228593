//! Takes the greatest host time that a log knows back to what the system's clock says.

use super::{
    FileLog, Log as _, LogError,
    snapshot_task::{SnapshotTask, Sources},
};

impl FileLog {
    /// Makes a snapshot of all that is there whose time is `now_ms`, in the place of all that knows of a later one. It is
    /// for a log of which no host is running.
    ///
    /// # Errors
    /// The disk failed. Then the time is still the one that it was, or already this one.
    pub fn set_time(&mut self, now_ms: u64) -> Result<(), LogError> {
        self.close_newest()?;
        let Some(running) = self.begin_snapshot() else {
            unreachable!("nobody makes a snapshot of a log that has just been opened");
        };
        let sources = Sources {
            now_ms: Some(now_ms),
            ..self.sources(usize::MAX)
        };
        let done = SnapshotTask::new(sources, running).run()?;
        self.snapshot_done(done)?;
        self.forget_time(now_ms);
        Ok(())
    }
}
