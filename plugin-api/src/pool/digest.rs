//! What the books of a pool rest on: which code wrote them, and which configuration they were brought in line
//! with. As long as it is the same, a reload reads a handful of entries instead of all, however many there are.
//!
//! One record of the state's map holds a digest of each. A digest that differs, or a record that cannot be
//! read, costs a walk through everything and nothing else.

use std::hash::Hasher as _;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use crate::context::StateMap;

const KEY: [u8; 1] = [6];

/// Of what plugin-api stores for a pool. To be raised with every change to that.
const LAYOUT: u8 = 4;

/// Digests, as of the last setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// Of the code that wrote the entries.
    pub(super) code: u64,
    /// Of what the configuration named.
    pub(super) configured: u64,
}

impl Digest {
    /// What the state rests on. `None`: it is new, or nothing of the kind is known.
    pub(super) fn read(map: &mut StateMap) -> Option<Self> {
        let record: &[u8; 17] = map.read(&KEY)?.try_into().ok()?;
        let number = |at| Some(u64::from_be_bytes(*record[at..].first_chunk()?));
        (record[0] == LAYOUT).then_some(())?;
        Some(Self {
            code: number(1)?,
            configured: number(9)?,
        })
    }

    pub(super) fn write(self, map: &mut StateMap) {
        let mut record = [LAYOUT; 17];
        record[1..9].copy_from_slice(&self.code.to_be_bytes());
        record[9..].copy_from_slice(&self.configured.to_be_bytes());
        map.write(&KEY, &record);
    }
}

/// Of plugin-api, which keeps the books of every pool.
pub(super) fn of_books() -> u64 {
    of([env!("CARGO_PKG_VERSION").as_bytes()])
}

/// Of the code that reads and writes a `T`: plugin-api, this version of the plugin, and the type's name, size
/// and fields, so that most changes of a type show also where its author left the version as it was.
pub(super) fn of_type<T: DeserializeOwned>(plugin_version: &str) -> u64 {
    let mut shape = Vec::new();
    // It ends with an error in any case: the shape is asked for, and no value is there.
    let _ = T::deserialize(Shape(&mut shape));
    of([
        env!("CARGO_PKG_VERSION").as_bytes(),
        plugin_version.as_bytes(),
        std::any::type_name::<T>().as_bytes(),
        &size_of::<T>().to_be_bytes(),
        shape.join(",").as_bytes(),
    ])
}

/// SipHash 2-4, because it is stored: the hasher that replaced this one in the standard library may become
/// another with any release. Data comes from clients, and a simpler hash would let them make it collide.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    #[expect(deprecated, reason = "the one hasher of std that stays what it is")]
    let mut hasher = std::hash::SipHasher::new_with_keys(0x726d_2d68_6f73_7400, 0x706f_6f6c);
    hasher.write(bytes);
    hasher.finish()
}

/// Of parts, which may not flow into one another.
pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&hash(part).to_be_bytes());
    }
    hash(&all)
}

/// Notes which fields or variants a type asks for, and has no value to give.
struct Shape<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Shape<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only its shape was asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(variants);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}
