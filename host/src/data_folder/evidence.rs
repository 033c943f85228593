//! What is to be made of a data folder: whether a state is to be begun in it, or gone on with, or missed. Decided from what was
//! found alone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DataFolderError, STATE_FOLDER, UNFINISHED_FOLDER,
    marker::{self, Mark},
};
use crate::state::{
    disk::RealDisk,
    log::{Expected, Inspection, LogId},
};

/// What the folder is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The state that is in it, or one that is begun.
    State,
    /// To keep no state in it.
    NoState,
    /// A state of which the operator says what it is.
    NewState,
}

/// What was found of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// None at all.
    Nothing,
    /// A log, which bears an identity unless an earlier host has made it.
    Log(Option<LogId>),
}

/// What was found of a data folder.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub folder: PathBuf,
    pub inside: Option<Mark>,
    /// The mark beside the folder, and where it lies.
    pub beside: Option<(Mark, PathBuf)>,
    pub state: Found,
    /// A copy or an import was cut off.
    pub has_unfinished: bool,
}

/// What is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The folder was made, and no state was ever begun in it.
    Begin(LogId),
    /// The state is the one that was there.
    GoOn(Expected),
    /// The state is of an earlier host, which left no marks.
    TakeOver,
}

impl Evidence {
    /// Looks at a folder that is there.
    pub(super) fn of(folder: &Path) -> Result<Self, DataFolderError> {
        Ok(Self {
            beside: marker::read_beside(folder)?,
            ..Self::within(folder)?
        })
    }

    /// Looks at what is in a folder alone, as if it had been brought from elsewhere.
    pub(super) fn within(folder: &Path) -> Result<Self, DataFolderError> {
        let state = folder.join(STATE_FOLDER);
        let log = Inspection::new(Arc::new(RealDisk), &state);
        let found = match state.exists() {
            true => log.identity()?.map_or(Found::Nothing, Found::Log),
            false => Found::Nothing,
        };
        Ok(Self {
            folder: folder.to_owned(),
            inside: Mark::read(&folder.join(marker::INSIDE))?,
            beside: None,
            state: found,
            has_unfinished: folder.join(UNFINISHED_FOLDER).exists(),
        })
    }

    /// Says what is to be done, for whom the state is.
    pub(super) fn judge(&self) -> Result<Verdict, DataFolderError> {
        match self.state {
            Found::Nothing => self.judge_nothing(),
            Found::Log(found) => self.judge_log(found),
        }
    }

    /// The same for a host that keeps no state.
    pub(super) fn judge_without_state(&self) -> Result<(), DataFolderError> {
        match (self.state, self.witnesses().next()) {
            (Found::Log(_), _) => Err(DataFolderError::LeftAside(self.state_folder())),
            (Found::Nothing, Some((_, witness))) => Err(self.state_gone(witness)),
            (Found::Nothing, None) => Ok(()),
        }
    }

    fn judge_nothing(&self) -> Result<Verdict, DataFolderError> {
        if self.has_unfinished {
            return Err(DataFolderError::Unfinished(
                self.folder.join(UNFINISHED_FOLDER),
            ));
        }
        match (self.witnesses().next(), self.inside) {
            (Some((_, witness)), _) => Err(self.state_gone(witness)),
            (None, Some(made)) => Ok(Verdict::Begin(made.id)),
            (None, None) => Err(DataFolderError::NotMade(self.folder.clone())),
        }
    }

    fn judge_log(&self, found: Option<LogId>) -> Result<Verdict, DataFolderError> {
        for (mark, witness) in self.witnesses() {
            if found != Some(mark.id) {
                return Err(self.another(found, &mark, witness));
            }
        }
        Ok(match found {
            Some(id) => Verdict::GoOn(Expected {
                id: Some(id),
                end: self.inside.and_then(|mark| mark.stopped),
            }),
            None => Verdict::TakeOver,
        })
    }

    /// The marks that say that there was a state.
    fn witnesses(&self) -> impl Iterator<Item = (Mark, PathBuf)> {
        let inside = (self.inside).map(|mark| (mark, self.folder.join(marker::INSIDE)));
        let marks = [inside, self.beside.clone()].into_iter().flatten();
        marks.filter(|(mark, _)| mark.has_state)
    }

    fn state_folder(&self) -> PathBuf {
        self.folder.join(STATE_FOLDER)
    }

    fn state_gone(&self, witness: PathBuf) -> DataFolderError {
        DataFolderError::StateGone {
            folder: self.folder.clone(),
            state: self.state_folder(),
            witness,
        }
    }

    fn another(&self, found: Option<LogId>, mark: &Mark, witness: PathBuf) -> DataFolderError {
        let inside = self.inside.filter(|inside| inside.has_state);
        let is_whole_folder = inside.is_none_or(|inside| found == Some(inside.id));
        DataFolderError::Another {
            folder: self.folder.clone(),
            path: match is_whole_folder {
                true => self.folder.clone(),
                false => self.state_folder(),
            },
            found: found.map_or_else(
                || "its state is of an earlier host, and bears no identity".to_owned(),
                |found| format!("its state bears the identity {found}"),
            ),
            expected: mark.id,
            witness,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> LogId {
        LogId::random().unwrap()
    }

    fn mark(id: LogId, has_state: bool) -> Mark {
        Mark {
            id,
            has_state,
            stopped: None,
        }
    }

    fn verdict(
        inside: Option<Mark>,
        beside: Option<Mark>,
        state: Found,
    ) -> Result<Verdict, String> {
        let evidence = Evidence {
            folder: "/data".into(),
            inside,
            beside: beside.map(|mark| (mark, "/.data.rm-host".into())),
            state,
            has_unfinished: false,
        };
        evidence.judge().map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_folder_that_was_made_and_never_had_a_state_gets_a_new_one() {
        let id = id();
        let made = Some(mark(id, false));
        assert_eq!(verdict(made, None, Found::Nothing), Ok(Verdict::Begin(id)));
        let kept = Some(mark(id, true));
        for (inside, beside) in [
            (None, None),
            (kept, None),
            (None, kept),
            (made, kept),
            (kept, kept),
        ] {
            assert!(verdict(inside, beside, Found::Nothing).is_err());
        }
    }

    #[test]
    fn a_state_has_to_be_the_one_that_each_mark_tells_of() {
        let (own, other) = (id(), id());
        let (kept, foreign) = (Some(mark(own, true)), Some(mark(other, true)));
        let log = Found::Log(Some(own));
        let expected = Expected {
            id: Some(own),
            end: None,
        };
        // It was killed before it had written all marks, or one was lost.
        for (inside, beside) in [
            (kept, kept),
            (kept, None),
            (None, kept),
            (None, None),
            (Some(mark(own, false)), None),
        ] {
            assert_eq!(verdict(inside, beside, log), Ok(Verdict::GoOn(expected)));
        }
        for (inside, beside) in [
            (foreign, kept),
            (kept, foreign),
            (foreign, None),
            (None, foreign),
        ] {
            assert!(verdict(inside, beside, log).is_err());
        }
    }

    #[test]
    fn a_state_of_an_earlier_host_is_taken_over_where_nothing_tells_of_another() {
        let log = Found::Log(None);
        assert_eq!(verdict(None, None, log), Ok(Verdict::TakeOver));
        let kept = Some(mark(id(), true));
        for (inside, beside) in [(kept, None), (None, kept)] {
            assert!(verdict(inside, beside, log).is_err());
        }
    }
}
