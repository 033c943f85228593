//! Runs the host in a simulated world, seed by seed, and says which seed breaks a promise, and how.

mod client;
mod jobbers;
mod machine;
mod model;
mod threads;
mod world;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::AtomicU64,
    time::Instant,
};

use clap::Parser;
use host::plugins::SimulatedModule;

use world::{Gates, World};

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
    /// Tells what happens
    #[arg(long)]
    story: bool,
    /// Plants a fault into the host, to see that it is found
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
}

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
        if !jobbers::is_in_jobber() {
            let text = format!("{panic}");
            PANIC.with(|told| *told.borrow_mut() = Some(text));
        }
    }));
    let module = jobbers::module();
    let time_us: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let (mut gates, mut steps, mut us) = (Gates::new(), 0, 0);
    for seed in from..to {
        let run = run(seed, &arguments, &module, time_us);
        if arguments.story {
            println!("{}", run.story);
        }
        for (gate, count) in run.gates {
            *gates.entry(gate).or_default() += count;
        }
        (steps, us) = (steps + run.steps, us + run.us);
        if let Some(failure) = run.failure {
            println!(
                "seed {seed}: {failure}\nits story: rm-sim --seeds {seed} --steps {} --story",
                arguments.steps
            );
            return ExitCode::FAILURE;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds, {steps} steps in {seconds:.1} s, {:.1} h of host time",
        to - from,
        us as f64 / 3.6e9
    );
    println!("{gates:?}");
    ExitCode::SUCCESS
}

fn run(
    seed: u64,
    arguments: &Arguments,
    module: &SimulatedModule,
    time_us: &'static AtomicU64,
) -> Run {
    let mut world = World::new(seed, module, time_us, arguments.story);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run(arguments.steps)));
    let failure = match ran {
        Ok(ran) => ran.err(),
        Err(_) => Some(
            PANIC
                .with(|told| told.borrow_mut().take())
                .unwrap_or_default(),
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

fn seeds(text: &str) -> Option<(u64, u64)> {
    match text.split_once("..") {
        Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)),
        None => text.parse().ok().map(|seed: u64| (seed, seed + 1)),
    }
}
