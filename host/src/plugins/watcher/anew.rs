//! A look at all files that an operator asked for, and what it found, for the log.

use std::collections::{BTreeMap, BTreeSet};

/// What was found of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    /// Its files hold what was loaded last.
    Same,
    /// They hold something new, which is loaded.
    Taken,
    Refused,
    Gone,
}

impl Found {
    fn words(self) -> &'static str {
        match self {
            Self::Same => "as they were",
            Self::Taken => "changed, and loaded anew",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

/// A look at all files that was asked for and is not over.
#[derive(Debug)]
pub(super) struct Anew {
    awaited: BTreeSet<String>,
    found: BTreeMap<Found, BTreeSet<String>>,
}

impl Anew {
    /// A look at the files of these plugins. `None` if that is over already.
    pub(super) fn begin(names: BTreeSet<String>) -> Option<Self> {
        if names.is_empty() {
            tracing::info!("looked anew: there is no plugin in the folder");
            return None;
        }
        Some(Self {
            awaited: names,
            found: BTreeMap::new(),
        })
    }

    /// Takes in what was found of one; says whether the look is over, and what it found, to the log.
    pub(super) fn found(&mut self, name: &str, found: Found) -> bool {
        if self.awaited.remove(name) {
            self.found.entry(found).or_default().insert(name.to_owned());
        }
        if self.awaited.is_empty() {
            tracing::info!("looked anew: {}", self.told());
        }
        self.awaited.is_empty()
    }

    fn told(&self) -> String {
        let of = |(found, names): (&Found, &BTreeSet<String>)| {
            let names = Vec::from_iter(names.iter().map(String::as_str));
            format!("{}: {}", found.words(), names.join(", "))
        };
        Vec::from_iter(self.found.iter().map(of)).join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_look_is_over_once_each_was_found_and_says_how() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let mut anew = Anew::begin(names.into()).unwrap();
        assert!(!anew.found("b", Found::Refused));
        assert!(!anew.found("new", Found::Taken));
        assert!(!anew.found("a", Found::Same));
        assert!(anew.found("c", Found::Same));
        assert_eq!(anew.told(), "as they were: a, c; refused: b");
    }
}
