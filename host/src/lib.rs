//! rm-host: hands out scarce things to many clients at once; its logic is dropped in as plugins.
#![deny(unsafe_code)]

/// The version of this host, with the commit that it was built from where that is known.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("BUILT_FROM"));

pub mod blame;
pub mod budget;
pub mod clock;
mod clock_watch;
pub mod command_line;
pub mod config;
pub mod coordinator;
pub mod crash_list;
pub mod crash_mark;
pub mod data_folder;
mod did_you_mean;
pub mod environment;
pub mod host;
pub mod kept_state;
pub mod lane;
pub mod limits;
pub mod logging;
pub mod net;
pub mod new_plugin;
pub mod outcome;
pub mod own_fault;
pub mod ownership;
pub mod planted;
pub mod plugins;
pub mod ready;
mod run_delay;
mod signals;
pub mod state;
pub mod state_tools;
pub mod threads;
mod ticker;
pub mod watchdog;
