//! What operators have decided of plugins: that one is not to serve, or not the version that its file holds. It outlives
//! the process, until an operator, or a new file, says otherwise.
//!
//! The decisions are a state of the host's own, as the kept answers are: their effects go into the same batches as those of
//! jobs. An entry's key is the plugin's NAME, its value JSON.

use std::collections::BTreeMap;

use plugin_api::description::StateDescription;
use serde::{Deserialize, Serialize};

use super::persistence::Persistence;
use crate::{
    coordinator::coordinator::{Coordinator, HOST},
    plugins::{Decided, RolledBackTo},
    state::{LentState, effects},
};

/// How the store knows the state that decisions stand in.
fn decisions_state() -> StateDescription {
    StateDescription {
        name: "decisions".to_owned(),
        kind: "decisions".to_owned(),
        schema: 1,
        books: 0,
    }
}

/// What operators decided, by plugin: in memory, and how it gets into the host's own state.
#[derive(Debug, Default)]
pub(in crate::coordinator) struct Decisions {
    /// The state that they are stored in.
    lent: LentState,
    /// What changes is told, to be kept.
    is_told: bool,
    /// What holds, by plugin.
    all: BTreeMap<String, Decision>,
    /// What has changed and was not fetched yet.
    decided: Vec<Decided>,
}

/// What operators decided of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The plugin does not serve.
    #[serde(default)]
    pub disabled: bool,
    /// It serves another version than its file holds.
    #[serde(default)]
    pub rolled_back: Option<RolledBackTo>,
    /// Who decided last, as the log names operators.
    pub by: String,
    /// When that was, in milliseconds since 1970 on the host's clock.
    pub at_ms: u64,
}

impl Decisions {
    /// Takes all decisions out of the store, at the start.
    pub(in crate::coordinator) fn recovered(persistence: &mut Persistence) -> Self {
        let lent = persistence.lend(HOST, &decisions_state());
        let all = lent.map.iter().filter_map(|(name, decision)| {
            let name = String::from_utf8(name.to_vec()).ok()?;
            match serde_json::from_slice(decision) {
                Ok(decision) => Some((name, decision)),
                Err(error) => {
                    tracing::error!(plugin = %name, "what was decided of it cannot be read: {error}");
                    None
                }
            }
        });
        let all = all.collect();
        Self {
            lent,
            is_told: persistence.is_kept(),
            all,
            decided: Vec::new(),
        }
    }

    /// Takes them out of a state that was read back. What holds is what this process does: returned is what of it the
    /// disk has not taken.
    fn recover(&mut self, persistence: &mut Persistence) -> Vec<(String, Decision)> {
        let (decided, holds) = (
            std::mem::take(&mut self.decided),
            std::mem::take(&mut self.all),
        );
        *self = Self {
            decided,
            ..Self::recovered(persistence)
        };
        let ended = self.all.keys().filter(|name| !holds.contains_key(*name));
        let mut untaken: Vec<_> = ended
            .map(|name| (name.clone(), Decision::default()))
            .collect();
        let is_untaken = |(name, decision): &(String, Decision)| self.of(name) != Some(decision);
        untaken.extend(holds.into_iter().filter(is_untaken));
        untaken
    }

    pub(in crate::coordinator) fn of(&self, name: &str) -> Option<&Decision> {
        self.all.get(name)
    }

    /// Has the plugin `name` stand as decided from now on; a decision that says nothing is forgotten.
    fn hold(&mut self, name: &str, decision: Decision) {
        match decision.disabled || decision.rolled_back.is_some() {
            true => self.all.insert(name.to_owned(), decision),
            false => self.all.remove(name),
        };
    }

    /// Stores what holds of one plugin, and tells what that changes to `out`.
    fn store(&mut self, name: &str, out: &mut Vec<u8>) {
        let (map, key) = (&mut self.lent.map, name.as_bytes());
        match self.all.get(name) {
            Some(decision) => {
                let value = serde_json::to_vec(decision).expect("text and numbers are JSON");
                map.write(key, &value, |_| ());
                if self.is_told {
                    effects::put(out, self.lent.id, key, &value);
                }
            }
            None => {
                if map.remove(key).is_some() && self.is_told {
                    effects::remove(out, self.lent.id, key);
                }
            }
        }
    }
}

impl Coordinator {
    /// What holds from before, which is logged.
    pub fn decisions(&self) -> impl Iterator<Item = (&str, &Decision)> {
        self.decisions.all.iter().map(|(name, decision)| {
            let Decision { by, at_ms, .. } = decision;
            let at = i64::try_from(*at_ms).ok();
            let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
            let at = at.unwrap_or_default();
            if decision.disabled {
                tracing::warn!(
                    plugin = %name,
                    %by,
                    %at,
                    "stays disabled, as an operator decided, until `rm-cli plugins enable`"
                );
            }
            if let Some(rolled_back) = &decision.rolled_back {
                tracing::warn!(
                    plugin = %name,
                    %by,
                    %at,
                    "stays rolled back, as an operator decided, to {:.12} from {:.12}, which its file holds, until another file \
                     comes, or this one is taken out and put back",
                    rolled_back.to,
                    rolled_back.from
                );
            }
            (name.as_str(), decision)
        })
    }

    /// What was decided since the last call.
    pub fn take_decided(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.decisions.decided)
    }

    /// Notes that a plugin was taken out of service, or put back.
    pub(in crate::coordinator) fn decide_disabled(
        &mut self,
        name: &str,
        disabled: bool,
        by: String,
    ) {
        let before = self.decisions.of(name).cloned().unwrap_or_default();
        let at_ms = self.clock.now_ms();
        self.decide(
            name,
            Decision {
                disabled,
                by,
                at_ms,
                ..before
            },
        );
    }

    /// Notes that what was installed is, or is not, what the plugin's file holds.
    pub(in crate::coordinator) fn decide_version(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        let serving = slot.serving.as_ref().map(|serving| &serving.prepared);
        let (Some(serving), Some(dropped)) = (serving, slot.dropped) else {
            return;
        };
        let (to, from) = (serving.content.to_string(), dropped.to_string());
        let source = serving.source.clone();
        // What is opened anew meanwhile is another version.
        let content = serving.content;
        let told_by = slot.told_by.take_if(|(to, _)| *to == content);
        let before = self.decisions.of(name).cloned().unwrap_or_default();
        // A reload, or what is opened at the start, decides nothing new.
        let holds =
            |of: &RolledBackTo| told_by.is_some() || before.rolled_back.as_ref() == Some(of);
        let rolled_back = Some(RolledBackTo { from, to });
        let rolled_back = rolled_back.filter(|of| of.from != of.to && holds(of));
        let by = told_by.map_or_else(String::new, |(_, by)| by);
        if before.rolled_back == rolled_back {
            return;
        }
        self.decisions.decided.push(Decided {
            name: name.to_owned(),
            rolled_back: rolled_back.clone().map(|rolled_back| (rolled_back, source)),
        });
        let at_ms = self.clock.now_ms();
        self.decide(
            name,
            Decision {
                rolled_back,
                by,
                at_ms,
                ..before
            },
        );
    }

    /// Its file is gone, and with it what was decided of it.
    pub(in crate::coordinator) fn forget_decision(&mut self, name: &str) {
        if self.decisions.of(name).is_some() {
            self.decisions.decided.push(Decided {
                name: name.to_owned(),
                rolled_back: None,
            });
            self.decide(name, Decision::default());
        }
    }

    /// The state has been read back. What was decided meanwhile goes with its next batch.
    pub(in crate::coordinator) fn decisions_recovered(&mut self) {
        for (name, decision) in self.decisions.recover(&mut self.persistence) {
            self.decide(&name, decision);
        }
    }

    fn decide(&mut self, name: &str, decision: Decision) {
        self.decisions.hold(name, decision);
        if !self.persistence.is_sound() {
            tracing::warn!(
                plugin = %name,
                "what was decided is kept once the state can be kept again: until then it ends with this process"
            );
            return;
        }
        if self.persistence.is_kept() {
            let id = self.decisions.lent.id;
            self.persistence.declare(HOST, &decisions_state(), id);
        }
        self.decisions.store(name, self.persistence.effects());
    }
}
