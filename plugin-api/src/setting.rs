//! What functions need to know of the configuration, beside the state that they work on.

use std::{ops::Deref, sync::Arc};

use crate::{
    description::StateDescription,
    state::{Maps, Schemas, State},
};

/// A value that functions read and never change, mostly a part of the configuration. It stands in a tuple
/// beside the states, and the host keeps nothing of it.
///
/// ```standalone_crate
/// use plugin_api::{Setting, prelude::*};
///
/// #[derive(Deserialize)]
/// struct Config { seats: u64, per_client_max: u64 }
///
/// #[derive(Deserialize)]
/// struct Ask { count: u64 }
///
/// fn get(ask: Ask, (hall, most): &mut (Numbers, Setting<u64>)) -> Answer {
///     if ask.count > **most {
///         return Err(Refusal::new("too_many", format!("at most {} for each", **most)));
///     }
///     hall.take(ask.count)?;
///     Ok(())
/// }
///
/// plugin! {
///     config Config;
///     state |c| (Numbers::range("hall", 1..=c.seats), Setting::new(c.per_client_max)) => inline {
///         "get" => get,
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Setting<T>(Arc<T>);

impl<T> Setting<T> {
    /// Makes it of what the functions need to know.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

/// Of the same value.
impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> State for Setting<T> {
    type Handle = Self;

    fn describe(&self) -> Vec<StateDescription> {
        Vec::new()
    }

    fn open(&self, _: &mut Maps) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn setup(&self, _: &mut Self, _: &mut Schemas) -> Result<(), String> {
        Ok(())
    }
}
