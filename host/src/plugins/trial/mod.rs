//! The trial of a plugin: before the host opens a file, its code runs in a process of its own, where all it
//! can break is that process.
//!
//! The host starts its own program anew (`process`), which does to the plugin what the host will do
//! (`inside`): loads it, makes it, opens what it brings on empty state, runs its self-tests (`self_tests`)
//! and drops it. It tells the host each step before it takes it, so that a plugin that ends it is refused with
//! the name of the step (`verdict`).

mod inside;
mod process;
mod self_tests;
mod verdict;

use std::fmt;

use plugin_api::description::{Description, Purpose};
use serde::{Deserialize, Serialize};

pub use inside::{COMMAND, run as run_inside};
pub(super) use {process::Trials, verdict::self_tests_passed};

use super::error::CheckError;

/// What the process is told, on its stdin.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// Stands at the beginning of whatever it reports. A plugin that ends the process in order, or writes to
    /// the wrong place, does not know it.
    token: String,
    /// NAME of the plugin's file.
    name: String,
    /// The plugin's configuration, a JSON object.
    config: String,
    /// What the plugin is told that it is made for.
    purpose: Purpose,
}

/// What the process reports, one to a line, behind the token.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    /// The trial begins with this step.
    Step(TrialStep),
    /// The end: the plugin is refused.
    Refused(CheckError),
    /// The end: the plugin said this against its configuration.
    ConfigRefused(String),
    /// The end: all was done; which is not to say that every self-test passed.
    Done(Box<Shown>),
}

/// What a plugin showed of itself in a trial that it did not break.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) description: Description,
    /// The version of the ABI that it was built against.
    pub(super) abi: String,
    pub(super) self_tests: Vec<SelfTested>,
}

/// How a self-test went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SelfTested {
    pub(super) name: String,
    /// What came instead of what was expected.
    pub(super) failure: Option<String>,
}

/// What the plugin's code is run for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum TrialStep {
    /// The process starts; no code of the plugin has run.
    Start,
    /// Its file is opened as a library.
    Load,
    /// It is made from its configuration.
    Create,
    /// The plugin describes itself.
    Describe,
    /// What it brings is made ready on empty state.
    SetUp,
    /// The self-test of this name runs.
    SelfTest(String),
    /// It is dropped, and the thread that it ran on ends.
    Drop,
}

impl fmt::Display for TrialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "before it was loaded",
            Self::Load => "while it was loaded",
            Self::Create => "while it was made from its configuration",
            Self::Describe => "while it described itself",
            Self::SetUp => "while its state was set up",
            Self::SelfTest(name) => return write!(f, "while its self-test `{name}` ran"),
            Self::Drop => "while it was dropped",
        })
    }
}
