//! `rm-host`: reads its command line, runs the host, and says with its exit code how that ended: 0 stopped
//! in order, 1 failed to start, 2 ended by a second signal, 3 jobs were cut off, 70 it could not serve on: by a fault
//! of its own, or because a plugin held up the core thread or called `exit`.

use std::{
    borrow::Cow,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use host::{
    clock::Seen,
    command_line::{Order, StateOrder, unknown_variables},
    config::Config,
    crash_mark, data_folder, host as server, logging,
    new_plugin::{NewPlugin, PluginApi},
    own_fault,
    plugins::{Inspector, trial},
    state_tools::{self, StateError},
};
use protocol::shown;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // Said by the host to itself; before anything else is done in this process.
    if words.next().is_some_and(|word| word == trial::COMMAND) {
        return trial::run_inside(words.next().unwrap_or_default().into());
    }
    let order = Order::from_command_line(std::env::args_os());
    if !matches!(order, Ok(Order::Serve(_)) | Err(_)) {
        for unknown in unknown_variables() {
            let _ = writeln!(io::stderr(), "warning: {}", harmless(&unknown.to_string()));
        }
    }
    match order {
        Ok(Order::Serve(config)) => serve(*config),
        Ok(Order::Check { files, json }) => check(&files, json),
        Ok(Order::State { data, what }) => match with_state(&data, what) {
            Ok(told) => say(&told),
            Err(error) => failed(&error),
        },
        Ok(Order::Init { data, yes }) => match data_folder::init(&data, yes) {
            Ok(told) => say(&told),
            Err(error) => failed(&error),
        },
        Ok(Order::New { name, plugin_api }) => {
            let written = plugin_api
                .map_or_else(PluginApi::of_this_host, Ok)
                .and_then(|plugin_api| NewPlugin { name, plugin_api }.write(Path::new("")));
            match written {
                Ok(next) => say(&next),
                Err(error) => failed(&error),
            }
        }
        Err(error) => ExitCode::from(error.report()),
    }
}

fn serve(config: Config) -> ExitCode {
    // Waits, when dropped, until what was logged is written.
    let _log = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    for unknown in unknown_variables() {
        tracing::warn!("{unknown}");
    }
    crash_mark::give_memory_back();
    own_fault::end_on_panic();
    if let Err(error) = crash_mark::notice_exit() {
        return failed(&error);
    }
    let code = match server::run(config) {
        Ok(ended) => {
            tracing::info!("stopped: {ended}");
            ended.exit_code()
        }
        Err(error) => {
            // Each line for itself: one of the log is one line.
            for line in format!("cannot start: {error:#}").lines() {
                tracing::error!("{line}");
            }
            ExitCode::from(1)
        }
    };
    crash_mark::exit_is_meant();
    code
}

fn check(files: &[PathBuf], json: bool) -> ExitCode {
    let inspector = Inspector::new();
    let mut found = Vec::new();
    let mut out = io::stdout();
    for file in files {
        let inspection = inspector.inspect(file);
        if !json && let Err(error) = write!(out, "{}", harmless(&inspection.to_string())) {
            return failed(&error);
        }
        found.push(inspection);
    }
    if json {
        let text = serde_json::to_string_pretty(&found).expect("strings and numbers");
        if let Err(error) = writeln!(out, "{}", shown::escaped_json(&text)) {
            return failed(&error);
        }
    }
    let all_fit = found.iter().all(|inspection| inspection.fits());
    ExitCode::from(u8::from(!all_fit))
}

/// Returns what is to be said.
fn with_state(data: &Path, what: StateOrder) -> Result<String, StateError> {
    Ok(match what {
        StateOrder::Verify { json } => {
            let verified = state_tools::verify(data)?;
            match json {
                true => {
                    let text = serde_json::to_string_pretty(&verified);
                    let text = text.expect("strings and numbers");
                    format!("{}\n", shown::escaped_json(&text))
                }
                false => format!("{}: {verified}", data.display()),
            }
        }
        StateOrder::Backup { to } => {
            let verified = state_tools::backup(data, &to)?;
            format!("{}: {verified}", to.display())
        }
        StateOrder::Export { out, salvage } => {
            state_tools::export(data, out.as_deref(), salvage)?;
            String::new()
        }
        StateOrder::Import { from } => {
            let verified = state_tools::import(data, &from)?;
            format!("{}: {verified}", data.display())
        }
        StateOrder::SetTime { yes } => state_tools::set_time(data, Seen::now().wall_ms, yes)?,
        StateOrder::Drop { plugin, state, yes } => {
            let dropped = state_tools::drop_states(data, &plugin, state.as_deref(), yes)?;
            dropped
                .iter()
                .map(|state| format!("dropped: {state}\n"))
                .collect()
        }
    })
}

fn say(text: &str) -> ExitCode {
    match write!(io::stdout(), "{}", harmless(text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// There is no log to say it to.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {}", harmless(&error.to_string()));
    ExitCode::from(1)
}

/// As it may be shown: names of files may hold what steers a terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    shown::escaped(text, &['\n'])
}
