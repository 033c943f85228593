//! A state that is one value of the author's: a setting that clients change, a total, a list that stays short.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::{StateMap, unwinding},
    description::StateDescription,
    migration::{Entry, Steps},
    state::{Maps, Schemas, State},
    stored,
};

const KEY: [u8; 1] = [1];

/// One value. Each change writes all of it: what grows belongs into a [`Map`](crate::Map).
///
/// ```
/// use plugin_api::{Value, prelude::*};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Total { served: u64 }
///
/// fn serve(total: &mut Value<Total>) -> Answer<Total> {
///     total.update(|total| total.served += 1);
///     Ok(total.get())
/// }
/// ```
pub struct Value<T> {
    map: StateMap,
    name: String,
    json: Vec<u8>,
    value: PhantomData<fn() -> T>,
}

/// The declaration of a [`Value`].
pub struct ValueState<T> {
    name: String,
    schema: u32,
    steps: Steps,
    value: PhantomData<fn() -> T>,
}

impl<T: Default + Serialize + DeserializeOwned> Value<T> {
    /// Declares a value, which is `T::default()` at first.
    ///
    /// ```
    /// let total: plugin_api::ValueState<u64> = plugin_api::Value::named("total").schema(2);
    /// ```
    pub fn named(name: impl Into<String>) -> ValueState<T> {
        ValueState {
            name: name.into(),
            schema: 1,
            steps: Steps::of(named),
            value: PhantomData,
        }
    }

    /// The value.
    pub fn get(&mut self) -> T {
        match self.read() {
            Ok(value) => value,
            Err(_) if unwinding() => T::default(),
            Err(text) => panic!("state `{}`: {text}", self.name),
        }
    }

    /// Replaces the value.
    ///
    /// # Panics
    /// `value` has no JSON.
    pub fn set(&mut self, value: &T) {
        if stored::to_json(&self.name, value, &mut self.json) {
            self.map.write(&KEY, &self.json);
        }
    }

    /// Changes the value in place and returns what `change` does.
    ///
    /// # Panics
    /// The changed value has no JSON.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.get();
        let result = change(&mut value);
        self.set(&value);
        result
    }

    fn read(&mut self) -> Result<T, String> {
        match self.map.read(&KEY) {
            Some(json) => stored::read(json, || named(&KEY)),
            None => Ok(T::default()),
        }
    }
}

/// Names the one entry for people.
fn named(_: &[u8]) -> String {
    "what it holds".to_owned()
}

impl<T> ValueState<T> {
    /// The version of what is stored, 1 at first. An older one than the stored is refused.
    #[must_use]
    pub fn schema(self, schema: u32) -> Self {
        Self { schema, ..self }
    }

    /// Says how the value of schema `from` becomes that of the next one. Steps follow one another: from 1 to 2, from 2 to
    /// 3, until the declared schema is reached. Where one fails or panics, the version is refused and nothing has changed.
    ///
    /// ```
    /// use plugin_api::{Value, ValueState};
    ///
    /// /// How many were served; at first only whether any was.
    /// let total: ValueState<u64> = Value::named("total")
    ///     .schema(2)
    ///     .migrate(1, |any: bool| Ok(u64::from(any)));
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
}

impl<T: Default + Serialize + DeserializeOwned + 'static> State for ValueState<T> {
    type Handle = Value<T>;

    fn describe(&self) -> Vec<StateDescription> {
        vec![StateDescription {
            name: self.name.clone(),
            kind: "value".to_owned(),
            schema: self.schema,
            books: 0,
        }]
    }

    fn open(&self, maps: &mut Maps) -> Value<T> {
        Value {
            map: maps.take(),
            name: self.name.clone(),
            json: Vec::new(),
            value: PhantomData,
        }
    }

    fn setup(&self, value: &mut Value<T>, stored: &mut Schemas) -> Result<(), String> {
        let stored = stored.next();
        let way = self.steps.way(&self.name, stored, self.schema)?;
        if !way.is_empty()
            && let Some(json) = value.map.read(&KEY).map(<[u8]>::to_vec)
            && let Some(new) = way.lead(Entry {
                key: KEY.to_vec(),
                json,
            })?
        {
            value.map.write(&KEY, &new.json);
        }
        let read = value.read().map(|_| ());
        read.map_err(|text| format!("state `{}`: {text}; {}", self.name, way.remedy(stored)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryHost, Opened};

    #[test]
    fn it_begins_with_the_default_and_stays_over_a_reload() {
        let mut total = Opened::new(&MemoryHost::new(), Value::<u64>::named("total"));
        assert_eq!(total.get(), 0);
        total.set(&4);
        assert_eq!(total.update(|total| std::mem::replace(total, 5)), 4);
        let mut total = Opened::new(&total.host, Value::<u64>::named("total"));
        assert_eq!(total.get(), 5);
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_name() {
        let mut total = Opened::new(&MemoryHost::new(), Value::<u64>::named("total"));
        total.set(&4);
        let opened = Opened::try_new(&total.host, Value::<String>::named("total"));
        let text = opened.err().unwrap();
        assert!(
            text.starts_with(
                "state `total`: what it holds cannot be read as alloc::string::String: invalid type: integer `4`, \
                 expected a string; the type has changed"
            ) && text.contains("`.schema(2).migrate(1, …)`"),
            "{text}"
        );
    }

    #[test]
    fn a_value_of_an_older_schema_is_migrated() {
        let next = || {
            let next = Value::<Vec<u64>>::named("total").schema(2);
            next.migrate(1, |old: u64| Ok(vec![old]))
        };
        let mut total = Opened::new(&MemoryHost::new(), Value::<u64>::named("total"));
        let mut unset = Opened::migrated(&total.host, next(), 1).unwrap();
        assert_eq!(unset.get(), [0; 0], "it has never been set");
        total.set(&4);
        let mut total = Opened::migrated(&total.host, next(), 1).unwrap();
        assert_eq!(total.get(), [4]);
        let mut total = Opened::migrated(&total.host, next(), 2).unwrap();
        assert_eq!(total.get(), [4], "once");
    }

    #[test]
    fn floats_come_back_as_they_are() {
        let mut value = Opened::new(&MemoryHost::new(), Value::<f64>::named("value"));
        for float in [
            0.1 + 0.2,
            f64::MIN_POSITIVE,
            f64::MAX,
            1.0000000000000002,
            8.41e21,
        ] {
            value.set(&float);
            assert_eq!(value.get().to_bits(), float.to_bits());
        }
    }

    #[test]
    #[should_panic(
        expected = "state `value`: a value of type alloc::vec::Vec<core::option::Option<f32>> cannot be stored"
    )]
    fn what_is_not_a_number_is_not_stored() {
        let mut value = Opened::new(&MemoryHost::new(), Value::named("value"));
        value.set(&vec![None, Some(f32::MAX)]);
        assert_eq!(value.get(), [None, Some(f32::MAX)]);
        value.set(&vec![Some(f32::NAN)]);
    }

    #[test]
    fn what_cannot_be_read_again_is_noted_where_somebody_asks() {
        #[derive(Default, serde::Serialize, serde::Deserialize)]
        #[allow(dead_code, reason = "only stored")]
        struct Lossy {
            #[serde(skip_serializing)]
            lost: u8,
        }
        let mut value = Opened::new(&MemoryHost::new(), Value::<Lossy>::named("value"));
        let ((), unreadable) = crate::read_back::watched(|| value.set(&Lossy { lost: 1 }));
        let text = &unreadable[0];
        assert!(
            text.contains("state `value`: ") && text.contains("missing field `lost`"),
            "{text}"
        );
    }
}
