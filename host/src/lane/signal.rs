//! How a lane's thread says that it has finished something.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::job::LaneId;

/// The lanes that have something for the coordinator. One wake-up may stand for many.
#[derive(Debug, Default)]
pub struct Signal {
    lanes: Mutex<Vec<LaneId>>,
    raised: Notify,
}

impl Signal {
    /// Says that `lane` has finished something.
    pub fn raise(&self, lane: LaneId) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let first = lanes.is_empty();
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
        drop(lanes);
        if first {
            self.raised.notify_one();
        }
    }

    /// Waits until some lane has something. Safe to be dropped and called again.
    pub async fn raised(&self) {
        self.raised.notified().await;
    }

    /// The lanes that have something, each once.
    pub fn take(&self) -> Vec<LaneId> {
        std::mem::take(&mut self.lanes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
