//! A pool of distinct resources, each with data of the author's: proxies, accounts, devices.
//!
//! Resources are known by an id, which is never used twice. A [`Stock`] keeps the books of the ids; beside it
//! stand, in the same map, the data of each id and an index that finds the id of given data.
//!
//! Invariant: an id has data and an index entry as long as it is a member of the stock or the configuration
//! names it, and the data is stored as the present version writes it. So data that was removed by hand, and is still configured, is known and not added again.

use std::{collections::HashSet, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    digest::{self, hash},
    grant::{NoneFree, NotReleased, Token},
    numbers::spans_of,
    ranges::Span,
    stock::{PREFIX_OF_OTHERS, Stock},
};
use crate::{
    context::{StateMap, unwinding},
    migration::Steps,
    stored,
};

pub use declaration::PoolState;

/// Then the id, 8 bytes big endian. The value is the data's JSON.
const DATA: u8 = PREFIX_OF_OTHERS;
/// Then the hash of the data's JSON and the id, 8 bytes each. No value.
const INDEX: u8 = PREFIX_OF_OTHERS + 1;

/// A pool of distinct resources, lowest id first.
///
/// Two resources whose data have the same JSON are one: it is never in the pool twice. What an earlier version
/// of the plugin stored is rewritten as the present `T` writes it; where that makes one of two, the version is
/// refused. To be sure of it, raise the version of your package when you change `T`: everything is walked through
/// unless plugin-api, that version, and the name, size and fields (or variants) of `T` are what they were, and
/// the first and the last few resources are stored as `T` writes them.
///
/// ```
/// use plugin_api::{Pool, prelude::*};
///
/// #[derive(Serialize)]
/// struct Got { id: u64, url: String }
///
/// fn get(proxies: &mut Pool<String>) -> Answer<Got> {
///     let proxy = proxies.take_one()?;
///     Ok(Got { id: proxy.id, url: proxy.data })
/// }
/// ```
pub struct Pool<T> {
    stock: Stock,
    name: String,
    /// Of the plugin.
    version: &'static str,
    /// The JSON of what is looked up or stored, kept for its room.
    json: Vec<u8>,
    data: PhantomData<fn() -> T>,
}

/// One resource of a [`PoolGrant`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource<T> {
    /// Never used for another one.
    pub id: u64,
    /// As it was added.
    pub data: T,
}

/// Resources that were handed out together. See [`Pool::take`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolGrant<T> {
    /// Grows with each grant.
    pub token: Token,
    /// How many resources are free after this grant.
    pub left: u64,
    /// As many as were asked for, by rising id.
    pub resources: Vec<Resource<T>>,
}

/// One resource that was handed out alone. See [`Pool::take_one`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken<T> {
    /// Grows with each grant.
    pub token: Token,
    /// How many resources are free after this grant.
    pub left: u64,
    /// Never used for another resource.
    pub id: u64,
    /// As it was added.
    pub data: T,
}

/// What [`Pool::add`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Added {
    /// The id of the resource with this data.
    pub id: u64,
    /// False if it was in the pool already, free or held.
    pub new: bool,
}

impl<T: Serialize + DeserializeOwned> Pool<T> {
    /// Declares a pool that has a resource for each of `configured`, which may be empty.
    ///
    /// Where the configuration names others, later, those that are new in it are added and those no longer in
    /// it are drained: the free ones go at once, the held ones when they come back. What was
    /// [added](Self::add) or [removed](Self::remove) since stays so.
    ///
    /// ```
    /// let proxies = plugin_api::Pool::list("proxies", ["10.0.0.1:8080".to_owned()]);
    /// ```
    pub fn list(name: impl Into<String>, configured: impl IntoIterator<Item = T>) -> PoolState<T> {
        let name = name.into();
        let configured = configured.into_iter();
        let configured: Vec<_> = configured.map(|data| into_json(&name, &data)).collect();
        PoolState {
            name,
            schema: 1,
            steps: Steps::default(),
            digest: digest::of(configured.iter().map(Vec::as_slice)),
            configured,
            data: PhantomData,
        }
    }

    /// Adds a resource, unless one with this data is in the pool. It stays whatever the configuration says;
    /// if it was on its way out, it stays as well, under its old id.
    ///
    /// # Panics
    /// `data` has no JSON, or 2^64 resources were added before.
    pub fn add(&mut self, data: &T) -> Added {
        self.write_json(data);
        match self.id_of_json() {
            Some(id) if self.stock.is_member(id) => {
                self.stock.add(Span::one(id));
                Added { id, new: false }
            }
            // Configured, and removed by hand: it comes back as a new resource, in the old one's place.
            Some(old) => {
                self.stock.deconfigure(Span::one(old));
                self.forget(old);
                self.write_json(data);
                let id = self.store();
                self.stock.configure(Span::one(id));
                self.stock.add(Span::one(id));
                Added { id, new: true }
            }
            None => {
                let id = self.store();
                self.stock.add(Span::one(id));
                Added { id, new: true }
            }
        }
    }

    /// Takes a resource out of the pool: at once if it is free, else when it comes back. Returns whether it
    /// was in the pool.
    pub fn remove(&mut self, id: u64) -> bool {
        let was_member = self.stock.is_member(id);
        if was_member {
            let gone = self.stock.remove(Span::one(id));
            self.forget_all(&gone);
        }
        was_member
    }

    /// Takes the `count` free resources with the lowest ids, all or none. They are held by whoever asked, the session or else the
    /// connection, until they are given back.
    ///
    /// # Errors
    /// Fewer are free, or fewer there are, or `count` is 0: check that one yourself, to name the field of the payload.
    pub fn take(&mut self, count: u64) -> Result<PoolGrant<T>, NoneFree> {
        let grant = self.stock.take(count)?;
        let resources = grant.ranges().flatten().map(|id| {
            let data = self.data_of(id)?;
            Some(Resource { id, data })
        });
        let resources: Option<Vec<_>> = resources.collect();
        Ok(PoolGrant {
            token: grant.token,
            left: grant.left,
            resources: resources.ok_or(void(count))?,
        })
    }

    /// Takes the free resource with the lowest id, as [`Pool::take`] does.
    ///
    /// # Errors
    /// None is free.
    pub fn take_one(&mut self) -> Result<Taken<T>, NoneFree> {
        let grant = self.stock.take(1)?;
        let id = grant.lowest();
        Ok(Taken {
            token: grant.token,
            left: grant.left,
            id,
            data: self.data_of(id).ok_or(void(1))?,
        })
    }

    /// Gives back all resources that the grant with this token still has. Whoever shows the token may.
    ///
    /// # Errors
    /// The grant has ended.
    pub fn release(&mut self, token: Token) -> Result<(), NotReleased> {
        let gone = self.stock.release_token(token, None)?;
        self.forget_all(&gone);
        Ok(())
    }

    /// Gives back some of the resources that the grant with this token has, in whatever order they come, all or none. Whoever
    /// shows the token may.
    ///
    /// # Errors
    /// The grant has ended, does not have all of them, or one is there twice.
    pub fn release_part(&mut self, token: Token, ids: &[u64]) -> Result<(), NotReleased> {
        let gone = self.stock.release_token(token, Some(&spans_of(ids)))?;
        self.forget_all(&gone);
        Ok(())
    }

    /// Gives resources back without a token, in whatever order they come, all or none. They have to be the asker's own, or to
    /// have been granted before plugin-api kept the holders of grants.
    ///
    /// # Errors
    /// One of them is not held, not the asker's, or is there twice.
    pub fn release_ids(&mut self, ids: &[u64]) -> Result<(), NotReleased> {
        let gone = self.stock.release_numbers(&spans_of(ids))?;
        self.forget_all(&gone);
        Ok(())
    }

    /// The data of a resource that is in the pool, free or held.
    pub fn data(&mut self, id: u64) -> Option<T> {
        let is_member = self.stock.is_member(id);
        is_member.then(|| self.data_of(id))?
    }

    /// The id of the resource with this data, if it is in the pool, free or held.
    ///
    /// # Panics
    /// `data` has no JSON.
    pub fn find(&mut self, data: &T) -> Option<u64> {
        self.write_json(data);
        let id = self.id_of_json()?;
        self.stock.is_member(id).then_some(id)
    }

    /// How many are free. Costs the same for any number of them.
    pub fn free(&mut self) -> u64 {
        self.stock.header().free
    }

    /// How many there are, free and held. Costs the same for any number of them.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a pool that has nothing is no special case"
    )]
    pub fn len(&mut self) -> u64 {
        self.stock.header().len
    }

    /// Whether the resource was handed out and has not come back.
    pub fn is_held(&mut self, id: u64) -> bool {
        self.stock.is_held(id)
    }

    /// The data of a member. `None` only while the job is on its way out.
    fn data_of(&mut self, id: u64) -> Option<T> {
        match self.read_data(id) {
            Ok(data) => Some(data),
            Err(_) if unwinding() => None,
            Err(text) => panic!("state `{}`: {text}", self.name),
        }
    }

    fn read_data(&mut self, id: u64) -> Result<T, String> {
        let key = data_key(id);
        let json = self.stock.map.read(&key).ok_or_else(|| no_data(&key))?;
        stored::from_json(&key, json)
    }

    fn write_json(&mut self, data: &T) {
        // Without JSON the job is on its way out, and what it stores is void.
        let _ = stored::to_sorted_json(&self.name, data, &mut self.json);
    }

    /// The id of the data whose JSON was written last.
    fn id_of_json(&mut self) -> Option<u64> {
        self.same_json(|_| true)
    }

    /// The first `wanted` id of the data whose JSON was written last.
    fn same_json(&mut self, wanted: impl Fn(u64) -> bool) -> Option<u64> {
        let hash = hash(&self.json);
        let mut from = index_key(hash, 0);
        while let Some(id) = indexed_id(&mut self.stock.map, &from, hash) {
            // A hash in common is not yet the same data.
            if wanted(id) && self.stock.map.read(&data_key(id)) == Some(&self.json[..]) {
                return Some(id);
            }
            from = index_key(hash, id.checked_add(1)?);
        }
        None
    }

    /// Stores the data whose JSON was written last, under a new id.
    fn store(&mut self) -> u64 {
        let id = self.stock.unused(1).expect("ids do not run out");
        self.put(id);
        id
    }

    fn put(&mut self, id: u64) {
        self.stock.map.write(&data_key(id), &self.json);
        self.stock.map.write(&index_key(hash(&self.json), id), &[]);
    }

    /// Drops the data of ids that left the stock, unless the configuration still names them.
    fn forget_all(&mut self, gone: &[Span]) {
        for id in gone.iter().flat_map(|span| span.start..=span.end) {
            if !self.stock.is_configured(id) {
                self.forget(id);
            }
        }
    }

    fn forget(&mut self, id: u64) {
        let Some(json) = self.stock.map.read(&data_key(id)) else {
            return;
        };
        let hash = hash(json);
        self.stock.map.remove(&data_key(id));
        self.stock.map.remove(&index_key(hash, id));
    }

    /// Brings the configured resources in line with the configuration.
    fn configure(&mut self, named: &[Vec<u8>]) -> Result<(), String> {
        let mut unknown: HashSet<&[u8]> = named.iter().map(Vec::as_slice).collect();
        for span in self.stock.configured() {
            for id in span.start..=span.end {
                let key = data_key(id);
                let json = self.stock.map.read(&key).ok_or_else(|| no_data(&key))?;
                if !unknown.remove(json) {
                    self.deconfigure(id);
                }
            }
        }
        // In the order of the configuration, which becomes the order of the ids.
        for json in named {
            if unknown.remove(&json[..]) {
                self.json.clone_from(json);
                let id = match self.id_of_json() {
                    Some(id) => id,
                    None => self.store(),
                };
                self.stock.configure(Span::one(id));
            }
        }
        Ok(())
    }

    fn deconfigure(&mut self, id: u64) {
        self.stock.deconfigure(Span::one(id));
        if !self.stock.is_member(id) {
            self.forget(id);
        }
    }
}

fn into_json<T: Serialize + DeserializeOwned>(name: &str, data: &T) -> Vec<u8> {
    let mut json = Vec::new();
    let _ = stored::to_sorted_json(name, data, &mut json);
    json
}

/// What a job that is on its way out gets instead of a grant.
fn void(asked: u64) -> NoneFree {
    NoneFree {
        asked,
        free: 0,
        members: 0,
    }
}

fn no_data(key: &[u8]) -> String {
    stored::unreadable(key, "the data of a resource", "not there")
}

fn data_key(id: u64) -> [u8; 9] {
    let mut key = [DATA; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

fn index_key(hash: u64, id: u64) -> [u8; 17] {
    let mut key = [INDEX; 17];
    key[1..9].copy_from_slice(&hash.to_be_bytes());
    key[9..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The id of the first index entry at or after `from` that has this hash.
fn indexed_id(map: &mut StateMap, from: &[u8; 17], hash: u64) -> Option<u64> {
    let (key, _) = map.at_or_after(from)?;
    let (head, id) = key.split_last_chunk()?;
    let id = u64::from_be_bytes(*id);
    (head == &index_key(hash, id)[..9]).then_some(id)
}

mod canonical;
mod declaration;
#[cfg(test)]
mod tests;
