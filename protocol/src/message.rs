//! How a request is read from one message, and borrowed from it.
//!
//! A well-formed request costs one pass and no allocation. What is wrong with any other is remembered and reading goes
//! on, so that the complaint can still bear the `queryIndex` its sender waits for.

use std::borrow::Cow;

use crate::{
    limits::{DEPTH_MAX, QUERY_INDEX_BYTES_MAX},
    object::{self, is_too_deep},
    plain,
    request::Request,
};

/// Why a message is no request, and under which number its sender may expect to hear so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadMessage {
    /// The number as sent where one could be read, otherwise `0`.
    pub query_index: String,
    /// A sentence: what was expected, and what came.
    pub reason: String,
}

/// The entries seen so far, and the first thing wrong with them.
#[derive(Default)]
struct Entries<'a> {
    type_name: Option<Cow<'a, str>>,
    query_index: Option<&'a str>,
    payload: Option<&'a str>,
    meta: Option<&'a str>,
    seen: [bool; 4],
    fault: Option<String>,
}

impl<'a> Request<'a> {
    /// Reads one message, as a [`Decoder`](crate::Decoder) cut it out. `greeted`: whether this client has said hello,
    /// which allows it the key `meta`.
    ///
    /// # Errors
    /// [`BadMessage`] for what is not UTF-8, not JSON, no object, nested deeper than
    /// [`DEPTH_MAX`], has a key that is unknown, missing, twice, or of the wrong type, or a `queryIndex` of more than
    /// [`QUERY_INDEX_BYTES_MAX`] digits.
    pub fn parse(frame: &'a [u8], greeted: bool) -> Result<Request<'a>, BadMessage> {
        let text = str::from_utf8(frame).map_err(|error| {
            let at = error.valid_up_to();
            unnumbered(format!(
                "expected a JSON object in UTF-8, got the byte 0x{:02X} at offset {at}",
                frame[at]
            ))
        })?;
        if let Some(request) = plain::request(text, greeted) {
            return Ok(request);
        }
        let mut entries = Entries::default();
        object::entries(text, |key, value| entries.take(key, value, greeted))
            .map_err(|error| unnumbered(no_object(text, &error)))?;
        if is_too_deep(frame) {
            entries.fault = Some(format!(
                "expected a message nested at most {DEPTH_MAX} deep, got a deeper one"
            ));
        }
        entries.finish(greeted)
    }
}

impl<'a> Entries<'a> {
    #[inline]
    fn take(&mut self, key: &str, value: &'a str, greeted: bool) {
        let index = match key {
            "type" => 0,
            "queryIndex" => 1,
            "payload" => 2,
            "meta" if greeted => 3,
            _ => return self.fault(|| unknown_key(key, greeted)),
        };
        if self.seen[index] {
            self.fault(|| format!("the key `{key}` came twice: send it once"));
        }
        self.seen[index] = true;
        match index {
            0 => match object::string(value) {
                Some(type_name) => self.type_name = Some(type_name),
                None if value.starts_with('"') => {
                    self.fault(|| {
                        "expected `type` to be Unicode text, got an escape that stands for none"
                            .to_owned()
                    });
                }
                None => self.fault(|| {
                    format!(
                        "expected `type` to be a string, got {}",
                        object::kind(value)
                    )
                }),
            },
            1 if object::is_number(value) && value.len() > QUERY_INDEX_BYTES_MAX => {
                self.fault(|| {
                    format!(
                        "expected `queryIndex` to be a number of at most {QUERY_INDEX_BYTES_MAX} digits, got one of {}",
                        value.len()
                    )
                });
            }
            1 if object::is_number(value) => self.query_index = Some(value),
            1 => self.fault(|| {
                format!(
                    "expected `queryIndex` to be a number, got {}",
                    object::kind(value)
                )
            }),
            2 => self.payload = Some(value),
            _ => self.meta = Some(value),
        }
    }

    /// Only the first fault is told; later ones may follow from it.
    #[cold]
    fn fault(&mut self, reason: impl FnOnce() -> String) {
        if self.fault.is_none() {
            self.fault = Some(reason());
        }
    }

    fn finish(mut self, greeted: bool) -> Result<Request<'a>, BadMessage> {
        if self.fault.is_none()
            && let (Some(type_name), Some(query_index)) = (self.type_name.take(), self.query_index)
        {
            return Ok(Request {
                type_name,
                query_index,
                payload: self.payload,
                meta: self.meta,
            });
        }
        let missing = if self.seen[0] { "queryIndex" } else { "type" };
        let reason = self
            .fault
            .unwrap_or_else(|| format!("the key `{missing}` is missing: {}", known_keys(greeted)));
        Err(BadMessage {
            query_index: self.query_index.unwrap_or("0").to_owned(),
            reason,
        })
    }
}

fn known_keys(greeted: bool) -> &'static str {
    if greeted {
        "a request has the keys `type`, `queryIndex` and, where needed, `payload` and `meta`"
    } else {
        "a request has the keys `type`, `queryIndex` and, where needed, `payload`"
    }
}

fn unknown_key(key: &str, greeted: bool) -> String {
    if key == "meta" {
        return format!(
            "the key `meta` is known only after `rm.hello`: {}",
            known_keys(greeted)
        );
    }
    format!(
        "the key {} is unknown: {}",
        object::quoted(key),
        known_keys(greeted)
    )
}

fn unnumbered(reason: String) -> BadMessage {
    BadMessage {
        query_index: "0".to_owned(),
        reason,
    }
}

fn no_object(text: &str, error: &serde_json::Error) -> String {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if !text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return format!("expected a JSON object, got {}", object::kind(text));
    }
    format!("expected a JSON object, got what is not JSON: {error}")
}
