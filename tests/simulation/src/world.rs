//! One run: people who ask, a host that serves, and all that may happen to both, as a seed has it.

mod ending;
mod mishaps;
mod people;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use host::{
    plugins::SimulatedModule,
    state::{
        Durability,
        sim_disk::{Random, SimDisk},
    },
};

use crate::{
    client::Client,
    jobbers,
    machine::{Machine, Start},
    model::Model,
};

/// The people: each keeps a session over all its connections.
const PEOPLE: usize = 4;
/// Connections at the same time, at most.
const CLIENTS_MAX: usize = 8;
/// Turns of the quiet end, at most: so soon everything that can be answered is.
const QUIET_TURNS_MAX: usize = 200_000;

/// What happened how often.
pub type Gates = std::collections::BTreeMap<&'static str, u64>;

#[derive(Default)]
struct Person {
    session: Option<String>,
    next_id: u64,
    /// The keys of its requests with ids.
    keys: Vec<u64>,
}

/// What this seed does how often: no two seeds have the same people.
struct Weights {
    ask: u64,
    core: u64,
    worker: u64,
    time: u64,
    connect: u64,
    leave: u64,
    slow: u64,
    disk: u64,
    end: u64,
    swap: u64,
    wall: u64,
    panics: u64,
    waits: u64,
    ids: u64,
}

/// What can be left out of a run, so that its story is shorter.
pub const EVENTS: &[&str] = &[
    "disk", "end", "swap", "wall", "slow", "leave", "panics", "waits", "ids",
];

impl Weights {
    /// How often an event of [`EVENTS`] comes.
    fn of(&mut self, event: &str) -> Option<&mut u64> {
        Some(match event {
            "disk" => &mut self.disk,
            "end" => &mut self.end,
            "swap" => &mut self.swap,
            "wall" => &mut self.wall,
            "slow" => &mut self.slow,
            "leave" => &mut self.leave,
            "panics" => &mut self.panics,
            "waits" => &mut self.waits,
            "ids" => &mut self.ids,
            _ => return None,
        })
    }

    fn new(random: &mut Random) -> Self {
        let mut of = |choices: &[u64]| *random.one_of(choices);
        Self {
            ask: of(&[10, 20, 40]),
            core: of(&[10, 30]),
            worker: of(&[10, 30, 60]),
            time: of(&[5, 10, 20]),
            connect: of(&[1, 3]),
            leave: of(&[0, 1, 3]),
            slow: of(&[0, 0, 1, 2]),
            disk: of(&[0, 0, 1]),
            end: of(&[0, 0, 1]),
            swap: of(&[0, 1, 2]),
            wall: of(&[0, 0, 1]),
            panics: of(&[0, 5, 30]),
            waits: of(&[0, 30, 80]),
            ids: of(&[0, 30, 90]),
        }
    }
}

/// See the file's head.
pub struct World {
    random: Random,
    weights: Weights,
    disk: SimDisk,
    time_us: &'static AtomicU64,
    /// By how much the wall clock is ahead of the simulated time, in milliseconds.
    wall_ms: u64,
    machine: Option<Machine>,
    module: SimulatedModule,
    versions: u64,
    durability: Durability,
    queue_jobs_max: usize,
    seats: u64,
    clients: Vec<Client>,
    connected: usize,
    people: Vec<Person>,
    model: Model,
    /// What happened, for who reads it.
    story: Option<String>,
    pub gates: Gates,
    pub steps: u64,
}

impl World {
    /// A world that has not begun. `without` are events that it has none of, see [`EVENTS`].
    pub fn new(
        seed: u64,
        module: &SimulatedModule,
        time_us: &'static AtomicU64,
        (tells, without): (bool, &[&str]),
    ) -> Self {
        time_us.store(0, Ordering::Relaxed);
        jobbers::take_time_from(time_us);
        let mut random = Random::new(seed);
        let mut weights = Weights::new(&mut random);
        for event in without {
            if let Some(weight) = weights.of(event) {
                *weight = 0;
            }
        }
        let durability =
            *random.one_of(&[Durability::Sync, Durability::Sync, Durability::Interval]);
        if durability == Durability::Interval {
            // It promises nothing of the last second where the disk fails.
            weights.disk = 0;
        }
        Self {
            weights,
            disk: SimDisk::new(random.number()),
            time_us,
            wall_ms: 1_700_000_000_000,
            machine: None,
            module: module.clone(),
            versions: 0,
            durability,
            queue_jobs_max: *random.one_of(&[3, 1_000]),
            seats: *random.one_of(&[2, 5, 40]),
            clients: Vec::new(),
            connected: 0,
            people: (0..PEOPLE).map(|_| Person::default()).collect(),
            model: Model::default(),
            story: tells.then(String::new),
            gates: Gates::new(),
            steps: 0,
            random,
        }
    }

    pub fn story(&self) -> &str {
        self.story.as_deref().unwrap_or_default()
    }

    /// How much time has passed on the host's clock, in microseconds.
    pub fn time_us(&self) -> u64 {
        self.time_us.load(Ordering::Relaxed)
    }

    /// # Errors
    /// Which promise was broken.
    pub fn run(&mut self, steps: u64) -> Result<(), String> {
        self.start()?;
        for _ in 0..steps {
            self.steps += 1;
            self.step()?;
            self.hear()?;
        }
        self.end_quietly()
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        let us = self.time_us();
        if let Some(story) = &mut self.story {
            let _ = writeln!(story, "{:>12.3} ms  {}", us as f64 / 1_000.0, what());
        }
    }

    fn note(&mut self, gate: &'static str) {
        *self.gates.entry(gate).or_default() += 1;
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a host runs between steps")
    }

    fn start(&mut self) -> Result<(), String> {
        let start = Start {
            disk: &self.disk,
            time_us: self.time_us,
            wall_ms: self.wall_ms + self.time_us() / 1_000,
            durability: self.durability,
            queue_jobs_max: self.queue_jobs_max,
        };
        let machine =
            Machine::start(&start).map_err(|error| format!("the host does not start: {error}"))?;
        self.machine = Some(machine);
        let durability = self.durability;
        self.tell(|| format!("a host starts: {durability:?}"));
        self.swap(false);
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let w = &self.weights;
        let choices = [
            (w.ask, 0),
            (w.core, 1),
            (w.worker, 2),
            (w.time, 3),
            (w.connect, 4),
            (w.leave, 5),
            (w.slow, 6),
            (w.swap, 8),
        ];
        // What is rare whatever the weights say.
        if self.random.below(100) == 0 {
            let rare = [(w.disk, 7), (w.end, 9), (w.wall, 10)];
            if let Some(rare) = self.choose(&rare) {
                return self.act(rare);
            }
        }
        let chosen = self.choose(&choices).expect("people ask in every run");
        self.act(chosen)
    }

    fn choose(&mut self, choices: &[(u64, usize)]) -> Option<usize> {
        let all: u64 = choices.iter().map(|(weight, _)| weight).sum();
        if all == 0 {
            return None;
        }
        let mut left = self.random.below(all);
        for (weight, choice) in choices {
            if left < *weight {
                return Some(*choice);
            }
            left -= weight;
        }
        None
    }

    fn act(&mut self, choice: usize) -> Result<(), String> {
        match choice {
            0 => self.ask(),
            1 => {
                self.machine().core_turn();
            }
            2 => {
                let workers = self.machine().threads.len() as u64;
                if workers > 0 {
                    let index = self.random.below(workers) as usize;
                    let now = self.machine().clock.instant();
                    self.machine().threads.step(index, now);
                }
            }
            3 => self.time_passes(),
            4 => self.connect(),
            5 => self.leave(),
            6 => self.hold_up_a_worker(),
            7 => self.break_the_disk(),
            8 if self.random.below(20) == 0 => self.swap(true),
            9 => return self.end_and_start(),
            10 => self.set_the_wall_clock(),
            _ => {}
        }
        Ok(())
    }

    fn time_passes(&mut self) {
        let us = match self.random.below(10) {
            0..6 => self.random.below(500),
            6..9 => {
                let now = self.machine().clock.instant();
                let due = self.machine().next_due();
                let due = due.map(|due| due.saturating_duration_since(now).as_micros() as u64 + 1);
                due.unwrap_or_default().min(30_000_000)
            }
            _ => 1 << self.random.below(24),
        };
        self.time_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Has everything go on without any fault until `is_so`.
    fn until(&mut self, else_: &str, is_so: impl Fn(&mut Self) -> bool) -> Result<(), String> {
        for _ in 0..QUIET_TURNS_MAX {
            if is_so(self) {
                return Ok(());
            }
            let mut did = self.machine().core_turn();
            let mut index = 0;
            while index < self.machine().threads.len() {
                let now = self.machine().clock.instant();
                did |= self.machine().threads.step(index, now);
                index += 1;
            }
            self.hear()?;
            if !did {
                let now = self.machine().clock.instant();
                let Some(due) = self.machine().next_due() else {
                    // Nothing would ever happen again.
                    return match is_so(self) {
                        true => Ok(()),
                        false => Err(else_.to_owned()),
                    };
                };
                let us = due.saturating_duration_since(now).as_micros() as u64 + 1;
                self.time_us.fetch_add(us, Ordering::Relaxed);
            }
        }
        Err(else_.to_owned())
    }
}
