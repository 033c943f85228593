//! Sets of resources that are handed out and come back: [`Numbers`](numbers::Numbers), which are nothing but
//! their number, and [`Pool`](pool::Pool), whose resources carry data.
//!
//! Both keep their books in a [`Stock`](stock::Stock), which knows resources by number only, and that in
//! [range sets](ranges::RangeSet), so that a hundred million free seats cost as much as one.

mod footing;
mod grant;
mod numbers;
#[expect(
    clippy::module_inception,
    reason = "a file is called after its one noun"
)]
mod pool;
mod ranges;
mod stock;

pub use grant::{Grant, NoneFree, NotHeld, Token};
pub use numbers::{Numbers, NumbersState, OutOfNumbers};
pub use pool::{Added, Pool, PoolGrant, PoolState, Resource, Taken};
