//! What an author writes an rm-host plugin against.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod abi;
mod context;
pub mod description;
pub mod export;
mod jobber;
mod log_bridge;
mod payload;
mod state;

pub use context::Call;
pub use jobber::{Answer, OrCode, RawJson, Refusal, RefusalKind};
pub use payload::Payload;
pub use serde_json;
pub use state::State;
pub use tracing;

/// All that a plugin usually needs.
pub mod prelude {
    pub use serde::{Deserialize, Serialize};
    pub use serde_json;
    pub use tracing::{debug, error, info, trace, warn};

    pub use crate::{Answer, Call, OrCode, RawJson, Refusal, plugin};
}
