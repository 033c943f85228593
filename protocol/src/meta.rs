//! What a request may ask beside its payload, once its client has said hello.
//!
//! An unknown key is refused, never ignored: a client that asks for a promise must hear that nobody keeps it.

use crate::limits::HELLO_VERSION;
use crate::object;

/// Control data of one request, or of a connection as its default.
///
/// ```
/// use protocol::Meta;
///
/// let meta = Meta::parse(r#"{"deadline_ms":250}"#).unwrap();
/// assert_eq!(meta, Meta { deadline_ms: Some(250), wait: None });
/// assert!(Meta::parse(r#"{"deadline":250}"#).unwrap_err().contains("`deadline_ms`"));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    /// How long the client waits, in milliseconds from the request's arrival.
    pub deadline_ms: Option<u64>,
    /// Whether to wait until the deadline where the jobber answers "not yet".
    pub wait: Option<bool>,
}

impl Meta {
    /// Reads the value of the key `meta`.
    ///
    /// # Errors
    /// A sentence for the client, naming what was expected and what came.
    pub fn parse(json: &str) -> Result<Meta, String> {
        let mut meta = Meta::default();
        each_once(json, "`meta`", |key, value| match key {
            "deadline_ms" => {
                let deadline = value
                    .parse()
                    .map_err(|_| wrong(key, "a whole number of milliseconds", value))?;
                meta.deadline_ms = Some(deadline);
                Ok(())
            }
            "wait" => {
                meta.wait = Some(
                    value
                        .parse()
                        .map_err(|_| wrong(key, "true or false", value))?,
                );
                Ok(())
            }
            _ => Err(format!(
                "the key {} of `meta` is unknown: `meta` has the keys `deadline_ms` and `wait`",
                object::quoted(key)
            )),
        })?;
        Ok(meta)
    }
}

/// The payload of `rm.hello`.
///
/// ```
/// let hello = protocol::Hello::parse(Some(r#"{"v":1,"meta":{"wait":true}}"#)).unwrap();
/// assert_eq!(hello.meta.wait, Some(true));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hello {
    /// The connection's default for what its requests' own `meta` leaves open.
    pub meta: Meta,
}

impl Hello {
    /// Reads the payload of `rm.hello`.
    ///
    /// # Errors
    /// A sentence for the client, naming what was expected and what came.
    pub fn parse(payload: Option<&str>) -> Result<Hello, String> {
        let payload = payload.ok_or("`rm.hello` needs a payload: send {\"v\":1}")?;
        let (mut versioned, mut hello) = (false, Hello::default());
        each_once(
            payload,
            "the payload of `rm.hello`",
            |key, value| match key {
                "v" if value == HELLO_VERSION.to_string() => {
                    versioned = true;
                    Ok(())
                }
                "v" => Err(wrong(key, "1, the only version there is", value)),
                "meta" => {
                    hello.meta = Meta::parse(value)?;
                    Ok(())
                }
                _ => Err(format!(
                    "the key {} of `rm.hello` is unknown: its payload has the keys `v` and, where needed, `meta`",
                    object::quoted(key)
                )),
            },
        )?;
        if versioned {
            Ok(hello)
        } else {
            Err("the key `v` of `rm.hello` is missing: send {\"v\":1}".to_owned())
        }
    }
}

/// Walks an object none of whose keys may come twice, up to the first fault.
fn each_once<'a>(
    json: &'a str,
    what: &str,
    mut each: impl FnMut(&str, &'a str) -> Result<(), String>,
) -> Result<(), String> {
    // Short, for at most one key more than there are known ones is kept: an unknown one ends the walk.
    let mut seen: Vec<String> = Vec::new();
    let mut fault = None;
    let walked = object::entries(json, |key, value| {
        if fault.is_some() {
            return;
        }
        if seen.iter().any(|earlier| earlier == key) {
            fault = Some(format!(
                "the key {} of {what} came twice: send it once",
                object::quoted(key)
            ));
            return;
        }
        seen.push(key.to_owned());
        fault = each(key, value).err();
    });
    match (walked, fault) {
        (Err(error), _) if json.starts_with('{') => Err(format!("cannot read {what}: {error}")),
        (Err(_), _) => Err(format!(
            "expected {what} to be an object, got {}",
            object::kind(json)
        )),
        (Ok(()), Some(fault)) => Err(fault),
        (Ok(()), None) => Ok(()),
    }
}

fn wrong(key: &str, expected: &str, value: &str) -> String {
    let found = if object::is_number(value) {
        object::quoted(value)
    } else {
        object::kind(value).to_owned()
    };
    format!("expected `{key}` to be {expected}, got {found}")
}
