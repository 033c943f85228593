//! `rm-host`: reads its configuration, runs the host, and says with its exit code how that ended: 0 stopped
//! in order, 1 failed to start, 2 ended by a second signal, 3 jobs were cut off, 70 a
//! plugin held up the core thread.

use std::process::ExitCode;

use host::{config::Config, host as server, logging, plugins::trial};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == trial::COMMAND) {
        return trial::run_inside(words.next().unwrap_or_default().into());
    }
    let config = match Config::from_command_line(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => return ExitCode::from(error.report()),
    };
    // Waits, when dropped, until what was logged is written.
    let _log = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    match server::run(config) {
        Ok(ended) => ended.exit_code(),
        Err(error) => {
            tracing::error!("cannot start: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// There is no log yet to say it to.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(1)
}
