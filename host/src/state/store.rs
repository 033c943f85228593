//! The states that no lane serves at the moment, and what is known of every state.

use std::collections::HashMap;

use plugin_api::{
    description::StateDescription,
    rules::stored::{self, StoredFault},
};

use super::map::StateMap;

/// All states of the host, by plugin and name. While a lane serves a state, its map is with the lane.
#[derive(Debug, Default)]
pub struct Store {
    states: HashMap<(String, String), Stored>,
}

#[derive(Debug)]
struct Stored {
    kind: String,
    schema: u32,
    map: Option<StateMap>,
}

impl Store {
    /// Whether a version of `plugin` may have the states that it declares.
    ///
    /// # Errors
    /// See [`StoredFault`].
    pub fn check<'a>(
        &self,
        plugin: &str,
        states: impl IntoIterator<Item = &'a StateDescription>,
    ) -> Result<(), StoredFault> {
        for asked in states {
            let Some(stored) = self.states.get(&key(plugin, &asked.name)) else {
                continue;
            };
            stored::check(&stored.kind, stored.schema, asked)?;
        }
        Ok(())
    }

    /// Takes a state out for a lane that will serve it; an empty one if it is new. Checked before.
    pub fn take(&mut self, plugin: &str, state: &StateDescription) -> StateMap {
        let stored = self.states.get_mut(&key(plugin, &state.name));
        stored
            .and_then(|stored| stored.map.take())
            .unwrap_or_default()
    }

    /// Puts a state back that a lane no longer serves. One that no version ever came to serve is dropped.
    pub fn give_back(&mut self, plugin: &str, state: &StateDescription, map: StateMap) {
        if let Some(stored) = self.states.get_mut(&key(plugin, &state.name)) {
            stored.map = Some(map);
        }
    }

    /// Notes that a version serves a state now, as the kind and schema that it declares.
    pub fn serves(&mut self, plugin: &str, state: &StateDescription) {
        self.states.insert(
            key(plugin, &state.name),
            Stored {
                kind: state.kind.clone(),
                schema: state.schema,
                map: None,
            },
        );
    }
}

fn key(plugin: &str, state: &str) -> (String, String) {
    (plugin.to_owned(), state.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(kind: &str, schema: u32) -> StateDescription {
        StateDescription {
            name: "hall".into(),
            kind: kind.into(),
            schema,
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was_put() {
        let mut store = Store::default();
        let mut map = StateMap::default();
        map.write(b"k", b"v", |_| ());
        store.serves("tickets", &state("numbers", 1));
        store.give_back("tickets", &state("numbers", 1), map);
        assert_eq!(
            store.take("other", &state("numbers", 1)),
            StateMap::default()
        );
        let map = store.take("tickets", &state("numbers", 1));
        assert_eq!(map.read(b"k"), Some(&b"v"[..]));
    }

    #[test]
    fn what_is_stored_is_compared_under_its_own_name_only() {
        let mut store = Store::default();
        store.serves("tickets", &state("numbers", 2));
        assert!(store.check("tickets", [&state("numbers", 2)]).is_ok());
        assert!(store.check("tickets", [&state("numbers", 1)]).is_err());
        assert!(store.check("tickets", [&state("pool", 2)]).is_err());
        assert!(store.check("rooms", [&state("pool", 1)]).is_ok());
    }
}
