//! What the command line says, checked and turned into one request.

use std::{
    io::{IsTerminal, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind,
    parser::ValueSource,
};
use client::{ClientOptions, RequestOptions, Server};
use jiff::SignedDuration;
use protocol::limits::{DEFAULT_WAIT, OPERATORS_SOCKET};
use serde_json::value::RawValue;

use crate::{
    bench::{BENCH_HELP, BenchOptions},
    outcome::{Failure, USAGE},
    payload,
    plugins::{Do, PluginsOrder},
    session_name::SessionName,
};

/// Ask an rm-host for what it hands out.
#[derive(Debug, Parser)]
#[command(name = "rm-cli", version = concat!(env!("CARGO_PKG_VERSION"), env!("BUILT_FROM")), after_help = EXIT_HELP)]
pub(crate) struct Arguments {
    /// Where the host listens
    #[arg(
        short,
        long,
        global = true,
        env = "RM_SERVER",
        value_name = "HOST:PORT",
        default_value_t
    )]
    server: Server,
    /// The data folder of a host on this machine, to come through its operators' socket instead, which goes before --server.
    /// Only so `plugins` may change anything; it and `queue` look into the folder `data` by themselves
    #[arg(long, global = true, env = "RM_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which of the two was named, and where
    #[arg(skip)]
    named: Named,
    /// How long to wait for the end of stdin, for the host, and for the reply, each; 0 for without end [default: 20s, for
    /// the reply a little over the deadline if that is longer]
    #[arg(long, global = true, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration)]
    timeout: Option<Duration>,
    #[command(subcommand)]
    command: Command,
}

/// Where the host was named. A flag goes before the environment.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    server: Option<ValueSource>,
    data: Option<ValueSource>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send one request and print its result
    #[command(after_help = REQUEST_HELP)]
    Request {
        /// The request's type, such as getTickets
        #[arg(value_name = "TYPE")]
        type_name: String,
        /// The payload; `-` reads it from stdin, however long that takes. Left out, it comes from stdin unless that is a
        /// terminal or empty; in a loop over lines give </dev/null, or the command takes the loop's input
        #[arg(value_name = "JSON", allow_negative_numbers = true)]
        json: Option<String>,
        /// Wait for what is not there yet, up to the deadline, instead of being refused [without --deadline and
        /// --timeout: for 18s]
        #[arg(long)]
        wait: bool,
        /// Tell the host not to serve the request later than this after its arrival, 0 for no deadline
        #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration)]
        deadline: Option<Duration>,
        /// The request's own number within the session, higher than those before: asked again under it, it is served once
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=protocol::limits::REQUEST_ID_MAX))]
        id: Option<u64>,
        #[command(flatten)]
        session: SessionName,
        /// Ask again, under one id, when the connection is lost; give up once the host is away for this long
        #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration)]
        reconnect: Option<Duration>,
    },
    /// Have the host begin a session, and print its name; whoever knows that can ask for the session's answers
    Session,
    /// Take back a request that was asked under an id
    Cancel {
        /// The id
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..=protocol::limits::REQUEST_ID_MAX))]
        id: u64,
        #[command(flatten)]
        session: SessionName,
    },
    /// Ask as fast as the host answers, or at a fixed rate, and print how fast that was
    #[command(after_help = BENCH_HELP)]
    Bench(BenchOptions),
    /// Ask whether the host answers
    Ping,
    /// Ask what serves and what does not, and whether the state can be kept
    Status,
    /// Have the host print its queue to its log, and print it here
    Queue,
    /// List every plugin file that the host has seen, or tell one plugin what to do
    #[command(after_help = PLUGINS_HELP)]
    Plugins {
        /// Print the host's answer as JSON instead of a table
        #[arg(long, global = true)]
        json: bool,
        /// In the table, list the versions too that served earlier
        #[arg(long, global = true)]
        all: bool,
        #[command(subcommand)]
        told: Option<Told>,
    },
}

#[derive(Debug, Subcommand)]
enum Told {
    /// Serve it again, or the file that came meanwhile
    Enable(Plugin),
    /// Serve what is queued, and then no more
    Disable(Plugin),
    /// Open the version that serves anew: its own memory begins again, its states stay
    Reload(Plugin),
    /// Go back to the version that served before
    Rollback(Plugin),
}

#[derive(Debug, clap::Args)]
struct Plugin {
    /// The plugin's name, as `rm-cli plugins` lists it
    name: String,
}

const EXIT_HELP: &str = "\
Exit status: 0 a result; 1 an error reply; 2 no connection, or no reply in time; 64 wrong usage.";

const REQUEST_HELP: &str = "\
Examples:
  rm-cli request getTickets '{\"count\": 2}'
  rm-cli request getProxy --wait --deadline 60s
  jq -c .booking booking.json | rm-cli request bookRoom -
  (umask 077; rm-cli session >session); until rm-cli request getTickets --session-file session --id 1; do sleep 1; done
  while read -r type; do rm-cli request \"$type\" </dev/null; done <types.txt";

const PLUGINS_HELP: &str = "\
The commands end when the new version serves, and print its row; one that cannot serve exits with 1.";

/// What is to be done with a session.
pub(crate) enum OfSession {
    Begin,
    Cancel(u64),
}

/// One request, as the client takes it.
pub(crate) struct AskOrder {
    pub(crate) type_name: String,
    pub(crate) payload: Option<Box<RawValue>>,
    pub(crate) options: RequestOptions,
}

impl Arguments {
    /// Prints what clap has to say itself; the status is then the program's.
    pub(crate) fn from_command_line() -> Result<Self, ExitCode> {
        let parsed = Self::command().try_get_matches().and_then(|matches| {
            let mut arguments = Self::from_arg_matches(&matches)?;
            arguments.named = Named {
                server: matches.value_source("server"),
                data: matches.value_source("data"),
            };
            Ok(arguments)
        });
        parsed.map_err(|error| {
            let asked_for = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Where nobody reads the message, the status still tells.
            let _ = error.print();
            if asked_for {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            }
        })
    }

    /// Where to connect to, and for how long to wait.
    pub(crate) fn client(&self) -> Result<ClientOptions, Failure> {
        let mut options = ClientOptions::default().server(self.server.clone());
        if let Some(data) = self.socket_of() {
            options = options.operator(data);
        }
        if let Some(session) = self.session()? {
            options = options.session(session);
        }
        if let Command::Request {
            reconnect: Some(patience),
            ..
        } = &self.command
        {
            options = options.reconnect(*patience);
        }
        Ok(match self.timeout {
            Some(timeout) => options.timeout(timeout),
            None => options,
        })
    }

    /// The session that a request is of, or is taken back in.
    fn session(&self) -> Result<Option<String>, Failure> {
        match &self.command {
            Command::Request {
                id: None, session, ..
            } if session.is_given() => Err(Failure::Usage(
                "expected --id N with a session, which is there for requests that bear one"
                    .to_owned(),
            )),
            Command::Request { id: None, .. } => Ok(None),
            Command::Request { session, .. } | Command::Cancel { session, .. } => {
                session.read().map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The data folder through whose socket the host is asked; `None`: it is asked at its address.
    fn socket_of(&self) -> Option<&Path> {
        let is_named = |source: Option<ValueSource>| {
            source.is_some_and(|source| source != ValueSource::DefaultValue)
        };
        let operates = matches!(self.command, Command::Plugins { .. } | Command::Queue);
        let server = self.named.server;
        let by_default = || Some(Path::new(DATA)).filter(|data| is_served(data));
        match self.data.as_deref() {
            Some(folder) if self.names_data() => Some(folder),
            Some(folder) if operates && server != Some(ValueSource::CommandLine) => Some(folder),
            None if operates && !is_named(server) => by_default(),
            _ => None,
        }
    }

    /// How long to wait for what has no end of its own; `None`: without end.
    pub(crate) fn patience(&self) -> Option<Duration> {
        Some(self.timeout.unwrap_or(DEFAULT_WAIT)).filter(|wait| !wait.is_zero())
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether the command line names a data folder.
    pub(crate) fn names_data(&self) -> bool {
        self.named.data == Some(ValueSource::CommandLine)
    }

    /// What is to be measured, if that is the command.
    pub(crate) fn bench(&self) -> Option<&BenchOptions> {
        match &self.command {
            Command::Bench(options) => Some(options),
            _ => None,
        }
    }

    /// What is to be done with a session, if that is the command.
    pub(crate) fn of_session(&self) -> Option<OfSession> {
        match &self.command {
            Command::Session => Some(OfSession::Begin),
            Command::Cancel { id, .. } => Some(OfSession::Cancel(*id)),
            _ => None,
        }
    }

    /// What the host is to be asked about its plugins, if that is the command.
    pub(crate) fn plugins(&self) -> Option<PluginsOrder> {
        let Command::Plugins { json, all, told } = &self.command else {
            return None;
        };
        let told = told.as_ref().map(|told| match told {
            Told::Enable(plugin) => (Do::Enable, plugin.name.clone()),
            Told::Disable(plugin) => (Do::Disable, plugin.name.clone()),
            Told::Reload(plugin) => (Do::Reload, plugin.name.clone()),
            Told::Rollback(plugin) => (Do::Rollback, plugin.name.clone()),
        });
        Some(PluginsOrder {
            json: *json,
            all: *all,
            told,
        })
    }

    /// Reads stdin where the payload comes from there.
    pub(crate) fn asked(&self) -> Result<AskOrder, Failure> {
        let plain = |type_name: &str| AskOrder {
            type_name: type_name.to_owned(),
            payload: None,
            options: RequestOptions::default(),
        };
        let Command::Request {
            type_name,
            json,
            wait,
            deadline,
            id,
            ..
        } = &self.command
        else {
            return Ok(plain(match self.command {
                Command::Ping => "ping",
                Command::Status => "rm.status",
                _ => "srvQueuePrint",
            }));
        };
        let mut asked = plain(type_name);
        asked.payload = match json.as_deref() {
            Some("-") => Some(payload::required(stdin())?),
            Some(json) => Some(payload::from_argument(json)?),
            None if stdin().is_terminal() => None,
            None => payload::offered(stdin(), self.patience())?,
        };
        if let Some(timeout) = self.timeout {
            // The user's word goes before the deadline.
            asked.options = asked.options.timeout(timeout);
        }
        if let Some(id) = *id {
            asked.options = asked.options.id(id);
        }
        if *wait {
            asked.options = asked.options.wait(true);
        }
        if let Some(deadline) = *deadline {
            asked.options = asked.options.deadline(deadline);
        }
        Ok(asked)
    }
}

/// A host's data folder, unless it is told another.
const DATA: &str = "data";

/// Whether a host listens at the operators' socket of a data folder, and to this user. One that was killed leaves the file.
fn is_served(data: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(data.join(OPERATORS_SOCKET)).is_ok()
}

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let expected =
        || format!("expected a duration such as `5s`, `500ms`, `2m` or `0`, got `{text}`");
    let duration: SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(duration).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_wrong_ones_explained() {
        let cases = [
            ("20s", 20_000),
            ("500ms", 500),
            ("0", 0),
            ("0s", 0),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "-5s", "5 parsecs", "s"] {
            assert!(
                duration(text)
                    .unwrap_err()
                    .starts_with("expected a duration such as `5s`"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
