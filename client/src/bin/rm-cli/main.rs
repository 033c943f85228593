//! `rm-cli`: asks a host from the command line.
//!
//! The result goes to stdout and everything else to stderr; the exit status says who is at fault.
#![forbid(unsafe_code)]

mod arguments;
mod json_text;
mod outcome;
mod payload;

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
    match ask(arguments).await {
        Ok(result) => outcome::print(&result),
        Err(failure) => outcome::complain(&failure),
    }
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
