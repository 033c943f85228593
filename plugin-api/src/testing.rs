//! Run a plugin without a host, in its own tests: requests in, replies out, with a clock set by hand.
//!
//! [`TestPlugin`] does to a plugin what a host does, by the same rules and in the same words: it refuses what the
//! plugin may not offer; each request is a transaction, which a refusal, a panic or a wrong answer takes back;
//! what the host keeps stays over a reload, what the plugin remembers does not. [`self_tests`] runs what the plugin
//! carries with it.
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
//!
//! [`TestClient::request`] has a request run once, and "not yet" and "try again" come back as refusals.
//! [`TestClient::send`] is what a client does that says `wait`: its request stands in line until the state changes,
//! the clock is set past its deadline, or the client goes. All this happens in the calls of the test, and is the
//! same each time.
//!
//! ```standalone_crate
//! use plugin_api::{prelude::*, testing::TestPlugin};
//! use serde_json::json;
//!
//! #[derive(Serialize)]
//! struct Got { seat: u64 }
//!
//! #[derive(Deserialize)]
//! struct Back { seat: u64 }
//!
//! fn get(hall: &mut Numbers) -> Answer<Got> {
//!     let grant = hall.take(1).or_code("sold_out")?;
//!     Ok(Got { seat: grant.ids()[0] })
//! }
//!
//! fn back(ask: Back, hall: &mut Numbers) -> Answer {
//!     hall.release_ids(&[ask.seat]).or_code("not_sold")
//! }
//!
//! plugin! { state |_| Numbers::range("hall", 1..=1) => inline { "get" => get, "back" => back } }
//!
//! # fn main() {
//! let mut plugin = TestPlugin::<RmPlugin>::new(());
//! plugin.client(1).request("get", ()).unwrap();
//!
//! let hasty = plugin.client(2).send("get", ());
//! let patient = plugin.client(3).send("get", ());
//! assert_eq!(plugin.reply(&hasty), None);
//!
//! plugin.disconnect(2);
//! plugin.client(1).request("back", json!({ "seat": 1 })).unwrap();
//! assert_eq!(plugin.reply(&patient), Some(Ok(json!({ "seat": 1 }))));
//! # }
//! ```
//!
//! [`TestPlugin::load_on`] loads a plugin on what an older version of it has left behind, so that the way from an
//! older schema can be tried.
//!
//! It is no host, though, and a test sees nothing of these:
//!
//! - **Threads.** One request runs at a time, whatever block it belongs to, and the stack is the test's own.
//! - **Time that really passes.** The clock stands still while a function runs; nobody looks how long it takes,
//!   but for [`self_tests`]. No time limit, no `timeout`, no deadline that passes meanwhile.
//! - **Queues and their bounds**, `busy`, the turns of clients, the size and the depth of a message, `NAME.toml`'s
//!   `[host]` table, the defaults of `rm.hello`.
//! - **Other plugins**, and what happens when a plugin is removed or quarantined: one that panics a hundred times
//!   is not.
//! - **The end of a host.** What is kept is kept for as long as the [`TestPlugin`].
//! - **The library file**: its check, its trial, the ABI. `rm-host check FILE` tries those.
//!
//! A panic's text is in the refusal, for the author to see; a client of a host is told no more than that there was
//! one. A value whose `Drop` panics ends the test; in a host it is a line in the log.

mod left_behind;
mod line;
mod memory;
#[cfg(test)]
mod opened;
mod plugin;
mod self_tests;
mod version;

pub use left_behind::LeftBehind;
pub use plugin::{Sent, TestClient, TestPlugin};
pub use self_tests::self_tests;
#[cfg(test)]
pub(crate) use {memory::MemoryHost, opened::Opened};
