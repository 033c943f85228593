//! rm-host: hands out scarce things to many clients at once; its logic is dropped in as plugins.
#![deny(unsafe_code)]

pub mod limits;
