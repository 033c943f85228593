//! A state that is an ordered map, from keys that sort to whatever data the author likes.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::{StateMap, unwinding},
    description::StateDescription,
    key::{self, Key, Shown},
    migration::{self, Entry, Steps, Way},
    state::{Maps, Schemas, State},
    stored,
};

/// Every entry's key begins with it; the others are free for what a map may need beside its entries.
const ENTRY: u8 = 1;
/// Behind the keys of all entries, and never a key.
const BEHIND_ENTRIES: u8 = 2;

/// An ordered map. Each look-up costs the same whether it holds ten entries or ten million.
///
/// ```
/// use plugin_api::{Map, prelude::*};
///
/// #[derive(Deserialize)]
/// struct Put { name: String, age: u32 }
///
/// fn put(ask: Put, people: &mut Map<String, u32>) -> Answer {
///     match people.get(&ask.name) {
///         Some(age) => Err(Refusal::new("known", format!("{} is {age}", ask.name))),
///         None => {
///             people.insert(&ask.name, &ask.age);
///             Ok(())
///         }
///     }
/// }
/// ```
pub struct Map<K, V> {
    map: StateMap,
    name: String,
    schema: u32,
    /// The bytes of the key that is looked up, and the lower bound of a range. Kept for its room.
    low: Vec<u8>,
    /// The upper bound of a range.
    high: Vec<u8>,
    json: Vec<u8>,
    entry: PhantomData<fn() -> (K, V)>,
}

/// The declaration of a [`Map`].
pub struct MapState<K, V> {
    name: String,
    schema: u32,
    steps: Steps,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Serialize + DeserializeOwned> Map<K, V> {
    /// Declares a map, empty at first.
    ///
    /// ```
    /// use plugin_api::{Map, MapState};
    ///
    /// let bookings: MapState<(String, i64), u64> = Map::named("bookings").schema(2);
    /// ```
    pub fn named(name: impl Into<String>) -> MapState<K, V> {
        MapState {
            name: name.into(),
            schema: 1,
            steps: Steps::of(named::<K>),
            entry: PhantomData,
        }
    }

    /// The value of `key`.
    pub fn get(&mut self, key: &K) -> Option<V> {
        self.encode(key);
        let json = self.map.read(&self.low)?;
        let read = stored::read(json, || named::<K>(&self.low));
        or_panic(&self.name, self.schema, read)
    }

    /// Whether `key` has a value.
    pub fn contains(&mut self, key: &K) -> bool {
        self.encode(key);
        self.map.read(&self.low).is_some()
    }

    /// Sets the value of `key`; returns whether it replaced one.
    ///
    /// # Panics
    /// `value` has no JSON.
    pub fn insert(&mut self, key: &K, value: &V) -> bool {
        self.encode(key);
        stored::to_json(&self.name, value, &mut self.json) && self.map.write(&self.low, &self.json)
    }

    /// Removes `key`; returns whether it had a value.
    pub fn remove(&mut self, key: &K) -> bool {
        self.encode(key);
        self.map.remove(&self.low)
    }

    /// Removes `key` and returns the value that it had.
    pub fn take(&mut self, key: &K) -> Option<V> {
        let value = self.get(key)?;
        self.map.remove(&self.low);
        Some(value)
    }

    /// Whether it has no entry.
    pub fn is_empty(&mut self) -> bool {
        self.range(..).next_bytes().is_none()
    }

    /// The entry with the lowest key.
    pub fn first(&mut self) -> Option<(K, V)> {
        self.range(..).next()
    }

    /// The entry with the highest key.
    pub fn last(&mut self) -> Option<(K, V)> {
        self.range(..).next_back()
    }

    /// The entries whose keys lie in `keys`, rising; from its end with `.rev()`. Each step is one look-up:
    /// end early with `take` or `find` where a client decides how many there are.
    ///
    /// ```
    /// # use plugin_api::{Map, prelude::*};
    /// /// The last of a room's bookings that begins before `hour`.
    /// fn before(bookings: &mut Map<(String, i64), u64>, room: &str, hour: i64) -> Option<u64> {
    ///     let room = room.to_owned();
    ///     let mut earlier = bookings.range((room.clone(), i64::MIN)..(room, hour));
    ///     earlier.next_back().map(|(_, booking)| booking)
    /// }
    /// ```
    pub fn range(&mut self, keys: impl RangeBounds<K>) -> MapRange<'_, K, V> {
        self.low.clear();
        self.low.push(ENTRY);
        match keys.start_bound() {
            Bound::Included(key) => key.encode(&mut self.low),
            Bound::Excluded(key) => {
                key.encode(&mut self.low);
                self.low.push(0);
            }
            Bound::Unbounded => {}
        }
        self.high.clear();
        self.high.push(ENTRY);
        match keys.end_bound() {
            Bound::Included(key) => key.encode(&mut self.high),
            Bound::Excluded(key) => {
                key.encode(&mut self.high);
                key::step_below(&mut self.high);
            }
            Bound::Unbounded => self.high[0] = BEHIND_ENTRIES,
        }
        MapRange { map: self }
    }

    /// Leads all entries to the schema of this version, and sees that it can read each of them.
    fn migrate(&mut self, way: &Way<'_>) -> Result<(), String> {
        let mut moved = BTreeMap::new();
        let mut from = vec![ENTRY];
        while let Some((key, json)) = self.map.at_or_after(&from)
            && key.first() == Some(&ENTRY)
        {
            let (key, json) = (key.to_vec(), json.to_vec());
            from.clone_from(&key);
            from.push(0);
            let new = way.lead(Entry {
                key: key.clone(),
                json: json.clone(),
            })?;
            if let Some(new) = &new {
                let read = decode::<K, V>(&new.key, &new.json);
                read.map_err(|text| {
                    let remedy = way.remedy(None);
                    format!(
                        "state `{}`: after its migration {text}; {remedy}",
                        self.name
                    )
                })?;
            }
            match new {
                Some(new) if way.moves() => {
                    self.map.remove(&key);
                    if let Some((other, _)) = moved.insert(new.key, (key.clone(), new.json)) {
                        return Err(format!(
                            "state `{}`: {} and {} come to the same key by their migration: leave one of them out with \
                             `Ok(None)`, or put what tells them apart into the key",
                            self.name,
                            way.entry(&other),
                            way.entry(&key)
                        ));
                    }
                }
                Some(new) if new.json == json => {}
                Some(new) => drop(self.map.write(&key, &new.json)),
                None => drop(self.map.remove(&key)),
            }
        }
        for (key, (_, json)) in moved {
            self.map.write(&key, &json);
        }
        Ok(())
    }

    fn encode(&mut self, key: &K) {
        self.low.clear();
        self.low.push(ENTRY);
        key.encode(&mut self.low);
    }
}

/// Entries of a [`Map`] between two bounds, looked up one by one. See [`Map::range`].
pub struct MapRange<'a, K, V> {
    /// Its `low` and `high` are the bounds of what is still to come, both included.
    map: &'a mut Map<K, V>,
}

impl<K: Key, V: DeserializeOwned> MapRange<'_, K, V> {
    fn next_bytes(&mut self) -> Option<(&[u8], &[u8])> {
        let Map { map, low, high, .. } = &mut *self.map;
        let (key, value) = map.at_or_after(low)?;
        if key > &high[..] {
            return None;
        }
        low.clear();
        low.extend_from_slice(key);
        low.push(0);
        Some((key, value))
    }

    fn next_back_bytes(&mut self) -> Option<(&[u8], &[u8])> {
        let Map { map, low, high, .. } = &mut *self.map;
        let (key, value) = map.at_or_before(high)?;
        if key < &low[..] {
            return None;
        }
        high.clear();
        high.extend_from_slice(key);
        key::step_below(high);
        Some((key, value))
    }
}

impl<K: Key, V: DeserializeOwned> Iterator for MapRange<'_, K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        let entry = self.next_bytes().map(|(key, json)| decode(key, json))?;
        or_panic(&self.map.name, self.map.schema, entry)
    }
}

impl<K: Key, V: DeserializeOwned> DoubleEndedIterator for MapRange<'_, K, V> {
    fn next_back(&mut self) -> Option<(K, V)> {
        let entry = self
            .next_back_bytes()
            .map(|(key, json)| decode(key, json))?;
        or_panic(&self.map.name, self.map.schema, entry)
    }
}

fn decode<K: Key, V: DeserializeOwned>(bytes: &[u8], json: &[u8]) -> Result<(K, V), String> {
    match decode_key(bytes) {
        Some(key) => Ok((key, stored::read(json, || named::<K>(bytes))?)),
        None => Err(format!(
            "{} cannot be read under a key of {}",
            named::<K>(bytes),
            std::any::type_name::<K>()
        )),
    }
}

fn decode_key<K: Key>(bytes: &[u8]) -> Option<K> {
    let mut rest = bytes.get(1..)?;
    K::decode(&mut rest).filter(|_| rest.is_empty())
}

/// Names an entry for people, by its key as it is stored.
fn named<K: Key>(bytes: &[u8]) -> String {
    match decode_key::<K>(bytes) {
        Some(key) => format!("the entry of {}", Shown(&key)),
        None => format!("the entry stored at key {}", stored::Bytes(bytes)),
    }
}

/// What is stored was checked when the state was set up, but not every entry: a job must not go on without it.
fn or_panic<T>(name: &str, schema: u32, read: Result<T, String>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(_) if unwinding() => None,
        Err(text) => panic!(
            "state `{name}`: {text}; {}",
            stored::remedy(Some((schema, schema)))
        ),
    }
}

impl<K, V> MapState<K, V> {
    /// The version of what is stored, 1 at first. An older one than the stored is refused.
    #[must_use]
    pub fn schema(self, schema: u32) -> Self {
        Self { schema, ..self }
    }

    /// Says how the value of each entry of schema `from` becomes that of the next one. Steps follow one another: from 1
    /// to 2, from 2 to 3, until the declared schema is reached. Where one fails or panics, the version is refused and
    /// nothing has changed.
    ///
    /// ```
    /// # use plugin_api::{Map, MapState, prelude::*};
    /// #[derive(Serialize, Deserialize)]
    /// struct Booking { guest: String, nights: u32 }
    ///
    /// /// By room. At first they were names only.
    /// fn bookings() -> MapState<u64, Booking> {
    ///     Map::named("bookings").schema(2).migrate(1, |guest: String| match guest.is_empty() {
    ///         true => Err("a booking without a guest".to_owned()),
    ///         false => Ok(Booking { guest, nights: 1 }),
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn migrate<Old, New>(
        mut self,
        from: u32,
        step: impl Fn(Old) -> Result<New, String> + Send + Sync + 'static,
    ) -> Self
    where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        self.steps.add(from, step);
        self
    }

    /// The same for a step that changes keys as well, or drops entries, with `None`. No two entries may come to the same
    /// key. All of the map is in memory a second time meanwhile.
    ///
    /// ```
    /// # use plugin_api::{Map, MapState};
    /// /// By room and night. At first by room only, and empty where nobody had booked.
    /// fn guests() -> MapState<(u64, u64), String> {
    ///     Map::named("guests").schema(2).migrate_entries(1, |room: u64, guest: Option<String>| {
    ///         Ok(guest.map(|guest| ((room, 0_u64), guest)))
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn migrate_entries<OldKey, Old, NewKey, New>(
        mut self,
        from: u32,
        step: impl Fn(OldKey, Old) -> Result<Option<(NewKey, New)>, String> + Send + Sync + 'static,
    ) -> Self
    where
        OldKey: Key,
        Old: DeserializeOwned,
        NewKey: Key,
        New: Serialize + DeserializeOwned,
    {
        self.steps.add_moving(from, named::<OldKey>, move |entry| {
            let (key, old) = decode(&entry.key, &entry.json)?;
            let Some((key, new)) = step(key, old)? else {
                return Ok(None);
            };
            let mut bytes = vec![ENTRY];
            key.encode(&mut bytes);
            let json = migration::to_json(&new);
            Ok(Some(Entry { key: bytes, json }))
        });
        self
    }
}

impl<K: Key, V: Serialize + DeserializeOwned + 'static> State for MapState<K, V> {
    type Handle = Map<K, V>;

    fn describe(&self) -> Vec<StateDescription> {
        vec![StateDescription {
            name: self.name.clone(),
            kind: "map".to_owned(),
            schema: self.schema,
            books: 0,
        }]
    }

    fn open(&self, maps: &mut Maps) -> Map<K, V> {
        Map {
            map: maps.take(),
            name: self.name.clone(),
            schema: self.schema,
            low: Vec::new(),
            high: Vec::new(),
            json: Vec::new(),
            entry: PhantomData,
        }
    }

    fn setup(&self, map: &mut Map<K, V>, stored: &mut Schemas) -> Result<(), String> {
        let stored = stored.next();
        let way = self.steps.way(&self.name, stored, self.schema)?;
        if !way.is_empty() {
            return map.migrate(&way);
        }
        stored::check_first(&mut map.map, ENTRY, |key, json| {
            decode::<K, V>(key, json).map(|_| ())
        })
        .map_err(|text| format!("state `{}`: {text}; {}", self.name, way.remedy(stored)))
    }
}

#[cfg(test)]
mod tests;
