//! What an author writes an rm-host plugin against.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod abi;
mod buffer;
mod context;
mod declare;
pub mod description;
pub mod export;
mod finite;
#[cfg(doctest)]
mod guide;
mod jobber;
mod key;
pub mod limits;
mod log_bridge;
mod map;
mod migration;
mod objects;
mod payload;
mod pool;
mod read_back;
pub mod rules;
pub mod self_test;
mod setting;
mod state;
mod stored;
pub mod testing;
mod value;

pub use context::{Call, Holder};
pub use jobber::{Answer, OrCode, RawJson, Refusal, RefusalKind};
pub use key::Key;
pub use map::{Map, MapRange, MapState};
pub use payload::Payload;
pub use pool::{
    Added, Grant, NoneFree, NotReleased, Numbers, NumbersState, OutOfNumbers, Pool, PoolGrant,
    PoolState, Resource, Taken, Token,
};
pub use serde_json;
pub use setting::Setting;
pub use state::State;
pub use tracing;
pub use value::{Value, ValueState};

/// All that a plugin usually needs.
pub mod prelude {
    pub use serde::{Deserialize, Serialize};
    pub use serde_json;
    pub use tracing::{debug, error, info, trace, warn};

    pub use crate::{
        Answer, Call, Map, Numbers, OrCode, Pool, RawJson, Refusal, Setting, Token, Value, plugin,
    };
}
