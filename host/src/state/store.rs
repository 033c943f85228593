//! The states that no lane serves at the moment, and what is known of every state.

use std::collections::HashMap;

use plugin_api::{
    description::StateDescription,
    rules::stored::{self, StoredFault},
};

use super::{
    effects::{self, Declared, StateId},
    log::RecoveredState,
    map::StateMap,
    tokens,
};

/// All states of the host, by plugin and name. While a lane serves a state, its map is with the lane.
#[derive(Debug, Default)]
pub struct Store {
    states: HashMap<(String, String), Stored>,
    /// The id that the next new state gets: no two states ever have the same.
    next_id: StateId,
}

/// A state while it is with a lane.
#[derive(Debug, Default)]
pub struct LentState {
    /// The state's id in the log.
    pub id: StateId,
    /// The state's entries.
    pub map: StateMap,
    /// The schema that it is stored with; `None` as long as no version has come to serve it.
    pub schema: Option<u32>,
}

#[derive(Debug)]
struct Stored {
    id: StateId,
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

    /// What the log had kept, and the first id that it gave to no state.
    pub fn recovered(states: Vec<RecoveredState>, next_id: StateId) -> Self {
        let states = states.into_iter().map(|state| {
            let stored = Stored {
                id: state.id,
                kind: state.kind,
                schema: state.schema,
                map: Some(state.map),
            };
            ((state.plugin, state.name), stored)
        });
        Self {
            states: states.collect(),
            next_id,
        }
    }

    /// About how much memory the states take that no lane has, in bytes.
    pub fn memory(&self) -> usize {
        let maps = self
            .states
            .values()
            .filter_map(|stored| stored.map.as_ref());
        maps.map(StateMap::memory).sum()
    }

    /// The schema that a state is stored with, if it is.
    pub fn schema(&self, plugin: &str, state: &str) -> Option<u32> {
        let stored = self.states.get(&key(plugin, state));
        stored.map(|stored| stored.schema)
    }

    /// Takes a state out for a lane that will serve it; an empty one if it is new. Checked before.
    pub fn take(&mut self, plugin: &str, state: &StateDescription) -> LentState {
        match self.states.get_mut(&key(plugin, &state.name)) {
            Some(stored) => LentState {
                id: stored.id,
                map: stored.map.take().unwrap_or_default(),
                schema: Some(stored.schema),
            },
            None => {
                let id = self.next_id;
                self.next_id.0 += 1;
                let mut map = StateMap::default();
                if let Some((key, value)) = self.begin_of(plugin, state) {
                    map.write(key, &value, |_| ());
                }
                LentState {
                    id,
                    map,
                    schema: None,
                }
            }
        }
    }

    /// Puts a state back that a lane no longer serves. One that no version ever came to serve is dropped.
    pub fn give_back(&mut self, plugin: &str, state: &StateDescription, lent: LentState) {
        if let Some(stored) = self.states.get_mut(&key(plugin, &state.name)) {
            debug_assert_eq!(stored.id, lent.id);
            stored.map = Some(lent.map);
        }
    }

    /// Notes that a version serves a state now, as the kind and schema that it declares. What was not known of it
    /// before is appended to `out`: before anything that it changes.
    pub fn serves(
        &mut self,
        plugin: &str,
        state: &StateDescription,
        id: StateId,
        out: &mut Vec<u8>,
    ) {
        let is_new = !self.states.contains_key(&key(plugin, &state.name));
        let now = Stored {
            id,
            kind: state.kind.clone(),
            schema: state.schema,
            map: None,
        };
        let before = self.states.insert(key(plugin, &state.name), now);
        let known = before.is_some_and(|before| before.schema == state.schema);
        if !known {
            let declared = Declared {
                plugin,
                name: &state.name,
                kind: &state.kind,
                schema: state.schema,
            };
            effects::declare(out, id, &declared);
        }
        if is_new && let Some((key, value)) = self.begin_of(plugin, state) {
            effects::put(out, id, key, &value);
        }
    }

    /// What a state that is new begins with: its tokens go on where those of one of its name ended that was dropped.
    fn begin_of(&self, plugin: &str, state: &StateDescription) -> Option<(&'static [u8], Vec<u8>)> {
        let kept = self
            .states
            .get(&key(tokens::HOST, &tokens::tokens_state().name))?;
        let token = tokens::kept(kept.map.as_ref()?, plugin, &state.name);
        tokens::begin(&state.kind, token)
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
            books: 0,
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was_put() {
        let mut store = Store::default();
        let hall = state("numbers", 1);
        let mut lent = store.take("tickets", &hall);
        let id = lent.id;
        lent.map.write(b"k", b"v", |_| ());
        store.serves("tickets", &hall, id, &mut Vec::new());
        store.give_back("tickets", &hall, lent);
        let other = store.take("other", &hall);
        assert_eq!(other.map, StateMap::default());
        assert_ne!(other.id, id);
        let lent = store.take("tickets", &hall);
        assert_eq!((lent.id, lent.map.read(b"k")), (id, Some(&b"v"[..])));
    }

    #[test]
    fn a_state_that_was_dropped_goes_on_with_its_tokens_also_in_the_log() {
        let mut kept = StateMap::default();
        kept.write(&tokens::key("tickets", "hall"), &tokens::value(7), |_| ());
        let described = tokens::tokens_state();
        let kept = RecoveredState {
            id: StateId(0),
            plugin: tokens::HOST.into(),
            name: described.name,
            kind: described.kind,
            schema: described.schema,
            map: kept,
        };
        let mut store = Store::recovered(vec![kept], StateId(2));
        for (plugin, token) in [("tickets", 7), ("other", 0)] {
            let hall = state("numbers", 1);
            let lent = store.take(plugin, &hall);
            assert_eq!(tokens::last("numbers", &lent.map), token);
            let mut told = Vec::new();
            store.serves(plugin, &hall, lent.id, &mut told);
            store.serves(plugin, &hall, lent.id, &mut told);
            let mut read = StateMap::default();
            for effect in effects::read(&told) {
                if let effects::Effect::Put(_, key, value) = effect.unwrap() {
                    read.write(key, value, |_| ());
                }
            }
            assert_eq!(read, lent.map);
        }
    }

    #[test]
    fn a_state_is_declared_once_and_with_each_new_schema() {
        let mut store = Store::default();
        let id = store.take("tickets", &state("numbers", 1)).id;
        let mut told = Vec::new();
        for schema in [1, 1, 2, 2] {
            store.serves("tickets", &state("numbers", schema), id, &mut told);
        }
        let schemas: Vec<u32> = effects::read(&told)
            .map(|effect| match effect.unwrap() {
                effects::Effect::Declare(_, declared) => declared.schema,
                other => panic!("declared {other:?}"),
            })
            .collect();
        assert_eq!(schemas, [1, 2]);
        assert_eq!(store.schema("tickets", "hall"), Some(2));
    }

    #[test]
    fn what_is_stored_is_compared_under_its_own_name_only() {
        let mut store = Store::default();
        store.serves("tickets", &state("numbers", 2), StateId(0), &mut Vec::new());
        assert!(store.check("tickets", [&state("numbers", 2)]).is_ok());
        assert!(store.check("tickets", [&state("numbers", 1)]).is_err());
        assert!(store.check("tickets", [&state("pool", 2)]).is_err());
        assert!(store.check("rooms", [&state("pool", 1)]).is_ok());
    }
}
