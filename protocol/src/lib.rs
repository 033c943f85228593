//! The messages and the framing of rm-host's wire, without any I/O.
//!
//! Bytes go in and messages come out, and the other way round; sockets, clocks and threads are the caller's. The host
//! and every client read and write through this crate, so the two sides cannot drift apart.
//!
//! ```
//! use protocol::{Decoder, Request, encoder};
//!
//! let mut decoder = Decoder::new();
//! let mut frames = decoder.feed("{\"type\":\"ping\",\"queryIndex\":7}🦀".as_bytes());
//! let mut out = Vec::new();
//! while let Some(frame) = frames.next()? {
//!     match Request::parse(frame, false) {
//!         Ok(request) => encoder::reply(&mut out, &request.type_name, request.query_index, br#"{"pong":0}"#),
//!         Err(bad) => encoder::bad_message(&mut out, "bad_message", &bad.query_index, &bad.reason, frame),
//!     }
//! }
//! assert_eq!(out, "{\"type\":\"ping\",\"queryIndex\":7,\"resultJob\":{\"pong\":0}}🦀".as_bytes());
//! # Ok::<(), protocol::ProtocolError>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod decoder;
pub mod encoder;
pub mod error_code;
pub mod limits;
pub mod message;
pub mod meta;
mod object;
mod opening;
mod plain;
pub mod reply;
mod request;
mod separator;
pub mod shown;
pub mod waited;

pub use decoder::{Decoder, Frames, ProtocolError};
pub use error_code::ErrorCode;
pub use message::BadMessage;
pub use meta::{Cancel, Hello, Meta};
pub use reply::{BadReply, Refusal, Reply};
pub use request::Request;
pub use waited::Waited;
