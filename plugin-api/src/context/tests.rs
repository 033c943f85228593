//! A job whose access is revoked unwinds once and never ends the process.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::{
    Map, Numbers, Pool, Value,
    state::{Maps, State},
    testing::MemoryHost,
};

/// Revokes behind `left` more accesses.
struct Revoking {
    host: Arc<dyn HostAccess>,
    left: AtomicU64,
}

impl Revoking {
    fn check(&self) -> Result<(), Revoked> {
        let left = |left: u64| left.checked_sub(1);
        let counted = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        counted.map(|_| ()).map_err(|_| Revoked)
    }
}

impl HostAccess for Revoking {
    fn read(&self, state: u32, key: &[u8], value: &mut Buffer) -> Result<bool, Revoked> {
        self.check()?;
        self.host.read(state, key, value)
    }

    fn write(&self, state: u32, key: &[u8], value: &[u8]) -> Result<bool, Revoked> {
        self.check()?;
        self.host.write(state, key, value)
    }

    fn remove(&self, state: u32, key: &[u8]) -> Result<bool, Revoked> {
        self.check()?;
        self.host.remove(state, key)
    }

    fn seek(
        &self,
        state: u32,
        direction: Seek,
        from: &[u8],
        key: &mut Buffer,
        value: &mut Buffer,
    ) -> Result<bool, Revoked> {
        self.check()?;
        self.host.seek(state, direction, from, key, value)
    }

    fn call(&self) -> Call {
        self.host.call()
    }
}

type Handles = (Numbers, Pool<String>, (Map<u64, String>, Value<Vec<u64>>));

/// Reaches for all that the states offer.
fn touch((hall, pool, (map, value)): &mut Handles) {
    let taken = hall.take(2).map(|grant| grant.ids()).unwrap_or_default();
    hall.add(3).unwrap();
    hall.remove(1);
    let _ = hall.release_ids(&taken);
    assert!(hall.free() <= hall.len());
    let id = pool.add(&"by hand".to_owned()).id;
    let _ = pool.take_one().map(|taken| taken.data);
    let _ = pool.take(2);
    pool.data(id);
    pool.find(&"a".to_owned());
    pool.remove(2);
    let _ = pool.release_ids(&[2]);
    map.insert(&1, &"one".to_owned());
    map.range(..).rev().count();
    map.first();
    map.take(&1);
    value.update(|value| value.push(1));
}

/// What an author may have written: it puts things in order when it goes.
struct TidiesUp<'a>(&'a mut Handles);

impl Drop for TidiesUp<'_> {
    fn drop(&mut self) {
        touch(self.0);
    }
}

#[test]
fn a_revoked_job_unwinds_once_whatever_its_destructors_touch() {
    let states = (
        Numbers::range("hall", 1..=9),
        Pool::list("pool", ["a", "b", "c"].map(str::to_owned)),
        (Map::named("map"), Value::named("value")),
    );
    let memory = MemoryHost::new();
    let mut handles = states.open(&mut Maps::new(memory.access(), "0.1.0"));
    states
        .setup(&mut handles, &mut crate::state::Schemas::default())
        .unwrap();
    memory.commit();

    for left in 0.. {
        let host = Arc::new(Revoking {
            host: memory.access(),
            left: AtomicU64::new(left),
        });
        let mut handles = states.open(&mut Maps::new(host, "0.1.0"));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let guard = TidiesUp(&mut handles);
            touch(guard.0);
        }));
        memory.rollback();
        match ended {
            Err(payload) => assert!(payload.is::<GaveUp>(), "after {left} accesses"),
            Ok(()) => {
                assert!(left > 100, "the job ended after {left} accesses");
                break;
            }
        }
    }
}

#[test]
fn a_job_that_panics_and_is_revoked_meanwhile_is_not_the_end() {
    let states = (
        Numbers::range("hall", 1..=9),
        Pool::list("pool", []),
        (Map::named("map"), Value::named("value")),
    );
    let host = Arc::new(Revoking {
        host: MemoryHost::new().access(),
        left: AtomicU64::new(0),
    });
    let mut handles = states.open(&mut Maps::new(host, "0.1.0"));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _guard = TidiesUp(&mut handles);
        panic!("on purpose");
    }));
    assert_eq!(ended.unwrap_err().downcast_ref(), Some(&"on purpose"));
}
