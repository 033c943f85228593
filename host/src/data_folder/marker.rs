//! The marks of a data folder: that it was made, and whether a state was begun in it. One lies within the folder, another
//! beside it, so that neither the state nor the whole folder can be lost without a trace.
//!
//! A mark is one line of JSON, and the CRC-32 of that line in a second one. It is replaced as a whole.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{DataFolderError, sync_name};
use crate::{
    ownership::{check_mark, open_own},
    state::log::{LogEnd, LogId},
};

/// The mark within a data folder.
pub(super) const INSIDE: &str = "identity";

/// The format that this host writes, and the newest one that it reads.
const FORMAT: u32 = 1;

/// More than any mark has, in bytes.
const MARK_BYTES_MAX: u64 = 64 * 1024;

/// What is known of a data folder whatever becomes of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The identity of the folder, and of the log in it.
    pub id: LogId,
    /// A state was begun, so it is expected.
    pub has_state: bool,
    /// Where the log ended at the last stop, if that was in order and no host was started since.
    pub stopped: Option<LogEnd>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "rm-host-data")]
    format: u32,
    identity: String,
    has_state: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<LogEnd>,
}

/// Any format tells at least this.
#[derive(Deserialize)]
struct Format {
    #[serde(rename = "rm-host-data")]
    format: u32,
}

/// Where the mark beside a data folder lies: in the folder that holds it, or that holds the link by which it is named.
pub(super) fn beside(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    let named = match absolute.file_name() {
        Some(_) => absolute,
        None => fs::canonicalize(absolute).ok()?,
    };
    let mut name = OsString::from(".");
    name.push(named.file_name()?);
    name.push(".rm-host");
    Some(fs::canonicalize(named.parent()?).ok()?.join(name))
}

/// Reads the mark beside a data folder, which nobody else may change; `None` if there is none.
pub(super) fn read_beside(folder: &Path) -> Result<Option<(Mark, PathBuf)>, DataFolderError> {
    let Some(file) = beside(folder) else {
        return Ok(None);
    };
    check_mark(&file)?;
    Ok(Mark::read(&file)?.map(|mark| (mark, file)))
}

impl Mark {
    /// Reads a mark; `None` if there is none.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, DataFolderError> {
        let unreadable = |found: String| DataFolderError::Mark {
            file: file.to_owned(),
            found,
        };
        let text = match read_file(file) {
            Err(cause) if is_nothing_there(&cause) => return Ok(None),
            Err(cause) => return Err(unreadable(cause.to_string())),
            Ok(text) => text,
        };
        let parts = text.split_once('\n');
        let (line, checksum) = parts.ok_or_else(|| unreadable("no line".to_owned()))?;
        let expected = format!("{:08x}", crc32fast::hash(line.as_bytes()));
        if checksum.trim_end() != expected {
            return Err(unreadable(format!(
                "a line with the CRC-32 {expected}, and another behind it"
            )));
        }
        let format: Format =
            serde_json::from_str(line).map_err(|cause| unreadable(cause.to_string()))?;
        if format.format != FORMAT {
            return Err(DataFolderError::NewerMark {
                file: file.to_owned(),
                found: format.format,
            });
        }
        let line: Line =
            serde_json::from_str(line).map_err(|cause| unreadable(cause.to_string()))?;
        let id = (line.identity.parse())
            .map_err(|cause: hex::FromHexError| unreadable(cause.to_string()))?;
        Ok(Some(Self {
            id,
            has_state: line.has_state,
            stopped: line.stopped,
        }))
    }

    /// Puts the mark in the place of what is there. It is durable then.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let line = serde_json::to_string(&Line {
            format: FORMAT,
            identity: self.id.to_string(),
            has_state: self.has_state,
            stopped: self.stopped,
        })?;
        let checksum = crc32fast::hash(line.as_bytes());
        let mut unfinished = file.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        // Of a host that was killed.
        remove(&unfinished)?;
        let mut options = File::options();
        let mut made = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        made.write_all(format!("{line}\n{checksum:08x}\n").as_bytes())?;
        made.sync_all()?;
        fs::rename(&unfinished, file)?;
        sync_name(file)
    }
}

/// Removes a file, if it is there. That is durable then.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => sync_name(file),
    }
}

fn is_nothing_there(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn read_file(file: &Path) -> io::Result<String> {
    use io::Read as _;
    let opened = open_own(File::options().read(true), file)?;
    let mut text = String::new();
    opened.take(MARK_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            id: LogId::random().unwrap(),
            has_state: true,
            stopped: Some(LogEnd {
                batch: 30,
                segment: 1,
                byte: 4711,
            }),
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_no_changed_byte_passes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(INSIDE);
        assert_eq!(Mark::read(&file).unwrap(), None);
        for mark in [
            mark(),
            Mark {
                has_state: false,
                stopped: None,
                ..mark()
            },
        ] {
            mark.write(&file).unwrap();
            assert_eq!(Mark::read(&file).unwrap(), Some(mark));
        }
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).unwrap();
            let refusal = Mark::read(&file).unwrap_err().to_string();
            assert!(refusal.contains(file.to_str().unwrap()), "{refusal}");
            fs::write(&file, &whole[..at]).unwrap();
            assert!(Mark::read(&file).is_err());
        }
    }

    #[test]
    fn a_mark_of_a_later_host_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(INSIDE);
        let line = r#"{"rm-host-data":2,"more":[]}"#;
        let checksum = crc32fast::hash(line.as_bytes());
        fs::write(&file, format!("{line}\n{checksum:08x}\n")).unwrap();
        let refusal = Mark::read(&file).unwrap_err().to_string();
        assert!(refusal.contains("run the version of rm-host"), "{refusal}");
    }

    #[test]
    fn the_mark_beside_lies_where_the_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(real.join("volume")).unwrap();
        std::os::unix::fs::symlink(real.join("volume"), real.join("data")).unwrap();
        let expected = real.join(".data.rm-host");
        for name in ["data", "data/", "volume/../data"] {
            assert_eq!(beside(&real.join(name)).as_ref(), Some(&expected), "{name}");
        }
        assert_eq!(beside(&real.join("volume/x/..")), None, "it is not there");
        fs::create_dir(real.join("volume/x")).unwrap();
        let expected = real.join(".volume.rm-host");
        assert_eq!(beside(&real.join("volume/x/..")), Some(expected));
    }
}
