//! The Rust in the pages for authors, compiled and run with the documentation's tests.

#[doc = include_str!("../../README.md")]
mod readme {}

#[doc = include_str!("../../docs/plugins.md")]
mod plugins {}

/// ```standalone_crate,compile_fail,E0428
/// mod one {
///     fn nothing() -> plugin_api::Answer { Ok(()) }
///     plugin_api::plugin! { stateless { "one" => nothing } }
/// }
/// mod two {
///     fn nothing() -> plugin_api::Answer { Ok(()) }
///     plugin_api::plugin! { stateless { "two" => nothing } }
/// }
/// # fn main() {}
/// ```
mod two_plugins {}
