//! What the operator wants, from flags and environment, validated in one step.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{builder::FalseyValueParser, error::ErrorKind};
use protocol::shown;

use crate::{limits, state::Durability};

mod duration;

pub(crate) use duration::{DURATION_EXPECTED, duration};

/// Shorter, and a file would count before a copier had time for its next piece.
const SETTLE_MIN: Duration = Duration::from_millis(10);

/// Longer, and nobody would take the file for watched.
const SETTLE_MAX: Duration = Duration::from_secs(60);

// The flags of the host, as they were given. No doc comment: clap would make it the program's own.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Folder of the plugins: each *.so in it is loaded, and it is watched for changes
    #[arg(
        long,
        env = "RM_PLUGINS",
        value_name = "DIR",
        default_value = "plugins"
    )]
    plugins: PathBuf,

    /// Address to listen on; repeatable, in the environment separated by commas. Port 0 takes a free one
    /// [default: 127.0.0.1:41969 and [::1]:41969]
    #[arg(long, env = "RM_LISTEN", value_name = "ADDR:PORT", value_delimiter = ',', value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Name of this host, which its log tells
    #[arg(long, env = "RM_NAME", value_name = "NAME", default_value = "rm-host", value_parser = name)]
    name: String,

    /// How long a request may take, from its arrival on, unless it says so itself; 0 for as long as it takes
    #[arg(long, env = "RM_DEADLINE", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    deadline: Duration,

    /// Write the length of the queue to the log at this interval [default: off]
    #[arg(long, env = "RM_QUEUE_REPORT", value_name = "DURATION", value_parser = duration)]
    queue_report: Option<Duration>,

    /// How many requests may be queued for jobbers that share a state; more are answered `busy`
    #[arg(long, env = "RM_QUEUE_MAX", value_name = "COUNT", default_value_t = limits::QUEUE_JOBS_MAX, value_parser = count)]
    queue_max: usize,

    /// How long a request may wait in line, whatever its deadline; 0 for as long as that lets it
    #[arg(long, env = "RM_WAIT_MAX", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    wait_max: Duration,

    /// How long a client is refused whose requests make a jobber panic, and a type or a plugin is out of service after
    /// faults: each time twice as long, up to 1 h; 0 for not at all
    #[arg(long, env = "RM_QUARANTINE", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    quarantine: Duration,

    /// How long jobs in work may take to end when the host stops or a plugin is replaced
    #[arg(long, env = "RM_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    drain_timeout: Duration,

    /// How long a new version may take to open on its state, and to migrate it; 0 for as long as it takes
    #[arg(long, env = "RM_MIGRATION_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    migration_timeout: Duration,

    /// How long a message may take from its first byte to its last, before its connection is closed; 0 for as long as it
    /// takes
    #[arg(long, env = "RM_MESSAGE_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    message_timeout: Duration,

    /// How long a plugin's file must stand still before it is taken
    #[arg(long, env = "RM_SETTLE", value_name = "DURATION", default_value = "200ms", value_parser = settle)]
    settle: Duration,

    /// A plugin, by NAME of its libNAME.so, without which the host is not ready: if it does not serve once all that was in the
    /// folder at the start has been looked at, the host ends with exit code 1; repeatable
    #[arg(long, env = "RM_REQUIRE", value_name = "NAME", value_delimiter = ',')]
    require: Vec<String>,

    /// Folder of what outlives the process; made when it is missing and never was there. Each host needs its own
    #[arg(long, env = "RM_DATA", value_name = "DIR", default_value = "data")]
    data: PathBuf,

    /// When a job's effects count, and its reply leaves
    #[arg(long, env = "RM_DURABILITY", value_name = "LEVEL", value_enum, default_value_t = Durability::Sync)]
    durability: Durability,

    /// Load the plugins again that were left out because their code had ended the host
    #[arg(long, env = "RM_RETRY_CRASHED", value_parser = FalseyValueParser::new())]
    retry_crashed: bool,

    /// How long a jobber may hold up the core thread before the host ends itself, with exit code 70, and at
    /// the next start leaves its plugin out
    #[arg(long, env = "RM_INLINE_STUCK", value_name = "DURATION", default_value = "20s", value_parser = inline_stuck)]
    inline_stuck: Duration,

    /// What is logged: error, warn, info, debug, trace or off, also for single targets as in
    /// info,plugin=debug
    #[arg(long, env = "RM_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// Listen on addresses that others can reach, although there is no authentication
    #[arg(long, env = "RM_ALLOW_REMOTE", value_parser = FalseyValueParser::new())]
    allow_remote: bool,

    /// How many clients one address may have, an IPv6 network of 64 bits being one; more are told `busy`
    /// [default: as many as there are]
    #[arg(long, env = "RM_CLIENTS_PER_ADDRESS", value_name = "COUNT", value_parser = count)]
    clients_per_address: Option<usize>,

    /// Disconnect clients that ask for nothing for so long, and wait for nothing [default: off]
    #[arg(long, env = "RM_IDLE", value_name = "DURATION", value_parser = duration)]
    idle: Option<Duration>,

    /// Let whoever reaches an address disable, reload and roll back plugins; without it, that is for those who may
    /// open operators.sock in the data folder
    #[arg(long, env = "RM_OPERATORS_OVER_TCP", value_parser = FalseyValueParser::new())]
    operators_over_tcp: bool,
}

/// What the host is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder of the plugins; there when it was looked at.
    pub plugins: PathBuf,
    /// Where to listen, at least one; port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// Nobody asked for these addresses, so that one which this machine lacks is no error.
    pub listen_is_default: bool,
    /// The host's name: 1 to [`limits::NAME_BYTES_MAX`] bytes, printable.
    pub name: String,
    /// How long a request may take from its arrival on; `None` is for ever.
    pub deadline: Option<Duration>,
    /// How often the queue's length is logged; `None` is never.
    pub queue_report: Option<Duration>,
    /// Requests queued for one lane, at least 1.
    pub queue_jobs_max: usize,
    /// How long a request may wait in line; `None` is for as long as its deadline lets it.
    pub wait_max: Option<Duration>,
    /// How long something is out of service after faults for the first time.
    pub quarantine: Duration,
    /// How long jobs in work may take to end.
    pub drain_timeout: Duration,
    /// How long a new version may take to open on its state; `None` is for ever.
    pub migration_timeout: Option<Duration>,
    /// How long a message may take from its first byte to its last; `None` is for ever.
    pub message_timeout: Option<Duration>,
    /// How long a plugin's file must stand still.
    pub settle: Duration,
    /// NAMEs of the plugins without which the host is not ready.
    pub require: Vec<String>,
    /// The folder of what outlives the process, not yet looked at.
    pub data: PathBuf,
    /// When a job's effects count.
    pub durability: Durability,
    /// Plugins that crashed are loaded again.
    pub retry_crashed: bool,
    /// How long a call of a plugin may hold up the core thread, at least [`limits::WATCHDOG_LOOK`].
    pub inline_stuck: Duration,
    /// The filter of the log, not yet read.
    pub log: String,
    /// Clients from one address, at least 1; `None` for no share.
    pub clients_per_address: Option<usize>,
    /// How long a client may do nothing; `None` for ever.
    pub idle: Option<Duration>,
    /// Any client may do what an operator may.
    pub operators_over_tcp: bool,
}

/// Why the host is not started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A flag that is wrong, in clap's words; also `--help` and `--version`, which are no failures.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// The plugin folder is not there.
    #[error(
        "the plugin folder {} does not exist: make it, or name another with --plugins DIR",
        .0.display()
    )]
    FolderMissing(PathBuf),
    /// The plugin folder is there and is of no use.
    #[error(
        "the plugin folder {} cannot be read: {cause}; let the user that the host runs as read it, \
         or name another with --plugins DIR",
        folder.display()
    )]
    FolderUnreadable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Others could reach the host.
    #[error(
        "--listen {0} can be reached from other machines, and there is no authentication yet: whoever \
         reaches it can use every plugin. Ways out:\n  \
         1. listen on this machine only: --listen {loopback}\n  \
         2. do that, and let the others come through SSH: ssh -L {port}:{loopback} USER@THIS_MACHINE\n  \
         3. on a network where you trust everyone: add --allow-remote",
        loopback = loopback(*.0),
        port = .0.port(),
    )]
    Remote(SocketAddr),
}

impl ConfigError {
    /// Shows help and version on stdout, and everything else on stderr.
    ///
    /// Returns the process's exit code: 0 for help and version, 1 for "failed to start", also where clap
    /// would take 2, which says "forced" here.
    pub fn report(&self) -> u8 {
        use std::io::Write as _;
        // With nobody there to read it, the code still says it.
        match self {
            Self::Usage(usage) => {
                let _ = usage.print();
            }
            other => {
                let text = other.to_string();
                let _ = writeln!(io::stderr(), "error: {}", shown::escaped(&text, &['\n']));
            }
        }
        self.exit_code()
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(usage)
                if matches!(
                    usage.kind(),
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
                ) =>
            {
                0
            }
            _ => 1,
        }
    }
}

impl Config {
    /// Validates what was given.
    ///
    /// # Errors
    ///
    /// Everything in it that the host cannot run with.
    pub(crate) fn from_flags(args: Flags) -> Result<Self, ConfigError> {
        let listen_is_default = args.listen.is_empty();
        let listen = if listen_is_default {
            let port = protocol::limits::DEFAULT_PORT;
            vec![
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
            ]
        } else {
            args.listen
        };
        let is_remote = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        if let Some(remote) = listen.iter().find(is_remote)
            && !args.allow_remote
        {
            return Err(ConfigError::Remote(*remote));
        }
        check_folder(&args.plugins)?;
        Ok(Self {
            plugins: args.plugins,
            listen,
            listen_is_default,
            name: args.name,
            deadline: not_zero(args.deadline),
            queue_report: args.queue_report.and_then(not_zero),
            queue_jobs_max: args.queue_max,
            wait_max: not_zero(args.wait_max),
            quarantine: args.quarantine,
            drain_timeout: args.drain_timeout,
            migration_timeout: not_zero(args.migration_timeout),
            message_timeout: not_zero(args.message_timeout),
            settle: args.settle,
            require: args.require,
            data: args.data,
            durability: args.durability,
            retry_crashed: args.retry_crashed,
            inline_stuck: args.inline_stuck,
            log: args.log,
            clients_per_address: args.clients_per_address,
            idle: args.idle.and_then(not_zero),
            operators_over_tcp: args.operators_over_tcp,
        })
    }
}

fn check_folder(folder: &PathBuf) -> Result<(), ConfigError> {
    match fs::read_dir(folder) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ConfigError::FolderMissing(folder.clone()))
        }
        Err(cause) => Err(ConfigError::FolderUnreadable {
            folder: folder.clone(),
            cause,
        }),
    }
}

fn not_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

fn loopback(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}

fn settle(text: &str) -> Result<Duration, String> {
    let settle = duration(text)?;
    if (SETTLE_MIN..=SETTLE_MAX).contains(&settle) {
        Ok(settle)
    } else {
        Err(format!(
            "expected {} to {} ms, found `{text}`",
            SETTLE_MIN.as_millis(),
            SETTLE_MAX.as_millis()
        ))
    }
}

fn inline_stuck(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    if limit >= limits::WATCHDOG_LOOK {
        Ok(limit)
    } else {
        let least = limits::WATCHDOG_LOOK;
        Err(format!("expected at least {least:?}, found `{text}`"))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        format!("expected an IP address with a port, like 127.0.0.1:41969 or [::1]:41969, found `{text}`")
    })
}

fn name(text: &str) -> Result<String, String> {
    let is_fine = (1..=limits::NAME_BYTES_MAX).contains(&text.len());
    if is_fine && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected 1 to {} bytes of printable text, found {}",
            limits::NAME_BYTES_MAX,
            text.len()
        ))
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(count) if (1..=u32::MAX as usize).contains(&count) => Ok(count),
        _ => Err(format!(
            "expected a count from 1 to {}, found `{text}`",
            u32::MAX
        )),
    }
}

#[cfg(test)]
mod tests;
