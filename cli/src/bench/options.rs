//! What the command line says of a benchmark.

use std::time::Duration;

use crate::outcome::{Failure, grouped};

/// Connections at most: as many as one address has ports for them.
const CONNECTIONS_MAX: u64 = 60_000;

/// In flight on one connection at most: as many as a host lets one client queue.
const PIPELINE_MAX: u64 = 100_000;

/// In flight on all connections at most: each takes up some memory here.
const IN_FLIGHT_MAX: u64 = 10_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct BenchOptions {
    /// The request's type; repeatable, several are asked in turn
    #[arg(long = "type", value_name = "TYPE", default_value = "ping")]
    pub(super) types: Vec<String>,
    /// The payload of every request; `-` reads it from stdin
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    pub(super) payload: Option<String>,
    /// Connections; several numbers are measured one after the other
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: Vec<u64>,
    /// Requests in flight on each connection; several numbers are measured one after the other
    #[arg(short = 'P', long, value_name = "N,…", value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u64).range(1..=PIPELINE_MAX))]
    pub(super) pipeline: Vec<u64>,
    /// Measure for so many seconds, after 0.3 that do not count [default: 3]
    #[arg(long, value_name = "S", conflicts_with = "requests", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Measure so many requests instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Send so many requests per second, all connections together, and count a request's time from when it was due; the
    /// pipeline is then the most that a connection has in flight [default: each as soon as one was answered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(super) rate: Option<u64>,
    /// The field of the results whose numbers may never be given twice, by any of the types [default: `token`,
    /// where there is one; none with several types, which may count each for itself]
    #[arg(long, value_name = "FIELD", conflicts_with = "no_unique")]
    pub(super) unique: Option<String>,
    /// Do not look for numbers that are given twice
    #[arg(long)]
    pub(super) no_unique: bool,
    /// Error replies with this code are no failure; repeatable
    #[arg(long, value_name = "CODE")]
    pub(super) allow: Vec<String>,
    /// Print the figures as JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) const BENCH_HELP: &str = "\
Exit status: 0 all was answered; 1 an error reply whose code is not allowed, a number given twice or not compared, or a
result without the --unique field; 2 no connection, a connection lost, no reply in time, or requests of a --rate that
could not be sent; 64 wrong usage; 130 interrupted, after the figures so far.

Examples:
  rm-cli bench
  rm-cli bench --type getTickets --unique tickets --pipeline 16 --seconds 10
  rm-cli bench --connections 1,10,100,1000 --pipeline 1 --json
  rm-cli bench --type getProxy --rate 5000 --allow none_free";

/// When a measurement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// So much time has passed.
    Elapsed(Duration),
    /// So many requests are answered.
    Answered(u64),
}

impl BenchOptions {
    pub(super) fn looks_for_unique(&self) -> bool {
        !self.no_unique && (self.unique.is_some() || self.types.len() == 1)
    }

    pub(super) fn until(&self) -> Until {
        match self.requests {
            Some(requests) => Until::Answered(requests),
            None => Until::Elapsed(self.seconds.unwrap_or(Duration::from_secs(3))),
        }
    }

    /// All that is to be measured: connections, and requests in flight on each.
    ///
    /// # Errors
    /// Together they are too many.
    pub(super) fn loads(&self) -> Result<Vec<Load>, Failure> {
        let loads = self.connections.iter().flat_map(|&connections| {
            let pipelines = self.pipeline.iter();
            pipelines.map(move |&pipeline| (connections, pipeline))
        });
        let load = |(connections, pipeline)| match connections * pipeline {
            0..=IN_FLIGHT_MAX => Ok(Load {
                connections: usize::try_from(connections).expect("it is bounded"),
                pipeline: usize::try_from(pipeline).expect("it is bounded"),
            }),
            in_flight => Err(Failure::Usage(format!(
                "expected at most {} requests in flight on all connections, got {} ({connections} times {pipeline}); give \
                 a smaller --connections or --pipeline",
                grouped(IN_FLIGHT_MAX),
                grouped(in_flight)
            ))),
        };
        loads.map(load).collect()
    }
}

/// How much is asked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// On each connection.
    pub(super) pipeline: usize,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| {
            (Duration::from_millis(1)..=Duration::from_secs(30 * 24 * 3600)).contains(time)
        })
        .ok_or_else(|| {
            format!("expected seconds from 0.001 up to 30 days, such as `3` or `0.5`, got `{text}`")
        })
}
