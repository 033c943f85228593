//! What all kinds of state have in common: a declaration that names it, and a handle that functions work on.

use std::sync::Arc;

use serde::Deserialize;

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
    /// what a changed configuration adds and takes away. Never revokes what is granted. What an older schema stored
    /// is migrated first.
    ///
    /// # Errors
    /// What is stored cannot be read as this kind of state, or not be migrated.
    #[doc(hidden)]
    fn setup(&self, handle: &mut Self::Handle, stored: &mut Schemas) -> Result<(), String>;
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

/// Which schema each state of the lane is stored with, in the order of declaration, as far as the host says so.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Schemas(std::vec::IntoIter<Option<u32>>);

impl Schemas {
    /// `None` for a state that is new.
    pub(crate) fn new(schemas: Vec<Option<u32>>) -> Self {
        Self(schemas.into_iter())
    }

    /// Of the facts that a host tells of what is stored. More of them may come some day.
    pub(crate) fn from_json(facts: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Facts {
            #[serde(default)]
            states: Vec<Option<Stored>>,
        }
        #[derive(Deserialize)]
        struct Stored {
            schema: Option<u32>,
        }
        let facts: Facts = serde_json::from_slice(facts).map_err(|error| {
            format!("what the host tells of the stored states cannot be read: {error}")
        })?;
        let schemas = facts.states.into_iter();
        Ok(Self::new(schemas.map(|stored| stored?.schema).collect()))
    }

    /// Of the next state. `None`: it is new, or nothing is known of it.
    pub(crate) fn next(&mut self) -> Option<u32> {
        self.0.next()?
    }
}

/// A lane without state of the host's.
impl State for () {
    type Handle = ();

    fn describe(&self) -> Vec<StateDescription> {
        Vec::new()
    }

    fn open(&self, _: &mut Maps) -> Self::Handle {}

    fn setup(&self, (): &mut (), _: &mut Schemas) -> Result<(), String> {
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

            fn setup(&self, handle: &mut Self::Handle, stored: &mut Schemas) -> Result<(), String> {
                $(self.$index.setup(&mut handle.$index, stored)?;)+
                Ok(())
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_as_much_of_the_stored_states_as_it_knows() {
        let read = |facts: &str| {
            let mut schemas = Schemas::from_json(facts.as_bytes()).unwrap();
            [schemas.next(), schemas.next(), schemas.next()]
        };
        assert_eq!(read("{}"), [None; 3]);
        let facts = r#"{"later":1,"states":[{"schema":2,"later":1},null,{}]}"#;
        assert_eq!(read(facts), [Some(2), None, None]);
        assert!(Schemas::from_json(b"7").is_err());
    }
}
