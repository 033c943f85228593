//! Where the name of a session comes from. Whoever knows it can ask for the session's answers, and take its requests back;
//! and every user of a machine can list what the others' programs were called with.

use std::{
    env,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::outcome::{self, Failure};

/// In the environment, the name.
const VARIABLE: &str = "RM_SESSION";

/// Of a file so much is read, in bytes. A name is shorter.
const FILE_BYTES_MAX: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct SessionName {
    /// File with the name of the session that the id belongs to, as `rm-cli session` gives it [else: the name in the
    /// environment variable RM_SESSION]
    #[arg(long, value_name = "FILE")]
    session_file: Option<PathBuf>,
    /// The name itself, which everybody on this machine can then read in the list of processes: rather use --session-file or
    /// RM_SESSION
    #[arg(long, value_name = "SESSION", conflicts_with = "session_file")]
    session: Option<String>,
}

impl SessionName {
    /// Whether the command line names one.
    pub(crate) fn is_given(&self) -> bool {
        self.session.is_some() || self.session_file.is_some()
    }

    /// The name.
    pub(crate) fn read(&self) -> Result<String, Failure> {
        if let Some(name) = &self.session {
            outcome::say(
                "warning: everybody on this machine can read the session's name in the list of processes; give it by \
                 --session-file FILE or RM_SESSION",
            );
            return Ok(name.clone());
        }
        let name = match &self.session_file {
            Some(file) => read(file)?,
            None => env::var(VARIABLE).map_err(|_| {
                Failure::Usage(format!(
                    "expected the session that the id belongs to, got none: name the file it is in with --session-file, or \
                     set {VARIABLE}; `rm-cli session` begins one"
                ))
            })?,
        };
        match name.trim() {
            "" => Err(Failure::Usage(
                "expected the name of a session, as `rm-cli session` gives it, got nothing"
                    .to_owned(),
            )),
            name => Ok(name.to_owned()),
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read =
        File::open(file).and_then(|open| open.take(FILE_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(format!(
            "expected the name of a session in {}: {error}",
            file.display()
        ))),
    }
}
