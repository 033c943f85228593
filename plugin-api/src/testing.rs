//! Run a plugin without a host, in its own tests: requests in, replies out, with a clock set by hand.
//!
//! [`TestPlugin`] does to a plugin what a host does: each request is a transaction, which a refusal, a panic
//! or a wrong answer takes back; what the host keeps stays over a reload, what the plugin remembers does not.
//! It has one thread and no queues: "not yet" and "try again" come back as refusals. [`self_tests`] runs what the
//! plugin carries with it.
//!
//! ```standalone_crate
//! use plugin_api::{prelude::*, testing::TestPlugin};
//! use serde_json::json;
//!
//! #[derive(Deserialize)]
//! struct Config { seats: u64 }
//!
//! #[derive(Serialize)]
//! struct Got { seats: Vec<u64> }
//!
//! fn get(hall: &mut Numbers) -> Answer<Got> {
//!     let grant = hall.take(2).or_code("sold_out")?;
//!     Ok(Got { seats: grant.ids() })
//! }
//!
//! plugin! { config Config; state |c| Numbers::range("hall", 1..=c.seats) => inline { "get" => get } }
//!
//! # fn main() {
//! let mut plugin = TestPlugin::<RmPlugin>::new(json!({ "seats": 3 }));
//! assert_eq!(plugin.client(1).request("get", ()), Ok(json!({ "seats": [1, 2] })));
//!
//! let refusal = plugin.client(2).request("get", ()).unwrap_err();
//! assert_eq!((refusal.code(), refusal.message()), ("sold_out", "2 asked for, 1 free"));
//!
//! plugin.reload(json!({ "seats": 4 })).unwrap();
//! assert_eq!(plugin.client(2).request("get", ()), Ok(json!({ "seats": [3, 4] })));
//! # }
//! ```

mod memory;
#[cfg(test)]
mod opened;
mod plugin;
mod self_tests;

pub use plugin::{TestClient, TestPlugin};
pub use self_tests::self_tests;
#[cfg(test)]
pub(crate) use {memory::MemoryHost, opened::Opened};
