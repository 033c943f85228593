//! A client for rm-host.
//!
//! One [`Client`] is one connection, shared by its clones and by any number of tasks. See its example to begin with;
//! [`RequestOptions`] adds a deadline, waiting or an id to a single request,
//! and [`ClientOptions::reconnect`] has a client come back by itself. What happens underneath is told through `tracing`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod client;
mod connection;
mod dial;
mod error;
mod exchange;
pub mod limits;
mod operators;
mod options;
mod outage;
mod reconnect;
mod server;
mod session;

pub use client::Client;
pub use error::ClientError;
pub use options::{ClientOptions, RequestOptions};
pub use server::{BadServer, Server};
