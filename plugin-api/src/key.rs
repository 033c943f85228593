//! Keys of a [`Map`](crate::Map) as bytes that sort as the keys do.
//!
//! Invariants, on which ranges rest: bytes compare as the keys; no key's bytes begin with all of another's;
//! and the bytes end either with a whole number or with the 0 that closes a text, which comes nowhere else in
//! it unescaped.

use std::fmt::{self, Display, Formatter};

/// A type that can be the key of a [`Map`](crate::Map): `u64`, `i64`, `u128`, `i128`, `String`, and tuples of
/// two or three of them, which sort by their first part, then by the next.
///
/// Not for authors to implement: what is stored has to sort right for ever.
pub trait Key: Ord + Send + 'static {
    /// Appends the key's bytes.
    #[doc(hidden)]
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Shows the key to people.
    #[doc(hidden)]
    fn show(&self, f: &mut Formatter<'_>) -> fmt::Result;

    /// Takes the key off the front of `bytes`. `None`: these are no bytes of such a key.
    #[doc(hidden)]
    fn decode(bytes: &mut &[u8]) -> Option<Self>
    where
        Self: Sized;
}

macro_rules! number {
    ($signed:ty, $unsigned:ty) => {
        impl Key for $unsigned {
            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_be_bytes());
            }

            fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
                self.fmt(f)
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*number))
            }
        }

        impl Key for $signed {
            fn encode(&self, bytes: &mut Vec<u8>) {
                // With the sign bit turned over, the negative ones come before the others.
                (self.cast_unsigned() ^ Self::MIN.cast_unsigned()).encode(bytes);
            }

            fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
                self.fmt(f)
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let number = <$unsigned>::decode(bytes)?;
                Some((number ^ Self::MIN.cast_unsigned()).cast_signed())
            }
        }
    };
}
number!(i64, u64);
number!(i128, u128);

/// Closes a text, so that a shorter one comes before those that go on, whatever part of a tuple follows.
const CLOSE: u8 = 0;
/// Comes before a 0 or 1 of the text itself, which becomes 1 or 2: above [`CLOSE`], and in order.
const ESCAPE: u8 = 1;

impl Key for String {
    fn encode(&self, bytes: &mut Vec<u8>) {
        for &byte in self.as_bytes() {
            if byte <= ESCAPE {
                bytes.extend_from_slice(&[ESCAPE, byte + 1]);
            } else {
                bytes.push(byte);
            }
        }
        bytes.push(CLOSE);
    }

    fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.char_indices().nth(SHOWN_CHARS_MAX) {
            None => write!(f, "{self:?}"),
            Some((end, _)) => write!(f, "{:?}…", &self[..end]),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let close = bytes.iter().position(|&byte| byte == CLOSE)?;
        let mut text = Vec::with_capacity(close);
        let mut escaped = false;
        for &byte in &bytes[..close] {
            match byte {
                1 | 2 if escaped => {
                    text.push(byte - 1);
                    escaped = false;
                }
                _ if escaped => return None,
                ESCAPE => escaped = true,
                _ => text.push(byte),
            }
        }
        *bytes = &bytes[close + 1..];
        (!escaped).then(|| Self::from_utf8(text).ok())?
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.0.encode(bytes);
        self.1.encode(bytes);
    }

    fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", Shown(&self.0), Shown(&self.1))
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::decode(bytes)?, B::decode(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.0.encode(bytes);
        self.1.encode(bytes);
        self.2.encode(bytes);
    }

    fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (a, b, c) = self;
        write!(f, "({}, {}, {})", Shown(a), Shown(b), Shown(c))
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::decode(bytes)?, B::decode(bytes)?, C::decode(bytes)?))
    }
}

/// Characters of a text that are shown.
const SHOWN_CHARS_MAX: usize = 64;

/// A key as people read it.
pub(crate) struct Shown<'a, K>(pub(crate) &'a K);

impl<K: Key> Display for Shown<'_, K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

/// Makes of a key's bytes the greatest bytes below them that could be a key's: a map's bound without the key.
///
/// A closing 0 is cut off, because nothing lies between a text and the same with a 0 behind it. Of a number's
/// last byte one is taken; whatever were to follow that number would go on behind a whole key.
pub(crate) fn step_below(bytes: &mut Vec<u8>) {
    match bytes.last_mut() {
        Some(0) | None => {
            bytes.pop();
        }
        Some(last) => *last -= 1,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn bytes<K: Key>(key: &K) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        bytes
    }

    /// All that ranges rest on, for two keys.
    fn check<K: Key + Debug>(a: &K, b: &K) -> Result<(), TestCaseError> {
        let (low, high) = (bytes(a), bytes(b));
        prop_assert_eq!(low.cmp(&high), a.cmp(b));
        prop_assert_eq!(a == b, high.starts_with(&low));

        let mut rest = &low[..];
        let decoded = K::decode(&mut rest);
        prop_assert_eq!(decoded.as_ref(), Some(a));
        prop_assert!(rest.is_empty());

        let mut below = high.clone();
        step_below(&mut below);
        prop_assert_eq!(low <= below, a < b);
        Ok(())
    }

    /// Of few letters, so that beginnings in common, closing and escaped bytes are frequent.
    fn text() -> impl Strategy<Value = String> {
        "[\u{0}\u{1}\u{2}\u{3}aé]{0,4}"
    }

    fn signed() -> impl Strategy<Value = i64> {
        prop_oneof![
            -3..3_i64,
            250..260_i64,
            Just(i64::MIN),
            Just(i64::MAX),
            any::<i64>()
        ]
    }

    #[test]
    fn keys_are_shown_as_they_are_written() {
        let shown = |key: (String, i64, u64)| Shown(&key).to_string();
        assert_eq!(shown(("blue".into(), -7, 7)), r#"("blue", -7, 7)"#);
        assert_eq!(
            shown(("\u{1b}[2J\u{202e}".into(), 0, 0)),
            r#"("\u{1b}[2J\u{202e}", 0, 0)"#
        );
        let long = Shown(&("é".repeat(SHOWN_CHARS_MAX + 1), 1_u64)).to_string();
        assert_eq!(long, format!("(\"{}\"…, 1)", "é".repeat(SHOWN_CHARS_MAX)));
    }

    proptest! {
        #[test]
        fn numbers_sort_as_they_are(a: u64, b: u64, c in 250..260_u64, d in 250..260_u64) {
            check(&a, &b)?;
            check(&c, &d)?;
        }

        #[test]
        fn signed_numbers_sort_as_they_are(a in signed(), b in signed()) {
            check(&a, &b)?;
            check(&i128::from(a), &i128::from(b))?;
            check(&(i128::from(a) << 64), &(i128::from(b) << 64))?;
        }

        #[test]
        fn texts_sort_as_they_are(a in text(), b in text()) {
            check(&a, &b)?;
        }

        #[test]
        fn pairs_sort_by_their_first_part(
            a in (text(), signed()), b in (text(), signed()),
            c in (0..3_u64, text()), d in (0..3_u64, text()),
        ) {
            check(&a, &b)?;
            check(&c, &d)?;
        }

        #[test]
        fn triples_sort_by_their_parts_in_turn(
            a in (text(), text(), 0..3_u64), b in (text(), text(), 0..3_u64),
        ) {
            check(&a, &b)?;
        }

        #[test]
        fn whatever_is_stored_is_read_or_refused(garbage: Vec<u8>) {
            let mut rest = &garbage[..];
            if let Some(key) = <(String, i64)>::decode(&mut rest) {
                prop_assert_eq!(&garbage[..garbage.len() - rest.len()], &bytes(&key)[..]);
            }
        }
    }
}
