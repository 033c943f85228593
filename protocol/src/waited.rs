//! What an `expired` says of a request that stood in line.

use std::borrow::Cow;

use crate::{encoder, object};

/// What the error of a request that waited in vain bears beside `err` and `code`.
///
/// ```
/// use protocol::Waited;
///
/// let waited = Waited { last_code: "none_free".into(), last_err: "1 asked for, 0 free".into(), waited_ms: 50, place: 2 };
/// let fields = waited.fields();
/// let fields: Vec<_> = fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
/// let result = format!("{{{}}}", fields.join(","));
/// assert_eq!(
///     result,
///     r#"{"last":{"code":"none_free","err":"1 asked for, 0 free"},"waited_ms":50,"place":2}"#
/// );
/// assert_eq!(Waited::parse(&result), Some(waited));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited<'a> {
    /// The code of the last "not yet".
    pub last_code: Cow<'a, str>,
    /// Its sentence for people.
    pub last_err: Cow<'a, str>,
    /// How long the request stood in line, in milliseconds.
    pub waited_ms: u64,
    /// Its place in the line at the end, from 1.
    pub place: u64,
}

impl<'a> Waited<'a> {
    /// The fields, each with its value's JSON.
    pub fn fields(&self) -> [(&'static str, String); 3] {
        let mut last = b"{\"code\":".to_vec();
        encoder::push_string(&mut last, &self.last_code);
        last.extend_from_slice(b",\"err\":");
        encoder::push_string(&mut last, &self.last_err);
        last.push(b'}');
        let last = String::from_utf8(last).expect("what is text stays text");
        [
            ("last", last),
            ("waited_ms", self.waited_ms.to_string()),
            ("place", self.place.to_string()),
        ]
    }

    /// Reads them out of a `resultJob`. `None`: one of them is not there.
    pub fn parse(result: &'a str) -> Option<Self> {
        let (mut last, mut waited_ms, mut place) = (None, None, None);
        object::entries(result, |key, value| match key {
            "last" => last = Some(value),
            "waited_ms" => waited_ms = value.parse().ok(),
            "place" => place = value.parse().ok(),
            _ => {}
        })
        .ok()?;
        let (mut code, mut err) = (None, None);
        object::entries(last?, |key, value| match key {
            "code" => code = object::string(value),
            "err" => err = object::string(value),
            _ => {}
        })
        .ok()?;
        Some(Self {
            last_code: code?,
            last_err: err?,
            waited_ms: waited_ms?,
            place: place?,
        })
    }
}
