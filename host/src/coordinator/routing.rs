//! Where a request goes: the types that are served, the lanes that serve them, and the plugins that the lanes are of. Each
//! names the others by their numbers or names, so that they are kept together.

use std::{
    collections::{BTreeMap, btree_map},
    ops::{Index, IndexMut},
};

use super::{
    lane::Lane,
    types::{ServedType, Types},
    versions::slot::{PluginSlot, Serving},
};
use crate::lane::{LaneId, TypeId};

/// All types, lanes and plugins.
#[derive(Default)]
pub(super) struct Routing {
    /// The request types that plugins serve.
    types: Types,
    /// The lanes, by their ids; `None` for an id that is free.
    lanes: Vec<Option<Lane>>,
    /// The plugins, by the names of their files.
    plugins: BTreeMap<String, PluginSlot>,
}

impl Routing {
    /// The number of the type that requests call `name`.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<TypeId> {
        self.types.find(name)
    }

    /// A type, if it is served still.
    pub(super) fn type_if_served(&mut self, id: TypeId) -> Option<&mut ServedType> {
        self.types.get_mut(id)
    }

    /// All types, in the order of their names.
    pub(super) fn types(&self) -> impl Iterator<Item = (TypeId, &ServedType)> {
        self.types.iter()
    }

    /// The types that a plugin serves, in the order of their names.
    pub(super) fn served_by(&self, plugin: &str) -> impl Iterator<Item = (TypeId, &ServedType)> {
        let types = self.types.iter();
        types.filter(move |(_, served)| *served.plugin == *plugin)
    }

    /// The numbers of the types that a plugin serves.
    pub(super) fn types_of(&self, plugin: &str) -> Vec<TypeId> {
        self.served_by(plugin).map(|(id, _)| id).collect()
    }

    /// Adds a type, or gives one that is known to another lane: it keeps its id, so its jobs follow it.
    pub(super) fn serve(&mut self, served: ServedType) -> TypeId {
        self.types.serve(served)
    }

    /// Takes a type out. No job may name it any more.
    pub(super) fn forget_type(&mut self, id: TypeId) {
        self.types.forget(id);
    }

    /// A lane that is open: a type, a job or a plugin that serves names it.
    ///
    /// # Panics
    /// The lane is not open.
    #[inline]
    pub(super) fn lane(&mut self, id: LaneId) -> &mut Lane {
        let lane = self.lanes[id.0 as usize].as_mut();
        lane.expect("a serving lane is open")
    }

    /// A lane, if its id is not free.
    #[inline]
    pub(super) fn lane_if_open(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(id.0 as usize)?.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn lane_if_open_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(id.0 as usize)?.as_mut()
    }

    /// All lanes that are open.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().flatten()
    }

    /// The same, to be changed.
    pub(super) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().flatten()
    }

    /// The ids of all lanes that are open.
    pub(super) fn lane_ids(&self) -> impl Iterator<Item = LaneId> {
        let lanes = (0..).zip(&self.lanes);
        lanes.filter_map(|(id, lane)| lane.as_ref().map(|_| LaneId(id)))
    }

    /// The lanes of the version of a plugin that serves.
    pub(super) fn lanes_of(&self, plugin: &str) -> Vec<LaneId> {
        let serving = self.serving(plugin);
        serving.map_or_else(Vec::new, |serving| serving.lanes.clone())
    }

    /// Opens a lane under an id. Returns the one whose place it takes, if there was one.
    pub(super) fn put_lane(&mut self, id: LaneId, lane: Lane) -> Option<Lane> {
        let index = id.0 as usize;
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, || None);
        }
        self.lanes[index].replace(lane)
    }

    /// Takes a lane out, whose id is free from then on.
    pub(super) fn take_lane(&mut self, id: LaneId) -> Option<Lane> {
        self.lanes[id.0 as usize].take()
    }

    /// The slot of a plugin, which is made for one that was not known.
    pub(super) fn slot(&mut self, plugin: &str) -> &mut PluginSlot {
        self.plugins.entry(plugin.to_owned()).or_default()
    }

    /// The slot of a plugin, if it is known.
    pub(super) fn slot_if_known(&self, plugin: &str) -> Option<&PluginSlot> {
        self.plugins.get(plugin)
    }

    /// The same, to be changed.
    pub(super) fn slot_if_known_mut(&mut self, plugin: &str) -> Option<&mut PluginSlot> {
        self.plugins.get_mut(plugin)
    }

    /// All plugins, in the order of their names.
    pub(super) fn plugins(&self) -> btree_map::Iter<'_, String, PluginSlot> {
        self.plugins.iter()
    }

    /// The slots of all plugins, to be changed.
    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut PluginSlot> {
        self.plugins.values_mut()
    }

    /// The names of all plugins.
    pub(super) fn names(&self) -> Vec<String> {
        self.plugins.keys().cloned().collect()
    }

    /// Forgets a plugin.
    pub(super) fn forget_plugin(&mut self, plugin: &str) {
        self.plugins.remove(plugin);
    }

    /// The version of a plugin that serves.
    pub(super) fn serving(&self, plugin: &str) -> Option<&Serving> {
        self.plugins.get(plugin)?.serving.as_ref()
    }
}

impl Index<TypeId> for Routing {
    type Output = ServedType;

    #[inline]
    fn index(&self, id: TypeId) -> &ServedType {
        &self.types[id]
    }
}

impl IndexMut<TypeId> for Routing {
    #[inline]
    fn index_mut(&mut self, id: TypeId) -> &mut ServedType {
        &mut self.types[id]
    }
}
