//! `counter`, the original's own example: two numbers that count up side by side, one for each answer.
//!
//! | request | answer |
//! |---|---|
//! | `cntResponse` | `{"cnt": n}`, counting from 0 |
//! | `getIp` | `{"ip": n}`, counting from 1000 |
//!
//! The numbers are the plugin's own memory: they begin again with each version that is loaded.

use std::{thread, time::Duration};

use plugin_api::prelude::*;

#[derive(Deserialize)]
struct Config {
    /// How long each answer takes, in milliseconds.
    #[serde(default)]
    delay_ms: u64,
    /// Whether each number is counted on a thread of its own, as what may block is in any case.
    #[serde(default)]
    own_thread: bool,
}

struct Counter {
    next: u64,
    delay: Duration,
}

impl Counter {
    fn starting_at(next: u64, config: &Config) -> Self {
        let delay = Duration::from_millis(config.delay_ms);
        Self { next, delay }
    }

    fn count(&mut self) -> u64 {
        if !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
        let number = self.next;
        self.next += 1;
        number
    }
}

#[derive(Serialize)]
struct Count {
    cnt: u64,
}

#[derive(Serialize)]
struct Ip {
    ip: u64,
}

fn count(counter: &mut Counter) -> Answer<Count> {
    let cnt = counter.count();
    Ok(Count { cnt })
}

fn get_ip(counter: &mut Counter) -> Answer<Ip> {
    let ip = counter.count();
    Ok(Ip { ip })
}

/// What sleeps must not run where requests arrive: it would hold up all the others.
fn never_blocks(config: &Config) -> bool {
    config.delay_ms == 0 && !config.own_thread
}

plugin! {
    config Config;
    memory |c| Counter::starting_at(0, c) => inline(never_blocks) { "cntResponse" => count }
    memory |c| Counter::starting_at(1000, c) => inline(never_blocks) { "getIp" => get_ip }
    test "each type counts for itself" {
        "cntResponse" => { "cnt": 0 },
        "getIp" => { "ip": 1000 },
        "cntResponse" => { "cnt": 1 },
        "getIp" => { "ip": 1001 },
    }
}

#[cfg(test)]
mod tests;
