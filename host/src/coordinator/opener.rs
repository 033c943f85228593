//! The thread that opens the lanes of a new version and drops the code of old ones, so that a swap does not
//! run a plugin's constructors and destructors on the core thread. Only after a panic is an inline lane's code
//! made anew where it ran: its next request needs it at once.

use std::{
    sync::{Arc, mpsc},
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
    state::{Access, SharedAccess, StateMap},
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
    pub maps: Vec<StateMap>,
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
}

/// Why a version cannot serve, and the states that it was lent, as they were.
pub struct OpenFailed {
    /// In one line.
    pub reason: String,
    /// The states of each lane.
    pub maps: Vec<Vec<StateMap>>,
}

/// The coordinator's end of the thread.
pub struct Opener {
    work: mpsc::Sender<Work>,
}

enum Work {
    Open(Opening),
    Bury(Box<dyn Send>),
}

impl Opener {
    /// Starts the thread. `done` gets what was opened.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        clock: Clock,
        signal: Arc<Signal>,
        done: impl Fn(Opened) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, incoming) = mpsc::channel();
        thread::Builder::new()
            .name("opener".to_owned())
            .stack_size(PLUGIN_STACK_BYTES)
            .spawn(move || {
                for work in incoming {
                    match work {
                        Work::Open(opening) => done(opening.open_all(clock, &signal)),
                        Work::Bury(code) => drop(code),
                    }
                }
            })?;
        Ok(Self { work })
    }

    /// Has a version opened.
    pub fn open(&self, opening: Opening) {
        // The thread ends only with this sender.
        let _ = self.work.send(Work::Open(opening));
    }

    /// Has a plugin, or code of one, dropped.
    pub fn bury(&self, code: Box<dyn Send>) {
        let _ = self.work.send(Work::Bury(code));
    }
}

impl Opening {
    /// Opens all lanes or none: what the setup of one changed is kept only if all succeed.
    fn open_all(self, clock: Clock, signal: &Arc<Signal>) -> Opened {
        let plugin: Arc<str> = self.name.as_str().into();
        let lanes = self.lanes.into_iter();
        let lanes: Vec<_> = lanes
            .map(|mut lane| {
                let maps = std::mem::take(&mut lane.maps);
                let access = SharedAccess::new(Access::new(maps));
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
                    let mut opened = access.lock();
                    let generation = opened.generation();
                    opened.commit(generation);
                    drop(opened);
                    OpenedLane { access, runner }
                })
                .collect()),
            Err(reason) => Err(OpenFailed {
                reason,
                maps: lanes
                    .iter()
                    .map(|(access, _)| {
                        let mut access = access.lock();
                        access.revoke();
                        access.take_maps()
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
