//! The threads that open the lanes of a new version and drop the code of old ones, so that a swap does not run a
//! plugin's constructors and destructors on the core thread. Each has one thing to do, so that one that hangs holds
//! up no other. Only after a panic is an inline lane's code made anew where it ran: its next request needs it at
//! once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{
    lane::Runner,
    lane_code::{LaneCode, OpenLane},
    lane_thread::LaneThread,
    schedule::LaneId,
    signal::Signal,
};
use crate::{
    clock::Clock,
    limits::PLUGIN_STACK_BYTES,
    state::{Access, LentState, SharedAccess},
};

/// Lanes that are to be opened on the states that they asked for: all of a version, or a single one anew.
pub struct Opening {
    /// The plugin.
    pub name: String,
    /// Opens one of its lanes.
    pub open: OpenLane,
    /// In the order of its description.
    pub lanes: Vec<OpeningLane>,
    /// The lane, if it is only one that is opened anew.
    pub anew: Option<LaneId>,
    /// Somebody keeps what the lanes' jobs change.
    pub kept: bool,
}

/// One lane of it.
pub struct OpeningLane {
    /// Its number in the plugin's description.
    pub index: u32,
    /// The request type of each jobber.
    pub types: Arc<[Box<str>]>,
    /// Runs on the core thread.
    pub inline: bool,
    /// Its states, in the order of its description.
    pub states: Vec<LentState>,
}

/// What became of it.
pub struct Opened {
    /// The plugin.
    pub name: String,
    /// The lane, if it is only one that was opened anew.
    pub anew: Option<LaneId>,
    /// Its lanes, ready to serve.
    pub result: Result<Vec<OpenedLane>, OpenFailed>,
}

/// One lane, ready to serve.
pub struct OpenedLane {
    /// The way to its states.
    pub access: SharedAccess,
    /// Its code.
    pub runner: Runner,
    /// What its setup changed.
    pub effects: Vec<u8>,
}

/// Why a version cannot serve, and the states that it was lent, as they were.
pub struct OpenFailed {
    /// In one line.
    pub reason: String,
    /// The states of each lane.
    pub states: Vec<Vec<LentState>>,
}

/// What the coordinator has it done by.
pub struct Opener {
    clock: Clock,
    signal: Arc<Signal>,
    done: Arc<dyn Fn(Opened) + Send + Sync>,
}

impl Opener {
    /// `done` gets what was opened.
    pub fn new(
        clock: Clock,
        signal: Arc<Signal>,
        done: impl Fn(Opened) + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock,
            signal,
            done: Arc::new(done),
        }
    }

    /// Has a version opened.
    pub fn open(&self, opening: Opening) {
        let (clock, signal, done) = (self.clock, Arc::clone(&self.signal), Arc::clone(&self.done));
        // Left where it is if there is no thread for it.
        let opening = Arc::new(Mutex::new(Some(opening)));
        let take = |opening: &Mutex<Option<Opening>>| {
            let mut opening = opening.lock().unwrap_or_else(PoisonError::into_inner);
            opening.take()
        };
        let on_thread = Arc::clone(&opening);
        let started = thread::Builder::new()
            .name("opener".to_owned())
            .stack_size(PLUGIN_STACK_BYTES)
            .spawn(move || {
                if let Some(opening) = take(&on_thread) {
                    done(opening.open_all(clock, &signal));
                }
            });
        if let Err(error) = started
            && let Some(opening) = take(&opening)
        {
            let reason = format!("no thread can be started to open it: {error}");
            (self.done)(opening.fail(reason));
        }
    }

    /// Has a plugin, or code of one, dropped.
    pub fn bury(&self, code: Box<dyn Send>) {
        let buried = thread::Builder::new()
            .name("plugin drop".to_owned())
            .stack_size(PLUGIN_STACK_BYTES);
        // Without a thread for it, it is dropped with the closure, here.
        let _ = buried.spawn(move || drop(code));
    }
}

impl Opening {
    /// Opens nothing.
    fn fail(self, reason: String) -> Opened {
        let states = self.lanes.into_iter().map(|lane| lane.states).collect();
        Opened {
            name: self.name,
            anew: self.anew,
            result: Err(OpenFailed { reason, states }),
        }
    }

    /// Opens all lanes or none: what the setup of one changed is kept only if all succeed.
    fn open_all(self, clock: Clock, signal: &Arc<Signal>) -> Opened {
        let plugin: Arc<str> = self.name.as_str().into();
        let lanes = self.lanes.into_iter();
        let lanes: Vec<_> = lanes
            .map(|mut lane| {
                let states = std::mem::take(&mut lane.states);
                let access = SharedAccess::new(Access::new(states, self.kept));
                (access, lane)
            })
            .collect();
        let opened = lanes.iter().map(|(access, lane)| {
            let (open, types) = (Arc::clone(&self.open), Arc::clone(&lane.types));
            let code = LaneCode::open(
                Arc::clone(&plugin),
                lane.index,
                open,
                access.clone(),
                types,
                &clock,
            )?;
            into_runner(&plugin, code, lane.inline, clock, signal)
        });
        let opened: Result<Vec<_>, String> = opened.collect();
        let result = match opened {
            Ok(runners) => Ok(lanes
                .into_iter()
                .zip(runners)
                .map(|((access, _), runner)| {
                    let mut effects = Vec::new();
                    let mut opened = access.lock();
                    let generation = opened.generation();
                    opened.commit(generation, &mut effects);
                    drop(opened);
                    OpenedLane {
                        access,
                        runner,
                        effects,
                    }
                })
                .collect()),
            Err(reason) => Err(OpenFailed {
                reason,
                states: lanes
                    .iter()
                    .map(|(access, _)| {
                        let mut access = access.lock();
                        access.revoke();
                        access.take_states()
                    })
                    .collect(),
            }),
        };
        Opened {
            name: self.name,
            anew: self.anew,
            result,
        }
    }
}

fn into_runner(
    plugin: &str,
    code: LaneCode,
    inline: bool,
    clock: Clock,
    signal: &Arc<Signal>,
) -> Result<Runner, String> {
    if inline {
        return Ok(Runner::Inline(Box::new(code)));
    }
    let thread = LaneThread::start(plugin, code, clock, Arc::clone(signal))
        .map_err(|error| format!("no thread can be started for a lane: {error}"))?;
    Ok(Runner::Thread(thread))
}
