//! What `rm-host init` does: it says, once, that a folder is a data folder, and that what is in it now is all that there is.

use std::{fs, path::Path, sync::Arc};

use super::{
    DataFolder, DataFolderError, STATE_FOLDER,
    evidence::{Evidence, Found, Verdict},
    make, mark_as_meant,
    marker::{self, Mark},
    unusable,
};
use crate::state::{
    disk::RealDisk,
    log::{Expected, Inspection, LogId},
};

/// Makes a data folder, or says of one that is there that it is as it should be. Where something tells of a state that is not there,
/// that has to be `meant`. Nothing is removed from the state that is there. Returns what was done, for people.
///
/// # Errors
/// It is not meant; the folder is in use, or cannot be written; what is in it is damaged.
pub fn init(folder: &Path, meant: bool) -> Result<String, DataFolderError> {
    let named = folder.display();
    if !fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
        if !meant {
            super::refuse_if_gone(folder, super::Wanted::State).map_err(not_meant)?;
        }
        make(folder).map_err(unusable(folder, "made"))?;
        forget_beside(folder)?;
        return Ok(format!("{named}: made\n"));
    }
    let absolute = std::path::absolute(folder).map_err(unusable(folder, "found"))?;
    let data = DataFolder::take(absolute)?;
    let evidence = Evidence::of(data.path())?;
    match evidence.state {
        Found::Nothing => begin(&data, &evidence, meant)?,
        Found::Log(found) => {
            let batch = go_on(&data, &evidence, found, meant)?;
            return Ok(format!(
                "{named}: is a data folder, with a state as of batch {batch}\n"
            ));
        }
    }
    Ok(format!(
        "{named}: is a data folder from now on, and holds no state yet\n"
    ))
}

/// Nothing is there: that is to be so.
fn begin(data: &DataFolder, evidence: &Evidence, meant: bool) -> Result<(), DataFolderError> {
    let id = match evidence.judge() {
        Ok(Verdict::Begin(id)) => Ok(id),
        Err(DataFolderError::NotMade(_)) => LogId::random(),
        Err(error) if !meant => return Err(not_meant(error)),
        _ => LogId::random(),
    };
    let mark = Mark {
        id: id.map_err(unusable(data.path(), "given an identity"))?,
        has_state: false,
        stopped: None,
    };
    let written = mark.write(&data.path().join(marker::INSIDE));
    written.map_err(unusable(data.path(), "marked"))?;
    forget_beside(data.path())
}

/// A log is there: it is to be the right one. It has to be whole in any case.
fn go_on(
    data: &DataFolder,
    evidence: &Evidence,
    found: Option<LogId>,
    meant: bool,
) -> Result<u64, DataFolderError> {
    let log = || Inspection::new(Arc::new(RealDisk), &data.path().join(STATE_FOLDER));
    let expected = evidence.judge().map(|verdict| match verdict {
        Verdict::GoOn(expected) => expected,
        Verdict::Begin(_) | Verdict::TakeOver => Expected::default(),
    });
    let read = expected.and_then(|expected| Ok(log().expecting(expected).read()?));
    let error = match read {
        Ok(read) => return Ok(read.last.0),
        Err(error) => error,
    };
    if !meant {
        return Err(not_meant(error));
    }
    let alone = Expected {
        id: found,
        end: None,
    };
    let read = log().expecting(alone).read()?;
    match found {
        Some(id) => mark_as_meant(data.path(), id, None)?,
        None => {
            // The next start takes it over.
            let inside = data.path().join(marker::INSIDE);
            marker::remove(&inside).map_err(unusable(data.path(), "marked"))?;
            forget_beside(data.path())?;
        }
    }
    Ok(read.last.0)
}

fn forget_beside(folder: &Path) -> Result<(), DataFolderError> {
    match marker::beside(folder) {
        Some(file) => marker::remove(&file).map_err(unusable(&file, "removed")),
        None => Ok(()),
    }
}

fn not_meant(error: DataFolderError) -> DataFolderError {
    DataFolderError::NotMeant(Box::new(error))
}
