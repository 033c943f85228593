//! The request of a benchmark: written once, so that sending one costs a copy and ten digits.

use std::ops::Range;

use memchr::memmem::Finder;
use protocol::{
    Refusal, Reply, encoder,
    limits::{MESSAGE_BYTES_MAX, SEPARATOR},
};

use crate::outcome::Failure;

/// The numbers of requests, all of ten digits.
pub(super) const NUMBERS: Range<u64> = 1_000_000_000..10_000_000_000;

const DIGITS: usize = 10;
const BEFORE_NUMBER: &[u8] = b",\"queryIndex\":";
const BEFORE_RESULT: &[u8] = b",\"resultJob\":";

/// The requests of a benchmark, one of each type, asked in turn.
pub(super) struct Requests {
    all: Vec<Template>,
    number: Finder<'static>,
    err: Finder<'static>,
}

pub(super) struct Template {
    type_name: String,
    message: Vec<u8>,
    digits_at: usize,
    /// How a reply begins, up to its number: as the request does.
    reply_opening: Vec<u8>,
}

impl Requests {
    pub(super) fn new(types: &[String], payload: Option<&str>) -> Result<Self, Failure> {
        let all = types.iter().map(|of| Template::new(of, payload));
        Ok(Self {
            all: all.collect::<Result<_, _>>()?,
            number: Finder::new(BEFORE_NUMBER),
            err: Finder::new(b"\"err\""),
        })
    }

    /// Of the request with this number, one of [`NUMBERS`]. Connections differ in their `shift`, so that they do not
    /// all ask the same at the same time.
    pub(super) fn of(&self, number: u64, shift: usize) -> &Template {
        match &self.all[..] {
            [one] => one,
            several => {
                let turn = number - NUMBERS.start + shift as u64;
                &several[(turn % several.len() as u64) as usize]
            }
        }
    }

    /// Whether the request with this number is of that type.
    pub(super) fn is_of(&self, type_name: &str, number: u64, shift: usize) -> bool {
        NUMBERS.contains(&number) && self.of(number, shift).type_name == type_name
    }

    /// A reply to one of these requests, read from its fixed places: number and result. `None`: read it as a whole.
    pub(super) fn read<'a>(&self, reply: &'a [u8], shift: usize) -> Option<(u64, &'a [u8])> {
        let digits_at = match &self.all[..] {
            [one] => one.digits_at,
            // In the type's JSON every quote is escaped, so the first one is the key.
            _ => self.number.find(reply)? + BEFORE_NUMBER.len(),
        };
        let (opening, rest) = reply.split_at_checked(digits_at)?;
        let (digits, rest) = rest.split_at_checked(DIGITS)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + u64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        if !NUMBERS.contains(&number) || opening != self.of(number, shift).reply_opening {
            return None;
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

impl Template {
    fn new(type_name: &str, payload: Option<&str>) -> Result<Self, Failure> {
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
            type_name: type_name.to_owned(),
            reply_opening: message[..digits_at].to_vec(),
            message,
            digits_at,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of names that look like what follows them.
    const TYPES: [&str; 3] = [r#"a","queryIndex":1"#, "a", "b"];

    fn requests(types: &[&str]) -> Requests {
        let types: Vec<String> = types.iter().map(|&of| of.to_owned()).collect();
        Requests::new(&types, Some("[1]")).unwrap_or_else(|_| panic!("they are small"))
    }

    #[test]
    fn only_the_number_differs_and_it_is_read_back() {
        for (types, shift) in [(&TYPES[..1], 0), (&TYPES[..1], 4), (&TYPES, 0), (&TYPES, 4)] {
            let requests = requests(types);
            for number in [NUMBERS.start, 1_234_567_890, NUMBERS.end - 1] {
                let turn = number - NUMBERS.start + shift as u64;
                let type_name = types[(turn % types.len() as u64) as usize];
                let template = requests.of(number, shift);
                let (mut written, mut expected) = (Vec::new(), Vec::new());
                template.write(&mut written, number);
                encoder::request(&mut expected, type_name, number, Some("[1]"), None);
                assert_eq!(written, expected);
                assert_eq!(written.len(), template.bytes());
                let mut reply = Vec::new();
                encoder::reply(&mut reply, type_name, &number.to_string(), b"{\"a\":1}");
                let reply = reply.strip_suffix(&SEPARATOR).expect("it ends with one");
                let read = requests.read(reply, shift);
                assert_eq!(read, Some((number, &b"{\"a\":1}"[..])));
            }
        }
    }

    #[test]
    fn what_is_no_reply_to_them_is_not_read() {
        for other in [
            "{}",
            r#"{"type":"c","queryIndex":1000000000,"resultJob":{}}"#,
            // Of another one's turn.
            r#"{"type":"b","queryIndex":1000000000,"resultJob":{}}"#,
            r#"{"type":"a","queryIndex":0000000001,"resultJob":{}}"#,
            r#"{"type":"a","queryIndex":1000"#,
        ] {
            assert_eq!(requests(&["a", "b"]).read(other.as_bytes(), 0), None);
            assert_eq!(requests(&["a"]).read(other.as_bytes(), 0), None);
        }
    }
}
