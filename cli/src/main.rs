//! `rm-cli`: asks a host from the command line.
//!
//! The result goes to stdout and everything else to stderr; the exit status says who is at fault.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod json_text;
mod outcome;
mod payload;
mod plugin_table;
mod plugins;
mod session_name;

use std::process::ExitCode;

use serde_json::value::RawValue;

use crate::{
    arguments::{Arguments, AskOrder, OfSession},
    outcome::Failure,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::from_command_line() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let done = if let Some(options) = arguments.bench() {
        if arguments.names_data() {
            return outcome::complain(&Failure::Usage(
                "expected no --data with `bench`, which asks as clients do: name the address with --server".to_owned(),
            ));
        }
        bench::run(arguments.server(), arguments.patience(), options).await
    } else if let Some(order) = arguments.plugins() {
        match arguments.client() {
            Ok(options) => plugins::run(options, arguments.patience(), order).await,
            Err(failure) => Err(failure),
        }
    } else if let Some(order) = arguments.of_session() {
        of_session(&arguments, order).await
    } else {
        ask(arguments).await.map(|result| outcome::print(&result))
    };
    done.unwrap_or_else(|failure| outcome::complain(&failure))
}

async fn of_session(arguments: &Arguments, order: OfSession) -> Result<ExitCode, Failure> {
    let client = arguments.client()?.connect().await?;
    match order {
        OfSession::Begin => Ok(outcome::print_text(&outcome::harmless(
            &client.session().await?,
        ))),
        OfSession::Cancel(id) if client.cancel(id).await? => {
            Ok(outcome::print_text("taken back: it is not served"))
        }
        OfSession::Cancel(_) => Err(Failure::InVain(
            "it is being served, or has been: ask again under its id for its answer".to_owned(),
        )),
    }
}

async fn ask(arguments: Arguments) -> Result<Box<RawValue>, Failure> {
    let AskOrder {
        type_name,
        payload,
        options,
    } = arguments.asked()?;
    let client = arguments.client()?.connect().await?;
    // No farewell: nothing is left to be written, and the host may not hold the user up.
    Ok(client
        .request_raw(&type_name, payload.as_deref(), &options)
        .await?)
}
