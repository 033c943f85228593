//! The Rust in the pages for authors, compiled and run with the documentation's tests.

#[doc = include_str!("../../README.md")]
mod readme {}

#[doc = include_str!("../../docs/plugins.md")]
mod plugins {}
