//! The form in which a pool's data is stored: the JSON that the present version of the plugin writes.
//!
//! Resources are known by that JSON, so what an earlier version wrote otherwise would be added a second time, and
//! lent twice. It is rewritten when the state is set up. To read all of it at every reload would hold up requests,
//! so that is done only where the form may have changed: where [`Digest`](super::Digest) differs, or the first
//! and last resources do.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

use super::{DATA, Pool, data_key, no_data};
use crate::{
    migration::{Entry, Way},
    stored,
};

/// How many resources are read at each end, when a state is set up, to see whether their form has changed.
const PROBED_AT_EACH_END: usize = 16;
/// How much of a resource's data an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// Which data is wanted, by its id.
#[derive(Clone, Copy)]
enum Near {
    AtOrAfter(u64),
    AtOrBefore(u64),
}

impl<T: Serialize + DeserializeOwned> Pool<T> {
    /// Makes of everything stored what this version would have stored.
    pub(super) fn normalize(&mut self, way: &Way<'_>) -> Result<(), String> {
        let mut rewritten = Vec::new();
        let mut next = Some(0);
        while let Some((id, read)) =
            next.and_then(|id| self.canonical(Near::AtOrAfter(id), Some(way)))
        {
            let (stored, now) = read?;
            if stored != now {
                self.forget(id);
                self.json = now;
                self.put(id);
                rewritten.push(id);
            }
            next = id.checked_add(1);
        }
        // What differed before and is the same now may be lent to two: which of them stays is not ours to say.
        for id in rewritten {
            let key = data_key(id);
            let Some(json) = self.stock.map.read(&key) else {
                return Err(self.named(&no_data(&key)));
            };
            self.json = json.to_vec();
            if let Some(other) = self.same_json(|found| found != id) {
                return Err(self.named(&self.collision(id.min(other), id.max(other))));
            }
        }
        Ok(())
    }

    /// The first data at or after an id, or the last at or before it: as it is stored, and as it would be once it has
    /// gone its `way`, if that is given.
    #[expect(clippy::type_complexity, reason = "taken apart where it is got")]
    fn canonical(
        &mut self,
        near: Near,
        way: Option<&Way<'_>>,
    ) -> Option<(u64, Result<(Vec<u8>, Vec<u8>), String>)> {
        let (map, name) = (&mut self.stock.map, &self.name);
        let (key, json) = match near {
            Near::AtOrAfter(id) => map.at_or_after(&data_key(id))?,
            Near::AtOrBefore(id) => map.at_or_before(&data_key(id))?,
        };
        let id = u64::from_be_bytes(*key.strip_prefix(&[DATA])?.first_chunk()?);
        let read = migrated(key, json, way).and_then(|migrated| {
            let data = stored::from_json::<T>(key, &migrated)
                .map_err(|text| format!("state `{name}`: {text}"))?;
            let mut now = Vec::with_capacity(json.len());
            let _ = stored::to_sorted_json(name, &data, &mut now);
            Ok((json.to_vec(), now))
        });
        Some((id, read))
    }

    fn named(&self, text: &str) -> String {
        format!("state `{}`: {text}", self.name)
    }

    /// Whether the first and the last few resources are stored as this version would.
    pub(super) fn looks_canonical(&mut self) -> bool {
        let mut up = Some(0);
        let mut down = Some(u64::MAX);
        for _ in 0..PROBED_AT_EACH_END {
            for (near, next) in [
                (up.map(Near::AtOrAfter), &mut up),
                (down.map(Near::AtOrBefore), &mut down),
            ] {
                let Some((id, read)) = near.and_then(|near| self.canonical(near, None)) else {
                    continue;
                };
                if !read.is_ok_and(|(stored, now)| stored == now) {
                    return false;
                }
                *next = match near {
                    Some(Near::AtOrAfter(_)) => id.checked_add(1),
                    _ => id.checked_sub(1),
                };
            }
        }
        true
    }

    fn collision(&self, first: u64, second: u64) -> String {
        let json = String::from_utf8_lossy(&self.json);
        let json: String = json.chars().take(SHOWN_CHARS_MAX).collect();
        format!(
            "the resources {first} and {second}, which differed when they were added, are both {json} to this \
             version; remove one of them with the version before, or give the state of this one another name"
        )
    }
}

/// One resource's data, led to the present schema.
fn migrated<'a>(
    key: &[u8],
    json: &'a [u8],
    way: Option<&Way<'_>>,
) -> Result<Cow<'a, [u8]>, String> {
    let Some(way) = way.filter(|way| !way.is_empty()) else {
        return Ok(json.into());
    };
    let entry = Entry {
        key: key.to_vec(),
        json: json.to_vec(),
    };
    // No step of a pool drops an entry.
    Ok(way
        .lead(entry)?
        .map_or_else(|| json.into(), |entry| entry.json.into()))
}
