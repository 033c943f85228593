//! What an older version of a plugin has left behind, made up for a test of what comes after it.

use super::{memory::MemoryHost, version::Stored};
use crate::state::{Maps, Schemas, State};

/// States as an older version stored them. See [`TestPlugin::load_on`](super::TestPlugin::load_on).
#[derive(Default)]
#[must_use = "it is for a plugin to be loaded on"]
pub struct LeftBehind(pub(super) Stored);

impl LeftBehind {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a state, or a tuple of them: as the older version declared it, and with what `fill` puts into it.
    ///
    /// # Panics
    /// What `fill` stores has no JSON, or is larger than an entry may be.
    pub fn with<S: State>(mut self, state: S, fill: impl FnOnce(&mut S::Handle)) -> Self {
        let host = MemoryHost::new();
        let mut handle = state.open(&mut Maps::new(host.access(), "0.0.0"));
        state
            .setup(&mut handle, &mut Schemas::default())
            .expect("a new state can be set up");
        fill(&mut handle);
        for (number, description) in (0..).zip(state.describe()) {
            let entries = host.entries(number);
            self.0
                .insert(description.name.clone(), (description, entries));
        }
        self
    }
}
