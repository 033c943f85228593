//! `rm-cli`: asks a host from the command line.
//!
//! The result goes to stdout and everything else to stderr; the exit status says who is at fault.
#![forbid(unsafe_code)]

mod arguments;
mod json_text;
mod outcome;
mod payload;
mod plugin_table;
mod plugins;

use std::process::ExitCode;

use serde_json::value::RawValue;

use crate::arguments::{Arguments, Asked};
use crate::outcome::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::from_command_line() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let done = match arguments.plugins() {
        Some(order) => plugins::run(&arguments, order).await,
        None => ask(arguments).await.map(|result| outcome::print(&result)),
    };
    done.unwrap_or_else(|failure| outcome::complain(&failure))
}

async fn ask(arguments: Arguments) -> Result<Box<RawValue>, Failure> {
    let Asked {
        type_name,
        payload,
        options,
    } = arguments.asked()?;
    let client = arguments.client().connect().await?;
    // No farewell: nothing is left to be written, and the host may not hold the user up.
    Ok(client
        .request_raw(&type_name, payload.as_deref(), &options)
        .await?)
}
