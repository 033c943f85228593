//! What happens in the process of a trial: to the plugin what the host would do to it, step by step, each
//! told before it is taken.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use plugin_api::{description::Description, rules};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::{Order, Report, SelfTested, Shown, TrialStep, self_tests::TriedPlugin};
use crate::{
    blame::Blame,
    limits::{
        PLUGIN_STACK_BYTES, TRIAL_ADDRESS_BYTES_MAX, TRIAL_CPU_SECONDS_MAX, TRIAL_FILE_BYTES_MAX,
        TRIAL_MEMORY_BYTES_MAX,
    },
    plugins::{
        error::{CheckError, Step},
        loader::{self, LoadedPlugin, Module, Unmade},
        log,
    },
};

/// The first argument by which this program knows that it is to try a plugin. The second is the plugin's
/// private copy; the rest comes on stdin.
pub const COMMAND: &str = "trial";

/// Tries the plugin in `copy`, and reports on stdout. To be called before the process has opened anything or
/// started a thread.
pub fn run(copy: PathBuf) -> ExitCode {
    match start() {
        Ok((order, reports)) => {
            let reports = Reports {
                token: order.token.clone(),
                out: Mutex::new(reports),
            };
            try_on_thread(copy, order, Arc::new(reports))
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "the trial cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> io::Result<(Order, File)> {
    // If the host ends, so does this.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    loader::close_inherited();
    bound()?;
    let order = serde_json::from_reader(io::stdin().lock())?;
    // What a plugin prints goes where it does no harm.
    let reports = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok((order, File::from(reports)))
}

/// Bounds what the process may take from others. Threads are not bounded: what the system counts are all of
/// the user's, and a plugin would be refused for what runs beside it.
fn bound() -> io::Result<()> {
    for (resource, most) in [
        // Forbids a dump, also where the system hands it to a program: 0 would only forbid the file.
        (Resource::Core, 1),
        (Resource::Cpu, TRIAL_CPU_SECONDS_MAX),
        (Resource::Fsize, TRIAL_FILE_BYTES_MAX),
        (Resource::Data, TRIAL_MEMORY_BYTES_MAX),
        (Resource::As, TRIAL_ADDRESS_BYTES_MAX),
    ] {
        let present = rustix::process::getrlimit(resource).maximum;
        let most = Some(present.map_or(most, |present| present.min(most)));
        setrlimit(
            resource,
            Rlimit {
                current: most,
                maximum: most,
            },
        )?;
    }
    // If memory runs out all the same, it is this process that goes, and not the host.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// The plugin runs on a thread that ends before the trial does, as a lane's thread would: destructors of its
/// thread-local values are tried, too.
fn try_on_thread(copy: PathBuf, order: Order, reports: Arc<Reports>) -> ExitCode {
    let said = Said::default();
    let in_log = said.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || in_log.clone())
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    // Nothing else of this process logs.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let on_thread = Arc::clone(&reports);
    let started = thread::Builder::new()
        .name("plugin".to_owned())
        .stack_size(PLUGIN_STACK_BYTES)
        .spawn(move || tried(&copy, &order, &on_thread, &said));
    let ended = started.map(thread::JoinHandle::join);
    match ended {
        Ok(Ok(Ok(shown))) => reports.tell(&Report::Done(Box::new(shown))),
        Ok(Ok(Err(refused))) => reports.tell(&refused.into()),
        // The panic is on stderr; it is one of ours, a plugin's never comes here.
        Ok(Err(_)) => return ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "no thread can be started: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

enum Refused {
    For(CheckError),
    ForConfig(String),
}

impl From<CheckError> for Refused {
    fn from(error: CheckError) -> Self {
        Self::For(error)
    }
}

impl From<Refused> for Report {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::For(error) => Self::Refused(error),
            Refused::ForConfig(said) => Self::ConfigRefused(said),
        }
    }
}

fn tried(copy: &Path, order: &Order, reports: &Reports, said: &Said) -> Result<Shown, Refused> {
    reports.step(TrialStep::Load);
    let module = Module::open(copy, Blame::new(&order.name, "", copy))?;
    reports.step(TrialStep::Create);
    let plugin = create(&module, order, order.config.as_bytes())?;
    reports.step(TrialStep::Describe);
    let description = plugin.describe()?;
    rules::offer::check(&description).map_err(CheckError::from)?;
    reports.step(TrialStep::SetUp);
    let opened = TriedPlugin::open(plugin, &description).map_err(|said| not_set_up(&said))?;
    let self_tests = self_tests(&module, order, &description, reports, said);
    reports.step(TrialStep::Drop);
    drop(opened);
    Ok(Shown {
        description,
        abi: module.abi_version().to_owned(),
        self_tests,
    })
}

fn create(module: &Module, order: &Order, config: &[u8]) -> Result<LoadedPlugin, Refused> {
    let name = &order.name;
    let made = module.create(name, config, order.purpose, log::of_plugin(name));
    made.map_err(|unmade| match unmade {
        Unmade::Refused(said) => Refused::ForConfig(said),
        Unmade::Panicked(said) => Refused::For(loader::panicked_while_made(name, &said)),
    })
}

fn self_tests(
    module: &Module,
    order: &Order,
    description: &Description,
    reports: &Reports,
    said: &Said,
) -> Vec<SelfTested> {
    let tests = description.self_tests.iter();
    tests
        .map(|test| {
            reports.step(TrialStep::SelfTest(test.name.clone()));
            let made = |config: &str| {
                create(module, order, config.as_bytes()).map_err(|refused| match refused {
                    Refused::For(error) => error.cause,
                    Refused::ForConfig(said) => said,
                })
            };
            said.forget();
            let failure = super::self_tests::run(test, made).err();
            SelfTested {
                name: test.name.clone(),
                // A panic's text, above all, is in the log and not in the reply.
                failure: failure.map(|failure| match said.last() {
                    Some(line) => format!("{failure}; the log says: {line}"),
                    None => failure,
                }),
            }
        })
        .collect()
}

fn not_set_up(said: &str) -> CheckError {
    CheckError::new(
        Step::Trial,
        format!("it cannot be opened on empty state: {said}"),
        "mend the plugin or its configuration",
    )
}

/// The log, which goes to stderr, and its last line.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn forget(&self) {
        self.lock().clear();
    }

    fn last(&self) -> Option<String> {
        let line = self.lock().trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Said {
    /// Called with one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        *self.lock() = String::from_utf8_lossy(line).into_owned();
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells the host, over a pipe, how far the trial has come.
struct Reports {
    token: String,
    out: Mutex<File>,
}

impl Reports {
    fn step(&self, step: TrialStep) {
        self.tell(&Report::Step(step));
    }

    fn tell(&self, report: &Report) {
        let mut line = self.token.clone().into_bytes();
        serde_json::to_writer(&mut line, report).expect("strings and numbers into memory");
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // If it cannot be written, there is no host any more.
        let _ = out.write_all(&line);
    }
}
