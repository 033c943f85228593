//! The name of a session, as its client is told it: whoever knows it may go on with the session, and nobody can guess
//! it.

use sha2::{Digest as _, Sha256};

use super::first_bytes;

/// What only this host's state knows. A session that some other state has given is not taken for one of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionKey(pub [u8; SessionKey::BYTES]);

impl SessionKey {
    /// The length of a key, in bytes.
    pub const BYTES: usize = 16;

    /// The name of a session.
    pub(in crate::coordinator) fn name(self, session: u64) -> String {
        format!("{session:x}-{:016x}", self.seal(session))
    }

    /// The session of that name, if it was given under this key.
    pub(in crate::coordinator) fn session(self, name: &str) -> Option<u64> {
        let (session, seal) = name.split_once('-')?;
        let session = u64::from_str_radix(session, 16).ok()?;
        let seal = u64::from_str_radix(seal, 16).ok()?;
        (seal == self.seal(session)).then_some(session)
    }

    fn seal(self, session: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(session.to_le_bytes());
        first_bytes(hash)
    }
}

/// It must not come to stand in a log.
impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_under_its_own_key_only() {
        let (own, other) = (SessionKey([1; 16]), SessionKey([2; 16]));
        let name = own.name(0x660e_c803_ed25_8000);
        assert_eq!(own.session(&name), Some(0x660e_c803_ed25_8000));
        assert_eq!(other.session(&name), None);
        for wrong in ["", "-", "1", "1-", "1-0", "x-1", "🦀-🦀", &name[1..]] {
            assert_eq!(own.session(wrong), None, "{wrong}");
        }
    }
}
