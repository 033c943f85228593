//! The rules about an answer: is it a JSON object, and does it bear the type that its jobber registered?

mod plain;

use std::{fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::limits::ANSWER_BYTES_MAX;

/// What is wrong with an answer. The texts are for the log and for the author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// It is no JSON object.
    NoObject(String),
    /// Its `type` is another one.
    OtherType {
        /// The registered type.
        expected: String,
        /// As JSON.
        found: String,
    },
    /// It has no `type`.
    NoType {
        /// The registered type.
        expected: String,
    },
    /// It has two.
    TypeTwice {
        /// The registered type.
        expected: String,
    },
    /// It is larger than any reply may be.
    TooLarge,
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject(cause) => write!(f, "answered with what is no JSON object: {cause}"),
            Self::OtherType { expected, found } => write!(
                f,
                "answered with the type {found} to a request of type \"{expected}\""
            ),
            Self::NoType { expected } => write!(
                f,
                "answered without the mandatory field `type` to a request of type \"{expected}\""
            ),
            Self::TypeTwice { expected } => write!(
                f,
                "answered with the field `type` twice to a request of type \"{expected}\""
            ),
            Self::TooLarge => write!(
                f,
                "answered with more than the {ANSWER_BYTES_MAX} bytes that are allowed"
            ),
        }
    }
}

impl std::error::Error for AnswerFault {}

impl AnswerFault {
    /// Whether the fault is the `type`, and not the JSON.
    pub fn is_type_mismatch(&self) -> bool {
        matches!(
            self,
            Self::OtherType { .. } | Self::NoType { .. } | Self::TypeTwice { .. }
        )
    }
}

// The host runs this for every job, out of another crate: `#[inline]` lets all of it be compiled into the caller.

/// Checks `answer` and returns its text without the field `type`: a JSON object again.
///
/// Works in place; what was in `answer` is used up.
///
/// # Errors
/// See [`AnswerFault`].
#[inline]
pub fn check<'a>(answer: &'a mut [u8], type_name: &str) -> Result<&'a [u8], AnswerFault> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(AnswerFault::TooLarge);
    }
    if str::from_utf8(answer).is_ok()
        && let Some(type_end) = plain::type_end(answer, type_name)
    {
        // What follows the type becomes the object.
        let start = match answer[type_end] {
            b',' => type_end,
            _ => type_end - 1,
        };
        answer[start] = b'{';
        return Ok(&answer[start..]);
    }
    check_carefully(answer, type_name)
}

fn check_carefully<'a>(answer: &'a mut [u8], type_name: &str) -> Result<&'a [u8], AnswerFault> {
    let text = str::from_utf8(answer).map_err(|error| AnswerFault::NoObject(error.to_string()))?;
    let entry = find_type(text, type_name)?;
    Ok(without(answer, entry))
}

/// Finds the one `type` entry and returns where it stands: from its opening quote up to the next entry or to
/// the object's end.
#[inline]
fn find_type(text: &str, type_name: &str) -> Result<TypeEntry, AnswerFault> {
    let mut scan = Scan {
        text,
        type_name,
        found: None,
        fault: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(&mut scan).and_then(|()| json.end());
    if let Err(error) = read {
        return Err(AnswerFault::NoObject(error.to_string()));
    }
    if let Some(fault) = scan.fault {
        return Err(fault);
    }
    scan.found.ok_or_else(|| AnswerFault::NoType {
        expected: type_name.to_owned(),
    })
}

/// Where the value of `type` stands in the text.
struct TypeEntry {
    value: Range<usize>,
}

struct Scan<'a> {
    text: &'a str,
    type_name: &'a str,
    found: Option<TypeEntry>,
    fault: Option<AnswerFault>,
}

impl<'a> Scan<'a> {
    #[inline]
    fn note(&mut self, value: &'a str) {
        let expected = || self.type_name.to_owned();
        if self.found.is_some() {
            self.fault.get_or_insert(AnswerFault::TypeTwice {
                expected: self.type_name.to_owned(),
            });
            return;
        }
        if !is_string(value, self.type_name) {
            let found = value.chars().take(100).collect();
            self.fault = Some(AnswerFault::OtherType {
                expected: expected(),
                found,
            });
        }
        let start = value.as_ptr() as usize - self.text.as_ptr() as usize;
        self.found = Some(TypeEntry {
            value: start..start + value.len(),
        });
    }
}

/// Whether the JSON text `value` is the string `expected`.
#[inline]
fn is_string(value: &str, expected: &str) -> bool {
    let plain = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    plain == Some(expected) && !expected.contains(['"', '\\'])
        || serde_json::from_str::<String>(value).is_ok_and(|value| value == expected)
}

impl<'a> Visitor<'a> for &mut Scan<'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_type) = map.next_key_seed(KeyIsType)? {
            if is_type {
                let value: &'a serde_json::value::RawValue = map.next_value()?;
                self.note(value.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Reads a key without keeping it.
struct KeyIsType;

impl<'de> DeserializeSeed<'de> for KeyIsType {
    type Value = bool;

    #[inline]
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIsType {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == "type")
    }
}

/// Takes the entry out by moving what stands before it.
#[inline]
fn without(answer: &mut [u8], entry: TypeEntry) -> &[u8] {
    let object = answer.iter().position(|byte| *byte == b'{');
    let object = object.expect("find_type has read an object");
    // The key ends before the value's colon; its opening quote follows a `{` or a `,`.
    let key = last(answer, entry.value.start, |byte| byte == b':');
    let key_end = last(answer, key, |byte| byte == b'"');
    let key_start = answer[..key_end]
        .iter()
        .rposition(|byte| *byte == b'{' || *byte == b',')
        .expect("a key follows one of them");
    let behind = entry.value.end + skip_space(&answer[entry.value.end..]);
    match (answer[key_start], answer[behind]) {
        // First: what follows the comma becomes the object.
        (b'{', b',') => {
            answer[behind] = b'{';
            &answer[behind..]
        }
        // In the middle or last: what stands before it is moved up to what stands behind it.
        _ => {
            let keep = if answer[key_start] == b'{' {
                key_start + 1
            } else {
                key_start
            };
            answer.copy_within(object..keep, behind - (keep - object));
            &answer[behind - (keep - object)..]
        }
    }
}

#[inline]
fn last(bytes: &[u8], end: usize, is: impl Fn(u8) -> bool) -> usize {
    let position = bytes[..end].iter().rposition(|byte| is(*byte));
    position.expect("find_type has read an entry here")
}

#[inline]
fn skip_space(bytes: &[u8]) -> usize {
    let position = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    position.expect("find_type has read what follows")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Bits of answers in any order: what is read the plain way is what the careful way makes of it.
        #[test]
        fn the_plain_way_reads_nothing_otherwise(bits in proptest::collection::vec(0..BITS.len(), 0..12)) {
            let bits: String = bits.into_iter().map(|bit| BITS[bit]).collect();
            for answer in [format!("{{\"type\":\"t\"{bits}}}"), format!("{{\"type\":\"t\",\"a\":{bits}}}"), bits] {
                let (mut plainly, mut carefully) = (answer.clone().into_bytes(), answer.into_bytes());
                let plainly = check(&mut plainly, "t");
                prop_assert_eq!(plainly, check_carefully(&mut carefully, "t"));
            }
        }
    }

    const BITS: [&str; 24] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"b\":",
        ",\"c\":",
        "\"type\"",
        ",\"type\":",
        "\"t\"",
        "1",
        "0",
        "-2",
        "3.5",
        "1e5",
        "true",
        "null",
        "false",
        "\"é\"",
        "\\",
        " ",
        "[1,{\"type\":[]}]",
    ];

    #[test]
    fn answers_as_plugin_api_writes_them_are_read_the_plain_way() {
        for answer in [
            r#"{"type":"t"}"#,
            r#"{"type":"t","tickets":[1,20,0],"left":0,"token":{"type":"x","é":[]},"a":[true,false,null,{}]}"#,
        ] {
            assert!(
                plain::type_end(answer.as_bytes(), "t").is_some(),
                "{answer}"
            );
        }
    }

    fn checked(answer: &str) -> Result<String, AnswerFault> {
        let mut answer = answer.as_bytes().to_vec();
        check(&mut answer, "t").map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_type_is_taken_out_wherever_it_stands() {
        for (answer, body) in [
            (r#"{"type":"t"}"#, "{}"),
            (r#" { "type" : "t" } "#, "{}"),
            (r#"{"type":"t","a":1}"#, r#"{"a":1}"#),
            (r#"{"a":{"type":"x"},"type":"t"}"#, r#"{"a":{"type":"x"}}"#),
            (r#"{"a":1,"type":"t","b":",{"}"#, r#"{"a":1,"b":",{"}"#),
            (r#"{"type":"\u0074","a":1}"#, r#"{"a":1}"#),
            (r#"{"\u0074ype":"t","a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(
                checked(answer).as_deref().map(str::trim),
                Ok(body.trim()),
                "{answer}"
            );
            serde_json::from_str::<serde_json::Value>(&checked(answer).unwrap()).unwrap();
        }
    }

    #[test]
    fn another_type_none_and_two_are_mismatches() {
        for answer in [
            r#"{"type":"x","a":1}"#,
            r#"{"a":1}"#,
            "{}",
            r#"{"type":5}"#,
            r#"{"type":null}"#,
            r#"{"type":{"type":"t"}}"#,
            r#"{"type":"t","type":"t"}"#,
            r#"{"type":"x","type":"t"}"#,
        ] {
            assert!(checked(answer).unwrap_err().is_type_mismatch(), "{answer}");
        }
    }

    #[test]
    fn what_is_no_object_is_another_fault() {
        for answer in [
            "",
            "[1]",
            "5",
            "null",
            "\"t\"",
            "{",
            r#"{"type":"t"}}"#,
            r#"{"type":"t",}"#,
            "garbage",
        ] {
            assert!(!checked(answer).unwrap_err().is_type_mismatch(), "{answer}");
        }
        let mut no_text = b"{\"type\":\"t\",\"a\":\"\xff\"}".to_vec();
        assert!(!check(&mut no_text, "t").unwrap_err().is_type_mismatch());
    }
}
