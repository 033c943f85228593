//! What somebody may have meant who typed a name that is not there.

/// How alike two names have to be, from 0 to 1; clap takes the same for its flags.
const ALIKE: f64 = 0.7;

/// The name that is most like `typed`, if any is like it.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let likeness =
        |name: &str| strsim::normalized_damerau_levenshtein(&typed, &name.to_lowercase());
    names
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_what_is_something_else_is_not() {
        let names = ["RM_PLUGINS", "RM_DEADLINE", "RM_DATA", "RM_NAME"];
        for (typed, meant) in [
            ("RM_PLUGIN", Some("RM_PLUGINS")),
            ("RM_DEAD_LINE", Some("RM_DEADLINE")),
            ("RM_DATE", Some("RM_DATA")),
            ("RM_dta", Some("RM_DATA")),
            ("RM_COLOUR", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }
}
