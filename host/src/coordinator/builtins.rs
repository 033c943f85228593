//! The request types that the host serves itself, at once and without a lane.

use plugin_api::rules::offer::{BUILT_IN, RESERVED_PREFIX};
use std::collections::BTreeMap;

use protocol::{ErrorCode, Hello, Meta, Request, encoder, limits::HELLO_VERSION};
use serde::Serialize;

use super::{coordinator::Coordinator, schedule::Held};
use crate::{lane::ClientSlot, limits, logging::OneLine};

/// What `ping` is answered with.
#[derive(Debug, Serialize)]
struct Pong {
    /// Counts up with each, from 0.
    pong: u64,
}

/// What `rm.hello` is answered with.
#[derive(Debug, Serialize)]
struct Welcome<'a> {
    v: u32,
    server: &'a str,
    session: &'a str,
}

/// What `srvQueuePrint` is answered with.
#[derive(Debug, Serialize)]
struct QueueReport<'a> {
    /// All requests of the host that have not begun.
    length: usize,
    /// Of those types only that have something.
    types: BTreeMap<&'a str, Held>,
}

/// An answer of the host's own as JSON, its keys in the order of the alphabet.
pub(super) fn json_text(answer: &impl Serialize) -> String {
    let answer = serde_json::to_value(answer);
    answer
        .expect("it has texts for keys, and no floats")
        .to_string()
}

impl Coordinator {
    /// Answers a request whose type no plugin serves: a built-in one, or an unknown one.
    pub(super) fn not_served(
        &mut self,
        slot: ClientSlot,
        request: &Request<'_>,
        meta: &Meta,
        frame: &[u8],
    ) {
        if meta.id.is_some() && is_built_in(&request.type_name) {
            let reason = format!(
                "the key `id` of `meta` is for what plugins serve: what the host itself answers to `{}` is not kept",
                request.type_name
            );
            return self.bad_message(slot, request.query_index, &reason, frame);
        }
        if is_built_in(&request.type_name) && request.type_name != "ping" {
            // It may take long, so it is billed by itself.
            self.turn.takes_long();
        }
        match &*request.type_name {
            "ping" => {
                let pong = self.pongs;
                self.pongs += 1;
                self.answer(slot, request, &json_text(&Pong { pong }));
            }
            "errMsgFromClient" => {
                // As it was sent: a number or a text that no tree could hold comes back too.
                let err = request.payload.unwrap_or("null");
                let msg = "the client says that a message was wrong";
                let shown = &err[..err.floor_char_boundary(limits::CLIENT_TEXT_LOG_BYTES)];
                tracing::warn!(client = self.clients.at(slot).id, err = %OneLine(shown), "{msg}");
                let result = format!("{{\"msg\":\"{msg}\",\"err\":{err}}}");
                self.answer(slot, request, &result);
            }
            "srvQueuePrint" => {
                let queue = json_text(&self.queue_report());
                tracing::info!(name = %self.settings.name, client = self.clients.at(slot).id, "queue: {queue}");
                self.answer(slot, request, &queue);
            }
            "rm.hello" => match hello(request.payload) {
                Ok(hello) => self.greet(slot, request, &hello),
                Err(reason) => self.bad_message(slot, request.query_index, &reason, frame),
            },
            "rm.cancel" => self.cancel(slot, request),
            "rm.status" => {
                let status = json_text(&self.status());
                self.answer(slot, request, &status);
            }
            "rm.plugins" => self.list_plugins(slot, request),
            "rm.plugin" => self.command_plugin(slot, request),
            unknown => {
                let shown: String = unknown.chars().take(limits::NAME_BYTES_MAX).collect();
                let text = format!(
                    "no plugin serves the type {shown:?}; it may be misspelt, or its plugin is not loaded"
                );
                self.fail(slot, request, ErrorCode::UnknownType, &text);
            }
        }
    }

    fn greet(&mut self, slot: ClientSlot, request: &Request<'_>, hello: &Hello) {
        if self.has_too_much_open(slot, request) {
            return;
        }
        let session = match self.enter_session(slot, hello.session.as_deref()) {
            Ok(session) => session,
            Err(reason) => return self.fail(slot, request, ErrorCode::IdForgotten, &reason),
        };
        self.clients.at(slot).hello = Some(hello.meta);
        let server = concat!("rm-host ", env!("CARGO_PKG_VERSION"));
        let result = Welcome {
            v: HELLO_VERSION,
            server,
            session: &session,
        };
        // After a restart the name is worth nothing without the key.
        self.answer_once_durable(
            (self.sessions.key_in(), true),
            slot,
            request,
            &json_text(&result),
        );
    }

    /// Answers with a JSON text.
    pub(super) fn answer(&mut self, slot: ClientSlot, request: &Request<'_>, result: &str) {
        self.clients.reply(slot, |out| {
            encoder::reply(
                out,
                &request.type_name,
                request.query_index,
                result.as_bytes(),
            );
        });
    }

    /// What is queued, by type: those types only that have something.
    fn queue_report(&self) -> QueueReport<'_> {
        let types = self.routing.types().filter_map(|(id, served)| {
            let held = self.schedule.held(id);
            (held != Held::default()).then_some((&*served.name, held))
        });
        QueueReport {
            length: self.schedule.len(),
            types: types.collect(),
        }
    }
}

/// Whether a type is the host's own.
fn is_built_in(type_name: &str) -> bool {
    BUILT_IN.contains(&type_name) || type_name.starts_with(RESERVED_PREFIX)
}

fn hello(payload: Option<&str>) -> Result<Hello, String> {
    let hello = Hello::parse(payload)?;
    check_deadline(&hello.meta)?;
    Ok(hello)
}

/// Whether a deadline that a client asks for is within its bound.
pub(super) fn check_deadline(meta: &Meta) -> Result<(), String> {
    let max = limits::DEADLINE_MS_MAX;
    match meta.deadline_ms {
        Some(ms) if ms > max => Err(format!(
            "`meta.deadline_ms`: expected at most {max}, got {ms}"
        )),
        _ => Ok(()),
    }
}
