//! The session that a client's ids belong to: which one it is, and which id comes next.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use protocol::{encoder, limits::HELLO_VERSION};
use serde::Deserialize;

use crate::error::ClientError;

pub(crate) const HELLO_TYPE: &str = "rm.hello";

/// Shared by all connections of a client.
#[derive(Debug)]
pub(crate) struct Session {
    name: Mutex<Option<Arc<str>>>,
    /// The caller named it, was told its name, or chose an id in it: no other one may take its place.
    is_callers: AtomicBool,
    next_id: AtomicU64,
}

/// What a host answers to hello.
#[derive(Deserialize)]
pub(crate) struct Welcome {
    v: u32,
    server: Option<String>,
    session: Option<String>,
}

impl Session {
    /// The one that the caller named, or whichever the host gives.
    pub(crate) fn new(named: Option<&str>) -> Self {
        Self {
            name: Mutex::new(named.map(Into::into)),
            is_callers: AtomicBool::new(named.is_some()),
            next_id: AtomicU64::new(1),
        }
    }

    /// An id that was not given before. It stays good in a later session: only there it has to be new.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The payload of the next hello.
    pub(crate) fn hello(&self) -> String {
        let Some(name) = &*self.name() else {
            return format!("{{\"v\":{HELLO_VERSION}}}");
        };
        let mut text = Vec::new();
        encoder::push_string(&mut text, name);
        let text = String::from_utf8_lossy(&text);
        format!("{{\"v\":{HELLO_VERSION},\"session\":{text}}}")
    }

    /// The host has greeted. A host of an earlier version gives no session.
    pub(crate) fn greeted(&self, welcome: Welcome) -> Option<Arc<str>> {
        let Welcome { v, server, session } = welcome;
        let session: Option<Arc<str>> = session.map(Into::into);
        tracing::debug!(version = v, server, session = session.as_deref(), "greeted");
        self.name().clone_from(&session);
        session
    }

    /// Whether what is done in it is the caller's affair.
    pub(crate) fn is_callers(&self) -> bool {
        self.is_callers.load(Ordering::Relaxed)
    }

    /// From now on it is.
    pub(crate) fn becomes_callers(&self) {
        self.is_callers.store(true, Ordering::Relaxed);
    }

    /// The host does not know the session any more: the next hello asks for another, unless it is the caller's.
    pub(crate) fn forgotten(&self) {
        if !self.is_callers() {
            *self.name() = None;
        }
    }

    fn name(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host that gives no session cannot keep what was answered.
pub(crate) fn no_session() -> ClientError {
    ClientError::Lost {
        reason: "the host gives no session, which a request with an id needs: it is of an earlier version"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(session: &str) -> Welcome {
        Welcome {
            v: 1,
            server: None,
            session: Some(session.into()),
        }
    }

    #[test]
    fn a_session_is_resumed_until_it_is_forgotten_and_a_named_one_always() {
        let session = Session::new(None);
        assert_eq!(session.hello(), r#"{"v":1}"#);
        session.greeted(welcome("a\"🦀"));
        assert_eq!(session.hello(), r#"{"v":1,"session":"a\"\ud83e\udd80"}"#);
        session.forgotten();
        assert_eq!(session.hello(), r#"{"v":1}"#);
        let named = Session::new(Some("x"));
        named.forgotten();
        assert_eq!(named.hello(), r#"{"v":1,"session":"x"}"#);
    }
}
