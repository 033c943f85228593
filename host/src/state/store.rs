//! The states that no lane serves at the moment, and what is known of every state.

use std::collections::HashMap;

use plugin_api::description::StateDescription;

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

/// Why a version may not have a state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// The name is taken by a state of another kind.
    #[error(
        "its state `{name}` is declared as a {asked}, what is stored under that name is a {stored}: \
         give the new state another name"
    )]
    OtherKind {
        /// The state's name.
        name: String,
        /// What the version declares.
        asked: String,
        /// What it was made as.
        stored: String,
    },
    /// The version reads an older schema than the stored one.
    #[error(
        "its state `{name}` has schema {asked}, what is stored has schema {stored}: only the same or a \
         newer version of the plugin can read it"
    )]
    OlderSchema {
        /// The state's name.
        name: String,
        /// What the version declares.
        asked: u32,
        /// What is stored.
        stored: u32,
    },
}

impl Store {
    /// Whether a version of `plugin` may have the states that it declares.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn check<'a>(
        &self,
        plugin: &str,
        states: impl IntoIterator<Item = &'a StateDescription>,
    ) -> Result<(), StoreError> {
        for asked in states {
            let Some(stored) = self.states.get(&key(plugin, &asked.name)) else {
                continue;
            };
            if stored.kind != asked.kind {
                return Err(StoreError::OtherKind {
                    name: asked.name.clone(),
                    asked: asked.kind.clone(),
                    stored: stored.kind.clone(),
                });
            }
            if stored.schema > asked.schema {
                return Err(StoreError::OlderSchema {
                    name: asked.name.clone(),
                    asked: asked.schema,
                    stored: stored.schema,
                });
            }
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
    fn an_older_schema_and_another_kind_are_refused() {
        let mut store = Store::default();
        store.serves("tickets", &state("numbers", 2));
        assert!(store.check("tickets", [&state("numbers", 2)]).is_ok());
        assert!(store.check("tickets", [&state("numbers", 3)]).is_ok());
        let older = store.check("tickets", [&state("numbers", 1)]).unwrap_err();
        assert!(older.to_string().contains("schema 1"), "{older}");
        let other = store.check("tickets", [&state("pool", 2)]).unwrap_err();
        assert!(other.to_string().contains("another name"), "{other}");
    }
}
