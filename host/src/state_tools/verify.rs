//! Whether the state is whole, and what is in it.

use std::{fmt, path::Path};

use serde::Serialize;

use super::{StateError, inspection, title};
use crate::state::log::Recovered;

/// A state that is whole.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The last batch that is durable.
    pub batch: u64,
    /// The last batch of the snapshot, if there is one.
    pub snapshot: Option<u64>,
    /// Batches after that.
    pub batches: u64,
    /// By their numbers in the log.
    pub states: Vec<VerifiedState>,
    /// What the next start cuts off, because it is no whole batch.
    pub torn_end: Option<TornEnd>,
}

/// One state.
#[derive(Debug, Serialize)]
pub struct VerifiedState {
    /// Its number in the log.
    pub id: u32,
    /// The plugin's declared name; empty for the host's own.
    pub plugin: String,
    /// Its name within the plugin.
    pub name: String,
    /// What kind it is.
    pub kind: String,
    /// The schema of its entries.
    pub schema: u32,
    /// How many entries it has.
    pub entries: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
}

/// An end that was being written when the host ended.
#[derive(Debug, Serialize)]
pub struct TornEnd {
    /// The segment.
    pub file: String,
    /// Where the last whole record ends.
    pub byte: u64,
    /// How much follows.
    pub bytes: u64,
    /// The batch that would have stood there.
    pub batch: u64,
}

/// Reads all of the state in a data folder, and checks every byte that counts. A host may serve from it.
///
/// # Errors
/// There is none, or it is not whole.
pub fn verify(data: &Path) -> Result<Verified, StateError> {
    Ok(Verified::of(&inspection(data)?.read()?))
}

impl Verified {
    pub(super) fn of(recovered: &Recovered) -> Self {
        let states = recovered.states.iter().map(|state| VerifiedState {
            id: state.id.0,
            plugin: state.plugin.clone(),
            name: state.name.clone(),
            kind: state.kind.clone(),
            schema: state.schema,
            entries: state.map.iter().count() as u64,
            bytes: (state.map.iter())
                .map(|(key, value)| (key.len() + value.len()) as u64)
                .sum(),
        });
        let cut = recovered.report.cut.as_ref();
        Self {
            batch: recovered.last.0,
            snapshot: recovered.report.snapshot.map(|batch| batch.0),
            batches: recovered.report.batches,
            states: states.collect(),
            torn_end: cut.map(|cut| TornEnd {
                file: cut.file.display().to_string(),
                byte: cut.byte,
                bytes: cut.bytes,
                batch: cut.batch.0,
            }),
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whole, as of batch {}", self.batch)?;
        match self.snapshot {
            Some(snapshot) => writeln!(
                f,
                ": a snapshot of batch {snapshot}, and {} after it",
                self.batches
            )?,
            None => writeln!(f, ", without a snapshot")?,
        }
        for state in &self.states {
            writeln!(
                f,
                "  {} ({}, schema {}): {} entries, {} bytes",
                title(&state.plugin, &state.name),
                state.kind,
                state.schema,
                state.entries,
                state.bytes
            )?;
        }
        if let Some(torn) = &self.torn_end {
            writeln!(
                f,
                "  {} has a torn end: {} bytes from byte {} on, no whole record of batch {}, as a host leaves it that is killed; the \
                 next start cuts them off",
                torn.file, torn.bytes, torn.byte, torn.batch
            )?;
        }
        Ok(())
    }
}
