//! Sets of resources that are handed out and come back: [`Numbers`](numbers::Numbers), which are nothing but
//! their number, and [`Pool`](pool::Pool), whose resources carry data.
//!
//! Both keep their books in a [`Stock`](stock::Stock), which knows resources by number only: what is free in
//! [range sets](ranges::RangeSet), so that a hundred million free seats cost as much as one, and what is granted in a
//! [ledger], which knows the token and the holder of each number.

mod digest;
mod grant;
mod header;
mod ledger;
mod numbers;
#[expect(
    clippy::module_inception,
    reason = "a file is called after its one noun"
)]
mod pool;
mod ranges;
mod record;
mod stock;

pub use grant::{Grant, NoneFree, NotReleased, Token};
pub(crate) use header::BOOKS_VERSION;
pub use numbers::{Numbers, NumbersState, OutOfNumbers};
pub use pool::{Added, Pool, PoolGrant, PoolState, Resource, Taken};
