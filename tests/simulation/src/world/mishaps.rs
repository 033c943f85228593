//! What happens to the host: workers that hang, disks, clocks, versions, and its end.

use std::time::Duration;

use host::{
    clock::Seen,
    plugins::{HostSettings, PluginEvent},
    state::{
        Durability,
        sim_disk::{Failure, Fault, Operation},
    },
};
use serde_json::json;

use super::World;

impl World {
    pub(super) fn hold_up_a_worker(&mut self) {
        let workers = self.machine().threads.len() as u64;
        if workers == 0 || self.random.below(10) > 0 {
            return;
        }
        let index = self.random.below(workers) as usize;
        let ms = 1_u64 << self.random.below(18);
        let until = self.machine().clock.instant() + Duration::from_millis(ms);
        let name = self.machine().threads.name(index);
        self.machine().threads.put_to_sleep(index, until);
        self.note("held up");
        self.tell(|| format!("{name} stands still for {ms} ms"));
    }

    pub(super) fn break_the_disk(&mut self) {
        let operation = *self.random.one_of(&[
            Operation::Write,
            Operation::Sync,
            Operation::Create,
            Operation::Rename,
        ]);
        let fault = Fault {
            operation,
            nth: self.disk.done(operation) + self.random.below(3),
            times: 1 + self.random.below(4),
            failure: *self.random.one_of(&[Failure::Broken, Failure::Full]),
        };
        self.note("disk faults");
        self.tell(|| format!("the disk fails: {fault:?}"));
        self.disk.fail(fault);
    }

    pub(super) fn set_the_wall_clock(&mut self) {
        let ms = 1_u64 << self.random.below(32);
        self.note("clock steps");
        if self.random.percent(70) {
            self.wall_ms += ms;
            self.tell(|| format!("the wall clock is set forward by {ms} ms"));
        } else {
            self.wall_ms = self.wall_ms.saturating_sub(ms);
            self.tell(|| format!("the wall clock is set back by {ms} ms"));
        }
        let seen = Seen {
            wall_ms: self.wall_ms + self.time_us() / 1_000,
            slept: Duration::ZERO,
        };
        self.machine().clock.look(seen);
    }

    /// A new version comes, or the file goes.
    pub(super) fn swap(&mut self, may_go: bool) {
        if may_go && self.random.percent(20) {
            self.note("removals");
            self.tell(|| "the plugin's file goes".to_owned());
            let gone = PluginEvent::Gone {
                name: "booth".to_owned(),
            };
            self.machine().plugin_events.push_back(gone);
            return;
        }
        self.versions += 1;
        let version = self.versions;
        let config = json!({ "seats": self.seats, "inline": self.random.percent(60) }).to_string();
        let settings = HostSettings {
            time_limit: Some(Duration::from_secs(*self.random.one_of(&[1, 30]))),
            ..HostSettings::default()
        };
        let prepared = self
            .module
            .prepared("booth", config.as_bytes(), (version, settings));
        let prepared = prepared.expect("its configuration is right");
        self.note("versions");
        self.tell(|| format!("version {version} comes: {config}"));
        self.machine()
            .plugin_events
            .push_back(PluginEvent::Prepared(prepared));
    }

    /// The process ends, in whatever way, and another one starts on the same disk.
    pub(super) fn end_and_start(&mut self) -> Result<(), String> {
        match self.random.below(3) {
            // Nor where the power goes.
            0 if self.durability == Durability::Sync => {
                self.note("power losses");
                self.tell(|| "the power is lost".to_owned());
                self.disk.lose_power();
                self.kill();
            }
            0 | 1 => {
                self.note("kills");
                self.tell(|| "the host is killed".to_owned());
                self.kill();
            }
            _ => {
                self.note("stops");
                self.stop()?;
            }
        }
        // Faults end with the disk that is repaired meanwhile; what was not durable may be lost with the power alone.
        self.disk.mend();
        if self.disk.is_off() {
            self.disk.power_up();
        }
        self.start()
    }

    pub(super) fn kill(&mut self) {
        for client in std::mem::take(&mut self.clients) {
            self.model.gone(client.number);
        }
        if let Some(machine) = self.machine.take() {
            machine.threads.kill();
            drop(machine);
        }
    }

    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.tell(|| "the host is told to stop".to_owned());
        self.disk.mend();
        self.machine().coordinator.stop();
        self.machine().threads.wake_all();
        self.until("the host that stops has jobs in work for ever", |world| {
            world.machine().coordinator.is_idle()
        })?;
        self.hear()?;
        for client in &self.clients {
            let unanswered = self.model.unanswered(client.number);
            if unanswered > 0 && client.wire.reads.get() && !client.has_ended {
                let number = client.number;
                return Err(format!(
                    "the host stops and owes client {number} {unanswered} answers"
                ));
            }
        }
        self.machine().coordinator.dismiss_clients();
        self.hear()?;
        let machine = self.machine();
        let closed = machine.coordinator.close_storage(Duration::from_secs(1));
        // One that had failed may still be on its way back.
        if !closed && !self.gates.contains_key("disk faults") {
            return Err("a sound disk did not take the state at the end".to_owned());
        }
        self.kill();
        Ok(())
    }
}
