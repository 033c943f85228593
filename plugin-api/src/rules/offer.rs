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

/// Faults that are told one by one; of more the number is told.
const TOLD_MAX: usize = 5;

/// Says whether a plugin may offer what it does.
///
/// # Errors
/// All that it may not, so that an author who mends it need not come back for each.
pub fn check(offer: &Description) -> Result<(), OfferFault> {
    let faults = faults(offer);
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.into_iter().next().expect("there is one")),
        count => {
            let told: Vec<String> = (1..)
                .zip(faults.iter().take(TOLD_MAX))
                .map(|(number, fault)| format!("{number}. {}: {}", fault.cause, fault.remedy))
                .collect();
            let more = match count.saturating_sub(TOLD_MAX) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            Err(fault(
                format!("{count} faults: {}{more}", told.join("; ")),
                "mend them all",
            ))
        }
    }
}

fn faults(offer: &Description) -> Vec<OfferFault> {
    let states = || offer.lanes.iter().flat_map(|lane| &lane.states);
    let types = || offer.lanes.iter().flat_map(LaneDescription::types);
    let mut faults = Vec::new();
    faults.extend(name("its name", &offer.name));
    faults.extend(count("type", types().count(), TYPES_MAX));
    faults.extend(count("state", states().count(), STATES_MAX));
    faults.extend(count("self-test", offer.self_tests.len(), SELF_TESTS_MAX));
    if types().next().is_none() {
        faults.push(fault(
            "expected at least one type, found none",
            "name in plugin! which function serves which type",
        ));
    }
    for type_name in types() {
        faults.extend(name("a type", type_name));
        if is_the_hosts(type_name) {
            faults.push(fault(
                format!("the type `{type_name}` belongs to the host"),
                format!(
                    "serve another name than {} or {RESERVED_PREFIX}…",
                    BUILT_IN.join(", ")
                ),
            ));
        }
    }
    for type_name in twice(types()) {
        faults.push(fault(
            format!("the type `{type_name}` is served twice"),
            "let one function serve it",
        ));
    }
    for state in states() {
        faults.extend(name("a state's name", &state.name));
        if state.books > BOOKS_VERSION {
            faults.push(fault(
                format!(
                    "the state `{}` keeps its books in layout {}, expected at most {BOOKS_VERSION}",
                    state.name, state.books
                ),
                "use a newer host, or build it against the plugin-api of this one",
            ));
        }
    }
    for name in twice(states().map(|state| &*state.name)) {
        faults.push(fault(
            format!("the state `{name}` is declared twice"),
            "name it otherwise, or put the functions that share it into one block",
        ));
    }
    faults
}

/// Each name that comes more than once.
fn twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    names.filter(|name| !known.insert(*name)).collect()
}

fn is_the_hosts(type_name: &str) -> bool {
    BUILT_IN.contains(&type_name) || type_name.starts_with(RESERVED_PREFIX)
}

fn count(what: &str, count: usize, most: usize) -> Option<OfferFault> {
    (count > most).then(|| {
        fault(
            format!("expected at most {most} {what}s, found {count}"),
            "make several plugins of it",
        )
    })
}

fn name(what: &str, name: &str) -> Option<OfferFault> {
    let bytes = name.len();
    if bytes == 0 || bytes > NAME_BYTES_MAX {
        let start: String = name.chars().take(32).collect();
        return Some(fault(
            format!("expected {what} of 1 to {NAME_BYTES_MAX} bytes, found {bytes}: `{start}`"),
            "choose another name",
        ));
    }
    name.contains(char::is_control).then(|| {
        fault(
            format!("expected {what} in printable characters, found {name:?}"),
            "choose another name",
        )
    })
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
    fn all_faults_of_an_offer_are_told_at_once() {
        let lanes = vec![
            lane(&["a", "ping", "a"], &["x"]),
            lane(&["a"], &["x", "y\n"]),
        ];
        let refusal = check(&offer("", lanes)).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "5 faults: 1. expected its name of 1 to 128 bytes, found 0: ``: choose another name; \
             2. the type `ping` belongs to the host: serve another name than ping, srvQueuePrint, errMsgFromClient or \
             rm.…; 3. the type `a` is served twice: let one function serve it; 4. expected a state's name in printable \
             characters, found \"y\\n\": choose another name; 5. the state `x` is declared twice: name it otherwise, or put \
             the functions that share it into one block; mend them all"
        );
        let many = lane(
            &["rm.1", "rm.2", "rm.3", "rm.4", "rm.5", "rm.6", "rm.7"],
            &[],
        );
        let refusal = check(&offer("p", vec![many])).unwrap_err().to_string();
        assert!(
            refusal.starts_with("7 faults: 1. the type `rm.1`")
                && refusal.contains("5. the type `rm.5`")
                && refusal.ends_with("; and 2 more; mend them all"),
            "{refusal}"
        );
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
