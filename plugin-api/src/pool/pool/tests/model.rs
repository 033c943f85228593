//! A pool beside a plain model of it, through whatever is done to it in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What the pool should be, said as plainly as can be. Data are small numbers.
#[derive(Default)]
struct Model {
    ids: u64,
    members: BTreeMap<u64, u8>,
    held: BTreeSet<u64>,
    draining: BTreeSet<u64>,
    added: BTreeSet<u8>,
    configured: BTreeSet<u8>,
}

impl Model {
    fn admit(&mut self, data: u8) -> u64 {
        let known = self.members.iter().find(|entry| *entry.1 == data);
        let id = known.map_or(self.ids + 1, |entry| *entry.0);
        self.ids = self.ids.max(id);
        self.members.insert(id, data);
        self.draining.remove(&id);
        id
    }

    fn drain(&mut self, id: u64) {
        if self.held.contains(&id) {
            self.draining.insert(id);
        } else {
            self.members.remove(&id);
        }
    }

    fn configure(&mut self, now: &[u8]) {
        let before = std::mem::take(&mut self.configured);
        for data in &before {
            if !now.contains(data) && !self.added.contains(data) {
                let id = self.members.iter().find(|entry| entry.1 == data);
                if let Some(id) = id.map(|entry| *entry.0) {
                    self.drain(id);
                }
            }
        }
        for &data in now {
            if !before.contains(&data) && self.configured.insert(data) {
                self.admit(data);
            }
            self.configured.insert(data);
        }
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(data) = self.members.get(&id).copied() else {
            return false;
        };
        self.added.remove(&data);
        self.drain(id);
        true
    }

    fn release(&mut self, id: u64) -> bool {
        let held = self.held.remove(&id);
        if self.draining.remove(&id) {
            self.members.remove(&id);
        }
        held
    }

    fn free(&self) -> Vec<u64> {
        let free = self.members.keys().filter(|id| !self.held.contains(id));
        free.copied().collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Release(u64),
    Add(u8),
    Remove(u64),
    Configure(Vec<u8>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..3_u64).prop_map(Step::Take),
        3 => (0..12_u64).prop_map(Step::Release),
        2 => (0..6_u8).prop_map(Step::Add),
        2 => (0..12_u64).prop_map(Step::Remove),
        1 => proptest::collection::vec(0..6_u8, 0..4).prop_map(Step::Configure),
    ]
}

proptest! {
    #[test]
    fn a_pool_is_what_its_plain_model_is(steps in proptest::collection::vec(any_step(), 0..60)) {
        let host = MemoryHost::new();
        let open = |data: &[u8]| Opened::new(&host, Pool::list("pool", data.to_vec()));
        let mut pool = open(&[]);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Take(count) => {
                    let lowest: Vec<u64> = model.free().into_iter().take(count as usize).collect();
                    let taken = pool.take(count).ok().map(|grant| {
                        grant.resources.iter().map(|resource| resource.id).collect::<Vec<_>>()
                    });
                    let fits = lowest.len() as u64 == count;
                    prop_assert_eq!(&taken, &fits.then_some(lowest));
                    model.held.extend(taken.into_iter().flatten());
                }
                Step::Release(id) => {
                    prop_assert_eq!(pool.release_ids(&[id]).is_ok(), model.release(id));
                }
                Step::Add(data) => {
                    let known = model.members.values().any(|member| *member == data);
                    model.added.insert(data);
                    let id = model.admit(data);
                    prop_assert_eq!(pool.add(&data), Added { id, new: !known });
                }
                Step::Remove(id) => prop_assert_eq!(pool.remove(id), model.remove(id)),
                Step::Configure(data) => {
                    pool = open(&data);
                    model.configure(&data);
                }
            }
            prop_assert_eq!(pool.free(), model.free().len() as u64);
            prop_assert_eq!(pool.len(), model.members.len() as u64);
            for id in 0..=model.ids {
                prop_assert_eq!(pool.data(id), model.members.get(&id).copied());
            }
            // Nothing else is kept than what is in the pool or was removed and is configured.
            let removed = model.configured.iter();
            let removed = removed.filter(|data| !model.members.values().any(|member| member == *data));
            let stored = host.entries(0).keys().filter(|key| key[0] == DATA).count();
            prop_assert_eq!(stored, model.members.len() + removed.count());
        }
    }
}
