//! The rules about what a plugin says of itself, before anybody believes it.

use std::{collections::BTreeSet, fmt};

use crate::{
    description::{Description, LaneDescription},
    limits::{NAME_BYTES_MAX, SELF_TESTS_MAX, STATES_MAX, TYPES_MAX},
    pool::BOOKS_VERSION,
};

/// The types that the host answers itself.
pub const BUILT_IN: [&str; 3] = ["ping", "srvQueuePrint", "errMsgFromClient"];

/// Names that begin so are the host's.
pub const RESERVED_PREFIX: &str = "rm.";

/// Why a plugin may not offer what it does, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferFault {
    /// What was expected and what was found.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for OfferFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.remedy)
    }
}

impl std::error::Error for OfferFault {}

/// Says whether a plugin may offer what it does.
///
/// # Errors
/// The first thing that it may not.
pub fn check(offer: &Description) -> Result<(), OfferFault> {
    name("its name", &offer.name)?;
    let types = offer.lanes.iter().map(|lane| lane.jobbers.len());
    count("type", types.sum(), TYPES_MAX)?;
    let states = offer.lanes.iter().map(|lane| lane.states.len());
    count("state", states.sum(), STATES_MAX)?;
    count("self-test", offer.self_tests.len(), SELF_TESTS_MAX)?;
    let mut known = BTreeSet::new();
    for type_name in offer.lanes.iter().flat_map(LaneDescription::types) {
        name("a type", type_name)?;
        if is_the_hosts(type_name) {
            return Err(fault(
                format!("the type `{type_name}` belongs to the host"),
                format!(
                    "serve another name than {} or {RESERVED_PREFIX}…",
                    BUILT_IN.join(", ")
                ),
            ));
        }
        if !known.insert(type_name) {
            return Err(fault(
                format!("the type `{type_name}` is served twice"),
                "let one function serve it",
            ));
        }
    }
    if known.is_empty() {
        return Err(fault(
            "expected at least one type, found none",
            "name in plugin! which function serves which type",
        ));
    }
    let mut known = BTreeSet::new();
    for state in offer.lanes.iter().flat_map(|lane| &lane.states) {
        name("a state's name", &state.name)?;
        if state.books > BOOKS_VERSION {
            return Err(fault(
                format!(
                    "the state `{}` keeps its books in layout {}, expected at most {BOOKS_VERSION}",
                    state.name, state.books
                ),
                "use a newer host, or build it against the plugin-api of this one",
            ));
        }
        if !known.insert(&state.name) {
            return Err(fault(
                format!("the state `{}` is declared twice", state.name),
                "name it otherwise, or put the functions that share it into one block",
            ));
        }
    }
    Ok(())
}

fn is_the_hosts(type_name: &str) -> bool {
    BUILT_IN.contains(&type_name) || type_name.starts_with(RESERVED_PREFIX)
}

fn count(what: &str, count: usize, most: usize) -> Result<(), OfferFault> {
    match count > most {
        true => Err(fault(
            format!("expected at most {most} {what}s, found {count}"),
            "make several plugins of it",
        )),
        false => Ok(()),
    }
}

fn name(what: &str, name: &str) -> Result<(), OfferFault> {
    let bytes = name.len();
    if bytes == 0 || bytes > NAME_BYTES_MAX {
        let start: String = name.chars().take(32).collect();
        return Err(fault(
            format!("expected {what} of 1 to {NAME_BYTES_MAX} bytes, found {bytes}: `{start}`"),
            "choose another name",
        ));
    }
    if name.contains(char::is_control) {
        return Err(fault(
            format!("expected {what} in printable characters, found {name:?}"),
            "choose another name",
        ));
    }
    Ok(())
}

fn fault(cause: impl Into<String>, remedy: impl Into<String>) -> OfferFault {
    OfferFault {
        cause: cause.into(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{JobberDescription, StateDescription};

    fn lane(types: &[&str], states: &[&str]) -> LaneDescription {
        LaneDescription {
            inline: false,
            states: states
                .iter()
                .map(|name| StateDescription {
                    name: (*name).to_owned(),
                    kind: "value".to_owned(),
                    schema: 1,
                    books: 0,
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

    #[test]
    fn a_plugin_has_as_many_types_and_states_as_can_be_served_and_no_more() {
        let names = |count: usize| (0..count).map(|number| number.to_string());
        let names = |count| names(count).collect::<Vec<String>>();
        let of = |types: usize, states: usize| {
            let (types, states) = (names(types), names(states));
            let types: Vec<&str> = types.iter().map(|name| &**name).collect();
            let states: Vec<&str> = states.iter().map(|name| &**name).collect();
            check(&offer("p", vec![lane(&types, &states)]))
        };
        assert_eq!(of(TYPES_MAX, STATES_MAX), Ok(()));
        for (types, states, expected) in [
            (TYPES_MAX + 1, 1, "at most 1000 types, found 1001"),
            (1, STATES_MAX + 1, "at most 1000 states, found 1001"),
        ] {
            let refusal = of(types, states).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}
