//! Reads a request that is written as clients write them: whole, right, and with no escape in its keys and its type.
//!
//! Nearly all are, and reading them costs half of what the careful way costs. What is written in any other way, right or
//! wrong, is left to that one, which alone names faults.

use std::borrow::Cow;

use crate::{
    limits::QUERY_INDEX_BYTES_MAX,
    object::{self, is_too_deep},
    request::Request,
};

/// `None`: read it the careful way.
pub(crate) fn request(text: &str, greeted: bool) -> Option<Request<'_>> {
    let (mut type_name, mut query_index, mut payload, mut meta) = (None, None, None, None);
    let mut rest = Rest(text);
    rest.skip(b'{')?;
    // So nearly all begin: the keys in this order, and nothing between the tokens.
    if let Some(opened) = rest.0.strip_prefix("\"type\":\"") {
        let mut opened = Rest(opened);
        let name = opened.string_end()?;
        if let Some(behind) = opened.0.strip_prefix(",\"queryIndex\":")
            && let Some(bytes) = whole_number_bytes(behind.as_bytes())
            && bytes <= QUERY_INDEX_BYTES_MAX
        {
            let mut behind = Rest(behind);
            (type_name, query_index) = (Some(name), Some(behind.cut(bytes)));
            if behind.0 == "}" {
                return Some(Request {
                    type_name: Cow::Borrowed(name),
                    query_index: query_index?,
                    payload,
                    meta,
                });
            }
            behind.skip(b',')?;
            rest = behind;
        }
    }
    loop {
        let key = rest.string()?;
        rest.skip(b':')?;
        let twice = match key {
            "type" => type_name.replace(rest.string()?),
            "queryIndex" => {
                let is_index =
                    |json: &&str| object::is_number(json) && json.len() <= QUERY_INDEX_BYTES_MAX;
                query_index.replace(rest.value().filter(is_index)?)
            }
            "payload" => payload.replace(rest.value()?),
            "meta" if greeted => meta.replace(rest.value()?),
            _ => return None,
        };
        if twice.is_some() {
            return None;
        }
        if rest.skip(b',').is_none() {
            break;
        }
    }
    rest.skip(b'}')?;
    if rest.first().is_some() || is_too_deep(text.as_bytes()) {
        return None;
    }
    Some(Request {
        type_name: Cow::Borrowed(type_name?),
        query_index: query_index?,
        payload,
        meta,
    })
}

/// What is not yet read. Its steps are inlined by force, for calling them is a quarter of the cost.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// The first byte behind the whitespace.
    #[inline]
    fn first(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.0.as_bytes().first() {
            self.0 = &self.0[1..];
        }
        self.0.as_bytes().first().copied()
    }

    /// Passes an ASCII byte.
    #[inline]
    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.first()? == byte).then(|| self.0 = &self.0[1..])
    }

    /// Passes a string that holds no escape, and gives what is between its quotes.
    #[inline(always)]
    fn string(&mut self) -> Option<&'a str> {
        self.skip(b'"')?;
        self.string_end()
    }

    /// The same, behind the first quote.
    #[inline(always)]
    fn string_end(&mut self) -> Option<&'a str> {
        let bytes = self
            .0
            .bytes()
            .position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        let text = self.cut(bytes);
        self.0 = self.0.strip_prefix('"')?;
        Some(text)
    }

    /// Passes a value, and gives its text.
    #[inline(always)]
    fn value(&mut self) -> Option<&'a str> {
        self.first()?;
        let bytes = match whole_number_bytes(self.0.as_bytes()) {
            Some(bytes) => bytes,
            None => object::value(self.0)?.len(),
        };
        Some(self.cut(bytes))
    }

    #[inline]
    fn cut(&mut self, bytes: usize) -> &'a str {
        let (text, rest) = self.0.split_at(bytes);
        self.0 = rest;
        text
    }
}

/// The length of a whole number that is followed by what may follow a value of an object.
#[inline]
fn whole_number_bytes(json: &[u8]) -> Option<usize> {
    let bytes = json.iter().position(|byte| !byte.is_ascii_digit())?;
    let leads_with_zero = json[0] == b'0' && bytes > 1;
    (bytes > 0 && !leads_with_zero && matches!(json[bytes], b',' | b'}')).then_some(bytes)
}
