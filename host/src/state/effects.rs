//! What jobs changed, as bytes: the content of a batch in the log.
//!
//! An effect is one byte that tells its kind, then its fields. Ids and lengths are LEB128 varints. The same bytes
//! mean the same for ever: a log that was written by an older host is read by this.

use std::{fmt, str};

/// The number of a state in the log. Given once and never again, also not after the state was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub u32);

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose a state is, and what reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared<'a> {
    /// The plugin's declared name.
    pub plugin: &'a str,
    /// The state's name within the plugin.
    pub name: &'a str,
    /// What kind of state it is, in the words of plugin-api.
    pub kind: &'a str,
    /// The schema of its entries.
    pub schema: u32,
}

/// What became of an entry, or of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// There is a state, from now on as described. Its entries, if it has been there before, stay.
    Declare(StateId, Declared<'a>),
    /// The state's entry of this key has this value.
    Put(StateId, &'a [u8], &'a [u8]),
    /// The state has no entry of this key.
    Remove(StateId, &'a [u8]),
    /// An operator dropped the state. Nothing follows for its id.
    Drop(StateId),
}

/// Bytes that are no effects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at} of the effects, found {found}")]
pub struct BadEffects {
    /// Counted from the first effect.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
    /// What stands there instead.
    pub found: String,
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const DECLARE: u8 = 3;
const DROP: u8 = 4;

/// Adds that a state is from now on as described.
pub fn declare(out: &mut Vec<u8>, id: StateId, declared: &Declared<'_>) {
    out.push(DECLARE);
    varint(out, id.0.into());
    for text in [declared.plugin, declared.name, declared.kind] {
        bytes(out, text.as_bytes());
    }
    varint(out, declared.schema.into());
}

/// Adds that an entry was set.
pub fn put(out: &mut Vec<u8>, id: StateId, key: &[u8], value: &[u8]) {
    out.push(PUT);
    varint(out, id.0.into());
    bytes(out, key);
    bytes(out, value);
}

/// Adds that an entry was taken out.
pub fn remove(out: &mut Vec<u8>, id: StateId, key: &[u8]) {
    out.push(REMOVE);
    varint(out, id.0.into());
    bytes(out, key);
}

/// How many bytes [`put`] adds.
pub fn put_bytes(id: StateId, key: &[u8], value: &[u8]) -> usize {
    let value_bytes = varint_bytes(value.len() as u64) + value.len();
    remove_bytes(id, key) + value_bytes
}

/// How many bytes [`remove`] adds.
pub fn remove_bytes(id: StateId, key: &[u8]) -> usize {
    1 + varint_bytes(id.0.into()) + varint_bytes(key.len() as u64) + key.len()
}

/// Adds that an operator dropped a state.
pub fn drop_state(out: &mut Vec<u8>, id: StateId) {
    out.push(DROP);
    varint(out, id.0.into());
}

/// The effects of a batch in their order. After an error comes nothing more.
pub fn read(bytes: &[u8]) -> Effects<'_> {
    Effects {
        cursor: Cursor::new(bytes),
    }
}

/// See [`read`].
#[derive(Clone, Debug)]
pub struct Effects<'a> {
    cursor: Cursor<'a>,
}

impl Effects<'_> {
    /// Where the next effect begins.
    pub fn at(&self) -> usize {
        self.cursor.at
    }
}

impl<'a> Iterator for Effects<'a> {
    type Item = Result<Effect<'a>, BadEffects>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_at_end() {
            return None;
        }
        let effect = self.cursor.effect();
        if effect.is_err() {
            self.cursor.at = self.cursor.bytes.len();
        }
        Some(effect)
    }
}

/// Adds a number, least significant seven bits first.
pub(super) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes [`varint`] adds.
fn varint_bytes(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Adds a length and as many bytes.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what [`varint`] and [`bytes`] wrote.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn effect(&mut self) -> Result<Effect<'a>, BadEffects> {
        let begin = self.at;
        match self.byte("the kind of an effect")? {
            PUT => Ok(Effect::Put(self.state()?, self.slice()?, self.slice()?)),
            REMOVE => Ok(Effect::Remove(self.state()?, self.slice()?)),
            DECLARE => Ok(Effect::Declare(self.state()?, self.declared()?)),
            DROP => Ok(Effect::Drop(self.state()?)),
            other => Err(BadEffects {
                at: begin,
                expected: "the kind of an effect, 1 to 4",
                found: other.to_string(),
            }),
        }
    }

    pub(super) fn declared(&mut self) -> Result<Declared<'a>, BadEffects> {
        Ok(Declared {
            plugin: self.text()?,
            name: self.text()?,
            kind: self.text()?,
            schema: self.u32("a schema")?,
        })
    }

    pub(super) fn state(&mut self) -> Result<StateId, BadEffects> {
        self.u32("the id of a state").map(StateId)
    }

    pub(super) fn u32(&mut self, expected: &'static str) -> Result<u32, BadEffects> {
        let at = self.at;
        let number = self.u64(expected)?;
        u32::try_from(number).map_err(|_| BadEffects {
            at,
            expected,
            found: format!("{number}, which is no number of 32 bits"),
        })
    }

    pub(super) fn u64(&mut self, expected: &'static str) -> Result<u64, BadEffects> {
        let at = self.at;
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte(expected)?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BadEffects {
            at,
            expected,
            found: "a number of more than 64 bits".to_owned(),
        })
    }

    pub(super) fn slice(&mut self) -> Result<&'a [u8], BadEffects> {
        let length = self.u64("a length")?;
        let left = &self.bytes[self.at..];
        let slice = usize::try_from(length)
            .ok()
            .and_then(|length| left.get(..length))
            .ok_or_else(|| BadEffects {
                at: self.at,
                expected: "as many bytes as the length says",
                found: format!("{} of {length}", left.len()),
            })?;
        self.at += slice.len();
        Ok(slice)
    }

    fn text(&mut self) -> Result<&'a str, BadEffects> {
        let at = self.at;
        str::from_utf8(self.slice()?).map_err(|cause| BadEffects {
            at,
            expected: "a name",
            found: cause.to_string(),
        })
    }

    pub(super) fn byte(&mut self, expected: &'static str) -> Result<u8, BadEffects> {
        let byte = self.bytes.get(self.at).ok_or_else(|| BadEffects {
            at: self.at,
            expected,
            found: "their end".to_owned(),
        })?;
        self.at += 1;
        Ok(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALL: Declared<'_> = Declared {
        plugin: "tickets",
        name: "hall",
        kind: "numbers",
        schema: 300,
    };

    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        declare(&mut out, StateId(7), &HALL);
        put(&mut out, StateId(7), b"key", &[1; 200]);
        remove(&mut out, StateId(u32::MAX), b"");
        drop_state(&mut out, StateId(7));
        out
    }

    #[test]
    fn effects_are_read_as_they_were_written() {
        let written = written();
        let found: Vec<_> = read(&written).map(Result::unwrap).collect();
        let expected = [
            Effect::Declare(StateId(7), HALL),
            Effect::Put(StateId(7), b"key", &[1; 200]),
            Effect::Remove(StateId(u32::MAX), b""),
            Effect::Drop(StateId(7)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn effects_are_as_long_as_they_are_said_to_be() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            for id in [0, 127, 128, u32::MAX].map(StateId) {
                let (mut out, bytes) = (Vec::new(), vec![0; length]);
                put(&mut out, id, &bytes, b"value");
                assert_eq!(out.len(), put_bytes(id, &bytes, b"value"));
                out.clear();
                put(&mut out, id, b"key", &bytes);
                assert_eq!(out.len(), put_bytes(id, b"key", &bytes));
                out.clear();
                remove(&mut out, id, &bytes);
                assert_eq!(out.len(), remove_bytes(id, &bytes));
            }
        }
    }

    #[test]
    fn effects_that_are_cut_short_are_whole_ones_and_then_an_error() {
        let written = written();
        let ends: Vec<_> = {
            let mut effects = read(&written);
            std::iter::from_fn(|| effects.next().map(|_| effects.at())).collect()
        };
        for cut in 0..written.len() {
            let found: Vec<_> = read(&written[..cut]).collect();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let is_between_two = cut == 0 || ends.contains(&cut);
            assert_eq!(found.iter().filter(|effect| effect.is_ok()).count(), whole);
            assert_eq!(found.len() - whole, usize::from(!is_between_two), "{cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_effects_are_an_error_and_never_a_panic() {
        for bytes in [
            &[9][..],
            &[PUT, 0x80, 0x80, 0x80, 0x80, 0x10],
            &[
                PUT, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            &[
                PUT, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
            ],
            &[DECLARE, 0, 1, 0xff, 0, 0, 0],
        ] {
            let found: Vec<_> = read(bytes).collect();
            assert!(matches!(&found[..], [Err(_)]), "{found:?}");
        }
    }
}
