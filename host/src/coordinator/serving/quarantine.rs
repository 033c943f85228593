//! Who is out of service after faults, and comes back after a time: a client for a type, a type, a plugin. A fault costs no
//! more than that helps.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{ErrorCode, Request};

use super::type_faults::{Follows, Out};
use crate::{
    coordinator::{
        coordinator::Coordinator,
        host_error::closed_error,
        types::Closed,
        versions::slot::{Said, Step},
    },
    lane::{ClientSlot, LaneId, Misdeed, TypeId},
    limits,
};

/// What comes back into service by itself once its time is over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::coordinator) enum Back {
    /// A type of a plugin that serves.
    Type(TypeId),
    /// A plugin, by the name of its file.
    Plugin(Rc<str>),
}

/// A plugin that cannot be opened anew is tried again after this at the earliest.
const RETRY_MIN: Duration = Duration::from_secs(1);

impl Coordinator {
    /// The plugin did wrong on a request of `who` that is more than this request's matter.
    pub(in crate::coordinator) fn failed_on(
        &mut self,
        id: LaneId,
        type_id: TypeId,
        who: u64,
        misdeed: Misdeed,
    ) {
        let plugin = Rc::clone(&self.routing.lane(id).origin.plugin);
        match misdeed {
            Misdeed::HasNoCode if self.routing.slot(&plugin).quarantined.is_none() => {
                self.quarantine(&plugin, "a lane of it could not be made anew after a panic");
            }
            Misdeed::HasNoCode => {}
            Misdeed::Panicked => {
                self.routing.slot(&plugin).history.panicked();
                let now = self.clock.instant();
                let for_so_long = self.settings.quarantine;
                let faults = self.routing[type_id].faults.get_or_insert_default();
                let follows = faults.panicked(who, for_so_long, now);
                if follows == Follows::ShutOut {
                    tracing::warn!(
                        plugin = %plugin,
                        r#type = %self.routing[type_id].name,
                        holder = who,
                        "panicked again and again on requests of this client, or session: they are refused for {for_so_long:?}"
                    );
                }
                self.follows(type_id, follows, now);
            }
        }
    }

    /// A job of this type did not end in time.
    pub(in crate::coordinator) fn got_stuck(
        &mut self,
        plugin: &str,
        type_id: TypeId,
        now: Instant,
    ) {
        let stuck = self.routing.slot(plugin).history.stuck_threads();
        let many = stuck >= limits::STUCK_THREADS_MAX;
        let faults = self.routing[type_id].faults.get_or_insert_default();
        let follows = faults.got_stuck(many, now);
        self.follows(type_id, follows, now);
    }

    fn follows(&mut self, type_id: TypeId, follows: Follows, now: Instant) {
        if let Follows::Out(why) = follows
            && self.routing[type_id].closed.is_none()
        {
            self.take_out_of_service(type_id, why, now);
        }
    }

    fn take_out_of_service(&mut self, type_id: TypeId, why: String, now: Instant) {
        let (first, now_ms) = (self.settings.quarantine, self.clock.now_ms());
        let served = &mut self.routing[type_id];
        let faults = served.faults.get_or_insert_default();
        let Out { until, why, .. } = faults.goes_out(why, first, now, now_ms);
        let (until, lasts) = (*until, until.saturating_duration_since(now));
        tracing::error!(
            plugin = %served.plugin,
            r#type = %served.name,
            "a type is out of service for {lasts:?}: {why}"
        );
        served.closed = Some(Closed {
            code: ErrorCode::Quarantined,
            text: format!("the type was taken out of service for {lasts:?}: {why}").into(),
            until: Some(until),
        });
        let (lane, plugin) = (served.lane, Rc::clone(&served.plugin));
        self.agenda.comes_back(until, Back::Type(type_id));
        // Those who wait for it are told when it is their turn, as those are that are queued.
        self.state_changed(lane);
        let out = self.routing.types().filter(|(_, of)| {
            let is_out = of
                .faults
                .as_ref()
                .is_some_and(|faults| faults.out().is_some());
            is_out && of.plugin == plugin
        });
        let out = out.count();
        if out >= limits::QUARANTINED_TYPES_MAX && self.routing.slot(&plugin).quarantined.is_none()
        {
            self.quarantine(&plugin, &format!("{out} of its types are out of service"));
        }
    }

    /// Takes a whole plugin out of service for a time. What it is asked is answered with the reason.
    pub(in crate::coordinator) fn quarantine(&mut self, name: &str, reason: &str) {
        let (now, at_ms, first) = (
            self.clock.instant(),
            self.clock.now_ms(),
            self.settings.quarantine,
        );
        let slot = self.routing.slot(name);
        slot.quarantined = Some(Said {
            text: reason.to_owned(),
            at_ms,
        });
        let until = slot.outages.begin(first, now);
        slot.back_at = Some(until);
        self.agenda.comes_back(until, Back::Plugin(name.into()));
        let lasts = until.saturating_duration_since(now);
        tracing::error!(
            plugin = %name,
            "quarantined for {lasts:?}: {reason}; its types are refused until then, or until its file changes, or an \
             operator enables or reloads it"
        );
        let why = Closed {
            code: ErrorCode::Quarantined,
            text: format!(
                "the plugin of this type was taken out of service for {lasts:?}: {reason}"
            )
            .into(),
            until: Some(until),
        };
        for type_id in self.routing.types_of(name) {
            self.routing[type_id].closed = Some(why.clone());
        }
        for id in self.routing.lanes_of(name) {
            self.halt(id, why.clone());
        }
    }

    /// Answers a request whose type takes nothing, or nothing of this client; false if it is taken.
    pub(in crate::coordinator) fn refuses(
        &mut self,
        slot: ClientSlot,
        type_id: TypeId,
        request: &Request<'_>,
    ) -> bool {
        let closed = self.routing[type_id].closed.clone();
        let client = self.clients.at(slot);
        let who = client.session.unwrap_or(client.id);
        let Some(closed) = closed.or_else(|| self.is_shut_out(type_id, who)) else {
            return false;
        };
        let now = self.clock.instant();
        self.clients.reply(slot, |out| {
            closed_error(out, &request.type_name, request.query_index, &closed, now);
        });
        true
    }

    /// Why a request of `who` for a type is refused that others are served.
    pub(in crate::coordinator) fn is_shut_out(&self, type_id: TypeId, who: u64) -> Option<Closed> {
        let faults = self.routing[type_id].faults.as_ref()?;
        let now = self.clock.instant();
        let until = faults.shut_out_until(who, now)?;
        let left_s = until.saturating_duration_since(now).as_secs() + 1;
        let text = format!(
            "the jobber panicked again and again on requests of this client, or of its session: its requests for \
             this type are refused for another {left_s} s; others are served"
        );
        Some(Closed {
            code: ErrorCode::Quarantined,
            text: text.into(),
            until: Some(until),
        })
    }

    /// Brings back whose time is over.
    pub(in crate::coordinator) fn end_quarantines(&mut self) {
        if self.agenda.next_back().is_none() || self.stopping {
            return;
        }
        let now = self.clock.instant();
        while let Some(back) = self.agenda.take_back_due(now) {
            match back {
                Back::Type(type_id) => self.type_is_back(type_id, now),
                Back::Plugin(name) => self.plugin_is_back(&name, now),
            }
        }
    }

    fn type_is_back(&mut self, type_id: TypeId, now: Instant) {
        // Its number may be another type's by now.
        let Some(served) = self.routing.type_if_served(type_id) else {
            return;
        };
        let Some(faults) = served.faults.as_mut() else {
            return;
        };
        if faults.out().is_none_or(|out| out.until > now) {
            return;
        }
        faults.comes_back();
        let plugin = Rc::clone(&served.plugin);
        if self.routing.slot(&plugin).quarantined.is_some() {
            return;
        }
        let served = &mut self.routing[type_id];
        served
            .closed
            .take_if(|closed| closed.code == ErrorCode::Quarantined);
        tracing::info!(plugin = %plugin, r#type = %served.name, "a type is in service again");
        self.stays_closed(&plugin);
    }

    /// Types are not out of service any more: what else keeps them closed does so on.
    fn stays_closed(&mut self, plugin: &str) {
        self.close_again(plugin);
        if !self.persistence.is_sound() {
            self.close_kept(plugin);
        }
    }

    fn plugin_is_back(&mut self, name: &str, now: Instant) {
        // Should it not come up, that is tried again later.
        let again_at = now + self.settings.quarantine.max(RETRY_MIN);
        let Some(slot) = self.routing.slot_if_known_mut(name) else {
            return;
        };
        let is_due = slot.back_at.is_some_and(|at| at <= now);
        if slot.quarantined.is_none() || !is_due {
            return;
        }
        let is_going = slot.disabled || slot.removing;
        slot.back_at = Some(again_at);
        self.agenda.comes_back(again_at, Back::Plugin(name.into()));
        if is_going {
            // It may stay after all: its file comes back, and cannot serve.
            return;
        }
        tracing::info!(plugin = %name, "its time out of service is over: it is opened anew");
        self.open_all_anew(name);
    }

    /// Opens the version that serves once more, unless another one is about to take over.
    pub(in crate::coordinator) fn open_all_anew(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        if !matches!(slot.step, Step::None | Step::Blocked(_)) {
            return;
        }
        let Some(serving) = &slot.serving else {
            return;
        };
        let again = serving.prepared.clone();
        // What waits for another plugin, or for the disk, goes on to, once this has been opened.
        let next = slot.next.take().or_else(|| slot.take_blocked());
        self.begin(again);
        if let Some(next) = next {
            let outdated = self.routing.slot(name).next.replace(next);
            self.outdated(outdated);
        }
    }

    /// An operator wants a plugin back now, and all its types.
    pub(in crate::coordinator) fn bring_back(&mut self, name: &str) {
        if self.routing.slot(name).quarantined.is_some() {
            return self.open_all_anew(name);
        }
        for type_id in self.routing.types_of(name) {
            let served = &mut self.routing[type_id];
            if let Some(faults) = served.faults.take()
                && faults.out().is_some()
            {
                served
                    .closed
                    .take_if(|closed| closed.code == ErrorCode::Quarantined);
            }
        }
        self.stays_closed(name);
    }
}
