//! What is under way on one connection: who waits for which reply, and what is still to be written. Owns no socket, so
//! it can be tested without one.

use std::{collections::HashMap, fmt, sync::Arc};

use protocol::{ErrorCode, Refusal, Reply, encoder::BAD_MESSAGE_TYPE};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::limits::BUFFER_BYTES_KEPT;

/// A reply's content, free of the buffer it came in.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The JSON text of the result.
    pub(crate) result: String,
    /// Code and sentence, if the result is an error.
    pub(crate) refusal: Option<(String, String)>,
}

impl Answer {
    pub(crate) fn is_refused(&self, code: ErrorCode) -> bool {
        let refusal = self.refusal.as_ref();
        refusal.is_some_and(|(found, _)| found == code.as_str())
    }

    /// Whether the host itself does not know what became of the request. Asked again under its id, it will.
    pub(crate) fn is_in_doubt(&self) -> bool {
        #[derive(Deserialize)]
        struct Failed {
            outcome: String,
        }
        self.is_refused(ErrorCode::StorageFailed)
            && serde_json::from_str::<Failed>(&self.result)
                .is_ok_and(|failed| failed.outcome == "unknown")
    }
}

/// Why nothing more can be asked on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeEnd {
    Closed,
    Lost(Arc<str>),
}

#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// By `queryIndex`. A request leaves it with its reply, or when its caller gives up.
    waiting: HashMap<u64, Waiting>,
    /// Something was asked, and nothing has come since that answers all of it. Callers that have given up count: one that
    /// waits for less time than the host is silent would never notice otherwise.
    unanswered: bool,
    /// Whole messages, to be written in one piece.
    outgoing: Vec<u8>,
    /// What the host complained of last that was no single request's: why it hangs up, often.
    complaint: Option<String>,
    /// Once set, it never changes, and nobody waits.
    ended: Option<ExchangeEnd>,
}

#[derive(Debug)]
struct Waiting {
    type_name: Box<str>,
    answer: oneshot::Sender<Answer>,
}

impl Exchange {
    /// Queues a request's message and lets its caller wait. Every way to end the wait without an answer drops the
    /// sending side.
    pub(crate) fn ask(
        &mut self,
        type_name: &str,
        query_index: u64,
        message: &[u8],
    ) -> Result<oneshot::Receiver<Answer>, ExchangeEnd> {
        self.tell(message)?;
        let (answer, waits) = oneshot::channel();
        self.waiting.insert(
            query_index,
            Waiting {
                type_name: type_name.into(),
                answer,
            },
        );
        Ok(waits)
    }

    /// Queues a message whose reply nobody waits for.
    pub(crate) fn tell(&mut self, message: &[u8]) -> Result<(), ExchangeEnd> {
        match &self.ended {
            Some(ended) => Err(ended.clone()),
            None => {
                self.unanswered = true;
                self.outgoing.extend_from_slice(message);
                Ok(())
            }
        }
    }

    /// Frees the place of a caller that no longer waits.
    pub(crate) fn forget(&mut self, query_index: u64) {
        self.waiting.remove(&query_index);
    }

    /// Hands a reply to the caller that waits for it.
    pub(crate) fn deliver(&mut self, reply: &Reply<'_>) {
        let refusal = reply.refusal();
        let query_index = reply.query_index.parse().ok();
        let of_request = |waiting: &Waiting| {
            // A host that could not read a request does not know its type either.
            *waiting.type_name == *reply.type_name
                || (reply.type_name == BAD_MESSAGE_TYPE && refusal.is_some())
        };
        let waiting = query_index
            .filter(|index| self.waiting.get(index).is_some_and(of_request))
            .and_then(|index| self.waiting.remove(&index));
        self.unanswered = !self.waiting.is_empty();
        let Some(waiting) = waiting else {
            log_unclaimed(reply, refusal.as_ref());
            if reply.type_name == BAD_MESSAGE_TYPE && reply.query_index == "0" {
                self.complaint =
                    refusal.map(|refusal| format!("{}: {}", refusal.code, refusal.message()));
            }
            return;
        };
        let refusal = refusal.map(|refusal| {
            (
                refusal.code.as_ref().to_owned(),
                refusal.message().to_owned(),
            )
        });
        // The caller may have given up just now; that is its right.
        let _ = waiting.answer.send(Answer {
            result: reply.result.to_owned(),
            refusal,
        });
    }

    /// Ends all waits at once. The first reason stays. What is queued is still written if the end is this client's own.
    pub(crate) fn end(&mut self, ended: ExchangeEnd) {
        if ended != ExchangeEnd::Closed {
            self.outgoing = Vec::new();
        }
        self.ended.get_or_insert(ended);
        self.waiting = HashMap::new();
    }

    /// Whether the host owes a reply.
    pub(crate) fn is_owed(&self) -> bool {
        self.unanswered
    }

    /// The connection broke off, as it is put in words here; the host may have said why.
    pub(crate) fn broke_off(&self, how: impl fmt::Display) -> ExchangeEnd {
        let reason = match &self.complaint {
            Some(complaint) => format!("{how}: {complaint}"),
            None => how.to_string(),
        };
        ExchangeEnd::Lost(reason.into())
    }

    pub(crate) fn ended(&self) -> Option<&ExchangeEnd> {
        self.ended.as_ref()
    }

    /// All that is to be written, against an empty buffer to go on with.
    pub(crate) fn take_outgoing(&mut self, batch: &mut Vec<u8>) {
        batch.clear();
        if batch.capacity() > BUFFER_BYTES_KEPT {
            *batch = Vec::new();
        }
        std::mem::swap(batch, &mut self.outgoing);
    }
}

/// A late reply is nothing new to its caller; a complaint about what could not be read is.
fn log_unclaimed(reply: &Reply<'_>, refusal: Option<&Refusal<'_>>) {
    let (type_name, query_index) = (&*reply.type_name, reply.query_index);
    match refusal {
        Some(refusal) if type_name == BAD_MESSAGE_TYPE => {
            tracing::warn!(
                query_index,
                code = &*refusal.code,
                "the host complains: {}",
                refusal.message()
            );
        }
        _ => tracing::debug!(
            type_name,
            query_index,
            "ignored a reply that nobody waits for"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply<'a>(type_name: &'a str, query_index: &'a str, result: &'a str) -> Reply<'a> {
        Reply {
            type_name: type_name.into(),
            query_index,
            result,
        }
    }

    #[test]
    fn a_reply_goes_to_the_one_that_asked_for_its_type_under_its_number() {
        let mut exchange = Exchange::default();
        let mut first = exchange.ask("a", 1, b"").unwrap();
        let mut second = exchange.ask("a", 2, b"").unwrap();
        for other in [
            reply("b", "1", "{}"),
            reply("a", "3", "{}"),
            reply("a", "1.0", "{}"),
            reply("a", "-1", "{}"),
        ] {
            exchange.deliver(&other);
        }
        exchange.deliver(&reply("a", "2", r#"{"n":2}"#));
        assert!(first.try_recv().is_err());
        assert_eq!(second.try_recv().unwrap().result, r#"{"n":2}"#);
        exchange.deliver(&reply("a", "1", r#"{"n":1}"#));
        assert_eq!(first.try_recv().unwrap().result, r#"{"n":1}"#);
    }

    #[test]
    fn a_complaint_about_a_message_goes_to_the_one_that_sent_it() {
        let mut exchange = Exchange::default();
        let mut waits = exchange.ask("a", 1, b"").unwrap();
        exchange.deliver(&reply(
            BAD_MESSAGE_TYPE,
            "1",
            r#"{"msg":"m","err":"no complaint"}"#,
        ));
        assert!(waits.try_recv().is_err());
        exchange.deliver(&reply(
            BAD_MESSAGE_TYPE,
            "1",
            r#"{"msg":"too deep","err":"{","code":"bad_message"}"#,
        ));
        let refusal = waits.try_recv().unwrap().refusal;
        assert_eq!(
            refusal,
            Some(("bad_message".to_owned(), "too deep".to_owned()))
        );
    }

    #[test]
    fn the_end_reaches_all_that_wait_and_all_that_come_later() {
        let mut exchange = Exchange::default();
        let mut waits = exchange.ask("a", 1, b"message").unwrap();
        exchange.end(ExchangeEnd::Closed);
        exchange.end(ExchangeEnd::Lost("later".into()));
        assert!(matches!(
            waits.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        assert_eq!(exchange.ask("a", 2, b"").unwrap_err(), ExchangeEnd::Closed);
    }

    #[test]
    fn messages_queued_before_a_write_leave_in_one_batch() {
        let mut exchange = Exchange::default();
        exchange.tell(b"one").unwrap();
        exchange.tell(b"two").unwrap();
        let mut batch = b"written before".to_vec();
        exchange.take_outgoing(&mut batch);
        assert_eq!(batch, b"onetwo");
        exchange.take_outgoing(&mut batch);
        assert!(batch.is_empty());
    }
}
