//! What a plugin claims for itself alone: its request types, and its declared name, which its states are kept under.
//! Claims are all or none.

use std::collections::btree_map;

use plugin_api::description::LaneDescription;

use super::slot::{PluginSlot, serves};
use crate::plugins::Prepared;

/// Why a version cannot serve yet: another plugin that has what this one claims.
pub(in crate::coordinator) fn conflict(
    plugins: btree_map::Iter<'_, String, PluginSlot>,
    prepared: &Prepared,
) -> Option<String> {
    let others = plugins.filter(|(name, _)| **name != prepared.name);
    let claims = others.flat_map(|(name, slot)| slot.claims().map(move |claim| (name, claim)));
    let claimed = &prepared.description;
    for (name, other) in claims {
        if other.name == claimed.name {
            return Some(format!(
                "the plugin `{name}` has the same declared name, `{}`, and so the same states",
                claimed.name
            ));
        }
        let mut types = claimed.lanes.iter().flat_map(LaneDescription::types);
        if let Some(taken) = types.find(|type_name| serves(other, type_name)) {
            return Some(format!("the plugin `{name}` serves the type {taken:?}"));
        }
    }
    None
}
