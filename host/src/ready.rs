//! The ready line: that the host serves, and what of what it was given it does not serve.

use std::fmt;

use protocol::shown::OneLine;
use serde::Serialize;

/// How it is with a plugin, in the words of `rm.plugins`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// Its types are served.
    Serving,
    /// They are served, and what they change cannot be kept at the moment.
    Degraded,
    /// A job of it does not end, or a lane has no code.
    Stuck,
    /// It was taken out of service for a time.
    Quarantined,
    /// An operator has disabled it.
    Disabled,
    /// Its file is gone: what is queued is still served.
    Removing,
    /// It is about to be opened, or waits for something to be.
    Waiting,
    /// Its file is gone, and so is it.
    Retired,
    /// It cannot serve.
    Refused,
}

impl PluginState {
    /// Whether requests for its types are taken.
    pub fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Stuck | Self::Degraded)
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::Stuck => "stuck",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
            Self::Removing => "removing",
            Self::Waiting => "waiting",
            Self::Retired => "retired",
            Self::Refused => "refused",
        })
    }
}

/// What serves once all that was in the plugin folder at the start has been looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// NAMEs of the plugins that serve.
    pub serving: Vec<String>,
    /// Those that do not.
    pub others: Vec<NotServing>,
}

/// A plugin that does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotServing {
    /// NAME of its file.
    pub name: String,
    /// How it is with it.
    pub state: PluginState,
    /// Why, as far as that is known.
    pub error: Option<String>,
}

impl Readiness {
    /// What follows the address in the ready line; nothing where all serve.
    pub fn rest_of_line(&self) -> String {
        if self.others.is_empty() {
            return String::new();
        }
        let others = self
            .others
            .iter()
            .map(|NotServing { name, state, .. }| format!("{} ({state})", OneLine(name)));
        let others: Vec<String> = others.collect();
        let serving = match &*self.serving {
            [] => "nothing".to_owned(),
            serving => OneLine(&serving.join(", ")).to_string(),
        };
        format!("; not serving: {}; serving: {serving}", others.join(", "))
    }

    /// What is missing of the plugins that are `required`, each with what to do; `None` if all of them serve.
    pub fn missing(&self, required: &[String]) -> Option<String> {
        let missing: Vec<String> = required
            .iter()
            .filter(|name| !self.serving.contains(name))
            .map(|name| match self.others.iter().find(|of| of.name == **name) {
                None => format!(
                    "--require {name}: there is no lib{name}.so in the plugin folder; put it there"
                ),
                Some(NotServing { state, error, .. }) => {
                    let error = error.as_ref();
                    let error = error.map_or_else(String::new, |error| format!(": {error}"));
                    format!("--require {name}: it does not serve, it is {state}{error}")
                }
            })
            .collect();
        (!missing.is_empty()).then(|| missing.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness() -> Readiness {
        Readiness {
            serving: vec!["counter".to_owned(), "tickets".to_owned()],
            others: vec![NotServing {
                name: "hall\n".to_owned(),
                state: PluginState::Refused,
                error: Some("why".to_owned()),
            }],
        }
    }

    #[test]
    fn the_line_tells_what_does_not_serve_and_nothing_where_all_do() {
        let mut of = readiness();
        assert_eq!(
            of.rest_of_line(),
            "; not serving: hall\\n (refused); serving: counter, tickets"
        );
        of.serving.clear();
        assert!(of.rest_of_line().ends_with("; serving: nothing"));
        of.others.clear();
        assert_eq!(of.rest_of_line(), "");
    }

    #[test]
    fn what_is_required_and_does_not_serve_is_told_with_its_reason() {
        let of = readiness();
        assert_eq!(of.missing(&["tickets".to_owned()]), None);
        let missing = of.missing(&["hall\n".to_owned(), "absent".to_owned()]);
        let missing = missing.unwrap();
        assert!(missing.contains("it is refused: why"), "{missing}");
        assert!(missing.contains("no libabsent.so"), "{missing}");
    }
}
