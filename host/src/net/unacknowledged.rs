//! How much of what a socket took the other side has not acknowledged: the only word there is of how a client reads.

#![expect(
    unsafe_code,
    reason = "SIOCOUTQ has no safe wrapper, and TCP_INFO has none either"
)]

use std::os::fd::AsFd;

use rustix::{
    io,
    ioctl::{Getter, Opcode, ioctl},
};

/// The same number as the terminals' request of that name.
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;

/// In bytes; of a Unix socket, what the other side has not read.
pub(super) fn unacknowledged_bytes(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: on a socket this request writes one int and reads nothing.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}
