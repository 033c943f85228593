//! What all kinds of state have in common: a declaration that names it, and a handle that functions work on.

use std::sync::Arc;

use crate::{
    context::{HostAccess, StateMap},
    description::StateDescription,
};

/// The declaration of one state, or of a tuple of up to three that the same functions work on.
///
/// Made by [`Numbers::range`](crate::Numbers::range), [`Pool::list`](crate::Pool::list),
/// [`Map::named`](crate::Map::named) and [`Value::named`](crate::Value::named); not for authors to implement.
pub trait State: Send + Sync + 'static {
    /// What a function gets as `&mut`.
    type Handle: Send + 'static;

    /// One description for each state.
    #[doc(hidden)]
    fn describe(&self) -> Vec<StateDescription>;

    /// Makes the handle. Touches nothing of the state.
    #[doc(hidden)]
    fn open(&self, maps: &mut Maps) -> Self::Handle;

    /// Brings what is stored in line with the configuration: makes it at the first time, adds and drains
    /// what a changed configuration adds and takes away. Never revokes what is granted.
    ///
    /// # Errors
    /// What is stored cannot be read as this kind of state.
    #[doc(hidden)]
    fn setup(&self, handle: &mut Self::Handle) -> Result<(), String>;
}

/// Hands out the lane's ordered maps, one for each state, in the order of declaration.
#[doc(hidden)]
pub struct Maps {
    host: Arc<dyn HostAccess>,
    next: u32,
    /// Of the plugin.
    pub(crate) version: &'static str,
}

impl Maps {
    pub(crate) fn new(host: Arc<dyn HostAccess>, version: &'static str) -> Self {
        Self {
            host,
            next: 0,
            version,
        }
    }

    pub(crate) fn take(&mut self) -> StateMap {
        let map = StateMap::new(Arc::clone(&self.host), self.next);
        self.next += 1;
        map
    }
}

/// A lane without state of the host's.
impl State for () {
    type Handle = ();

    fn describe(&self) -> Vec<StateDescription> {
        Vec::new()
    }

    fn open(&self, _: &mut Maps) -> Self::Handle {}

    fn setup(&self, (): &mut ()) -> Result<(), String> {
        Ok(())
    }
}

macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<$($name: State),+> State for ($($name,)+) {
            type Handle = ($($name::Handle,)+);

            fn describe(&self) -> Vec<StateDescription> {
                [$(self.$index.describe()),+].concat()
            }

            fn open(&self, maps: &mut Maps) -> Self::Handle {
                ($(self.$index.open(maps),)+)
            }

            fn setup(&self, handle: &mut Self::Handle) -> Result<(), String> {
                $(self.$index.setup(&mut handle.$index)?;)+
                Ok(())
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
