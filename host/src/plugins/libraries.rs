//! The libraries that are in this process. A library is never unmapped, so where a version is made of a file that was
//! loaded before, as it is when only its configuration changed, the code that is there is used again: nothing is
//! mapped for it.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    error::{CheckError, Step},
    image::ContentHash,
    loader::Module,
};
use crate::blame::Blame;

/// See the file's head. Two plugins of the same content have nothing in common: each has its code for itself.
#[derive(Debug, Default)]
pub(super) struct Libraries(Mutex<HashMap<String, HashMap<ContentHash, Library>>>);

/// A library that is loaded in this process.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub(super) module: Module,
    /// The content, for as long as a version needs it: the copy has no name any more.
    file: Weak<File>,
}

impl Libraries {
    /// The library of `name` with this `content`, opened from `copy` unless that was done before, and a descriptor of
    /// its content. Whatever its code does from now on is put down to `blame`.
    ///
    /// It is to be [kept](Self::keep) once its code has returned: one that hangs is not used again, since what it
    /// holds is held for ever.
    pub(super) fn take(
        &self,
        name: &str,
        content: ContentHash,
        copy: &Path,
        blame: Blame,
    ) -> Result<(Library, Arc<File>), CheckError> {
        let known = self.lock().get_mut(name).and_then(|of| of.remove(&content));
        let known = known.filter(|library| !library.module.has_got_stuck());
        let library = match known {
            Some(library) => Library {
                module: library.module.blamed_on(blame),
                ..library
            },
            // From here on its code runs in this process.
            None => Library {
                module: Module::open(copy, blame)?,
                file: Weak::new(),
            },
        };
        let file = match library.file.upgrade() {
            Some(file) => file,
            None => Arc::new(File::open(copy).map_err(|error| unreadable(&error))?),
        };
        let library = Library {
            file: Arc::downgrade(&file),
            ..library
        };
        Ok((library, file))
    }

    /// Keeps a library that is loaded, so that the same content under the same name uses it again.
    pub(super) fn keep(&self, name: &str, content: ContentHash, library: Library) {
        let mut all = self.lock();
        all.entry(name.to_owned())
            .or_default()
            .insert(content, library);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<ContentHash, Library>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: &std::io::Error) -> CheckError {
    let cause = format!("its copy cannot be opened: {error}");
    CheckError::of_system(
        Step::Load,
        cause,
        error,
        "look at what TMPDIR lies on, and touch the file",
    )
}
