//! What a version of a plugin declares of its pool: the name, the form of the data and how it came to be, and what the
//! configuration names.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    super::{
        BOOKS_VERSION,
        digest::{self, Digest},
        stock::Stock,
    },
    Pool,
};
use crate::{
    description::StateDescription,
    migration::Steps,
    state::{Maps, Schemas, State},
};

/// The declaration of a [`Pool`].
pub struct PoolState<T> {
    pub(super) name: String,
    pub(super) schema: u32,
    pub(super) steps: Steps,
    /// As JSON: written before the state is opened, because requests wait for what comes then.
    pub(super) configured: Vec<Vec<u8>>,
    pub(super) digest: u64,
    pub(super) data: PhantomData<fn() -> T>,
}

impl<T> PoolState<T> {
    /// The version of what is stored, 1 at first. An older one than the stored is refused.
    #[must_use]
    pub fn schema(self, schema: u32) -> Self {
        Self { schema, ..self }
    }

    /// Says how the data of each resource of schema `from`, free or held, becomes that of the next one. Ids and grants stay.
    /// Steps follow one another: from 1 to 2, from 2 to 3, until the declared schema is reached. Where one fails or panics,
    /// or makes one of two resources, the version is refused and nothing has changed.
    ///
    /// ```
    /// # use plugin_api::{Pool, PoolState, prelude::*};
    /// #[derive(Serialize, Deserialize)]
    /// struct Proxy { host: String, port: u16 }
    ///
    /// /// At first they were one string each.
    /// fn proxies(configured: Vec<Proxy>) -> PoolState<Proxy> {
    ///     Pool::list("proxies", configured).schema(2).migrate(1, |url: String| {
    ///         let (host, port) = url.split_once(':').ok_or("expected HOST:PORT")?;
    ///         let port = port.parse().map_err(|error| format!("port {port}: {error}"))?;
    ///         Ok(Proxy { host: host.to_owned(), port })
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn migrate<Old, New>(
        mut self,
        from: u32,
        step: impl Fn(Old) -> Result<New, String> + Send + Sync + 'static,
    ) -> Self
    where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        self.steps.add(from, step);
        self
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> State for PoolState<T> {
    type Handle = Pool<T>;

    fn describe(&self) -> Vec<StateDescription> {
        vec![StateDescription {
            name: self.name.clone(),
            kind: "pool".to_owned(),
            schema: self.schema,
            books: BOOKS_VERSION,
        }]
    }

    fn open(&self, maps: &mut Maps) -> Pool<T> {
        let version = maps.version;
        Pool {
            stock: Stock::new(maps.take()),
            name: self.name.clone(),
            version,
            json: Vec::new(),
            data: PhantomData,
        }
    }

    fn setup(&self, pool: &mut Pool<T>, stored: &mut Schemas) -> Result<(), String> {
        let way = self.steps.way(&self.name, stored.next(), self.schema)?;
        let named = |text| format!("state `{}`: {text}", self.name);
        pool.stock.setup().map_err(named)?;
        let digest = Digest {
            code: digest::of_type::<T>(pool.version),
            configured: self.digest,
        };
        let found = Digest::read(&mut pool.stock.map);
        let same_code = found.is_some_and(|found| found.code == digest.code);
        let same_form = same_code && way.is_empty() && pool.looks_canonical();
        if !same_form {
            pool.stock.check().map_err(named)?;
            pool.normalize(&way)?;
        }
        if !same_form || found != Some(digest) {
            pool.configure(&self.configured).map_err(named)?;
            digest.write(&mut pool.stock.map);
        }
        Ok(())
    }
}
