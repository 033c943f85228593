//! Reads back what a plugin under test stores.
//!
//! What serde writes is not always what it reads: a field that is skipped and has no default, a custom
//! `Serialize`. In a host that would show at the next job, or the next restart; so the testing kit asks for it here.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

thread_local! {
    /// `None`: nobody asks.
    static UNREADABLE: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Notes, if anybody asks, that `json` cannot be read as what it was written from.
pub(crate) fn check<T: DeserializeOwned>(name: &str, json: &[u8]) {
    UNREADABLE.with_borrow_mut(|unreadable| {
        let Some(unreadable) = unreadable else { return };
        if let Err(error) = serde_json::from_slice::<T>(json) {
            unreadable.push(format!(
                "state `{name}`: a {} was stored as {} and cannot be read again: {error}",
                std::any::type_name::<T>(),
                String::from_utf8_lossy(json)
            ));
        }
    });
}

/// Runs `f` and returns what it stored and nobody can read.
pub(crate) fn watched<R>(f: impl FnOnce() -> R) -> (R, Vec<String>) {
    UNREADABLE.set(Some(Vec::new()));
    let result = f();
    (result, UNREADABLE.take().unwrap_or_default())
}
