//! What makes a request that is asked again count once: sessions and their names, the answers that are kept, and the
//! requests under way. But for `repeats`, nothing here runs a request or answers one.

mod answers;
mod in_flight;
mod name;
pub(in crate::coordinator) mod repeats;
#[allow(
    clippy::module_inception,
    reason = "it is what the folder is named after"
)]
mod sessions;
mod shares;
mod stored;

use answers::{Answers, Looked};
pub(in crate::coordinator) use in_flight::{InFlight, Joined, RequestId};
pub use name::SessionKey;
pub(in crate::coordinator) use sessions::Sessions;
pub use shares::Origin;
pub use stored::{Untrue, forget_untrue};

use protocol::Request;
use sha2::{Digest as _, Sha256};

/// Tells one request from another, in the memory and in the log. The first bytes of a SHA-256 over type and payload, as
/// they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::coordinator) struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a request's type and payload.
    pub(in crate::coordinator) fn of(request: &Request<'_>) -> Self {
        let mut hash = Sha256::new();
        hash.update((request.type_name.len() as u64).to_le_bytes());
        hash.update(request.type_name.as_bytes());
        hash.update(request.payload.unwrap_or_default().as_bytes());
        Self(first_bytes(hash))
    }
}

fn first_bytes(hash: Sha256) -> u64 {
    let bytes = hash.finalize();
    bytes[..8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
