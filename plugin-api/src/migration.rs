//! The way from what an older version stored to what this one reads: steps of the author's, one for each schema, each
//! from the data of an entry to that of the next schema. What goes from step to step is JSON.
//!
//! A step runs while the state is opened, inside the transaction of the opening: the first that fails, or panics, takes
//! back all that those before it have changed, and the version is refused.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    log_bridge::{guarded, panic_text},
    stored,
};

/// What is stored under one key.
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) json: Vec<u8>,
}

/// Of one entry; `None` drops it.
type Step = dyn Fn(Entry) -> Result<Option<Entry>, String> + Send + Sync;

/// Names the entry that is stored under a key, for people.
pub(crate) type Name = fn(&[u8]) -> String;

/// All steps that a state declares.
pub(crate) struct Steps {
    /// Of the entries as this version has them.
    entry: Name,
    /// Of the entries as they are before a step that changes keys, by the schema that it begins with.
    entry_before: BTreeMap<u32, Name>,
    /// By the schema that each begins with.
    steps: BTreeMap<u32, Box<Step>>,
    /// A schema that two steps begin with.
    twice: Option<u32>,
    /// One of them changes keys, or drops entries.
    moves: bool,
}

/// The steps from the stored schema to the declared one. None: what is stored stays as it is.
pub(crate) struct Way<'a> {
    name: &'a str,
    /// Of the state as it is declared.
    schema: u32,
    /// Of the entries as they are stored.
    entry: Name,
    steps: Vec<(u32, &'a Step)>,
    moves: bool,
}

/// Of the resources of a pool.
impl Default for Steps {
    fn default() -> Self {
        Self::of(stored::resource)
    }
}

impl Steps {
    /// None yet, of a state whose entries are named like this.
    pub(crate) fn of(entry: Name) -> Self {
        Self {
            entry,
            entry_before: BTreeMap::new(),
            steps: BTreeMap::new(),
            twice: None,
            moves: false,
        }
    }

    /// Adds a step that changes the data and leaves the key.
    pub(crate) fn add<Old, New>(
        &mut self,
        from: u32,
        step: impl Fn(Old) -> Result<New, String> + Send + Sync + 'static,
    ) where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        self.add_step(from, move |entry| {
            let old = stored::read(&entry.json, || "what is stored".to_owned())?;
            let json = to_json(&step(old)?);
            let key = entry.key;
            Ok(Some(Entry { key, json }))
        });
    }

    /// Adds a step that may change the key as well, or drop the entry. `entry` names those that it gets.
    pub(crate) fn add_moving(
        &mut self,
        from: u32,
        entry: Name,
        step: impl Fn(Entry) -> Result<Option<Entry>, String> + Send + Sync + 'static,
    ) {
        self.moves = true;
        self.entry_before.insert(from, entry);
        self.add_step(from, step);
    }

    fn add_step(
        &mut self,
        from: u32,
        step: impl Fn(Entry) -> Result<Option<Entry>, String> + Send + Sync + 'static,
    ) {
        if self.steps.insert(from, Box::new(step)).is_some() {
            self.twice = Some(from);
        }
    }

    /// From the `stored` schema, if there is one, to the one that the state `name` is declared with.
    ///
    /// # Errors
    /// The steps do not fit together, which is said of a new state, too: then the trial of the version shows it.
    pub(crate) fn way<'a>(
        &'a self,
        name: &'a str,
        stored: Option<u32>,
        schema: u32,
    ) -> Result<Way<'a>, String> {
        if let Some(from) = self.twice {
            return Err(format!(
                "state `{name}`: two steps begin with schema {from}: leave one of them out"
            ));
        }
        if let Some((last, _)) = self.steps.last_key_value()
            && *last >= schema
        {
            return Err(format!(
                "state `{name}` has schema {schema}, and a step begins with schema {last}: expected steps from older \
                 schemas only; declare the state with `.schema({})`",
                last.saturating_add(1)
            ));
        }
        let mut steps = Vec::new();
        // Without any step the data of both schemas is the same: it is opened as it is.
        let from = stored.filter(|_| !self.steps.is_empty());
        for from in from.unwrap_or(schema)..schema {
            let step = self.steps.get(&from).ok_or_else(|| {
                format!(
                    "state `{name}`: what is stored has schema {}, this version reads schema {schema}, and no step \
                     leads from schema {from} to {}: add `.migrate({from}, …)`",
                    stored.unwrap_or_default(),
                    from + 1
                )
            })?;
            steps.push((from, &**step));
        }
        let moved = self.entry_before.range(from.unwrap_or(schema)..).next();
        Ok(Way {
            name,
            schema,
            entry: moved.map_or(self.entry, |(_, entry)| *entry),
            moves: self.moves,
            steps,
        })
    }
}

impl Way<'_> {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether entries may change their keys.
    pub(crate) fn moves(&self) -> bool {
        self.moves
    }

    /// What to do where this version's type cannot read what is there now; `stored` is the schema that it had before.
    pub(crate) fn remedy(&self, stored: Option<u32>) -> String {
        match self.is_empty() {
            true => stored::remedy(Some((stored.unwrap_or(self.schema), self.schema))),
            false => "the last step has to give what this version reads".to_owned(),
        }
    }

    /// Names an entry that is stored, for people.
    pub(crate) fn entry(&self, key: &[u8]) -> String {
        (self.entry)(key)
    }

    /// Leads one entry all the way; `None`: it is dropped.
    ///
    /// # Errors
    /// What a step said, with the place where it said so.
    pub(crate) fn lead(&self, entry: Entry) -> Result<Option<Entry>, String> {
        let key = entry.key.clone();
        let mut entry = Some(entry);
        for (from, step) in &self.steps {
            let Some(before) = entry else { break };
            let done = guarded(|| step(before));
            let done =
                done.unwrap_or_else(|payload| Err(format!("panicked: {}", panic_text(payload))));
            entry = done.map_err(|text| {
                format!(
                    "state `{}`: {} cannot be migrated from schema {from} to {}: {text}",
                    self.name,
                    self.entry(&key),
                    from + 1
                )
            })?;
        }
        Ok(entry)
    }
}

/// The JSON of what a step made. A panic here is one of the step.
pub(crate) fn to_json<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    let mut json = Vec::new();
    let _ = stored::to_json("migrated", value, &mut json);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry {
        let mut key = vec![16];
        key.extend(7_u64.to_be_bytes());
        Entry {
            key,
            json: json.into(),
        }
    }

    fn steps() -> Steps {
        let mut steps = Steps::default();
        steps.add(1, |old: u64| Ok(format!("{old}")));
        steps.add(2, |old: String| match old.as_str() {
            "7" => Err("seven is sold".to_owned()),
            "8" => panic!("eight"),
            _ => Ok((old, true)),
        });
        steps
    }

    #[test]
    fn steps_are_taken_one_after_another_from_the_stored_schema_on() {
        let steps = steps();
        for (stored, before) in [(1, "5"), (2, r#""5""#)] {
            let way = steps.way("hall", Some(stored), 3).unwrap();
            let after = way.lead(entry(before)).unwrap().unwrap();
            assert_eq!(after.json, br#"["5",true]"#);
        }
        for stored in [None, Some(3)] {
            assert!(steps.way("hall", stored, 3).unwrap().is_empty());
        }
    }

    #[test]
    fn a_step_that_fails_or_panics_is_told_with_its_place_and_its_words() {
        let steps = steps();
        let way = steps.way("hall", Some(1), 3).unwrap();
        let told = |json| way.lead(entry(json)).map(|_| ()).unwrap_err();
        let place = "state `hall`: resource 7 cannot be migrated from schema ";
        assert_eq!(told("7"), format!("{place}2 to 3: seven is sold"));
        let panicked = format!("{place}2 to 3: panicked: eight");
        assert!(told("8").starts_with(&panicked), "{}", told("8"));
        assert!(told("[]").starts_with(&format!(
            "{place}1 to 2: what is stored cannot be read as u64: invalid type: sequence"
        )));
    }

    #[test]
    fn steps_that_do_not_fit_together_are_refused_and_no_steps_at_all_are_not() {
        let steps = steps();
        let refused = |steps: &Steps, stored, schema| {
            let way = steps.way("hall", stored, schema);
            way.map(|_| ()).unwrap_err()
        };
        let missing = refused(&steps, Some(1), 5);
        assert!(
            missing.contains("from schema 3 to 4: add `.migrate(3"),
            "{missing}"
        );
        let late = refused(&steps, None, 2);
        assert!(late.contains("`.schema(3)`"), "{late}");
        let mut twice = Steps::default();
        twice.add(1, |old: u64| Ok(old));
        twice.add(1, |old: u64| Ok(old));
        assert!(refused(&twice, None, 2).contains("two steps begin with schema 1"));
        assert!(Steps::default().way("hall", Some(1), 5).unwrap().is_empty());
    }
}
