//! One state without a plugin around it: what the kinds of state are tested with.

use std::ops::{Deref, DerefMut};

use super::memory::MemoryHost;
use crate::{
    context::StateMap,
    state::{Maps, Schemas, State},
};

impl MemoryHost {
    pub(crate) fn map(&self, state: u32) -> StateMap {
        StateMap::new(self.access(), state)
    }
}

/// A state that is opened and set up; it stands for its handle.
pub(crate) struct Opened<S: State> {
    pub(crate) host: MemoryHost,
    pub(crate) handle: S::Handle,
}

impl<S: State> Opened<S> {
    pub(crate) fn new(host: &MemoryHost, state: S) -> Self {
        Self::try_new(host, state).expect("the state can be set up")
    }

    pub(crate) fn try_new(host: &MemoryHost, state: S) -> Result<Self, String> {
        Self::of_version(host, state, "0.1.0")
    }

    /// As a plugin of this version opens it.
    pub(crate) fn of_version(
        host: &MemoryHost,
        state: S,
        version: &'static str,
    ) -> Result<Self, String> {
        Self::on(host, state, version, Vec::new())
    }

    /// On what was stored with these schemas.
    pub(crate) fn migrated(host: &MemoryHost, state: S, stored: u32) -> Result<Self, String> {
        Self::on(host, state, "0.1.0", vec![Some(stored)])
    }

    fn on(
        host: &MemoryHost,
        state: S,
        version: &'static str,
        schemas: Vec<Option<u32>>,
    ) -> Result<Self, String> {
        let mut handle = state.open(&mut Maps::new(host.access(), version));
        state.setup(&mut handle, &mut Schemas::new(schemas))?;
        host.commit();
        Ok(Self {
            host: host.clone(),
            handle,
        })
    }
}

impl<S: State> Deref for Opened<S> {
    type Target = S::Handle;

    fn deref(&self) -> &S::Handle {
        &self.handle
    }
}

impl<S: State> DerefMut for Opened<S> {
    fn deref_mut(&mut self) -> &mut S::Handle {
        &mut self.handle
    }
}
