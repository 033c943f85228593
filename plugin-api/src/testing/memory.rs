//! A host in memory: the states of one lane, the transaction of the job that runs, and a clock set by hand.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    buffer::Buffer,
    context::{Call, HostAccess, Revoked, Seek},
    rules::{self, EntryTooLarge},
};

/// One lane's side of the host. A clone is the same lane.
#[derive(Clone)]
pub(crate) struct MemoryHost {
    lane: Arc<Lane>,
}

struct Lane(Mutex<Memory>);

/// What one state holds.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

struct Memory {
    states: BTreeMap<u32, Entries>,
    /// What the entries that the open transaction changed were before, in the order of the changes.
    undo: Vec<(u32, Vec<u8>, Option<Vec<u8>>)>,
    call: Call,
    /// What the job did wrong with its state; from then on it finds it closed.
    fault: Option<EntryTooLarge>,
    accesses: Accesses,
}

/// How often a job reached for its state; each time is a call over the ABI and a look-up in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accesses {
    pub(crate) reads: u64,
    pub(crate) seeks: u64,
    pub(crate) writes: u64,
    pub(crate) removals: u64,
}

impl Accesses {
    pub(crate) fn total(self) -> u64 {
        self.reads + self.seeks + self.writes + self.removals
    }
}

#[cfg(test)]
impl std::ops::Sub for Accesses {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            seeks: self.seeks - before.seeks,
            writes: self.writes - before.writes,
            removals: self.removals - before.removals,
        }
    }
}

impl MemoryHost {
    pub(crate) fn new() -> Self {
        Self {
            lane: Arc::new(Lane(Mutex::new(Memory {
                states: BTreeMap::new(),
                undo: Vec::new(),
                call: Call {
                    client: 1,
                    session: None,
                    attempt: 1,
                    now_ms: 0,
                    deadline_ms: None,
                },
                fault: None,
                accesses: Accesses::default(),
            }))),
        }
    }

    /// What the lane's code gets to know the host by.
    pub(crate) fn access(&self) -> Arc<dyn HostAccess> {
        Arc::clone(&self.lane) as Arc<dyn HostAccess>
    }

    /// Opens the transaction of a job.
    pub(crate) fn begin(&self, call: Call) {
        let mut memory = self.lane.lock();
        assert!(memory.undo.is_empty(), "the job before was never ended");
        memory.call = call;
        memory.fault = None;
    }

    /// What the job did wrong with its state, if anything; it must not be committed then.
    pub(crate) fn fault(&self) -> Option<EntryTooLarge> {
        self.lane.lock().fault
    }

    /// Keeps what the job changed; says whether that is anything.
    pub(crate) fn commit(&self) -> bool {
        let mut memory = self.lane.lock();
        let changed = !memory.undo.is_empty();
        memory.undo.clear();
        changed
    }

    /// Takes back what the job changed.
    pub(crate) fn rollback(&self) {
        let memory = &mut *self.lane.lock();
        while let Some((state, key, value)) = memory.undo.pop() {
            let entries = memory.states.entry(state).or_default();
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
    }

    /// All entries of one state.
    pub(crate) fn entries(&self, state: u32) -> Entries {
        let memory = self.lane.lock();
        memory.states.get(&state).cloned().unwrap_or_default()
    }

    pub(crate) fn set_entries(&self, state: u32, entries: Entries) {
        self.lane.lock().states.insert(state, entries);
    }

    pub(crate) fn accesses(&self) -> Accesses {
        self.lane.lock().accesses
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic under the lock is a failed test in any case; what it left behind is still worth showing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the job's code, as long as it did nothing wrong.
    fn open(&self) -> Result<MutexGuard<'_, Memory>, Revoked> {
        let memory = self.lock();
        match memory.fault {
            None => Ok(memory),
            Some(_) => Err(Revoked),
        }
    }
}

impl HostAccess for Lane {
    fn read(&self, state: u32, key: &[u8], value: &mut Buffer) -> Result<bool, Revoked> {
        let mut memory = self.open()?;
        memory.accesses.reads += 1;
        value.clear();
        let found = memory.states.get(&state).and_then(|map| map.get(key));
        if let Some(found) = found {
            value.extend(found);
        }
        Ok(found.is_some())
    }

    fn write(&self, state: u32, key: &[u8], value: &[u8]) -> Result<bool, Revoked> {
        let mut memory = self.open()?;
        memory.accesses.writes += 1;
        if let Err(fault) = rules::entry(key, value) {
            memory.fault = Some(fault);
            return Err(Revoked);
        }
        let entries = memory.states.entry(state).or_default();
        let before = entries.insert(key.to_vec(), value.to_vec());
        let replaced = before.is_some();
        memory.undo.push((state, key.to_vec(), before));
        Ok(replaced)
    }

    fn remove(&self, state: u32, key: &[u8]) -> Result<bool, Revoked> {
        let mut memory = self.open()?;
        memory.accesses.removals += 1;
        let before = memory.states.entry(state).or_default().remove(key);
        let removed = before.is_some();
        if removed {
            memory.undo.push((state, key.to_vec(), before));
        }
        Ok(removed)
    }

    fn seek(
        &self,
        state: u32,
        direction: Seek,
        from: &[u8],
        key: &mut Buffer,
        value: &mut Buffer,
    ) -> Result<bool, Revoked> {
        let mut memory = self.open()?;
        memory.accesses.seeks += 1;
        key.clear();
        value.clear();
        let Some(entries) = memory.states.get(&state) else {
            return Ok(false);
        };
        let from = Bound::Included(from);
        let found = match direction {
            Seek::AtOrAfter => entries.range::<[u8], _>((from, Bound::Unbounded)).next(),
            Seek::AtOrBefore => entries
                .range::<[u8], _>((Bound::Unbounded, from))
                .next_back(),
        };
        if let Some((found_key, found_value)) = found {
            key.extend(found_key);
            value.extend(found_value);
        }
        Ok(found.is_some())
    }

    fn call(&self) -> Call {
        self.lock().call.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_rolled_back_leaves_no_trace() {
        let host = MemoryHost::new();
        let mut map = host.map(0);
        map.write(b"kept", b"1");
        map.write(b"gone", b"1");
        host.commit();
        let before = host.entries(0);

        map.write(b"kept", b"2");
        map.write(b"kept", b"3");
        map.remove(b"gone");
        map.write(b"gone", b"4");
        map.remove(b"gone");
        map.write(b"new", b"5");
        host.rollback();
        assert_eq!(host.entries(0), before);
    }

    #[test]
    fn a_seek_finds_the_neighbour_or_the_key_itself() {
        let mut map = MemoryHost::new().map(3);
        for key in [b"b", b"d"] {
            map.write(key, key);
        }
        assert_eq!(map.at_or_after(b"b").unwrap().0, b"b");
        assert_eq!(map.at_or_after(b"c").unwrap().0, b"d");
        assert_eq!(map.at_or_after(b"e"), None);
        assert_eq!(map.at_or_before(b"d").unwrap().0, b"d");
        assert_eq!(map.at_or_before(b"c").unwrap().0, b"b");
        assert_eq!(map.at_or_before(b"a"), None);
    }
}
