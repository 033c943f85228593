//! What an operator sees of the plugins, and what he can tell them, over the wire: `rm.plugins` lists every
//! file that was seen, `rm.plugin` enables, disables, reloads or rolls back one of them.

use protocol::{ErrorCode, Request};
use serde::{Deserialize, Serialize};

use super::{
    report::PluginReport,
    slot::{PluginSlot, Step},
};
use crate::{
    coordinator::{
        builtins::json_text,
        coordinator::{Coordinator, DISABLED},
        durable::persistence::StorageReport,
    },
    lane::ClientSlot,
    limits,
};

/// What those hear that came over TCP.
const OPERATORS_ONLY: &str = "`rm.plugin` is for operators, who come through the socket in the host's data folder. Ways \
     out: 1. on the host's machine, as the host's user: rm-cli plugins --data DIR, with the host's data folder; 2. start \
     the host with --operators-over-tcp: whoever reaches its port may then disable, reload and roll back plugins";

/// What `rm.plugins` is answered with.
#[derive(Debug, Serialize)]
struct PluginList<'a> {
    durability: &'static str,
    storage: StorageReport<'a>,
    plugins: Vec<PluginReport<'a>>,
    memory: MemoryReport,
}

/// What the states take, in bytes, about.
#[derive(Debug, Serialize)]
struct MemoryReport {
    states_bytes: usize,
    /// What the next start will need.
    next_start_bytes: usize,
}

/// The payload of `rm.plugin`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    name: String,
    r#do: Do,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Do {
    Enable,
    Disable,
    Reload,
    Rollback,
}

impl Coordinator {
    /// Answers `rm.plugins`.
    pub(in crate::coordinator) fn list_plugins(&mut self, slot: ClientSlot, request: &Request<'_>) {
        let plugins = self.routing.plugins();
        let states_bytes = self.state_memory();
        let list = PluginList {
            durability: self.settings.durability,
            storage: self.persistence.report(),
            plugins: plugins
                .map(|(name, plugin)| self.report(name, plugin))
                .collect(),
            memory: MemoryReport {
                states_bytes,
                next_start_bytes: limits::next_start_bytes(states_bytes),
            },
        };
        let list = json_text(&list);
        self.answer(slot, request, &list);
    }

    /// Answers `rm.plugin`.
    pub(in crate::coordinator) fn command_plugin(
        &mut self,
        slot: ClientSlot,
        request: &Request<'_>,
    ) {
        let (client, peer) = {
            let client = self.clients.at(slot);
            (client.id, client.peer)
        };
        if !peer.is_operator() && !self.settings.operators_over_tcp {
            tracing::debug!(client, %peer, "a command that is for operators was refused");
            return self.fail(slot, request, ErrorCode::OperatorsOnly, OPERATORS_ONLY);
        }
        let payload = request.payload.unwrap_or("null");
        let done = serde_json::from_str::<Command>(payload)
            .map_err(|error| {
                format!(
                    "expected {{\"name\": NAME, \"do\": \"enable\", \"disable\", \"reload\" or \
                     \"rollback\"}}: {error}"
                )
            })
            .and_then(|command| {
                let told = command.r#do;
                // Not `client`: what those bring about is left out of the log where it is too much.
                tracing::info!(plugin = %command.name, command = ?told, by = %peer, connection = client, "told by an operator");
                self.command(&command, &peer.to_string())
                    .map(|()| command)
            });
        match done {
            Ok(command) => {
                let plugin = self.routing.slot_if_known(&command.name);
                let report = plugin.map(|plugin| json_text(&self.report(&command.name, plugin)));
                let report = report.unwrap_or_else(|| "{}".to_owned());
                // What was decided is to outlive the process from the moment that it is answered. A batch that the disk
                // does not take undoes nothing of it: it is kept once the disk is back.
                if self.persistence.is_sound() {
                    let decided = (self.persistence.latest(), false);
                    self.answer_once_durable(decided, slot, request, &report);
                } else {
                    self.answer(slot, request, &report);
                }
            }
            Err(reason) => self.fail(slot, request, ErrorCode::BadPayload, &reason),
        }
    }

    fn command(&mut self, command: &Command, by: &str) -> Result<(), String> {
        let name = command.name.as_str();
        let now_ms = self.clock.now_ms();
        let is_there = |plugin: &&mut PluginSlot| !plugin.is_gone();
        let stays_disabled = self.decisions.of(name).is_some_and(|of| of.disabled);
        if command.r#do == Do::Enable && stays_disabled {
            // Also where its file is not there, or refused: it serves once there is one that can.
            self.decide_disabled(name, false, by.to_owned());
            if !self
                .routing
                .slot_if_known(name)
                .is_some_and(|plugin| plugin.disabled)
            {
                return Ok(());
            }
        }
        let Some(plugin) = self.routing.slot_if_known_mut(name).filter(is_there) else {
            let known = self.routing.plugins().filter(|(_, slot)| !slot.is_gone());
            let known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
            return Err(format!(
                "no plugin is named `{name}`; there are: {}",
                known.join(", ")
            ));
        };
        if plugin.has_lost_its_file() {
            return Err(format!(
                "the file of `{name}` is gone: it serves what is queued, and no more; put the file back"
            ));
        }
        if !matches!(plugin.step, Step::None | Step::Blocked(_)) {
            return Err(format!(
                "a version of `{name}` is on its way; try again in a moment"
            ));
        }
        match command.r#do {
            Do::Disable if plugin.disabled => {}
            Do::Disable => {
                self.disable(name);
                self.decide_disabled(name, true, by.to_owned());
            }
            Do::Enable if !plugin.disabled => self.bring_back(name),
            Do::Enable => {
                (plugin.disabled, plugin.waits_since_ms) = (false, now_ms);
                if let Some(kept) = plugin.kept.take() {
                    self.begin(kept);
                }
            }
            Do::Reload | Do::Rollback if plugin.disabled => {
                return Err(format!("`{name}` is disabled: enable it first"));
            }
            Do::Reload if plugin.serving.is_none() => {
                return Err(format!(
                    "`{name}` does not serve: mend its file, which is then taken by itself"
                ));
            }
            Do::Reload => self.open_all_anew(name),
            Do::Rollback => {
                let previous = plugin.previous.clone().ok_or_else(|| {
                    format!("no version of `{name}` served before the one that serves now")
                })?;
                plugin.told_by = Some((previous.content, by.to_owned()));
                self.begin(previous);
            }
        }
        Ok(())
    }

    /// Lets what is queued be served, and then no more until it is enabled.
    fn disable(&mut self, name: &str) {
        let plugin = self.routing.slot(name);
        plugin.disabled = true;
        let serving = plugin.serving.as_ref();
        plugin.kept = serving.map(|serving| serving.prepared.clone());
        // The version that came last is the one that is to serve.
        let waiting = [plugin.take_blocked(), plugin.next.take()];
        for version in waiting.into_iter().flatten() {
            let outdated = self.routing.slot(name).keep(version);
            self.outdated(outdated);
        }
        self.close(name, DISABLED);
    }
}
