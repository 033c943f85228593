//! Reading a request's payload as what the jobber's function takes.

use std::{any::TypeId, borrow::Cow};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Visitor,
        value::{Error, MapDeserializer, UnitDeserializer},
    },
    forward_to_deserialize_any,
};

use crate::jobber::{RawJson, Refusal};

/// How much of what serde says is passed on, in characters.
const CAUSE_CHARS_MAX: usize = 300;

/// What a jobber's function may take as its payload: any serde type, [`RawJson`], or `()` for a jobber that
/// ignores what comes.
pub trait Payload: Sized {
    /// Reads it from JSON text; empty text stands for an absent payload.
    ///
    /// # Errors
    /// `bad_payload`, naming the field, what was expected and what came.
    #[doc(hidden)]
    fn read(json: &[u8]) -> Result<Self, Refusal>;
}

impl<T: DeserializeOwned + 'static> Payload for T {
    fn read(json: &[u8]) -> Result<Self, Refusal> {
        if TypeId::of::<T>() == TypeId::of::<()>() {
            return T::deserialize(UnitDeserializer::<Error>::new())
                .map_err(|error| Refusal::bad_payload(error.to_string()));
        }
        match Placeholder::of(json) {
            Some(placeholder) => read_with_path(placeholder),
            None => serde_json::from_slice(json).or_else(|_| {
                // Only a payload that failed pays for finding out where.
                let mut json = serde_json::Deserializer::from_slice(json);
                read_with_path(&mut json)
            }),
        }
    }
}

impl Payload for RawJson {
    fn read(json: &[u8]) -> Result<Self, Refusal> {
        match std::str::from_utf8(json) {
            Ok("") => Ok(Self("null".to_owned())),
            Ok(text) => Ok(Self(text.to_owned())),
            Err(error) => Err(Refusal::bad_payload(format!(
                "the payload is not UTF-8: {error}"
            ))),
        }
    }
}

fn read_with_path<'de, T, D>(deserializer: D) -> Result<T, Refusal>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
    D::Error: std::fmt::Display,
{
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner().to_string();
        // serde_json adds a place in the payload's text, which nobody but the sender sees.
        let cause = cause.split(" at line ").next().unwrap_or(&cause);
        let cause = shortened(cause);
        Refusal::bad_payload(match path.as_str() {
            "." => format!("payload: {cause}"),
            path => format!("payload, field `{path}`: {cause}"),
        })
    })
}

/// serde quotes what came, however long it is; a refusal is no place to send it all back.
fn shortened(cause: &str) -> Cow<'_, str> {
    match cause.char_indices().nth(CAUSE_CHARS_MAX) {
        None => cause.into(),
        Some((end, _)) => format!("{}…", &cause[..end]).into(),
    }
}

/// A payload that says nothing: absent, `null`, or the `0` that the original's clients send. Where the
/// function takes an object, it is read as `{}`; anywhere else as what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Placeholder {
    Absent,
    Null,
    Zero,
}

impl Placeholder {
    fn of(json: &[u8]) -> Option<Self> {
        match json {
            b"" => Some(Self::Absent),
            b"null" => Some(Self::Null),
            b"0" => Some(Self::Zero),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Placeholder {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Absent | Self::Null => visitor.visit_unit(),
            Self::Zero => visitor.visit_u64(0),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::<_, Error>::new(std::iter::empty::<(
            &str,
            &str,
        )>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Absent | Self::Null => visitor.visit_none(),
            Self::Zero => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Ask {
        count: Option<u32>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Needs {
        url: String,
    }

    #[test]
    fn an_object_reads_absent_null_and_zero_as_empty() {
        for json in ["", "null", "0", "{}"] {
            assert_eq!(
                Ask::read(json.as_bytes()),
                Ok(Ask { count: None }),
                "{json:?}"
            );
        }
        assert_eq!(Ask::read(br#"{"count":2}"#), Ok(Ask { count: Some(2) }));
    }

    #[test]
    fn what_is_no_object_reads_zero_and_null_as_they_are() {
        assert_eq!(u64::read(b"0"), Ok(0));
        assert_eq!(f64::read(b"0"), Ok(0.0));
        assert_eq!(Option::<u64>::read(b"null"), Ok(None));
        assert_eq!(Option::<u64>::read(b"0"), Ok(Some(0)));
        assert_eq!(serde_json::Value::read(b"0"), Ok(0.into()));
        assert!(u64::read(b"").is_err());
    }

    #[test]
    fn no_payload_takes_anything() {
        for json in ["", "null", "0", "[1,2]", "\"x\""] {
            assert_eq!(<()>::read(json.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_the_reason() {
        let message = |json: &str| Needs::read(json.as_bytes()).unwrap_err().message;
        assert_eq!(message(""), "payload: missing field `url`");
        assert_eq!(
            message(r#"{"url":5}"#),
            "payload, field `url`: invalid type: integer `5`, expected a string"
        );
    }
}
