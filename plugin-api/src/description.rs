//! What a plugin says of itself and of a request that it refuses. It crosses to the host as JSON, so it can
//! grow without a new ABI.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::self_test::SelfTest;

/// A plugin, as it is with its present configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The plugin's declared name: the name of its package. State is kept under it.
    pub name: String,
    /// The version of its package.
    pub version: String,
    /// The version of plugin-api that it was built with.
    pub plugin_api: String,
    /// Its lanes, in the order of their declaration. Jobbers of one lane never run together.
    pub lanes: Vec<LaneDescription>,
    /// Requests that show what it answers; whoever loads it may run them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub self_tests: Vec<SelfTest>,
}

/// Jobbers that share what they read and change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneDescription {
    /// Its jobbers never block and run on the host's core thread.
    pub inline: bool,
    /// The states that they work on.
    pub states: Vec<StateDescription>,
    /// In the order of their numbers.
    pub jobbers: Vec<JobberDescription>,
}

impl LaneDescription {
    /// The request type of each jobber.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.jobbers.iter().map(|jobber| &*jobber.type_name)
    }
}

/// What serves one request type. Whatever is added to it has a default, so that plugins which do not say it
/// are read as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobberDescription {
    /// The request type.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// What the host hands over for a plugin to be made from. A plugin ignores what it does not know of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Creation<'a> {
    /// The plugin's configuration, an object.
    #[serde(borrow)]
    pub config: &'a RawValue,
    /// Who asks.
    pub host: HostDescription,
}

/// The host that makes a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDescription {
    /// Its version.
    pub version: String,
    /// What for.
    pub purpose: Purpose,
}

/// What a plugin is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To serve requests.
    Serve,
    /// To be tried, in a process of its own, before it may serve.
    Trial,
    /// To be looked at by a person.
    Check,
    /// What this version of plugin-api does not know.
    #[serde(other)]
    Other,
}

/// Why a plugin could not be made, or a lane of it opened or set up, as it crosses to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Whose doing it was.
    pub kind: FaultKind,
    /// The sentence for people.
    pub message: String,
    /// Where in the source it panicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// What a [`Fault`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The plugin says why not.
    Refused,
    /// Its code panicked.
    Panicked,
}

impl Fault {
    /// The plugin says why not.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Refused,
            message: message.into(),
            place: None,
        }
    }

    /// Reads what crossed.
    pub fn from_json(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_else(|error| {
            Self::refused(format!("it refused without a readable reason ({error})"))
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == FaultKind::Panicked {
            f.write_str("it panicked: ")?;
        }
        f.write_str(&self.message)?;
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}

/// A state that the host keeps for the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDescription {
    /// Unique within the plugin.
    pub name: String,
    /// `numbers`, `pool`, `map` or `value`. A stored state is opened only as what it was made as.
    pub kind: String,
    /// The version of what the author stores in it; an older one than the stored is refused.
    pub schema: u32,
    /// The layout of the books that plugin-api keeps in it, of what is granted to whom; 0 where it keeps none, or none that a host
    /// reads. A host refuses one that it does not know.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub books: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A refusal as it crosses to the host.
#[derive(Debug, Serialize, Deserialize)]
pub struct RefusalText<'a> {
    /// See [`Refusal::code`](crate::Refusal::code).
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// See [`Refusal::message`](crate::Refusal::message).
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_crosses_may_hold_more_than_is_known() {
        let text = r#"{"config":{"a": 1},"host":{"version":"9.0.0","purpose":"replay","more":1},"more":1}"#;
        let creation: Creation<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(creation.config.get(), r#"{"a": 1}"#);
        assert_eq!(creation.host.purpose, Purpose::Other);

        let jobber = json!({ "type": "get", "more": 1 });
        let jobber: JobberDescription = serde_json::from_value(jobber).unwrap();
        assert_eq!(jobber.type_name, "get");
        assert_eq!(
            serde_json::to_value(jobber).unwrap(),
            json!({ "type": "get" })
        );
    }

    #[test]
    fn a_fault_says_whose_doing_it_was_and_where() {
        let text = r#"{"kind":"panicked","message":"no seats","place":"src/lib.rs:1:2"}"#;
        let fault = Fault::from_json(text.as_bytes());
        assert_eq!(fault.to_string(), "it panicked: no seats (src/lib.rs:1:2)");
        assert_eq!(serde_json::to_string(&fault).unwrap(), text);
        let refused = Fault::from_json(br#"{"kind":"refused","message":"no seats"}"#);
        assert_eq!(refused.to_string(), "no seats");
        let text = Fault::from_json(b"junk").to_string();
        assert!(text.contains("without a readable reason"), "{text}");
    }
}
