//! Variables of the environment that are named like the host's own, and are not: a name that is mistyped would else be a setting that
//! silently does not hold.

use std::{collections::BTreeSet, ffi::OsStr, fmt};

use clap::CommandFactory;

use crate::did_you_mean::nearest;

/// What the names of all settings begin with.
const PREFIX: &str = "RM_";

/// Settings of `rm-cli`, which may stand in the same environment.
const OF_RM_CLI: [&str; 2] = ["RM_SERVER", "RM_SESSION"];

/// A variable that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    name: String,
    nearest: Option<String>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is set in the environment, and is no setting of this host: nothing reads it; ",
            self.name
        )?;
        match &self.nearest {
            Some(nearest) => write!(f, "did you mean {nearest}?"),
            None => f.write_str("rm-host --help names those that there are"),
        }
    }
}

/// The variables among `names` that look like settings, and that neither `Words` nor `rm-cli` know.
pub(crate) fn unknown<Words: CommandFactory>(
    names: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Vec<Unknown> {
    let mut known = BTreeSet::from(OF_RM_CLI.map(str::to_owned));
    note(&Words::command(), &mut known);
    let mut found = Vec::new();
    for name in names {
        let name = name.as_ref().to_string_lossy();
        if name.starts_with(PREFIX) && !known.contains(&*name) {
            found.push(Unknown {
                nearest: nearest(&name, known.iter().map(String::as_str)).map(str::to_owned),
                name: name.into_owned(),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The variables of a command and of those below it.
fn note(command: &clap::Command, known: &mut BTreeSet<String>) {
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
    for below in command.get_subcommands() {
        note(below, known);
    }
}
