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

use crate::{
    jobber::{RawJson, Refusal},
    objects::ObjectsOnly,
};

/// How much of what serde says is passed on, in characters.
const CAUSE_CHARS_MAX: usize = 300;

/// What a jobber's function may take as its payload: any serde type, [`RawJson`], or `()` for a jobber that
/// ignores what comes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken as a payload: serde does not read it",
    label = "it takes `{Self}`",
    note = "say `#[derive(Deserialize)]` on `{Self}` and on what it is made of, which may borrow nothing: `String` instead \
            of `&str`; `()` ignores what comes, `RawJson` is the text as it came"
)]
pub trait Payload: Sized {
    /// Reads it from JSON text; empty text stands for an absent payload.
    ///
    /// # Errors
    /// `bad_payload`, naming the field, what was expected and what came.
    #[doc(hidden)]
    fn read(json: &[u8]) -> Result<Self, Refusal>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + 'static> Payload for T {
    fn read(json: &[u8]) -> Result<Self, Refusal> {
        if TypeId::of::<T>() == TypeId::of::<()>() {
            return T::deserialize(UnitDeserializer::<Error>::new())
                .map_err(|error| Refusal::bad_payload(error.to_string()));
        }
        match Placeholder::of(json) {
            // What serde reads from a copy of its own, an untagged enum, does not say that it is an object.
            Some(placeholder) => read_with_path(placeholder)
                .or_else(|refusal| read_plainly(b"{}").map_err(|_| placeholder.reword(refusal))),
            None => read_plainly(json).or_else(|_| {
                // Only a payload that failed pays for finding out where.
                let mut json = serde_json::Deserializer::from_slice(json);
                read_with_path(ObjectsOnly(&mut json))
            }),
        }
    }
}

fn read_plainly<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let read = T::deserialize(ObjectsOnly(&mut json))?;
    json.end().map(|()| read)
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
        let cause = shortened(without_place(&cause));
        Refusal::bad_payload(match path.as_str() {
            "." => format!("payload: {cause}"),
            path => format!("payload, field `{path}`: {cause}"),
        })
    })
}

/// Takes the place off that serde_json adds at the end, which means nothing to whoever did not see the text.
pub(crate) fn without_place(cause: &str) -> &str {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let place = cause.rsplit_once(" at line ");
    match place.and_then(|(cause, place)| Some((cause, place.split_once(" column ")?))) {
        Some((cause, (line, column))) if number(line) && number(column) => cause,
        _ => cause,
    }
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

    /// serde has one word for what says nothing, and it is none that a client knows.
    fn reword(self, refusal: Refusal) -> Refusal {
        let came = match self {
            Self::Absent => "no payload",
            Self::Null => "null",
            Self::Zero => return refusal,
        };
        let message = refusal
            .message
            .replacen("invalid type: unit value", came, 1);
        Refusal { message, ..refusal }
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

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        seq tuple tuple_struct enum identifier ignored_any
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

    fn message<T: Payload>(json: &str) -> String {
        T::read(json.as_bytes()).err().unwrap().message
    }

    #[test]
    fn a_struct_is_read_from_an_object_only() {
        #[derive(Deserialize)]
        #[allow(dead_code, reason = "only read")]
        struct Outer {
            asks: Option<Vec<Ask>>,
            kind: Option<Kind>,
        }
        #[derive(Deserialize)]
        #[allow(dead_code, reason = "only read")]
        enum Kind {
            Two { a: u8 },
            Pair(u8, u8),
        }
        let text = "expected an object, got an array";
        for json in ["[3]", "[]", " [ null ] "] {
            assert_eq!(message::<Ask>(json), format!("payload: {text}"));
        }
        for (json, field) in [
            (r#"{"asks":[{"count":1},[3]]}"#, "asks[1]"),
            (r#"{"kind":{"Two":[3]}}"#, "kind.Two"),
        ] {
            let expected = format!("payload, field `{field}`: {text}");
            assert_eq!(message::<Outer>(json), expected);
        }
        Outer::read(br#"{"asks":[{"count":1}],"kind":{"Pair":[3,4]}}"#).unwrap();
        assert_eq!(<(u8, u8)>::read(b"[3,4]"), Ok((3, 4)));
        let raw = Box::<serde_json::value::RawValue>::read(b"[1, 2]").unwrap();
        assert_eq!(raw.get(), "[1, 2]");
    }

    #[test]
    fn a_payload_that_says_nothing_is_an_empty_object_also_where_serde_hides_it() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(untagged)]
        enum Either {
            ByUrl { url: String },
            ByCount { count: Option<u32> },
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Nothing;
        for json in ["", "null", "0"] {
            let read = Either::read(json.as_bytes());
            assert_eq!(read, Ok(Either::ByCount { count: None }), "{json:?}");
            assert_eq!(Nothing::read(json.as_bytes()), Ok(Nothing));
        }
        assert_eq!(message::<u64>(""), "payload: no payload, expected u64");
        assert_eq!(message::<u64>("null"), "payload: null, expected u64");
    }

    #[test]
    fn what_a_client_wrote_is_quoted_as_it_is() {
        assert_eq!(
            message::<Ask>(r#"{"count":"x at line 3 column 4 of it"}"#),
            r#"payload, field `count`: invalid type: string "x at line 3 column 4 of it", expected u32"#
        );
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
