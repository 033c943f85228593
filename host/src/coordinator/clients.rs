//! The clients that are connected, as far as the coordinator knows them.

use std::{cell::RefMut, rc::Rc};

use protocol::Meta;
use slab::Slab;

use super::peer::Peer;
use crate::{
    budget::{Budgets, Spent},
    lane::ClientSlot,
};

/// Where a client's replies go: its connection.
pub trait Outlet {
    /// Replies that have not been sent. Whoever appends marks the outlet.
    fn unsent(&self) -> RefMut<'_, Vec<u8>>;
    /// Whether there are any, or are to come: for what had arrived from a client that is let go, too.
    fn has_unsent(&self) -> bool;
    /// Notes that something was appended; true for the first since the last flush.
    fn mark(&self) -> bool;
    /// Sends as much as the client takes now.
    fn flush(&self);
    /// Nothing more is owed: answer what has arrived, send the rest, then close. Said again each time that nothing is owed
    /// any more.
    fn finish(&self);
    /// What is kept of its replies that it has not read, and of a message that it has begun, in bytes.
    fn kept(&self) -> KeptFor;
    /// There is no room for what it has not read: nothing more is kept for it, and its connection is closed.
    fn shed_replies(&self, spent: Spent);
    /// There is no room for the message that it has begun: the same, but it is told why.
    fn shed_message(&self, spent: Spent);
}

/// What is kept for a client, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptFor {
    /// Replies that it has not read.
    pub replies: usize,
    /// Bytes of a message that has begun to come and is not whole.
    pub message: usize,
}

/// A connected client, or what is left of one that has gone while a job of it runs.
pub struct Client {
    /// The number of its connection, never used for another one.
    pub id: u64,
    /// Who is at the other end of its connection.
    pub peer: Peer,
    /// Where its replies go. None once its connection is closed: the slot is kept for what is still owed, and holds
    /// nothing else.
    outlet: Option<Rc<dyn Outlet>>,
    /// It has said hello, with these defaults.
    pub hello: Option<Meta>,
    /// The session that it is in, once it has said hello.
    pub session: Option<u64>,
    /// Requests that have not been answered.
    pub unanswered: usize,
    /// It sends nothing more: once nothing is owed, it gets its last words and is let go.
    pub last_words: Option<Vec<u8>>,
    /// It was let go. What had arrived from it by then may still be owed an answer.
    let_go: bool,
    /// It has ended its side, or is gone: what is not in work is not wanted any more.
    pub ended: bool,
}

impl Client {
    /// Where its replies go.
    ///
    /// # Panics
    /// Its connection is closed.
    pub fn outlet(&self) -> &Rc<dyn Outlet> {
        self.outlet
            .as_ref()
            .expect("only who is connected is asked for")
    }

    /// Its connection is closed.
    pub fn is_gone(&self) -> bool {
        self.outlet.is_none()
    }

    /// Whether a connected client is owed an answer, or has not been sent all that it was answered.
    pub fn is_to_be_told(&self) -> bool {
        self.unanswered > 0 || self.outlet().has_unsent()
    }
}

/// All clients, by slot. Who is gone keeps the slot until the answers that it waited for have ended.
pub struct Clients {
    /// Those who are connected, and those who are gone and still owed something.
    slots: Slab<Client>,
    /// The number of the next one.
    next_id: u64,
    /// Where something was appended since the last flush.
    unflushed: Vec<Rc<dyn Outlet>>,
    /// What is kept for clients counts in these.
    budgets: Budgets,
    /// All but operators were let go, for the host stops: who enters now is let go at once.
    dismissed: bool,
}

impl Clients {
    /// Nobody yet. Ids count up from `first_id`. What outlets keep counts in these budgets.
    pub fn new(first_id: u64, budgets: Budgets) -> Self {
        Self {
            slots: Slab::new(),
            next_id: first_id,
            unflushed: Vec::new(),
            budgets,
            dismissed: false,
        }
    }

    /// Lets a client in. Returns its slot and its number.
    pub fn enter(&mut self, outlet: Rc<dyn Outlet>, peer: Peer) -> (ClientSlot, u64) {
        let id = self.next_id;
        self.next_id += 1;
        let slot = self.slots.insert(Client {
            id,
            peer,
            outlet: Some(outlet),
            hello: None,
            session: None,
            unanswered: 0,
            last_words: None,
            let_go: false,
            ended: false,
        });
        let slot = ClientSlot(u32::try_from(slot).expect("connections are bounded"));
        if self.dismissed && !peer.is_operator() {
            self.let_go(slot);
        }
        (slot, id)
    }

    /// Lets all clients go, each with what it is owed, and those that come later. Operators are answered until the host ends.
    pub fn dismiss(&mut self) {
        self.dismissed = true;
        for slot in self.slots() {
            if !self.at(slot).peer.is_operator() {
                self.let_go(slot);
            }
        }
    }

    fn let_go(&mut self, slot: ClientSlot) {
        let client = self.at(slot);
        client.last_words.get_or_insert_default();
        if client.unanswered == 0 {
            self.settle(slot, 0);
        }
    }

    /// The client in a slot.
    pub fn at(&mut self, slot: ClientSlot) -> &mut Client {
        &mut self.slots[slot.0 as usize]
    }

    /// The slots of all clients that are connected.
    pub fn slots(&self) -> Vec<ClientSlot> {
        let connected = self.slots.iter().filter(|(_, client)| !client.is_gone());
        connected
            .map(|(slot, _)| ClientSlot(u32::try_from(slot).expect("connections are bounded")))
            .collect()
    }

    /// Appends a reply, unless the client has gone.
    pub fn reply(&mut self, slot: ClientSlot, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(outlet) = &self.slots[slot.0 as usize].outlet else {
            return;
        };
        write(&mut outlet.unsent());
        self.mark(slot);
    }

    /// A client's connection is closed: nothing is kept of it but the slot, until what it is owed has ended. Not the
    /// outlet, which is a socket.
    pub fn gone(&mut self, slot: ClientSlot) {
        let client = &mut self.slots[slot.0 as usize];
        (client.outlet, client.session) = (None, None);
        (client.last_words, client.ended) = (None, true);
    }

    /// Has what was appended for a client sent with the next [`Clients::flush`].
    pub fn mark(&mut self, slot: ClientSlot) {
        let outlet = self.slots[slot.0 as usize].outlet();
        if outlet.mark() {
            self.unflushed.push(Rc::clone(outlet));
        }
    }

    /// Notes that `count` requests of a client were answered or given up. Lets it go if it only waited for
    /// them.
    pub fn settle(&mut self, slot: ClientSlot, count: usize) {
        let client = &mut self.slots[slot.0 as usize];
        client.unanswered -= count;
        if client.unanswered > 0 {
            return;
        }
        let Some(outlet) = &client.outlet else {
            self.slots.remove(slot.0 as usize);
            return;
        };
        if let Some(words) = client.last_words.take() {
            outlet.unsent().extend_from_slice(&words);
            client.let_go = true;
        }
        if client.let_go {
            outlet.finish();
        }
    }

    /// Sends what was appended since the last time.
    pub fn flush(&mut self) {
        for outlet in self.unflushed.drain(..) {
            outlet.flush();
        }
        while let Some(spent) = self.budgets.replies.over() {
            let Some(most) = self.who_keeps_most(|kept| kept.replies) else {
                break;
            };
            most.shed_replies(spent);
        }
        while let Some(spent) = self.budgets.messages.over() {
            let Some(most) = self.who_keeps_most(|kept| kept.message) else {
                break;
            };
            most.shed_message(spent);
        }
    }

    /// Whether an answer of so many bytes can be given to a client again, beside what it has not read yet.
    ///
    /// # Errors
    /// The budget that has no room for it.
    pub fn has_room_for_reply(&self, slot: ClientSlot, bytes: usize) -> Result<(), Spent> {
        let outlet = self.slots[slot.0 as usize].outlet();
        let unsent = outlet.unsent().len();
        self.budgets.replies.has_room(unsent + bytes)
    }

    fn who_keeps_most(&self, of: impl Fn(KeptFor) -> usize) -> Option<&Rc<dyn Outlet>> {
        let outlets = self
            .slots
            .iter()
            .filter_map(|(_, client)| client.outlet.as_ref());
        let most = outlets.max_by_key(|outlet| of(outlet.kept()))?;
        (of(most.kept()) > 0).then_some(most)
    }
}
