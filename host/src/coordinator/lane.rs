//! A lane: what its jobs run in, one at a time.

use super::{lane_code::LaneCode, lane_thread::LaneThread, opener::Opener, schedule::LaneId};
use crate::state::{SharedAccess, StateMap};

/// One lane of a plugin that serves.
pub struct Lane {
    /// Nothing is begun: its code is about to be replaced.
    pub paused: bool,
    /// It is among those that the coordinator looks at next.
    pub marked: bool,
    runner: Runner,
    access: SharedAccess,
}

/// Where the lane's code runs.
pub enum Runner {
    /// On the core thread.
    Inline(Box<LaneCode>),
    /// On a thread of its own.
    Thread(LaneThread),
}

impl Lane {
    /// A lane that is ready to serve.
    pub fn new(access: SharedAccess, runner: Runner) -> Self {
        Self {
            paused: false,
            marked: false,
            runner,
            access,
        }
    }

    /// Names the lane to whatever reports for it.
    pub fn works_for(&mut self, id: LaneId) {
        if let Runner::Thread(thread) = &self.runner {
            thread.works_for(id);
        }
    }

    /// Where its code runs.
    pub fn runner(&mut self) -> &mut Runner {
        &mut self.runner
    }

    /// Whether a job of it runs at this moment, or lies on its thread.
    pub fn is_busy(&self) -> bool {
        match &self.runner {
            Runner::Inline(_) => false,
            Runner::Thread(thread) => !thread.is_idle(),
        }
    }

    /// Takes its states away. Between jobs only.
    pub fn take_maps(&self) -> Vec<StateMap> {
        self.access.lock().take_maps()
    }

    /// Gives its states back.
    pub fn put_maps(&self, maps: Vec<StateMap>) {
        self.access.lock().put_maps(maps);
    }

    /// Ends it: its code is dropped where that holds nobody up.
    pub fn retire(self, opener: &Opener) {
        self.access.lock().revoke();
        match self.runner {
            Runner::Inline(code) => opener.bury(code),
            Runner::Thread(thread) => drop(thread),
        }
    }
}
