//! What a client hears: one reply, read from one message and borrowed from it.

use std::borrow::Cow;

use crate::object;

/// One reply as it came.
///
/// ```
/// use protocol::Reply;
///
/// let reply = Reply::parse(br#"{"type":"buy","queryIndex":4,"resultJob":{"err":"none left","code":"sold_out"}}"#)?;
/// assert_eq!((&*reply.type_name, reply.query_index), ("buy", "4"));
/// assert_eq!(reply.refusal().unwrap().code, "sold_out");
/// # Ok::<(), protocol::BadReply>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The type answered for; `errMsgFromClient` where the host could not read the message.
    pub type_name: Cow<'a, str>,
    /// The digits that the request bore.
    pub query_index: &'a str,
    /// The JSON text of `resultJob`, an object.
    pub result: &'a str,
}

/// What an error reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The stable word for programs.
    pub code: Cow<'a, str>,
    /// The sentence for people; in a complaint about a message, the message as the host received it.
    pub err: Cow<'a, str>,
    /// What was wrong, in a complaint about a message.
    pub msg: Option<Cow<'a, str>>,
}

impl<'a> Refusal<'a> {
    /// The sentence that says what was wrong.
    pub fn message(&self) -> &str {
        self.msg.as_deref().unwrap_or(&self.err)
    }
}

/// Why a message is no reply: a sentence that names what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadReply(pub String);

impl<'a> Reply<'a> {
    /// Reads one message, as a [`Decoder`](crate::Decoder) cut it out. Keys it does not know are ignored, so that a
    /// newer host can say more.
    ///
    /// # Errors
    /// [`BadReply`] for what is not UTF-8, not JSON, or lacks one of the three fields.
    pub fn parse(frame: &'a [u8]) -> Result<Reply<'a>, BadReply> {
        let text = str::from_utf8(frame).map_err(|error| {
            BadReply(format!(
                "expected a reply in UTF-8, got another byte: {error}"
            ))
        })?;
        let (mut type_name, mut query_index, mut result) = (None, None, None);
        object::entries(text, |key, value| match key {
            "type" => type_name = object::string(value),
            "queryIndex" => query_index = Some(value).filter(|value| object::is_number(value)),
            "resultJob" => result = Some(value).filter(|value| value.starts_with('{')),
            _ => {}
        })
        .map_err(|error| BadReply(format!("expected a reply, a JSON object: {error}")))?;
        let lacks = |what| BadReply(format!("expected a reply with {what}, got none"));
        Ok(Reply {
            type_name: type_name.ok_or_else(|| lacks("the string `type`"))?,
            query_index: query_index.ok_or_else(|| lacks("the number `queryIndex`"))?,
            result: result.ok_or_else(|| lacks("the object `resultJob`"))?,
        })
    }

    /// What the reply refuses, if it is an error: both `err` and `code` are there, and are strings.
    pub fn refusal(&self) -> Option<Refusal<'a>> {
        let (mut code, mut err, mut msg) = (None, None, None);
        object::entries(self.result, |key, value| match key {
            "code" => code = object::string(value),
            "err" => err = object::string(value),
            "msg" => msg = object::string(value),
            _ => {}
        })
        .ok()?;
        Some(Refusal {
            code: code?,
            err: err?,
            msg,
        })
    }
}
