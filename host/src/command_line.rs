//! What the program was called for: to serve, or to do one thing and end.

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, ConfigError, Flags},
    environment::{self, Unknown},
    new_plugin::{CrateName, PluginApi},
};

/// A command line, validated.
#[derive(Debug)]
pub enum Order {
    /// To serve until it is told to stop.
    Serve(Box<Config>),
    /// To say what plugins offer, or why they are refused.
    Check {
        /// The libraries, at least one.
        files: Vec<PathBuf>,
        /// For programs.
        json: bool,
    },
    /// To do something with the state in a data folder.
    State {
        /// The folder.
        data: PathBuf,
        /// What.
        what: StateOrder,
    },
    /// To make a data folder.
    Init {
        /// The folder.
        data: PathBuf,
        /// Whatever was there before is not missed.
        yes: bool,
    },
    /// To write a plugin's crate.
    New {
        /// Its name, and its folder's.
        name: CrateName,
        /// What it is written against; `None` is what this host was built from.
        plugin_api: Option<PluginApi>,
    },
}

/// The variables of the environment that are named like settings, and are none.
pub fn unknown_variables() -> Vec<Unknown> {
    environment::unknown::<Words>(std::env::vars_os().map(|(name, _)| name))
}

/// What is to be done with the state.
#[derive(Debug, Subcommand)]
pub enum StateOrder {
    /// Read all of it and say whether it is whole, and what is in it; a host may serve meanwhile
    Verify {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Copy it into another data folder, from which a host can be started; a host may serve meanwhile
    Backup {
        /// The folder; it is made, and must be empty
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Write it as JSON lines; a host may serve meanwhile
    Export {
        /// A new file, instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,

        /// Of a state that is damaged, write what stands before the damage; exits with 1 all the same
        #[arg(long)]
        salvage: bool,
    },
    /// Make a state of an export, in a data folder that has none
    Import {
        /// The export; - for stdin
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Forget all states of a plugin, or one of them; no host may be running
    Drop {
        /// The plugin's declared name
        plugin: String,

        /// The state's name [default: all of the plugin's]
        state: Option<String>,

        /// It is meant: what was granted there is forgotten
        #[arg(long)]
        yes: bool,
    },
    /// Bring the host's time back to the system's clock, after that was far ahead once; no host may be running
    SetTime {
        /// It is meant: the system's clock is right
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Parser)]
#[command(
    name = "rm-host",
    version = crate::VERSION,
    about = env!("CARGO_PKG_DESCRIPTION"),
    long_about = None,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command the host serves. Every flag can be given in the environment too, as RM_ and \
                  its name. A flag on the command line wins."
)]
struct Words {
    #[command(flatten)]
    flags: Flags,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what plugins offer, or why the host would refuse them
    ///
    /// Each file passes what it would pass in the plugin folder, its self-tests among that, in a process of its
    /// own; NAME.toml beside libNAME.so is its configuration. Exits with 1 if one is refused.
    Check {
        /// The plugins' libraries
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,

        /// Print a JSON list, with one object for each file
        #[arg(long)]
        json: bool,
    },
    /// Make a data folder, once, where a folder is there already or something else is to be begun
    ///
    /// The first start makes a folder that is not there, and never was. This is for one that is there and empty, as the mount point
    /// of a new volume, and for an operator who means to go on with what is there now. Nothing that is in the folder is removed.
    /// Never have it done at each start: it is what keeps a volume that is not mounted from being taken for a new one.
    Init {
        /// The data folder of the host
        #[arg(long, env = "RM_DATA", value_name = "DIR", default_value = "data")]
        data: PathBuf,

        /// It is meant: what was there before, and is not there now, is forgotten
        #[arg(long)]
        yes: bool,
    },
    /// Look at the state on the disk, copy it, bring it elsewhere, or drop some of it
    State {
        /// The data folder of the host
        #[arg(
            long,
            env = "RM_DATA",
            value_name = "DIR",
            default_value = "data",
            global = true
        )]
        data: PathBuf,

        #[command(subcommand)]
        what: StateOrder,
    },
    /// Write the crate of a new plugin, which can be built and served as it is
    ///
    /// Makes the folder NAME here, with a function that counts up and its tests, and says what to do next.
    New {
        /// The plugin's name: lower-case letters, digits, - and _
        #[arg(value_name = "NAME")]
        name: CrateName,

        /// The plugin-api to write against: its folder, the URL of a git repository, or a version of the
        /// registry [default: the folder that this host was built from]
        #[arg(long, value_name = "PATH|GIT|VERSION")]
        plugin_api: Option<PluginApi>,
    },
}

impl Order {
    /// Reads a command line, its first word being the program's name, and the environment.
    ///
    /// # Errors
    ///
    /// Everything in them that the program cannot be run with.
    pub fn from_command_line<A: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = A>,
    ) -> Result<Self, ConfigError> {
        let words = Words::try_parse_from(words)?;
        Ok(match words.command {
            Some(Command::Check { files, json }) => Self::Check { files, json },
            Some(Command::Init { data, yes }) => Self::Init { data, yes },
            Some(Command::State { data, what }) => Self::State { data, what },
            Some(Command::New { name, plugin_api }) => Self::New { name, plugin_api },
            None => Self::Serve(Box::new(Config::from_flags(words.flags)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_no_setting_is_told_with_the_one_that_was_meant() {
        let names = ["RM_DATA", "RM_SERVER", "RM_DURABILTY", "RM_COLOUR", "PATH"];
        let told = environment::unknown::<Words>(names);
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("RM_COLOUR ") && told[0].contains("--help"));
        assert!(told[1].starts_with("RM_DURABILTY ") && told[1].ends_with("RM_DURABILITY?"));
    }

    #[test]
    fn without_a_command_it_serves_and_with_one_it_does_that() {
        let serve = Order::from_command_line(["rm-host", "--plugins", "/"]).unwrap();
        assert!(matches!(serve, Order::Serve(_)));
        let check =
            Order::from_command_line(["rm-host", "check", "a.so", "b.so", "--json"]).unwrap();
        let Order::Check { files, json } = check else {
            panic!("expected a check, found {check:?}");
        };
        assert_eq!(files, [PathBuf::from("a.so"), PathBuf::from("b.so")]);
        assert!(json);
    }

    #[test]
    fn a_command_that_is_incomplete_or_unknown_is_refused() {
        for words in [
            &["rm-host", "check"][..],
            &["rm-host", "--settle", "1s", "check", "a.so"],
            &["rm-host", "chek", "a.so"],
            &["rm-host", "new"],
        ] {
            let refusal = Order::from_command_line(words).unwrap_err();
            assert!(refusal.to_string().contains("Usage"), "{refusal}");
        }
    }

    #[test]
    fn a_new_plugin_has_a_name_and_what_it_is_written_against() {
        let order = |words: &[&str]| {
            Order::from_command_line(["rm-host", "new"].iter().chain(words).copied())
        };
        let new = order(&["hall", "--plugin-api", "0.1"]).unwrap();
        let Order::New { name, plugin_api } = new else {
            panic!("expected a new plugin, found {new:?}");
        };
        assert_eq!(name, "hall".parse().unwrap());
        assert_eq!(plugin_api, Some("0.1".parse().unwrap()));
        let refusal = order(&["2halls"]).unwrap_err().to_string();
        assert!(refusal.contains("begins with a letter"), "{refusal}");
    }
}
