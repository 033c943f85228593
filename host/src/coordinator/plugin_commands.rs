//! What an operator sees of the plugins, and what he can tell them, over the wire: `rm.plugins` lists every
//! file that was seen, `rm.plugin` enables, disables, reloads or rolls back one of them.

use plugin_api::description::LaneDescription;
use protocol::{ErrorCode, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    coordinator::{Coordinator, DISABLED},
    job::ClientSlot,
    plugin_slot::{PluginSlot, Step},
};
use crate::plugins::Prepared;

/// The payload of `rm.plugin`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    name: String,
    r#do: Do,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Do {
    Enable,
    Disable,
    Reload,
    Rollback,
}

impl Coordinator {
    /// Answers `rm.plugins`.
    pub(super) fn list_plugins(&mut self, slot: ClientSlot, request: &Request<'_>) {
        let plugins: Vec<Value> = self
            .plugins
            .iter()
            .map(|(name, plugin)| self.report(name, plugin))
            .collect();
        self.answer(
            slot,
            request,
            &json!({ "durability": "memory", "plugins": plugins }),
        );
    }

    /// Answers `rm.plugin`.
    pub(super) fn command_plugin(&mut self, slot: ClientSlot, request: &Request<'_>) {
        let payload = request.payload.unwrap_or("null");
        let done = serde_json::from_str::<Command>(payload)
            .map_err(|error| {
                format!(
                    "expected {{\"name\": NAME, \"do\": \"enable\", \"disable\", \"reload\" or \
                     \"rollback\"}}: {error}"
                )
            })
            .and_then(|command| self.command(&command).map(|()| command));
        match done {
            Ok(command) => {
                tracing::info!(plugin = %command.name, command = ?command.r#do, "told by a client");
                let plugin = self.plugins.get(&command.name);
                let report = plugin.map(|plugin| self.report(&command.name, plugin));
                self.answer(slot, request, &report.unwrap_or_else(|| json!({})));
            }
            Err(reason) => self.fail(slot, request, ErrorCode::BadPayload, &reason),
        }
    }

    fn command(&mut self, command: &Command) -> Result<(), String> {
        let name = command.name.as_str();
        let Some(plugin) = self.plugins.get_mut(name) else {
            let known: Vec<&str> = self.plugins.keys().map(String::as_str).collect();
            return Err(format!(
                "no plugin is named `{name}`; there are: {}",
                known.join(", ")
            ));
        };
        if !matches!(plugin.step, Step::None | Step::Blocked(_)) {
            return Err(format!(
                "a version of `{name}` is on its way; try again in a moment"
            ));
        }
        match command.r#do {
            Do::Disable if plugin.disabled => {}
            Do::Disable => self.disable(name),
            Do::Enable if !plugin.disabled => {}
            Do::Enable => {
                plugin.disabled = false;
                if let Some(kept) = plugin.kept.take() {
                    self.begin(kept);
                }
            }
            Do::Reload | Do::Rollback if plugin.disabled => {
                return Err(format!("`{name}` is disabled: enable it first"));
            }
            Do::Reload => {
                let serving = plugin.serving.as_ref();
                let serving = serving.map(|serving| serving.prepared.clone());
                self.begin(serving.ok_or_else(|| {
                    format!("`{name}` does not serve: mend its file, which is then taken by itself")
                })?);
            }
            Do::Rollback => {
                let previous = plugin.previous.clone();
                self.begin(previous.ok_or_else(|| {
                    format!("no version of `{name}` served before the one that serves now")
                })?);
            }
        }
        Ok(())
    }

    /// Lets what is queued be served, and then no more until it is enabled.
    fn disable(&mut self, name: &str) {
        let plugin = self.slot(name);
        plugin.disabled = true;
        plugin.kept = match std::mem::take(&mut plugin.step) {
            Step::Blocked(prepared) => Some(prepared),
            _ => plugin
                .serving
                .as_ref()
                .map(|serving| serving.prepared.clone()),
        };
        self.close(name, DISABLED);
    }

    fn report(&self, name: &str, plugin: &PluginSlot) -> Value {
        let serving = plugin.serving.as_ref();
        let coming = match &plugin.step {
            Step::None => plugin.kept.as_ref(),
            Step::Blocked(prepared) | Step::Pausing(prepared) | Step::Opening(prepared) => {
                Some(prepared)
            }
        };
        let shown = serving.map(|serving| &serving.prepared).or(coming);
        let swapping = matches!(plugin.step, Step::Pausing(_) | Step::Opening(_));
        let version = |prepared: &Prepared| json!({ "version": prepared.description.version, "hash": prepared.hash });
        let types = self
            .types
            .iter()
            .filter(|(_, served)| *served.plugin == *name);
        let served: u64 = types.map(|(_, served)| served.served).sum();
        json!({
            "name": name,
            "state": self.state_of(plugin),
            "file": shown.map(|shown| shown.file.display().to_string()),
            "declared": shown.map(|shown| &shown.description.name),
            "version": shown.map(|shown| &shown.description.version),
            "hash": shown.map(|shown| &shown.hash),
            "since_ms": serving.map(|serving| serving.since_ms),
            "lanes": shown.map(|shown| {
                shown.description.lanes.iter().map(lane_report).collect::<Vec<_>>()
            }),
            "error": plugin.last_error,
            "served": served,
            "panics": plugin.panicked,
            "stuck": plugin.stuck,
            "coming": coming.filter(|_| swapping).map(|coming| version(coming)),
            "previous": plugin.previous.as_ref().map(|previous| version(previous)),
        })
    }

    fn state_of(&self, plugin: &PluginSlot) -> &'static str {
        let lanes = plugin.serving.iter().flat_map(|serving| &serving.lanes);
        let mut lanes = lanes.filter_map(|lane| self.lanes.get(lane.0 as usize)?.as_ref());
        if plugin.quarantined {
            "quarantined"
        } else if plugin.disabled {
            "disabled"
        } else if plugin.removing {
            "removing"
        } else if lanes.any(|lane| lane.opening || lane.has_no_code()) {
            "stuck"
        } else if plugin.serving.is_some() {
            "serving"
        } else if matches!(plugin.step, Step::None) {
            "refused"
        } else {
            "waiting"
        }
    }
}

/// The wire's own words, whatever a plugin's description grows to.
fn lane_report(lane: &LaneDescription) -> Value {
    json!({
        "inline": lane.inline,
        "states": lane.states,
        "types": lane.types().collect::<Vec<_>>(),
    })
}
