//! What a request may ask beside its payload, once its client has said hello.
//!
//! An unknown key is refused, never ignored: a client that asks for a promise must hear that nobody keeps it.

use crate::{
    limits::{HELLO_VERSION, REQUEST_ID_MAX},
    object,
};

/// Control data of one request, or of a connection as its default.
///
/// ```
/// use protocol::Meta;
///
/// let meta = Meta::parse(r#"{"deadline_ms":250}"#).unwrap();
/// assert_eq!(meta, Meta { deadline_ms: Some(250), ..Meta::default() });
/// assert!(Meta::parse(r#"{"deadline":250}"#).unwrap_err().contains("`deadline_ms`"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// How long the client waits, in milliseconds from the request's arrival.
    pub deadline_ms: Option<u64>,
    /// Whether to wait until the deadline where the jobber answers "not yet".
    pub wait: Option<bool>,
    /// The request's own number within its client's session, from 1 to [`REQUEST_ID_MAX`]: asked again under it, a
    /// request is answered as it was the first time.
    pub id: Option<u64>,
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
            "id" => {
                meta.id = Some(request_id(value).ok_or_else(|| wrong(key, REQUEST_ID, value))?);
                Ok(())
            }
            _ => Err(format!(
                "the key {} of `meta` is unknown: `meta` has the keys `deadline_ms`, `wait` and `id`",
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The session that the client goes on with, as an earlier hello gave it.
    pub session: Option<String>,
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
                    match hello.meta.id {
                        None => Ok(()),
                        Some(_) => Err(
                            "the key `id` is known in the `meta` of a request only: each has its own".to_owned(),
                        ),
                    }
                }
                "session" => {
                    let session = object::string(value).ok_or_else(|| {
                        wrong(
                            key,
                            "the text that an earlier `rm.hello` was answered with",
                            value,
                        )
                    })?;
                    hello.session = Some(session.into_owned());
                    Ok(())
                }
                _ => Err(format!(
                    "the key {} of `rm.hello` is unknown: its payload has the keys `v` and, where needed, `session` \
                     and `meta`",
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

/// The payload of `rm.cancel`.
///
/// ```
/// let cancel = protocol::Cancel::parse(Some(r#"{"id":7}"#)).unwrap();
/// assert_eq!(cancel.id, 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The request that is to be taken back, see [`Meta::id`].
    pub id: u64,
}

impl Cancel {
    /// Reads the payload of `rm.cancel`.
    ///
    /// # Errors
    /// A sentence for the client, naming what was expected and what came.
    pub fn parse(payload: Option<&str>) -> Result<Cancel, String> {
        let what = "the payload of `rm.cancel`";
        let mut id = None;
        each_once(payload.unwrap_or("null"), what, |key, value| match key {
            "id" => {
                id = Some(request_id(value).ok_or_else(|| wrong(key, REQUEST_ID, value))?);
                Ok(())
            }
            _ => Err(format!(
                "the key {} of `rm.cancel` is unknown: its payload has the key `id`",
                object::quoted(key)
            )),
        })?;
        id.map(|id| Cancel { id })
            .ok_or_else(|| "the key `id` of `rm.cancel` is missing: send {\"id\":N}".to_owned())
    }
}

const REQUEST_ID: &str = "a whole number from 1 to 9007199254740991";

fn request_id(json: &str) -> Option<u64> {
    let id = json.parse().ok()?;
    (1..=REQUEST_ID_MAX).contains(&id).then_some(id)
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
