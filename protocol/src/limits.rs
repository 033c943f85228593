//! The fixed numbers of the wire. Both sides rely on them, so changing one changes the protocol.

use std::time::Duration;

/// What follows every message: 🦀, U+1F980 in UTF-8.
pub const SEPARATOR: [u8; 4] = [0xF0, 0x9F, 0xA6, 0x80];

/// How a 🦀 inside a JSON string is written, so that it does not end its message.
pub const SEPARATOR_ESCAPED: &str = "\\ud83e\\udd80";

/// The most bytes one message may have, its separator not counted.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The most digits of a `queryIndex`, with whatever else stands in the number.
pub const QUERY_INDEX_BYTES_MAX: usize = 64;

/// The deepest nesting of a message; the message's own object is level 1.
pub const DEPTH_MAX: usize = 128;

/// How many bytes of a bad message come back to its sender.
pub const BAD_MESSAGE_ECHO_BYTES_MAX: usize = 1024;

/// How much of a name that a peer made up is quoted in a sentence to it, in characters.
pub const QUOTED_CHARS_MAX: usize = 64;

/// The TCP port a host listens on unless it is told another.
pub const DEFAULT_PORT: u16 = 41969;

/// The file in a host's data folder that is the operators' socket.
pub const OPERATORS_SOCKET: &str = "operators.sock";

/// How long a client waits for its reply unless it is told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(20);

/// The highest id of a request within its session, 2^53 - 1: the highest whole number that every JSON library keeps exact.
pub const REQUEST_ID_MAX: u64 = (1 << 53) - 1;

/// So many of a session's answers are kept to be given again: those with the highest ids.
pub const ANSWERS_KEPT_MAX: usize = 65_536;

/// The answers that are kept for one session, in bytes. Those with the lowest ids go first.
pub const ANSWERS_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A session is forgotten once no client of it has been there for this long.
pub const SESSION_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The version that `rm.hello` speaks of.
pub const HELLO_VERSION: u32 = 1;

const _: () = assert!(BAD_MESSAGE_ECHO_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(DEPTH_MAX * 2 < MESSAGE_BYTES_MAX);
