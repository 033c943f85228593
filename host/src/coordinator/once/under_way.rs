//! The requests with an id that are not answered yet, and who else waits for their answers.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
};

use slab::Slab;

use super::{
    super::job::{ClientSlot, TypeId},
    Fingerprint,
};

/// A request's own number, with the session that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// Of all sessions that this state has given.
    pub session: u64,
    /// From 1.
    pub id: u64,
}

/// The place of a request that is under way. Small, for every job has room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnderWayId(NonZeroU32);

/// All of them.
#[derive(Debug, Default)]
pub struct UnderWay {
    requests: Slab<One>,
    /// Clients choose the ids, so that they must not be able to make them collide.
    by_id: HashMap<RequestId, UnderWayId>,
}

#[derive(Debug)]
struct One {
    of: RequestId,
    fingerprint: Fingerprint,
    type_id: TypeId,
    joined: VecDeque<Joined>,
}

/// Who has asked the same again, and gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where it is to be found.
    pub slot: ClientSlot,
    /// The number that it gave to the request this time.
    pub query_index: Box<str>,
}

impl UnderWay {
    /// The request with this id, and what it asks for.
    pub fn find(&self, of: RequestId) -> Option<(UnderWayId, Fingerprint)> {
        let id = *self.by_id.get(&of)?;
        Some((id, self.one(id).fingerprint))
    }

    /// A request has come whose id is not under way.
    pub fn begin(
        &mut self,
        of: RequestId,
        fingerprint: Fingerprint,
        type_id: TypeId,
    ) -> UnderWayId {
        let index = self.requests.insert(One {
            of,
            fingerprint,
            type_id,
            joined: VecDeque::new(),
        });
        let number = u32::try_from(index + 1).expect("requests are bounded");
        let id = UnderWayId(NonZeroU32::new(number).expect("it is one more than an index"));
        self.by_id.insert(of, id);
        id
    }

    /// The same request has come again.
    pub fn join(&mut self, id: UnderWayId, joined: Joined) {
        self.requests[index(id)].joined.push_back(joined);
    }

    /// How many have joined it.
    pub fn joined_len(&self, id: UnderWayId) -> usize {
        self.one(id).joined.len()
    }

    /// Takes out those who have joined it and are gone.
    pub fn take_gone(
        &mut self,
        id: UnderWayId,
        mut is_gone: impl FnMut(ClientSlot) -> bool,
    ) -> Vec<Joined> {
        let joined = &mut self.requests[index(id)].joined;
        let (gone, stay): (Vec<_>, _) = joined.drain(..).partition(|of| is_gone(of.slot));
        *joined = stay.into();
        gone
    }

    /// What it asks for.
    pub fn type_of(&self, id: UnderWayId) -> TypeId {
        self.one(id).type_id
    }

    /// Which request it is.
    pub fn of(&self, id: UnderWayId) -> (RequestId, Fingerprint) {
        let one = self.one(id);
        (one.of, one.fingerprint)
    }

    /// Takes out the one that joined first.
    pub fn pop_joined(&mut self, id: UnderWayId) -> Option<Joined> {
        self.requests[index(id)].joined.pop_front()
    }

    /// It is answered, or given up. Returns who else is to hear of that.
    pub fn end(&mut self, id: UnderWayId) -> Vec<Joined> {
        let one = self.requests.remove(index(id));
        self.by_id.remove(&one.of);
        one.joined.into()
    }

    fn one(&self, id: UnderWayId) -> &One {
        &self.requests[index(id)]
    }
}

fn index(id: UnderWayId) -> usize {
    id.0.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_id_until_it_ends() {
        let mut under_way = UnderWay::default();
        let of = |session, id| RequestId { session, id };
        let first = under_way.begin(of(1, 1), Fingerprint(7), TypeId(0));
        let other = under_way.begin(of(2, 1), Fingerprint(8), TypeId(1));
        assert_eq!(under_way.find(of(1, 1)), Some((first, Fingerprint(7))));
        assert_eq!(under_way.find(of(1, 2)), None);
        let joined = |slot| Joined {
            slot: ClientSlot(slot),
            query_index: "1".into(),
        };
        for slot in [2, 3, 4, 5] {
            under_way.join(first, joined(slot));
        }
        let gone = under_way.take_gone(first, |slot| slot == ClientSlot(2));
        assert_eq!((gone, under_way.joined_len(first)), (vec![joined(2)], 3));
        assert_eq!(under_way.type_of(other), TypeId(1));
        assert_eq!(under_way.pop_joined(first), Some(joined(3)));
        assert_eq!(under_way.end(first), [joined(4), joined(5)]);
        assert_eq!(under_way.find(of(1, 1)), None);
        assert_eq!(under_way.find(of(2, 1)), Some((other, Fingerprint(8))));
    }
}
