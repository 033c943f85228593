//! Why a file does not become a plugin.

use std::fmt;

use plugin_api::rules::offer::OfferFault;
use serde::{Deserialize, Serialize};

/// Why a file was refused: where in its check, by which cause, and what to do. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{step}: {cause}; {remedy}")]
pub struct CheckError {
    /// The step of the plugin's way at which it failed.
    pub step: Step,
    /// What was expected and what was found.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

/// What a file passes before it serves, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The file is opened and read, once.
    Read,
    /// The marks of earlier crashes are asked for it.
    Crashed,
    /// Its bytes are looked at, none of its code has run.
    Format,
    /// It is opened as a library.
    Load,
    /// Its interface is compared with the host's.
    Abi,
    /// `NAME.toml` is read, by the host and by the plugin.
    Configuration,
    /// What it says of itself is looked at.
    Description,
    /// Its code is run in a process of its own.
    Trial,
    /// What came of its self-tests there is looked at.
    SelfTest,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "cannot be read",
            Self::Crashed => "is left out",
            Self::Format => "is not a plugin of this machine",
            Self::Load => "cannot be loaded",
            Self::Abi => "does not fit this host",
            Self::Configuration => "its configuration is wrong",
            Self::Description => "offers what it may not",
            Self::Trial => "fails its trial",
            Self::SelfTest => "fails its self-tests",
        })
    }
}

impl CheckError {
    /// Texts of others may hold line ends and control characters; a refusal is one line.
    pub(super) fn new(step: Step, cause: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self {
            step,
            cause: one_line(cause.as_ref()),
            remedy: one_line(remedy.as_ref()),
        }
    }
}

impl From<OfferFault> for CheckError {
    fn from(fault: OfferFault) -> Self {
        Self::new(Step::Description, fault.cause, fault.remedy)
    }
}

fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 1_000;
    let mut line = String::with_capacity(text.len().min(CHARS_MAX));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(CHARS_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_that_says_where_why_and_what_to_do() {
        let error = CheckError::new(Step::Load, "a\n\tb\u{1b}[31mc  d", "rebuild it");
        assert_eq!(
            error.to_string(),
            "cannot be loaded: a b [31mc d; rebuild it"
        );
        let long = CheckError::new(Step::Load, "ü".repeat(5_000), "cut it");
        assert_eq!(long.cause.chars().count(), 1_001);
    }
}
