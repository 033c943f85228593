//! What an operator sees of one plugin: its state, the version that serves or is to, and those that did.

use std::{collections::BTreeMap, time::Instant};

use plugin_api::description::{LaneDescription, StateDescription};
use serde::Serialize;

use super::{
    history::{RetiredReport, StuckReport},
    slot::{PluginSlot, Said, Step},
};
use crate::{
    coordinator::{coordinator::Coordinator, durable::persistence::StorageReport},
    plugins::Prepared,
    ready::{NotServing, PluginState, Readiness},
};

/// One plugin, as `rm.plugins` lists it. Times are milliseconds since 1970.
#[derive(Debug, Serialize)]
pub(in crate::coordinator) struct PluginReport<'a> {
    name: &'a str,
    state: PluginState,
    file: Option<String>,
    /// The name that its author gave it.
    declared: Option<&'a str>,
    version: Option<&'a str>,
    /// The beginning of the library's SHA-256, in hex.
    hash: Option<&'a str>,
    /// The same of its configuration, if it has one.
    config: Option<&'a str>,
    since_ms: Option<u64>,
    lanes: Option<Vec<LaneReport<'a>>>,
    /// Why it does not serve, or why the latest file does not.
    error: Option<&'a str>,
    error_ms: Option<u64>,
    /// Requests that this version has answered.
    served: u64,
    panics: u64,
    /// When its time out of service is over.
    back_ms: Option<u64>,
    out_of_service: Vec<OutOfService<'a>>,
    /// Clients whose requests a type of it refuses for a time.
    shut_out: usize,
    /// Jobs that did not end, since the host started.
    stuck: usize,
    stuck_threads: Option<StuckReport>,
    /// The version that is about to take over.
    coming: Option<VersionReport<'a>>,
    /// The version that `rollback` would bring back.
    previous: Option<VersionReport<'a>>,
    retired: Vec<RetiredReport<'a>>,
    /// Older ones that are not remembered any more.
    retired_forgotten: u64,
}

/// One version of a plugin.
#[derive(Debug, Serialize)]
struct VersionReport<'a> {
    version: &'a str,
    hash: &'a str,
    config: Option<&'a str>,
}

/// One lane of a plugin, in the wire's own words, whatever a plugin's description grows to.
#[derive(Debug, Serialize)]
struct LaneReport<'a> {
    /// It was inline and is not any more.
    moved: Option<Moved<'a>>,
    inline: bool,
    states: &'a [StateDescription],
    types: Vec<&'a str>,
}

/// Why a lane was moved off the core thread, and when.
#[derive(Debug, Serialize)]
struct Moved<'a> {
    since_ms: u64,
    why: &'a str,
}

/// A type that serves nobody for a time.
#[derive(Debug, Serialize)]
struct OutOfService<'a> {
    r#type: &'a str,
    since_ms: u64,
    until_ms: u64,
    why: &'a str,
}

/// What the host is and is not doing, in short.
#[derive(Debug, Serialize)]
pub(in crate::coordinator) struct StatusReport<'a> {
    storage: StorageReport<'a>,
    stopping: bool,
    serving: Vec<String>,
    not_serving: BTreeMap<String, PluginState>,
}

impl Coordinator {
    /// One plugin, as `rm.plugins` lists it.
    pub(in crate::coordinator) fn report<'a>(
        &'a self,
        name: &'a str,
        plugin: &'a PluginSlot,
    ) -> PluginReport<'a> {
        let shown = plugin.shown();
        let content = shown.map(|shown| shown.content);
        let swapping = matches!(plugin.step, Step::Pausing(_) | Step::Opening(_));
        let (served, panics) = plugin.history.counts(content);
        let previous = plugin.previous.as_deref();
        let rollback = previous.map(|previous| previous.content);
        let (retired, forgotten) = plugin.history.retired_report(content, rollback);
        let state = self.state_of(plugin);
        let error = plugin.last_error.as_ref().or(plugin.quarantined.as_ref());
        let last = plugin.history.last().filter(|_| plugin.is_gone());
        let version = shown.map(|shown| &*shown.description.version);
        let hash = shown.map(|shown| &*shown.hash);
        let config = shown.and_then(|shown| shown.config_hash.as_deref());
        let back_at = plugin.quarantined.as_ref().and(plugin.back_at);
        PluginReport {
            name,
            state,
            file: shown.map(|shown| shown.file.display().to_string()),
            declared: shown.map(|shown| &*shown.description.name),
            version: version.or(last.map(|(version, ..)| version)),
            hash: hash.or(last.map(|(_, hash, _)| hash)),
            config: config.or(last.and_then(|(.., config)| config)),
            since_ms: since_ms(plugin, state),
            lanes: shown.map(|shown| self.lanes_report(plugin, shown)),
            error: error.map(|error| &*error.text),
            error_ms: error.map(|error| error.at_ms),
            served: served + self.served_lately(name),
            panics,
            back_ms: back_at.map(|at| self.ms_of(at)),
            out_of_service: self.out_of_service(name),
            shut_out: self.shut_out(name),
            stuck: plugin.stuck,
            stuck_threads: plugin.history.stuck_report(),
            coming: plugin.coming().filter(|_| swapping).map(version_report),
            previous: previous.map(version_report),
            retired,
            retired_forgotten: forgotten,
        }
    }

    fn lanes_report<'a>(&'a self, plugin: &PluginSlot, shown: &'a Prepared) -> Vec<LaneReport<'a>> {
        let serving = plugin.serving.as_ref().map(|serving| &serving.lanes);
        let lanes = shown.description.lanes.iter().enumerate();
        let lanes = lanes.map(|(index, described)| {
            let id = serving.and_then(|lanes| lanes.get(index));
            let lane = id.and_then(|id| self.routing.lane_if_open(*id));
            lane_report(described, lane.and_then(|lane| lane.moved.as_ref()))
        });
        lanes.collect()
    }

    /// Types of it that serve nobody for a time.
    fn out_of_service(&self, name: &str) -> Vec<OutOfService<'_>> {
        let types = self.routing.served_by(name);
        let out = types.filter_map(|(_, served)| {
            let out = served.faults.as_ref()?.out()?;
            Some(OutOfService {
                r#type: &served.name,
                since_ms: out.since_ms,
                until_ms: self.ms_of(out.until),
                why: &out.why,
            })
        });
        out.collect()
    }

    /// How many clients are refused by a type of it, or by several each.
    fn shut_out(&self, name: &str) -> usize {
        let now = self.clock.instant();
        let types = self.routing.served_by(name);
        let shut_out = types.filter_map(|(_, of)| Some(of.faults.as_ref()?.shut_out(now)));
        shut_out.sum()
    }

    /// When that is, in milliseconds since 1970 on the host's clock.
    fn ms_of(&self, at: Instant) -> u64 {
        let ahead = at
            .saturating_duration_since(self.clock.instant())
            .as_millis();
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        self.clock.now_ms().saturating_add(ahead)
    }

    /// What its types have served since that was last noted for its version.
    fn served_lately(&self, name: &str) -> u64 {
        let types = self.routing.served_by(name);
        types.map(|(_, served)| served.served).sum()
    }

    /// Notes what its types have served for the version that served it.
    pub(in crate::coordinator) fn note_counts(&mut self, name: &str) {
        let served = self.served_lately(name);
        for type_id in self.routing.types_of(name) {
            self.routing[type_id].served = 0;
        }
        self.routing.slot(name).history.served(served);
    }

    /// What serves and what does not, of all that has a file.
    pub fn readiness(&self) -> Readiness {
        let mut readiness = Readiness::default();
        for (name, plugin) in self
            .routing
            .plugins()
            .filter(|(_, plugin)| !plugin.is_gone())
        {
            let state = self.state_of(plugin);
            if state.serves() {
                readiness.serving.push(name.clone());
            } else {
                let error = plugin.last_error.as_ref().or(plugin.quarantined.as_ref());
                readiness.others.push(NotServing {
                    name: name.clone(),
                    state,
                    error: error.map(|error| error.text.clone()),
                });
            }
        }
        readiness
    }

    /// What the host is and is not doing, in short.
    pub(in crate::coordinator) fn status(&self) -> StatusReport<'_> {
        let Readiness { serving, others } = self.readiness();
        StatusReport {
            storage: self.persistence.report(),
            stopping: self.stopping,
            serving,
            not_serving: others.into_iter().map(|of| (of.name, of.state)).collect(),
        }
    }

    /// Whether a state of it cannot be kept at the moment, so that what needs it is refused.
    fn is_degraded(&self, plugin: &PluginSlot) -> bool {
        let lanes = plugin.serving.iter().flat_map(|serving| &serving.lanes);
        let mut lanes = lanes.filter_map(|lane| self.routing.lane_if_open(*lane));
        !self.persistence.is_sound() && lanes.any(|lane| lane.is_kept)
    }

    fn state_of(&self, plugin: &PluginSlot) -> PluginState {
        let lanes = plugin.serving.iter().flat_map(|serving| &serving.lanes);
        let mut lanes = lanes.filter_map(|lane| self.routing.lane_if_open(*lane));
        if plugin.quarantined.is_some() {
            PluginState::Quarantined
        } else if plugin.disabled {
            PluginState::Disabled
        } else if plugin.removing {
            PluginState::Removing
        } else if plugin.serving.is_some() {
            let is_stuck = plugin.history.stuck_since_ms().is_some()
                || lanes.any(|lane| lane.opening || lane.has_no_code());
            match is_stuck {
                true => PluginState::Stuck,
                false if self.is_degraded(plugin) => PluginState::Degraded,
                false => PluginState::Serving,
            }
        } else if !matches!(plugin.step, Step::None) || plugin.next.is_some() {
            PluginState::Waiting
        } else if plugin.is_gone() {
            PluginState::Retired
        } else {
            PluginState::Refused
        }
    }
}

/// Since when a plugin has been in its state.
fn since_ms(plugin: &PluginSlot, state: PluginState) -> Option<u64> {
    let serving = plugin.serving.as_ref().map(|serving| serving.since_ms);
    match state {
        PluginState::Quarantined => plugin.quarantined.as_ref().map(|said| said.at_ms),
        PluginState::Stuck => plugin.history.stuck_since_ms().or(serving),
        PluginState::Serving | PluginState::Degraded => serving,
        PluginState::Refused => plugin.last_error.as_ref().map(|said| said.at_ms),
        PluginState::Retired => plugin.history.ended_ms(),
        _ => Some(plugin.waits_since_ms),
    }
}

fn version_report(prepared: &Prepared) -> VersionReport<'_> {
    VersionReport {
        version: &prepared.description.version,
        hash: &prepared.hash,
        config: prepared.config_hash.as_deref(),
    }
}

fn lane_report<'a>(lane: &'a LaneDescription, moved: Option<&'a Said>) -> LaneReport<'a> {
    LaneReport {
        moved: moved.map(|said| Moved {
            since_ms: said.at_ms,
            why: &said.text,
        }),
        inline: lane.inline,
        states: &lane.states,
        types: lane.types().collect(),
    }
}
