//! What an operator sets for a plugin's types, in the table `[host]` of its `NAME.toml`.

use std::{collections::BTreeMap, time::Duration};

/// The settings of one plugin that the host itself reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// The deadline of a request that brings none: `Some(ZERO)` is none, `None` leaves it to the host.
    pub deadline: Option<Duration>,
    /// Whether a request that does not say so waits where the jobber answers "not yet".
    pub wait: Option<bool>,
    /// How long a job may run: `Some(ZERO)` is as long as it takes, `None` leaves it to the host.
    pub time_limit: Option<Duration>,
    /// The settings of single types, by name; they come before those of the plugin.
    pub types: BTreeMap<String, TypeSettings>,
}

/// See [`HostSettings`], for one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeSettings {
    /// `Some(ZERO)` is no deadline.
    pub deadline: Option<Duration>,
    /// Whether to wait where the jobber answers "not yet".
    pub wait: Option<bool>,
}

impl HostSettings {
    /// What holds for one type: its own settings, else the plugin's. What is `None` then is the host's to say.
    pub fn for_type(&self, type_name: &str) -> TypeSettings {
        let own = self.types.get(type_name).copied().unwrap_or_default();
        TypeSettings {
            deadline: own.deadline.or(self.deadline),
            wait: own.wait.or(self.wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_falls_back_on_its_plugin_setting_by_setting() {
        let settings = HostSettings {
            deadline: Some(Duration::from_secs(5)),
            wait: Some(true),
            time_limit: None,
            types: BTreeMap::from([(
                "a".to_owned(),
                TypeSettings {
                    deadline: Some(Duration::ZERO),
                    wait: None,
                },
            )]),
        };
        let a = settings.for_type("a");
        assert_eq!((a.deadline, a.wait), (Some(Duration::ZERO), Some(true)));
        assert_eq!(
            settings.for_type("b").deadline,
            Some(Duration::from_secs(5))
        );
        assert_eq!(
            HostSettings::default().for_type("a"),
            TypeSettings::default()
        );
    }
}
