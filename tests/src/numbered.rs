//! As many versions of a plugin as a test wants, without building them.

use std::{fs, path::Path};

use crate::{
    artifacts,
    marked::{place_behind, stripped},
};

/// Stands before the number in the fixture.
const MARKER: &[u8] = b"the number stands here: ";

/// The fixture `numbered`, into which a number can be written.
#[derive(Debug)]
pub struct Numbered {
    library: Vec<u8>,
    at: usize,
}

impl Numbered {
    /// Takes the fixture, without what is never loaded of it: in a debug build that is nine tenths.
    ///
    /// # Panics
    /// As [`stripped`]; or there is not one place for the number.
    pub fn built() -> Self {
        let library = stripped(&artifacts::fixture("numbered"));
        let at = place_behind(&library, MARKER);
        Self { library, at }
    }

    /// The library with this number, which it gives in its answers.
    pub fn library(&self, number: u64) -> Vec<u8> {
        let mut library = self.library.clone();
        library[self.at..][..8].copy_from_slice(&number.to_le_bytes());
        library
    }

    /// How large its file is.
    pub fn bytes(&self) -> usize {
        self.library.len()
    }

    /// Puts the library with this number into a folder, whole at once.
    pub fn put(&self, folder: &Path, number: u64) {
        let unfinished = folder.join(".libnumbered.so.new");
        fs::write(&unfinished, self.library(number)).expect("a temporary folder can be written");
        fs::rename(unfinished, folder.join("libnumbered.so")).expect("it was just written");
    }
}
