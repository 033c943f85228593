//! The requests with an id that are not answered yet, and who else waits for their answers.

use std::{collections::HashMap, num::NonZeroU32};

use slab::Slab;

use super::Fingerprint;
use crate::{
    budget::{Budget, Budgets, Spent},
    coordinator::list::{Linked, Links, List},
    lane::{ClientSlot, InFlightId, TypeId},
};

/// A request's own number, with the session that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// Of all sessions that this state has given.
    pub session: u64,
    /// The id within the session, from 1.
    pub id: u64,
}

/// All requests with an id that are in flight.
#[derive(Debug)]
pub struct InFlight {
    /// By their numbers, less one.
    requests: Slab<One>,
    /// Clients choose the ids, so that they must not be able to make them collide.
    by_id: HashMap<RequestId, InFlightId>,
    /// Each stands in two lists: its request's, and its client's.
    joined: Slab<Entry>,
    /// The entries of each client, by slot.
    clients: Vec<List>,
    /// Those who have joined count here.
    budget: Budget,
}

#[derive(Debug)]
struct One {
    of: RequestId,
    fingerprint: Fingerprint,
    type_id: TypeId,
    joined: List,
}

#[derive(Debug)]
struct Entry {
    joined: Joined,
    request: InFlightId,
    links: Links<3>,
}

/// The places of an entry's links.
const REQUEST: usize = 0;
const CLIENT: usize = 1;

/// What a request takes here, in bytes.
const ONE_BYTES: usize = size_of::<One>() + size_of::<(RequestId, InFlightId)>();

/// What one that has joined takes, its digits included, in bytes.
const JOINED_BYTES: usize = size_of::<Entry>() + protocol::limits::QUERY_INDEX_BYTES_MAX;

/// Who has asked the same again, and gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The slot of the client that has joined.
    pub slot: ClientSlot,
    /// The number that it gave to the request this time.
    pub query_index: Box<str>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new(Budgets::default().requests)
    }
}

impl InFlight {
    /// None. Those who join count in this budget.
    pub fn new(budget: Budget) -> Self {
        Self {
            requests: Slab::new(),
            by_id: HashMap::new(),
            joined: Slab::new(),
            clients: Vec::new(),
            budget,
        }
    }

    /// The request with this id, and what it asks for.
    pub fn find(&self, of: RequestId) -> Option<(InFlightId, Fingerprint)> {
        let id = *self.by_id.get(&of)?;
        Some((id, self.one(id).fingerprint))
    }

    /// A request has come whose id is not under way.
    pub fn begin(
        &mut self,
        of: RequestId,
        fingerprint: Fingerprint,
        type_id: TypeId,
    ) -> InFlightId {
        self.budget.add(ONE_BYTES);
        let index = self.requests.insert(One {
            of,
            fingerprint,
            type_id,
            joined: List::default(),
        });
        let number = u32::try_from(index + 1).expect("requests are bounded");
        let id = InFlightId(NonZeroU32::new(number).expect("it is one more than an index"));
        self.by_id.insert(of, id);
        id
    }

    /// The same request has come again.
    ///
    /// # Errors
    /// There is no room for one more.
    pub fn join(&mut self, id: InFlightId, joined: Joined) -> Result<(), Spent> {
        self.budget.take(JOINED_BYTES)?;
        let client = joined.slot.0 as usize;
        let entry = u32::try_from(self.joined.insert(Entry {
            joined,
            request: id,
            links: Links::default(),
        }))
        .expect("each client has a bounded number of requests");
        if self.clients.len() <= client {
            self.clients.resize_with(client + 1, List::default);
        }
        self.clients[client].push_back::<CLIENT>(&mut self.joined, entry);
        let of = &mut self.requests[index(id)].joined;
        of.push_back::<REQUEST>(&mut self.joined, entry);
        Ok(())
    }

    /// How many clients wait for a request's answer beside the one that asked first.
    pub fn joined_len(&self, id: InFlightId) -> usize {
        self.one(id).joined.len()
    }

    /// A client wants no answer any more to those requests that `leaves` says. Returns how many it had joined.
    pub fn leave(
        &mut self,
        client: ClientSlot,
        mut leaves: impl FnMut(InFlightId) -> bool,
    ) -> usize {
        let Some(list) = self.clients.get(client.0 as usize) else {
            return 0;
        };
        let joined: Vec<u32> = list
            .iter::<CLIENT, _>(&self.joined)
            .filter(|entry| leaves(self.joined[*entry as usize].request))
            .collect();
        for entry in &joined {
            self.remove(*entry);
        }
        joined.len()
    }

    /// Takes out those who have joined a request and do not want its answer any more.
    pub fn take_joined(
        &mut self,
        id: InFlightId,
        mut is_unwanted: impl FnMut(ClientSlot) -> bool,
    ) -> Vec<Joined> {
        let list = &self.requests[index(id)].joined;
        let unwanted: Vec<u32> = list
            .iter::<REQUEST, _>(&self.joined)
            .filter(|entry| is_unwanted(self.joined[*entry as usize].joined.slot))
            .collect();
        unwanted
            .into_iter()
            .map(|entry| self.remove(entry))
            .collect()
    }

    /// The type of a request that is in flight.
    pub fn type_of(&self, id: InFlightId) -> TypeId {
        self.one(id).type_id
    }

    /// The id and the fingerprint of a request that is in flight.
    pub fn of(&self, id: InFlightId) -> (RequestId, Fingerprint) {
        let one = self.one(id);
        (one.of, one.fingerprint)
    }

    /// Takes out the one that joined first.
    pub fn pop_joined(&mut self, id: InFlightId) -> Option<Joined> {
        let first = self.one(id).joined.front()?;
        Some(self.remove(first))
    }

    /// It is answered, or given up. Returns who else is to hear of that.
    pub fn end(&mut self, id: InFlightId) -> Vec<Joined> {
        let mut joined = Vec::new();
        while let Some(next) = self.pop_joined(id) {
            joined.push(next);
        }
        self.budget.give_back(ONE_BYTES);
        let one = self.requests.remove(index(id));
        self.by_id.remove(&one.of);
        joined
    }

    fn remove(&mut self, entry: u32) -> Joined {
        let of = &self.joined[entry as usize];
        let (request, client) = (of.request, of.joined.slot.0 as usize);
        let list = &mut self.requests[index(request)].joined;
        list.unlink::<REQUEST>(&mut self.joined, entry);
        self.clients[client].unlink::<CLIENT>(&mut self.joined, entry);
        self.budget.give_back(JOINED_BYTES);
        self.joined.remove(entry as usize).joined
    }

    fn one(&self, id: InFlightId) -> &One {
        &self.requests[index(id)]
    }
}

fn index(id: InFlightId) -> usize {
    id.0.get() as usize - 1
}

impl Linked for Entry {
    fn links(&self) -> &Links<3> {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links<3> {
        &mut self.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_id_until_it_ends() {
        let mut in_flight = InFlight::default();
        let of = |session, id| RequestId { session, id };
        let first = in_flight.begin(of(1, 1), Fingerprint(7), TypeId(0));
        let other = in_flight.begin(of(2, 1), Fingerprint(8), TypeId(1));
        assert_eq!(in_flight.find(of(1, 1)), Some((first, Fingerprint(7))));
        assert_eq!(in_flight.find(of(1, 2)), None);
        let joined = |slot| Joined {
            slot: ClientSlot(slot),
            query_index: "1".into(),
        };
        for slot in [2, 3, 4, 5] {
            in_flight.join(first, joined(slot)).expect("there is room");
        }
        in_flight.join(other, joined(2)).expect("there is room");
        assert_eq!(in_flight.leave(ClientSlot(2), |id| id == first), 1);
        assert_eq!(in_flight.leave(ClientSlot(9), |_| true), 0);
        assert_eq!(in_flight.joined_len(first), 3);
        let unwanted = in_flight.take_joined(other, |slot| slot == ClientSlot(2));
        assert_eq!(unwanted, [joined(2)]);
        assert_eq!(in_flight.type_of(other), TypeId(1));
        assert_eq!(in_flight.pop_joined(first), Some(joined(3)));
        assert_eq!(in_flight.end(first), [joined(4), joined(5)]);
        assert_eq!(in_flight.find(of(1, 1)), None);
        assert_eq!(in_flight.find(of(2, 1)), Some((other, Fingerprint(8))));
    }
}
