//! The request types that are served, and by which lane.

use std::{rc::Rc, time::Instant};

use protocol::ErrorCode;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::serving::type_faults::TypeFaults;
use crate::lane::{LaneId, TypeId};

/// A request type that a plugin serves.
#[derive(Debug)]
pub struct ServedType {
    /// The type, as requests name it.
    pub name: Rc<str>,
    /// The lane that its requests run in.
    pub lane: LaneId,
    /// Which of the lane's jobbers serves it.
    pub jobber: u32,
    /// The plugin that serves it.
    pub plugin: Rc<str>,
    /// The default deadline of its requests in milliseconds; 0 for none.
    pub deadline_ms: Option<u64>,
    /// Whether its requests wait by default.
    pub wait: Option<bool>,
    /// Why no request of it is taken at the moment, if that is so.
    pub closed: Option<Closed>,
    /// What this version of it did wrong, if anything.
    pub faults: Option<Box<TypeFaults>>,
    /// Requests that were run since the type was first served.
    pub served: u64,
}

impl ServedType {
    /// Whether it is to be looked at why a request for it may not be taken.
    pub fn is_in_doubt(&self) -> bool {
        self.closed.is_some() || self.faults.is_some()
    }
}

/// Why a type is served no more, or not now.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The refusal's code, for programs.
    pub code: ErrorCode,
    /// The refusal's sentence, for people.
    pub text: Rc<str>,
    /// When that ends by itself, if it does.
    pub until: Option<Instant>,
}

impl Closed {
    /// Closed until something happens that opens it again, and not for a time.
    pub fn new(code: ErrorCode, text: &str) -> Self {
        Self {
            code,
            text: text.into(),
            until: None,
        }
    }
}

/// All served types. Unknown ones that clients ask for leave nothing here.
#[derive(Debug, Default)]
pub struct Types {
    /// Only plugins put names in, so that nobody can choose them to collide.
    by_name: FxHashMap<Rc<str>, TypeId>,
    /// By their numbers.
    types: Slab<ServedType>,
}

impl Types {
    /// The number of the type that requests call `name`.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// Adds a type, or gives one that is known to another lane: it keeps its id, so its jobs follow it.
    pub fn serve(&mut self, served: ServedType) -> TypeId {
        if let Some(id) = self.find(&served.name) {
            let known = &mut self.types[id.0 as usize];
            *known = ServedType {
                served: known.served,
                ..served
            };
            return id;
        }
        let name = Rc::clone(&served.name);
        let id = TypeId(u32::try_from(self.types.insert(served)).expect("fewer than 2^32 types"));
        self.by_name.insert(name, id);
        id
    }

    /// Takes a type out. No job may name it any more.
    pub fn forget(&mut self, id: TypeId) {
        let served = self.types.remove(id.0 as usize);
        self.by_name.remove(&served.name);
    }

    /// The type, if it is served still.
    pub fn get_mut(&mut self, id: TypeId) -> Option<&mut ServedType> {
        self.types.get_mut(id.0 as usize)
    }

    /// All types, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &ServedType)> {
        let mut types: Vec<_> = self.types.iter().collect();
        types.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let id_of = |index| TypeId(u32::try_from(index).expect("it was made from one"));
        types
            .into_iter()
            .map(move |(index, served)| (id_of(index), served))
    }
}

impl std::ops::Index<TypeId> for Types {
    type Output = ServedType;

    fn index(&self, id: TypeId) -> &ServedType {
        &self.types[id.0 as usize]
    }
}

impl std::ops::IndexMut<TypeId> for Types {
    fn index_mut(&mut self, id: TypeId) -> &mut ServedType {
        &mut self.types[id.0 as usize]
    }
}
