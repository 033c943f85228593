//! The watch on the plugin folder itself, which dies without a word when the folder is removed or renamed.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::SystemTime};

use notify::{RecursiveMode, Watcher as _};

use super::signals::Signals;
use crate::limits::LOOK_INTERVAL;

/// A watch that is opened again whenever it is of no use any more. Without it only the looks at intervals are
/// left.
#[derive(Debug, Default)]
pub(super) struct FolderWatch {
    /// The watch, and on which folder.
    open: Option<(notify::RecommendedWatcher, Identity)>,
}

/// Tells one folder from another that has taken its place. Inode numbers are used again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Identity {
    fn of(folder: &Path) -> Option<Self> {
        let seen = fs::metadata(folder).ok()?;
        Some(Self {
            device: seen.dev(),
            inode: seen.ino(),
            created: seen.created().ok(),
        })
    }
}

impl FolderWatch {
    /// Sees to it that `signals` are told of what happens in `folder`, if it is there.
    pub(super) fn keep_open(&mut self, folder: &Path, signals: &Signals) {
        let died = signals.take_watch_died();
        let identity = Identity::of(folder);
        let is_open = self.open.as_ref().map(|(_, watched)| *watched) == identity;
        if is_open && !died {
            return;
        }
        self.open = None;
        let Some(identity) = identity else {
            return;
        };
        let (watched, signals) = (folder.to_owned(), signals.clone());
        let watcher = notify::recommended_watcher(move |event| signals.note(&watched, event));
        let opened = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match opened {
            Ok(watcher) => self.open = Some((watcher, identity)),
            Err(error) => tracing::warn!(
                folder = %folder.display(),
                "changes in the plugin folder are not announced ({error}); it is looked at every {} s",
                LOOK_INTERVAL.as_secs()
            ),
        }
    }
}
