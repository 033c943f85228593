//! One plugin, by the name of its file: what serves, and how far a new version has come.

use std::{sync::Arc, time::Instant};

use plugin_api::description::{Description, LaneDescription};

use super::history::History;
use crate::{
    coordinator::serving::type_faults::Outages,
    lane::{LaneId, OpenLane},
    plugins::{Content, Prepared},
};

/// A plugin, by the name of its file.
#[derive(Default)]
pub(in crate::coordinator) struct PluginSlot {
    /// The version that serves.
    pub(in crate::coordinator) serving: Option<Serving>,
    /// How far a new version has come.
    pub(in crate::coordinator) step: Step,
    /// Came while another one was on its way, or while the disk fails.
    pub(in crate::coordinator) next: Option<Box<Prepared>>,
    /// Its file is gone, or it was disabled: it serves what is queued, and then no more.
    pub(in crate::coordinator) removing: bool,
    /// Why it was taken out of service for a time.
    pub(in crate::coordinator) quarantined: Option<Said>,
    /// When its time out of service ends by itself.
    pub(in crate::coordinator) back_at: Option<Instant>,
    /// How often this version was out of service, and how long the next time will be.
    pub(in crate::coordinator) outages: Outages,
    /// Jobs of it that did not end in time.
    pub(in crate::coordinator) stuck: usize,
    /// An operator took it out of service.
    pub(in crate::coordinator) disabled: bool,
    /// What is to serve once it is enabled.
    pub(in crate::coordinator) kept: Option<Box<Prepared>>,
    /// The version that served before the one that serves.
    pub(in crate::coordinator) previous: Option<Box<Prepared>>,
    /// Why the last version that came does not serve.
    pub(in crate::coordinator) last_error: Option<Said>,
    /// Since when it waits, is going or is disabled, on the host's clock.
    pub(in crate::coordinator) waits_since_ms: u64,
    /// What its files held when they were last prepared.
    pub(in crate::coordinator) latest: Option<Content>,
    /// What its files held when they last came; `None` once they are gone.
    pub(in crate::coordinator) dropped: Option<Content>,
    /// To which version it was told to go back, and by whom, until that serves.
    pub(in crate::coordinator) told_by: Option<(Content, String)>,
    /// All versions that have served under this name.
    pub(in crate::coordinator) history: History,
}

/// A fault, as operators are told of it.
#[derive(Clone, Debug)]
pub(in crate::coordinator) struct Said {
    /// What was wrong.
    pub(in crate::coordinator) text: String,
    /// When it was, in milliseconds since 1970 on the host's clock.
    pub(in crate::coordinator) at_ms: u64,
}

/// How far a new version has come.
#[derive(Default)]
pub(in crate::coordinator) enum Step {
    #[default]
    None,
    /// Waits for another plugin that serves one of its types.
    Blocked(Box<Prepared>),
    /// Waits for the last jobs on the old code.
    Pausing(Box<Prepared>),
    /// The opener opens the lanes of this version.
    Opening(Box<Prepared>),
}

/// The version that serves.
pub(in crate::coordinator) struct Serving {
    /// What was loaded.
    pub(in crate::coordinator) prepared: Box<Prepared>,
    /// Since when it serves, in milliseconds since 1970 on the host's clock.
    pub(in crate::coordinator) since_ms: u64,
    /// Its lanes, in the order of the description.
    pub(in crate::coordinator) lanes: Vec<LaneId>,
}

impl PluginSlot {
    /// Keeps what is to serve once it is enabled. What served when it was disabled is the version before then.
    /// Returns what is of no use any more.
    pub(in crate::coordinator) fn keep(
        &mut self,
        prepared: Box<Prepared>,
    ) -> Option<Box<Prepared>> {
        let content = prepared.content;
        let replaced = self.kept.replace(prepared)?;
        if replaced.content != content && self.history.is_present(replaced.content) {
            self.previous.replace(replaced)
        } else {
            Some(replaced)
        }
    }

    /// Takes out a version that waits for another plugin.
    pub(in crate::coordinator) fn take_blocked(&mut self) -> Option<Box<Prepared>> {
        match std::mem::take(&mut self.step) {
            Step::Blocked(prepared) => Some(prepared),
            step => {
                self.step = step;
                None
            }
        }
    }

    /// Whether the version with this content serves, and goes on to.
    pub(in crate::coordinator) fn serves(&self, content: Content) -> bool {
        let serving = self.serving.as_ref();
        serving.is_some_and(|serving| serving.prepared.content == content)
            && self.quarantined.is_none()
            && !self.removing
    }

    /// What is on its way to serve, or waits for that.
    pub(in crate::coordinator) fn coming(&self) -> Option<&Prepared> {
        match &self.step {
            Step::None => self.next.as_deref().or(self.kept.as_deref()),
            Step::Blocked(prepared) | Step::Pausing(prepared) | Step::Opening(prepared) => {
                Some(prepared)
            }
        }
    }

    /// What serves, else what is to.
    pub(in crate::coordinator) fn shown(&self) -> Option<&Prepared> {
        let serving = self.serving.as_ref().map(|serving| &*serving.prepared);
        serving.or_else(|| self.coming())
    }

    /// Whether its file is gone, and it still serves what is queued.
    pub(in crate::coordinator) fn has_lost_its_file(&self) -> bool {
        // One that is disabled is on its way out too, and has its file.
        self.removing && self.dropped.is_none()
    }

    /// Whether its file is gone, and nothing of it serves any more.
    pub(in crate::coordinator) fn is_gone(&self) -> bool {
        let is_idle = matches!(self.step, Step::None) && !self.removing && !self.disabled;
        is_idle && self.next.is_none() && self.serving.is_none() && self.last_error.is_none()
    }

    /// What it serves, and what it is about to serve.
    pub(in crate::coordinator) fn claims(&self) -> impl Iterator<Item = &Description> {
        let coming = match &self.step {
            Step::Pausing(prepared) | Step::Opening(prepared) => Some(&prepared.description),
            Step::None | Step::Blocked(_) => None,
        };
        let serving = self.serving.as_ref();
        serving
            .map(|serving| &serving.prepared.description)
            .into_iter()
            .chain(coming)
    }
}

pub(in crate::coordinator) fn serves(description: &Description, type_name: &str) -> bool {
    description
        .lanes
        .iter()
        .any(|lane| lane_serves(lane, type_name))
}

/// For each new lane the old one whose place, id and queue it takes: the only one that had any of its
/// types, and none besides. Its jobs need not be moved then.
pub(in crate::coordinator) fn kept_lanes(
    old: Option<&Serving>,
    new: &Description,
) -> Vec<Option<LaneId>> {
    let old: Vec<(LaneId, &LaneDescription)> = old.map_or_else(Vec::new, |old| {
        old.lanes
            .iter()
            .copied()
            .zip(&old.prepared.description.lanes)
            .collect()
    });
    let kept = new.lanes.iter().map(|new| {
        let mut sharing = old.iter().filter(|(_, old)| shares_types(old, new));
        let (id, only) = sharing.next()?;
        let all_types = only.types().all(|name| lane_serves(new, name));
        (sharing.next().is_none() && all_types).then_some(*id)
    });
    kept.collect()
}

fn shares_types(old: &LaneDescription, new: &LaneDescription) -> bool {
    old.types().any(|name| lane_serves(new, name))
}

fn lane_serves(lane: &LaneDescription, type_name: &str) -> bool {
    lane.types().any(|name| name == type_name)
}

/// Says which types a version serves from now on.
pub(in crate::coordinator) fn log_serving(name: &str, prepared: &Prepared, old: Option<&Serving>) {
    let types: Vec<&str> = prepared
        .description
        .lanes
        .iter()
        .flat_map(|lane| lane.types())
        .collect();
    tracing::info!(
        plugin = %name,
        version = %prepared.description.version,
        hash = %prepared.hash,
        replaces = old.map(|old| &*old.prepared.hash),
        "serves {}",
        types.join(", ")
    );
}

/// Opens the lanes of a version.
pub(in crate::coordinator) fn open_lane_of(prepared: &Prepared) -> OpenLane {
    let plugin = Arc::clone(&prepared.plugin);
    Arc::new(move |lane, host| plugin.open_lane(lane, host))
}

/// The request type of each jobber of a lane.
pub(in crate::coordinator) fn types_of_lane(lane: &LaneDescription) -> Arc<[Box<str>]> {
    lane.types().map(Into::into).collect()
}
