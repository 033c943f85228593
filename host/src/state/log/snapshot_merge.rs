//! Merges the previous snapshot and the runs after it into one snapshot, entry by entry: of each entry the newest counts.

use super::{
    DiskError, OpenError,
    changes::{Became, value_in_run},
    snapshot_file::{Described, SnapshotReader, SnapshotWriter},
};
use crate::state::effects::StateId;

/// What is merged, oldest first.
pub(super) struct Merge {
    sources: Vec<Source>,
    /// Of the sources that have the present state: where they stand among all, oldest first.
    of_state: Vec<usize>,
    /// Of those, the ones that have the present entry.
    of_entry: Vec<usize>,
}

struct Source {
    reader: SnapshotReader,
    is_run: bool,
    state: Option<(StateId, Described)>,
    has_entry: bool,
}

/// Why it cannot be merged.
#[derive(Debug)]
pub(super) enum MergeError {
    /// There are entries of a state that was never declared.
    Unknown(StateId),
    /// A source cannot be read, or the snapshot cannot be written.
    Open(OpenError),
}

impl From<OpenError> for MergeError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<DiskError> for MergeError {
    fn from(error: DiskError) -> Self {
        Self::Open(error.into())
    }
}

impl Merge {
    /// From a snapshot, if there is one, and runs, oldest first.
    pub(super) fn new(
        before: Option<SnapshotReader>,
        runs: Vec<SnapshotReader>,
    ) -> Result<Self, OpenError> {
        let before = before.map(|reader| (reader, false));
        let sources = before
            .into_iter()
            .chain(runs.into_iter().map(|run| (run, true)));
        let sources = sources.map(|(reader, is_run)| {
            let mut source = Source {
                reader,
                is_run,
                state: None,
                has_entry: false,
            };
            source.next_state()?;
            Ok(source)
        });
        Ok(Self {
            sources: sources.collect::<Result<_, OpenError>>()?,
            of_state: Vec::new(),
            of_entry: Vec::new(),
        })
    }

    /// Writes all entries of all runs, each key once.
    pub(super) fn write(mut self, writer: &mut SnapshotWriter) -> Result<(), MergeError> {
        loop {
            let ids = self.sources.iter().filter_map(Source::id);
            let Some(id) = ids.min() else {
                return Ok(());
            };
            self.write_state(id, writer)?;
        }
    }

    fn write_state(&mut self, id: StateId, writer: &mut SnapshotWriter) -> Result<(), MergeError> {
        let all = self.sources.iter().enumerate();
        let have_it = all.filter(|(_, source)| source.id() == Some(id));
        self.of_state.clear();
        self.of_state.extend(have_it.map(|(index, _)| index));
        let described = self.describe()?;
        for index in &self.of_state {
            self.sources[*index].next_entry()?;
        }
        match described {
            Some(described) => {
                writer.state(id, &described)?;
                while self.write_entry(writer)? {}
            }
            None if self
                .of_state
                .iter()
                .any(|index| self.sources[*index].has_entry) =>
            {
                return Err(MergeError::Unknown(id));
            }
            None => {}
        }
        for index in &self.of_state {
            self.sources[*index].next_state()?;
        }
        Ok(())
    }

    /// What the state is at last, if it is there. Sources from before it was dropped are through with it.
    fn describe(&mut self) -> Result<Option<Described>, OpenError> {
        let mut described = None;
        let mut counts_from = 0;
        for (place, index) in self.of_state.iter().enumerate() {
            let became = self.sources[*index].became()?;
            if became.dropped {
                (described, counts_from) = (None, place);
            }
            if became.declared {
                described = self.sources[*index].state.take().map(|(_, said)| said);
            }
        }
        for index in self.of_state.drain(..counts_from) {
            let source = &mut self.sources[index];
            while source.reader.next_entry()? {}
            source.next_state()?;
        }
        Ok(described)
    }

    /// Writes the entry with the lowest key that is left, unless it was removed. False: there is none.
    fn write_entry(&mut self, writer: &mut SnapshotWriter) -> Result<bool, MergeError> {
        self.of_entry.clear();
        for index in &self.of_state {
            let source = &self.sources[*index];
            if !source.has_entry {
                continue;
            }
            if let Some(lowest) = self.of_entry.first() {
                let lowest = self.sources[*lowest].reader.key();
                match source.reader.key().cmp(lowest) {
                    std::cmp::Ordering::Less => self.of_entry.clear(),
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Greater => continue,
                }
            }
            self.of_entry.push(*index);
        }
        let Some(newest) = self.of_entry.last() else {
            return Ok(false);
        };
        let newest = &self.sources[*newest];
        let value = match newest.is_run {
            true => value_in_run(newest.reader.value()),
            false => Some(newest.reader.value()),
        };
        if let Some(value) = value {
            writer.entry(newest.reader.key(), value)?;
        }
        for index in &self.of_entry {
            self.sources[*index].next_entry()?;
        }
        Ok(true)
    }
}

impl Source {
    /// The present state. While it is being written, the source that described it has none.
    fn id(&self) -> Option<StateId> {
        self.state.as_ref().map(|(id, _)| *id)
    }

    /// What this source says of the present state.
    fn became(&mut self) -> Result<Became, OpenError> {
        let said = match (self.is_run, &mut self.state) {
            (true, Some((_, described))) => Became::take_off(described),
            _ => Some(Became {
                declared: true,
                dropped: false,
            }),
        };
        said.ok_or_else(|| self.reader.damaged("a state of a run", "none"))
    }

    fn next_state(&mut self) -> Result<(), OpenError> {
        self.state = self.reader.next_state()?;
        self.has_entry = false;
        Ok(())
    }

    fn next_entry(&mut self) -> Result<(), OpenError> {
        self.has_entry = self.reader.next_entry()?;
        Ok(())
    }
}
