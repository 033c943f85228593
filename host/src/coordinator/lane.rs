//! A lane: what its jobs run in, one at a time.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_api::description::StateDescription;

use super::{types::Closed, versions::slot::Said};
use crate::{
    lane::{Abandoned, LaneId, OpenLane, Opener, Runner},
    state::{BatchNo, LentState, SharedAccess, effects::StateId},
};

/// One lane of a plugin that serves.
pub struct Lane {
    /// Where its code comes from, should it be needed anew.
    pub origin: Origin,
    /// Nothing is begun: its code is about to be replaced.
    pub paused: bool,
    /// Everything that it holds is answered so, and nothing is run.
    pub gives_up: Option<Closed>,
    /// Its code is with the opener, to be opened anew.
    pub opening: bool,
    /// When its running job is looked at, for it may be past its limit then; `None` if nobody watches it.
    pub watched_until: Option<Instant>,
    /// Since when the job ran that has ended too late, and had not said so when it was looked at.
    pub overdue: Option<Instant>,
    /// When its running job is given up, for a new version waits.
    pub cut_at: Option<Instant>,
    /// It has states, and what its jobs change is kept.
    pub is_kept: bool,
    /// The ids of its states in the log: its answers bear them.
    pub state_ids: Vec<StateId>,
    /// Answers of it are kept, so that it has to wait for the disk as one with states does.
    pub answers_are_kept: bool,
    /// Where the last change of it went. Its replies may tell of that, so they leave once it is durable.
    pub last_change: BatchNo,
    /// It was inline and is not any more: why, and since when.
    pub moved: Option<Said>,
    /// When inline calls were slow, see [`limits::INLINE_STRIKES_MAX`](crate::limits::INLINE_STRIKES_MAX).
    pub strikes: VecDeque<Instant>,
    /// Where its code runs.
    runner: Runner,
    /// What its jobs reach its states by.
    access: SharedAccess,
}

/// Where a lane's code comes from.
#[derive(Clone)]
pub struct Origin {
    /// The plugin, by the name of its file.
    pub plugin: Rc<str>,
    /// Opens the plugin's lanes.
    pub open: OpenLane,
    /// The lane's number in the plugin's description.
    pub index: u32,
    /// The request type of each of its jobbers.
    pub types: Arc<[Box<str>]>,
    /// How long a job of it may run; `None` for as long as it takes.
    pub time_limit: Option<Duration>,
}

impl Lane {
    /// A lane that is ready to serve.
    pub fn new(origin: Origin, access: SharedAccess, runner: Runner, is_kept: bool) -> Self {
        Self {
            origin,
            paused: false,
            gives_up: None,
            opening: false,
            watched_until: None,
            overdue: None,
            cut_at: None,
            is_kept,
            state_ids: Vec::new(),
            answers_are_kept: false,
            last_change: BatchNo::default(),
            moved: None,
            strikes: VecDeque::new(),
            runner,
            access,
        }
    }

    /// Puts other code into its place.
    pub fn replace(&mut self, access: SharedAccess, runner: Runner) -> Runner {
        self.access = access;
        std::mem::replace(&mut self.runner, runner)
    }

    /// Takes its code out, to be run elsewhere.
    pub fn take_runner(&mut self) -> Runner {
        std::mem::replace(&mut self.runner, Runner::Gone)
    }

    /// Ends the job that has run since `since`, see [`LaneThread::abandon`].
    pub fn abandon(
        &mut self,
        since: Instant,
        now: Instant,
        even_if_ended: bool,
    ) -> Option<Abandoned> {
        let Runner::Thread(thread) = &self.runner else {
            return None;
        };
        let (abandoned, access) = thread.abandon(since, now, even_if_ended)?;
        self.replace(SharedAccess::new(access), Runner::Gone);
        Some(abandoned)
    }

    /// Names the lane to whatever reports for it.
    pub fn works_for(&mut self, id: LaneId) {
        if let Runner::Thread(thread) = &self.runner {
            thread.works_for(id);
        }
    }

    /// Whether it waits while too much is on its way to the disk.
    pub fn waits_for_disk(&self) -> bool {
        self.is_kept || self.answers_are_kept
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
            Runner::Gone => self.opening,
        }
    }

    /// Whether its code is gone, and nobody opens it anew.
    pub fn has_no_code(&self) -> bool {
        matches!(self.runner, Runner::Gone) && !self.opening
    }

    /// About how much memory its states take, in bytes.
    pub fn state_memory(&self) -> usize {
        self.access.lock().memory()
    }

    /// Its states are from now on stored as they are described. Returns which they are.
    pub fn note_schemas(&mut self, states: &[StateDescription]) -> Vec<StateId> {
        let mut access = self.access.lock();
        access.note_schemas(states.iter().map(|state| state.schema));
        self.state_ids = access.state_ids();
        self.state_ids.clone()
    }

    /// Takes its states away. Between jobs only.
    pub fn take_states(&self) -> Vec<LentState> {
        self.access.lock().take_states()
    }

    /// Gives the states back that [`Lane::take_states`] took.
    pub fn put_states(&self, states: Vec<LentState>) {
        self.access.lock().put_states(states);
    }

    /// Ends it: its code is dropped where that holds nobody up.
    pub fn retire(self, opener: &Opener) {
        self.access.lock().revoke();
        match self.runner {
            Runner::Inline(code) => opener.drop_off_thread(code),
            Runner::Thread(thread) => drop(thread),
            Runner::Gone => {}
        }
    }
}
