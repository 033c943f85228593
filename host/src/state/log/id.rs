//! Which log a file belongs to, and where a log ended.

use std::{fmt, io, str::FromStr};

use serde::{Deserialize, Serialize};

use super::BatchNo;

const ID_BYTES: usize = 16;

/// The identity of a log: each of its files bears it, so that one of another log is told from its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId([u8; ID_BYTES]);

impl LogId {
    /// One that no other log has.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; ID_BYTES];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        match filled {
            ID_BYTES => Ok(Self(bytes)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(super) const fn of(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(self) -> [u8; ID_BYTES] {
        self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LogId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// Where a log ended when its host stopped in order: what is shorter now has lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEnd {
    /// The last batch; 0 if there is none.
    pub batch: u64,
    /// The first batch of the newest segment.
    pub segment: u64,
    /// The byte of that segment at which the last record ends.
    pub byte: u64,
}

impl LogEnd {
    /// The last batch before the log ended.
    pub fn last(&self) -> BatchNo {
        BatchNo(self.batch)
    }
}

/// What is known of a log before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its identity. Files of hosts that gave none may be there beside those that bear it.
    pub id: Option<LogId>,
    /// Where it ended at the last stop, if that was in order and nothing was written since.
    pub end: Option<LogEnd>,
}
