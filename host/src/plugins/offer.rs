//! Looks at what a plugin says of itself, before the host believes it. Pure.

use std::collections::BTreeSet;

use plugin_api::description::Description;

use super::error::{CheckError, Step};
use crate::limits::NAME_BYTES_MAX;

/// The types that the host answers itself.
const BUILT_IN: [&str; 3] = ["ping", "srvQueuePrint", "errMsgFromClient"];

/// Names that begin so are the host's.
const RESERVED_PREFIX: &str = "rm.";

/// Says whether a plugin may offer what it does.
pub(super) fn check(offer: &Description) -> Result<(), CheckError> {
    name("its name", &offer.name)?;
    let mut types = BTreeSet::new();
    let mut states = BTreeSet::new();
    for lane in &offer.lanes {
        for type_name in lane.types() {
            name("a type", type_name)?;
            if BUILT_IN.contains(&type_name) || type_name.starts_with(RESERVED_PREFIX) {
                return Err(refusal(
                    format!("the type `{type_name}` belongs to the host"),
                    format!(
                        "serve another name than {} or {RESERVED_PREFIX}…",
                        BUILT_IN.join(", ")
                    ),
                ));
            }
            if !types.insert(type_name) {
                return Err(refusal(
                    format!("the type `{type_name}` is served twice"),
                    "let one function serve it",
                ));
            }
        }
        for state in &lane.states {
            name("a state's name", &state.name)?;
            if !states.insert(&state.name) {
                return Err(refusal(
                    format!("the state `{}` is declared twice", state.name),
                    "name it otherwise, or put the functions that share it into one block",
                ));
            }
        }
    }
    if types.is_empty() {
        return Err(refusal(
            "expected at least one type, found none",
            "name in plugin! which function serves which type",
        ));
    }
    Ok(())
}

fn name(what: &str, name: &str) -> Result<(), CheckError> {
    let bytes = name.len();
    if bytes == 0 || bytes > NAME_BYTES_MAX {
        let start: String = name.chars().take(32).collect();
        return Err(refusal(
            format!("expected {what} of 1 to {NAME_BYTES_MAX} bytes, found {bytes}: `{start}`"),
            "choose another name",
        ));
    }
    if name.contains(char::is_control) {
        return Err(refusal(
            format!("expected {what} in printable characters, found {name:?}"),
            "choose another name",
        ));
    }
    Ok(())
}

fn refusal(cause: impl AsRef<str>, remedy: impl AsRef<str>) -> CheckError {
    CheckError::new(Step::Description, cause, remedy)
}

#[cfg(test)]
mod tests {
    use plugin_api::description::{JobberDescription, LaneDescription, StateDescription};

    use super::*;

    fn lane(types: &[&str], states: &[&str]) -> LaneDescription {
        LaneDescription {
            inline: false,
            states: states
                .iter()
                .map(|name| StateDescription {
                    name: (*name).to_owned(),
                    kind: "value".to_owned(),
                    schema: 1,
                })
                .collect(),
            jobbers: types
                .iter()
                .map(|name| JobberDescription {
                    type_name: (*name).to_owned(),
                })
                .collect(),
        }
    }

    fn offer(name: &str, lanes: Vec<LaneDescription>) -> Description {
        Description {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            plugin_api: "0.1.0".to_owned(),
            lanes,
            self_tests: Vec::new(),
        }
    }

    #[test]
    fn a_plugin_with_several_lanes_may_serve() {
        let lanes = vec![lane(&["a", "b"], &["x"]), lane(&["rm"], &["y", "z"])];
        assert_eq!(check(&offer("tickets", lanes)), Ok(()));
    }

    #[test]
    fn what_would_clash_or_says_nothing_is_refused_with_its_name() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for (offer, expected) in [
            (offer("", vec![lane(&["a"], &[])]), "its name"),
            (offer(&long, vec![lane(&["a"], &[])]), "found 129"),
            (offer("p", vec![]), "at least one type"),
            (offer("p", vec![lane(&[], &["x"])]), "at least one type"),
            (offer("p", vec![lane(&[""], &[])]), "a type of 1 to"),
            (offer("p", vec![lane(&[&long], &[])]), "found 129"),
            (offer("p", vec![lane(&["a\nb"], &[])]), "printable"),
            (
                offer("p", vec![lane(&["ping"], &[])]),
                "`ping` belongs to the host",
            ),
            (
                offer("p", vec![lane(&["rm.plugins"], &[])]),
                "`rm.plugins` belongs",
            ),
            (
                offer("p", vec![lane(&["a"], &[]), lane(&["a"], &[])]),
                "`a` is served twice",
            ),
            (
                offer("p", vec![lane(&["a"], &["x"]), lane(&["b"], &["x"])]),
                "`x` is declared twice",
            ),
        ] {
            let refusal = check(&offer).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}
