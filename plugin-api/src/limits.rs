//! The bounds that a host sets to every plugin. They are no part of the ABI: what counts is the host's own.

/// An answer of a jobber, in bytes.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The code of a jobber's refusal, in bytes.
pub const REFUSAL_CODE_BYTES_MAX: usize = 64;

/// The text of a jobber's refusal, in bytes. The rest is cut off.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 16 * 1024;

/// Key and value of a state's entry, in bytes.
pub const STATE_ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A plugin's name, a request type and a state's name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Request types of one plugin.
pub const TYPES_MAX: usize = 1_000;

/// States of one plugin.
pub const STATES_MAX: usize = 1_000;

/// Self-tests that a plugin carries.
pub const SELF_TESTS_MAX: usize = 1_000;

/// Grants of one state whose holders are kept in any case. Of older ones that were taken in order, and never end, the holder
/// is forgotten: those are given back by their tokens.
pub const GRANT_HOLDERS_KEPT: u64 = 1 << 20;

/// How often a request is run again after "try again".
pub const RETRIES_MAX: u8 = 5;

/// How long after "try again" a request is run again, in milliseconds.
pub const RETRY_DELAY_MS: u64 = 1_000;

/// How long a request waits for the state to change, unless the host was told otherwise, in milliseconds.
pub const WAIT_MS_MAX: u64 = 3_600_000;

/// What an inline call may take, in milliseconds: in a self-test, and before it is a strike against its block.
pub const INLINE_CALL_MS_MAX: u64 = 10;

/// How often a self-test is run whose inline function was slow, before that is held against it: a busy machine
/// must not be.
pub const SLOW_RUNS_MAX: u32 = 3;
