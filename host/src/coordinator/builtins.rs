//! The request types that the host serves itself, at once and without a lane.

use protocol::{ErrorCode, Hello, Request, encoder};
use serde_json::{Map, Value, json};

use super::{
    coordinator::{Coordinator, check_deadline},
    job::ClientSlot,
};
use crate::{limits, logging::OneLine};

impl Coordinator {
    /// Answers a request whose type no plugin serves: a built-in one, or an unknown one.
    pub(super) fn not_served(&mut self, slot: ClientSlot, request: &Request<'_>, frame: &[u8]) {
        match &*request.type_name {
            "ping" => {
                let pong = self.pongs;
                self.pongs += 1;
                self.answer(slot, request, &json!({ "pong": pong }));
            }
            "errMsgFromClient" => {
                let payload = request.payload.map(serde_json::from_str::<Value>);
                let err = payload.and_then(Result::ok).unwrap_or_default();
                let msg = "the client says that a message was wrong";
                let shown = err.to_string();
                let shown = &shown[..shown.floor_char_boundary(limits::CLIENT_TEXT_LOG_BYTES)];
                tracing::warn!(client = self.clients.at(slot).id, err = %OneLine(shown), "{msg}");
                self.answer(slot, request, &json!({ "msg": msg, "err": err }));
            }
            "srvQueuePrint" => {
                let queue = self.queue_report();
                tracing::info!(name = %self.settings.name, "queue: {queue}");
                self.answer(slot, request, &queue);
            }
            "rm.hello" => match hello(request.payload) {
                Ok(hello) => self.greet(slot, request, hello),
                Err(reason) => self.bad_message(slot, request.query_index, &reason, frame),
            },
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

    fn greet(&mut self, slot: ClientSlot, request: &Request<'_>, hello: Hello) {
        let client = self.clients.at(slot);
        client.hello = Some(hello.meta);
        let session = format!("{:x}", client.id);
        let server = concat!("rm-host ", env!("CARGO_PKG_VERSION"));
        self.answer(
            slot,
            request,
            &json!({ "v": 1, "server": server, "session": session }),
        );
    }

    pub(super) fn answer(&mut self, slot: ClientSlot, request: &Request<'_>, result: &Value) {
        let result = result.to_string();
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
    fn queue_report(&self) -> Value {
        let mut types = Map::new();
        for (id, served) in self.types.iter() {
            let held = self.schedule.held(id);
            if held != Default::default() {
                types.insert(
                    served.name.to_string(),
                    json!({
                        "queued": held.queued,
                        "waiting": held.waiting,
                        "retrying": held.retrying,
                    }),
                );
            }
        }
        json!({ "length": self.schedule.len(), "types": types })
    }
}

fn hello(payload: Option<&str>) -> Result<Hello, String> {
    let hello = Hello::parse(payload)?;
    check_deadline(&hello.meta)?;
    Ok(hello)
}
