//! `rm-host`: reads its configuration, runs the host, and says with its exit code how that ended: 0 stopped
//! in order, 1 failed to start, 2 ended by a second signal, 3 jobs were cut off.

use std::process::ExitCode;

use host::{config, host as server, logging};

fn main() -> ExitCode {
    let config = match config::from_args() {
        Ok(config) => config,
        Err(stop) => return stop,
    };
    let log = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    let code = match server::run(config) {
        Ok(ended) => ended.exit_code(),
        Err(error) => {
            tracing::error!("cannot start: {error:#}");
            ExitCode::from(1)
        }
    };
    log.finish();
    code
}
