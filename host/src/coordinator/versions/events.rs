//! What the folder of plugins tells: a version has come, was refused, or is the one that serves; a file is gone.

use super::slot::Step;
use crate::{coordinator::coordinator::Coordinator, plugins::PluginEvent};

impl Coordinator {
    /// The folder of plugins has changed.
    pub fn plugin_event(&mut self, event: PluginEvent) {
        match event {
            PluginEvent::Prepared(prepared) => {
                let now_ms = self.clock.now_ms();
                let disabled = self.decisions.of(&prepared.name).filter(|of| of.disabled);
                let disabled_ms = disabled.map(|of| of.at_ms);
                let slot = self.routing.slot(&prepared.name);
                slot.dropped = Some(prepared.dropped);
                slot.last_error = None;
                (slot.latest, slot.waits_since_ms) = (Some(prepared.content), now_ms);
                match slot.step {
                    _ if slot.disabled || disabled_ms.is_some() => {
                        slot.disabled = true;
                        slot.waits_since_ms = disabled_ms.unwrap_or(now_ms);
                        tracing::info!(
                            plugin = %prepared.name,
                            hash = %prepared.hash,
                            "its file is taken, and serves once the plugin, which an operator has disabled, is enabled"
                        );
                        let outdated = slot.keep(prepared);
                        self.outdated(outdated);
                    }
                    Step::None | Step::Blocked(_) if slot.serves(prepared.content) => {
                        self.is_back(&prepared.name);
                        self.opener.drop_off_thread(prepared);
                    }
                    Step::None | Step::Blocked(_) => self.begin(prepared),
                    Step::Pausing(_) | Step::Opening(_) => {
                        let outdated = slot.next.replace(prepared);
                        self.outdated(outdated);
                    }
                }
            }
            PluginEvent::Refused { name, file, error } => {
                let file = file.display();
                self.refused(&name, &format!("{file}: {error}"));
            }
            PluginEvent::Unchanged { name } => self.unchanged(&name),
            PluginEvent::Gone { name } => self.gone(&name),
            PluginEvent::Looked => {}
        }
    }

    /// Its files hold what was prepared last.
    fn unchanged(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        if slot.last_error.take().is_some() {
            tracing::info!(
                plugin = %name,
                "its files are again those that were loaded last: what was refused is forgotten"
            );
        }
    }

    /// Its files hold what serves; what else came in between is outdated.
    fn is_back(&mut self, name: &str) {
        let slot = self.routing.slot(name);
        // A rollback that waited for the disk is outdated too.
        slot.told_by = None;
        for outdated in [slot.next.take(), slot.take_blocked()] {
            self.outdated(outdated);
        }
        tracing::info!(plugin = %name, "its files are again those that serve: what came since is forgotten");
    }
}
