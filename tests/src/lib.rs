//! `rm-host` from outside: what the tests of this folder stand on.
//!
//! [`TestHost`] is the real program with a plugin folder of its own, [`RawClient`] a socket that sends whatever bytes
//! a test wants, [`Gate`] the place where fixtures stop until a test lets them go. Tests are ordered by events: a
//! reply, a line of the log, a fixture at its gate. The only times in here are guards, which end a test that would
//! hang.
#![forbid(unsafe_code)]

mod artifacts;
mod client;
mod disk;
mod editions;
mod gate;
mod host;
mod log;
mod marked;
mod numbered;
mod reply;
mod usage;

use std::time::Duration;

pub use artifacts::{cli, example_plugin, fixture, host, plugin_api_folder, profile_folder};
pub use client::{RawClient, SEPARATOR};
pub use disk::Disk;
pub use editions::Edition;
pub use gate::{AtGate, Gate};
pub use host::{Ended, HostPlan, SERVES, TestHost, failed_start};
pub use log::Log;
pub use marked::{marked, stripped, wishing};
pub use numbered::Numbered;
pub use reply::Reply;
pub use usage::Usage;

/// How long a test waits for what must come. Reached only by a test that fails.
pub const GUARD: Duration = Duration::from_secs(120);
