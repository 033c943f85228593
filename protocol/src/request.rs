//! What a client asks.

use std::borrow::Cow;

/// One request as it came. Raw parts are the sender's own bytes.
///
/// ```
/// use protocol::Request;
///
/// let request = Request::parse(br#"{"type":"getTickets","queryIndex":1.50,"payload":{"count": 2}}"#, false)?;
/// assert_eq!(request.type_name, "getTickets");
/// assert_eq!(request.query_index, "1.50");
/// assert_eq!(request.payload, Some(r#"{"count": 2}"#));
/// # Ok::<(), protocol::BadMessage>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The type asked for; borrowed unless it was written with escapes.
    pub type_name: Cow<'a, str>,
    /// The client's own number for the request: the number's digits as sent.
    pub query_index: &'a str,
    /// The payload's JSON text; `null` is a payload, a missing key is none.
    pub payload: Option<&'a str>,
    /// The control data's JSON text, to be read with [`Meta::parse`](crate::Meta::parse); only from a client that has
    /// said hello.
    pub meta: Option<&'a str>,
}
