//! The request of a benchmark: written once, so that sending one costs a copy and ten digits.

use std::ops::Range;

use memchr::memmem::Finder;
use protocol::limits::{MESSAGE_BYTES_MAX, SEPARATOR};
use protocol::{Refusal, Reply, encoder};

use crate::outcome::Failure;

/// The numbers of requests, all of ten digits.
pub(super) const NUMBERS: Range<u64> = 1_000_000_000..10_000_000_000;

const DIGITS: usize = 10;
const BEFORE_NUMBER: &[u8] = b",\"queryIndex\":";
const BEFORE_RESULT: &[u8] = b",\"resultJob\":";

pub(super) struct Template {
    message: Vec<u8>,
    digits_at: usize,
    /// How a reply begins, up to its number: as the request does.
    reply_opening: Vec<u8>,
    err: Finder<'static>,
}

impl Template {
    pub(super) fn new(type_name: &str, payload: Option<&str>) -> Result<Self, Failure> {
        let mut message = Vec::new();
        encoder::request(&mut message, type_name, NUMBERS.start, payload, None);
        let bytes = message.len() - SEPARATOR.len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Failure::Usage(format!(
                "expected a request of at most {MESSAGE_BYTES_MAX} bytes, got one of {bytes}; give a smaller payload"
            )));
        }
        // In the type's JSON every quote is escaped, so this is the key.
        let key_at =
            memchr::memmem::find(&message, BEFORE_NUMBER).expect("every request has a number");
        let digits_at = key_at + BEFORE_NUMBER.len();
        Ok(Self {
            reply_opening: message[..digits_at].to_vec(),
            message,
            digits_at,
            err: Finder::new(b"\"err\""),
        })
    }

    /// Of one request.
    pub(super) fn bytes(&self) -> usize {
        self.message.len()
    }

    /// Appends the request with this number, one of [`NUMBERS`].
    pub(super) fn write(&self, out: &mut Vec<u8>, mut number: u64) {
        let at = out.len() + self.digits_at;
        out.extend_from_slice(&self.message);
        for digit in out[at..at + DIGITS].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    /// A reply to one of these requests, read from its fixed places: number and result. `None`: read it as a whole.
    pub(super) fn read<'a>(&self, reply: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let (digits, rest) = reply
            .strip_prefix(&*self.reply_opening)?
            .split_at_checked(DIGITS)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + u64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        let result = rest.strip_prefix(BEFORE_RESULT)?.strip_suffix(b"}")?;
        Some((number, result))
    }

    /// What a result says, if it is an error.
    pub(super) fn refusal_in<'a>(&self, result: &'a [u8]) -> Option<Refusal<'a>> {
        // Hardly any has the key, and only those are read.
        self.err.find(result)?;
        Reply {
            type_name: "".into(),
            query_index: "0",
            result: str::from_utf8(result).ok()?,
        }
        .refusal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_differs_and_it_is_read_back() {
        let type_name = r#"a","queryIndex":1"#;
        let template =
            Template::new(type_name, Some("[1]")).unwrap_or_else(|_| panic!("it is small"));
        for number in [NUMBERS.start, 1_234_567_890, NUMBERS.end - 1] {
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            template.write(&mut written, number);
            encoder::request(&mut expected, type_name, number, Some("[1]"), None);
            assert_eq!(written, expected);
            assert_eq!(written.len(), template.bytes());
            let mut reply = Vec::new();
            encoder::reply(&mut reply, type_name, &number.to_string(), b"{\"a\":1}");
            let reply = reply.strip_suffix(&SEPARATOR).expect("it ends with one");
            assert_eq!(template.read(reply), Some((number, &b"{\"a\":1}"[..])));
        }
        for other in [
            "{}",
            r#"{"type":"b","queryIndex":1000000000,"resultJob":{}}"#,
        ] {
            assert_eq!(template.read(other.as_bytes()), None);
        }
    }
}
