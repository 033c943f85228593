//! How a host that served ends.

use std::{fmt, process::ExitCode};

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything in work was answered.
    Drained,
    /// A second signal came.
    Forced,
    /// What `--require` names does not serve.
    Unready,
    /// What was in work was not done within the drain timeout.
    Cut,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "everything in work was answered",
            Self::Forced => "at once, as told",
            Self::Unready => "what is required does not serve",
            Self::Cut => "some was cut off",
        })
    }
}

impl Outcome {
    /// As the process says it.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Drained => 0,
            Self::Unready => 1,
            Self::Forced => 2,
            Self::Cut => 3,
        })
    }
}
