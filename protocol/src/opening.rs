//! Tells by a connection's first bytes whether another protocol's client is at its other end.
//!
//! A browser can be made to send bytes of a stranger's choice inside an HTTP request; nothing of such a connection may
//! be taken for a message.

/// Enough of a connection's first bytes to decide.
pub(crate) const OPENING_BYTES_MAX: usize = b"PRI * HTTP".len();

const HTTP: &str = "an HTTP request";
const TLS: &str = "a TLS handshake";

/// No JSON text begins with any of these, so a client of ours is never taken for another's.
const FOREIGN: [(&[u8], &str); 11] = [
    (b"GET ", HTTP),
    (b"POST ", HTTP),
    (b"PUT ", HTTP),
    (b"HEAD ", HTTP),
    (b"OPTIONS ", HTTP),
    (b"DELETE ", HTTP),
    (b"PATCH ", HTTP),
    (b"CONNECT ", HTTP),
    (b"TRACE ", HTTP),
    (b"PRI * HTTP", HTTP),
    (&[0x16, 0x03], TLS),
];

/// What a connection's first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Ours,
    /// Another protocol's, named for a sentence: "an HTTP request".
    Foreign(&'static str),
    /// So far they could become either.
    Undecided,
}

impl Opening {
    pub(crate) fn of(first: &[u8]) -> Self {
        if let Some((_, what)) = FOREIGN
            .iter()
            .find(|(opening, _)| first.starts_with(opening))
        {
            Self::Foreign(what)
        } else if FOREIGN
            .iter()
            .any(|(opening, _)| opening.starts_with(first))
        {
            Self::Undecided
        } else {
            Self::Ours
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_undecided_until_its_last_byte() {
        for (opening, what) in FOREIGN {
            assert!(opening.len() <= OPENING_BYTES_MAX);
            for end in 0..opening.len() {
                assert_eq!(Opening::of(&opening[..end]), Opening::Undecided);
            }
            assert_eq!(Opening::of(opening), Opening::Foreign(what));
        }
    }

    #[test]
    fn json_is_ours_from_its_first_byte() {
        for text in [
            "{", "[", "\"", "5", "-", "t", "n", " ", "\n", "🦀", "get /", "GETS", "PUSH",
        ] {
            assert_eq!(Opening::of(text.as_bytes()), Opening::Ours, "{text}");
        }
    }
}
