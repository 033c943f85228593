//! The lines of an export, each a JSON object: the head, then each state with its entries behind it, then the end.
//!
//! ```text
//! {"rm-host-state":1,"host":"0.1.0","batch":7,"now_ms":1795422052628,"next_state":2}
//! {"state":0,"plugin":"tickets","name":"hall","kind":"numbers","schema":1}
//! {"key":"01","value":"500"}
//! {"key":"02ff","hex":"ff00"}
//! {"end":{"states":1,"entries":2},"crc32":"ca11ab1e"}
//! ```
//! The checksum is the CRC-32 of all lines before, ends of lines included.
//!
//! Keys are hexadecimal; a value is text where it is UTF-8 that a person can read, else hexadecimal.

use crc32fast::Hasher;
use serde::{Deserialize, Serialize, de::IgnoredAny};

/// The format that this host writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    #[serde(rename = "rm-host-state")]
    pub format: u32,
    pub host: String,
    pub batch: u64,
    pub now_ms: u64,
    pub next_state: u32,
    /// What it ends at, if it is not the whole state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateLine {
    pub state: u32,
    pub plugin: String,
    pub name: String,
    pub kind: String,
    pub schema: u32,
}

/// What tells an end and an entry from a state. It keeps nothing of the line, which may be anything.
#[derive(Debug, Deserialize)]
pub(super) struct Kind {
    #[serde(default)]
    pub end: Option<IgnoredAny>,
    #[serde(default)]
    pub key: Option<IgnoredAny>,
}

/// It has a `value` or a `hex`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(with = "hex")]
    pub key: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, rename = "hex", skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub end: Counts,
    /// Eight digits. Hosts before there was one wrote none, and who changes an export on purpose may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub states: u64,
    pub entries: u64,
}

impl Entry {
    pub(super) fn new(key: &[u8], value: &[u8]) -> Self {
        let text = (std::str::from_utf8(value).ok()).filter(|text| is_readable(text));
        Self {
            key: key.to_owned(),
            value: text.map(str::to_owned),
            bytes: text.is_none().then(|| hex::encode(value)),
        }
    }

    /// The key and the value; else what is wrong with it.
    pub(super) fn into_parts(self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let value = match (self.value, self.bytes) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(bytes)) => hex::decode(bytes).map_err(|error| format!("`hex`: {error}"))?,
            (None, None) => return Err("neither `value` nor `hex`".to_owned()),
            (Some(_), Some(_)) => return Err("both `value` and `hex`".to_owned()),
        };
        Ok((self.key, value))
    }
}

/// Whether a terminal shows it as it is. Numbers are often UTF-8 too, and JSON takes six characters for each of their bytes, or
/// leaves it to do to the terminal what it likes.
fn is_readable(text: &str) -> bool {
    !text.contains(|character: char| character.is_control() && !"\n\r\t".contains(character))
}

/// A checksum, as the end has it.
pub(super) fn digits(checksum: Hasher) -> String {
    format!("{:08x}", checksum.finalize())
}
