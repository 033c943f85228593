//! Runs the host in a simulated world, seed by seed, and says which seed breaks a promise, and how.

// Named otherwise than the host that serves, so that neither overwrites the other in the target folder.
extern crate simulated_host as host;

mod client;
mod jobbers;
mod machine;
mod model;
mod threads;
mod world;

use std::{
    cell::RefCell,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::AtomicU64,
    time::Instant,
};

use clap::{Parser, builder::PossibleValuesParser};
use host::{
    planted::{Fault, plant},
    plugins::SimulatedModule,
};

use world::{EVENTS, Gates, World};

/// The host on a simulated clock, disk, network and threads; a seed decides everything
#[derive(Debug, Parser)]
#[command(name = "rm-sim")]
struct Arguments {
    /// The seeds, as `A..B`, B not among them, or a single one
    #[arg(long, value_name = "SEEDS", default_value = "1..2001")]
    seeds: String,
    /// Steps of each run, before its quiet end
    #[arg(long, value_name = "N", default_value_t = 1_500)]
    steps: u64,
    /// Events that the runs have none of: disk, end, swap, wall, slow, leave, panics, waits, ids
    #[arg(long, value_name = "EVENT,…", value_delimiter = ',', value_parser = PossibleValuesParser::new(EVENTS))]
    without: Vec<String>,
    /// Tells what happens
    #[arg(long)]
    story: bool,
    /// Plants each fault into the host, one after another, and says after how many seeds it is found
    #[arg(long)]
    planted: bool,
    /// Plants this one only
    #[arg(long, value_name = "NAME")]
    fault: Option<String>,
}

/// What has to be seen in so many seeds, or they were worth nothing.
const EXPECTED: &[&str] = &[
    "busy",
    "cancelled",
    "cancels",
    "clock steps",
    "disk faults",
    "expired",
    "gone",
    "half-closed",
    "held up",
    "kills",
    "ok",
    "panics",
    "power losses",
    "quarantined",
    "removals",
    "removed",
    "repeats",
    "silent readers",
    "sold_out",
    "stops",
    "storage_failed",
    "timeout",
    "versions",
];
const SEEDS_FOR_ALL: u64 = 500;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Run {
    failure: Option<String>,
    story: String,
    gates: Gates,
    steps: u64,
    us: u64,
}

#[allow(clippy::print_stdout, reason = "it is what it is for")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some((from, to)) = seeds(&arguments.seeds) else {
        println!(
            "--seeds: expected A..B or one number, got {}",
            arguments.seeds
        );
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|panic| {
        if !jobbers::is_own(panic) {
            let text = format!("{panic}");
            PANIC.with(|told| *told.borrow_mut() = Some(text));
        }
    }));
    let simulator = Simulator {
        module: jobbers::module(),
        time_us: Box::leak(Box::new(AtomicU64::new(0))),
        plan: Plan {
            steps: arguments.steps,
            without: arguments.without.clone(),
        },
        tells: arguments.story,
    };
    let named = |fault: &Fault| {
        let name = format!("{fault:?}");
        arguments.planted
            || arguments
                .fault
                .as_ref()
                .is_some_and(|wanted| *wanted == name)
    };
    let mut faults = Fault::ALL.iter().copied().filter(named);
    if let Some(wanted) = &arguments.fault
        && faults.clone().next().is_none()
    {
        println!("--fault: expected one of {:?}, got {wanted}", Fault::ALL);
        return ExitCode::from(2);
    }
    match arguments.planted {
        true => simulator.find_all(faults, from..to),
        false => {
            plant(faults.next());
            simulator.run_all(from..to)
        }
    }
}

/// What all runs share.
struct Simulator {
    module: SimulatedModule,
    time_us: &'static AtomicU64,
    plan: Plan,
    tells: bool,
}

/// What a run is made with beside its seed.
#[derive(Clone)]
struct Plan {
    steps: u64,
    without: Vec<String>,
}

#[allow(clippy::print_stdout, reason = "it is what it is for")]
impl Simulator {
    /// Runs one seed after another, up to the first that breaks a promise.
    fn run_all(&self, seeds: Range<u64>) -> ExitCode {
        let begun = Instant::now();
        let (mut gates, mut steps, mut us) = (Gates::new(), 0, 0);
        for seed in seeds.clone() {
            let run = self.run(seed, &self.plan);
            if self.tells {
                println!("{}", run.story);
            }
            for (gate, count) in run.gates {
                *gates.entry(gate).or_default() += count;
            }
            (steps, us) = (steps + run.steps, us + run.us);
            if let Some(failure) = run.failure {
                println!("seed {seed}: {failure}");
                if !self.tells {
                    self.tell_shortest(seed);
                }
                return ExitCode::FAILURE;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let count = seeds.end - seeds.start;
        let hours = us as f64 / 3.6e9;
        println!("{count} seeds, {steps} steps in {seconds:.1} s, {hours:.1} h of host time");
        println!("{gates:?}");
        let missing = EXPECTED.iter().filter(|gate| !gates.contains_key(**gate));
        let missing: Vec<_> = missing.collect();
        if count >= SEEDS_FOR_ALL && !missing.is_empty() {
            println!("never seen: {missing:?}");
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    /// Plants one fault after another, and runs seeds until each is found.
    fn find_all(&self, faults: impl Iterator<Item = Fault>, seeds: Range<u64>) -> ExitCode {
        let mut all_found = true;
        for fault in faults {
            plant(Some(fault));
            let failures = seeds.clone();
            let found = failures.map(|seed| (seed, self.run(seed, &self.plan).failure));
            let found = found.into_iter().find(|(_, failure)| failure.is_some());
            plant(None);
            match found {
                Some((seed, failure)) => {
                    let failure = failure.unwrap_or_default();
                    let line = failure.lines().next().unwrap_or_default();
                    let count = seed - seeds.start + 1;
                    println!(
                        "{fault:?}: {}: found after {count} seeds: {line}",
                        fault.text()
                    );
                }
                None => {
                    all_found = false;
                    println!("{fault:?}: {}: not found", fault.text());
                }
            }
        }
        match all_found {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// Says how to see a failure with as little around it as it needs.
    fn tell_shortest(&self, seed: u64) {
        let (plan, failure) = self.shrink(seed);
        let without = plan.without.join(",");
        let without = match without.is_empty() {
            true => without,
            false => format!(" --without {without}"),
        };
        println!(
            "the shortest way to it that was found: {failure}\nits story: rm-sim --seeds {seed} --steps {}{without} --story",
            plan.steps
        );
    }

    /// Leaves out events, and steps at the end, as long as the seed breaks a promise, be it another one.
    fn shrink(&self, seed: u64) -> (Plan, String) {
        let mut shortest = (self.plan.clone(), String::new());
        let mut tries = |plan: Plan| {
            let failure = self.run(seed, &plan).failure;
            let fails = failure.is_some();
            if let Some(failure) = failure {
                shortest = (plan, failure);
            }
            (fails, shortest.0.clone())
        };
        let (_, mut plan) = tries(self.plan.clone());
        for event in EVENTS {
            let mut less = plan.clone();
            less.without.push((*event).to_owned());
            plan = tries(less).1;
        }
        // A run of fewer steps begins as the longer one does.
        let mut cut = plan.steps / 2;
        while cut > 0 {
            let steps = plan.steps - cut;
            let (fails, next) = tries(Plan {
                steps,
                ..plan.clone()
            });
            plan = next;
            cut = if fails {
                cut.min(plan.steps / 2)
            } else {
                cut / 2
            };
        }
        shortest
    }

    fn run(&self, seed: u64, plan: &Plan) -> Run {
        let without: Vec<&str> = plan.without.iter().map(String::as_str).collect();
        let how = (self.tells, &*without);
        let mut world = World::new(seed, &self.module, self.time_us, how);
        let ran = catch_unwind(AssertUnwindSafe(|| world.run(plan.steps)));
        let failure = match ran {
            Ok(ran) => ran.err(),
            Err(_) => Some(
                PANIC
                    .with(|told| told.borrow_mut().take())
                    .unwrap_or_else(|| "it unwound without a word".to_owned()),
            ),
        };
        let run = Run {
            story: world.story().to_owned(),
            gates: std::mem::take(&mut world.gates),
            steps: world.steps,
            us: world.time_us(),
            failure,
        };
        if run.failure.is_some() {
            // What is half done may panic again when it is dropped.
            std::mem::forget(world);
        }
        run
    }
}

fn seeds(text: &str) -> Option<(u64, u64)> {
    match text.split_once("..") {
        Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)),
        None => text.parse().ok().map(|seed: u64| (seed, seed + 1)),
    }
}
