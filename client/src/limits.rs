//! The bounds of one client. What reaches one waits its turn, for no longer than its request's timeout.

use std::time::Duration;

use protocol::limits::{DEFAULT_WAIT, MESSAGE_BYTES_MAX, SEPARATOR};

/// How many requests of one connection may be in flight; more wait for one of them to end.
pub const IN_FLIGHT_MAX: usize = 1 << 16;

/// How many bytes may wait to be written to one connection; who would add more waits until some are written.
pub const OUTGOING_BYTES_MAX: usize = 4 << 20;

/// The longest reply a client reads, in bytes. More than a request may have, for an answer can list much.
pub const REPLY_BYTES_MAX: usize = 64 << 20;

/// The pause before a client that reconnects tries again; doubled each time.
pub const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause between two tries.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long one try to connect again may take.
pub const RECONNECT_TRY_MAX: Duration = Duration::from_secs(5);

/// So long after it came back, a client takes a type that the host does not know for one whose plugin is still being loaded:
/// a host that was started anew answers before all its plugins serve.
pub const RESTART_WAIT: Duration = Duration::from_secs(5);

/// How long a client that reconnects hears nothing, while it waits for a reply, before it asks the host for a sign of life,
/// and then waits for that, unless [`silence`](crate::ClientOptions::silence) says otherwise.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A connection on which nothing comes is asked by the system for a sign of life after this long, so often, so many times;
/// then it is lost.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
/// See [`KEEP_ALIVE_AFTER`].
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// See [`KEEP_ALIVE_AFTER`].
pub const KEEP_ALIVE_TRIES_MAX: u32 = 3;

/// A host that has acknowledged nothing of what was sent to it for this long is lost.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// How long a closing connection may take to write what it still has and to hear the host's end.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// How much longer than a request's deadline its client waits at least, so that it hears `expired` from the host.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(2);

/// The longest deadline that a host takes: 365 days.
pub const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Bytes read from the socket at once.
pub(crate) const READ_BYTES: usize = 1 << 16;

/// A buffer that grew beyond this for one batch is given back after it.
pub(crate) const BUFFER_BYTES_KEPT: usize = 1 << 16;

// Whatever is in flight is still known to the host when it is asked again.
const _: () = assert!(IN_FLIGHT_MAX <= protocol::limits::ANSWERS_KEPT_MAX);
// Silence is noticed while a request with the default timeout can still be asked again.
const _: () = assert!(SILENCE.as_millis() * 3 < DEFAULT_WAIT.as_millis());
// The bytes are counted by a semaphore that takes a message at once.
const _: () = assert!(OUTGOING_BYTES_MAX >= MESSAGE_BYTES_MAX + SEPARATOR.len());
const _: () = assert!(OUTGOING_BYTES_MAX <= u32::MAX as usize);
// Else who waits would wait less than half as long as its client.
const _: () = assert!(DEADLINE_GRACE.as_millis() * 2 <= DEFAULT_WAIT.as_millis());
