//! What a plugin says of itself and of a request that it refuses. It crosses to the host as JSON, so it can
//! grow without a new ABI.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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
    /// The request type of each jobber.
    pub types: Vec<String>,
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
