//! Libraries in which a test changes a byte or some, in place of building them anew.

use std::{fs, path::Path, process::Command};

use crate::artifacts;

/// Where that begins which stands behind `marker` in a library.
///
/// # Panics
/// The marker does not stand there exactly once.
pub(crate) fn place_behind(library: &[u8], marker: &[u8]) -> usize {
    let windows = library.windows(marker.len()).enumerate();
    let found: Vec<usize> = windows
        .filter_map(|(at, bytes)| (bytes == marker).then_some(at))
        .collect();
    let [at] = found[..] else {
        let marker = String::from_utf8_lossy(marker);
        panic!("expected {marker:?} in one place, found it at {found:?}");
    };
    at + marker.len()
}

/// A fixture with `byte` behind the one place of `marker`.
pub fn marked(fixture: &str, marker: &[u8], byte: u8) -> Vec<u8> {
    let mut library = fs::read(artifacts::fixture(fixture)).expect("it was built");
    let place = place_behind(&library, marker);
    library[place] = byte;
    library
}

/// A fixture with another wish, which it fulfils when it is loaded.
pub fn wishing(fixture: &str, wish: u8) -> Vec<u8> {
    marked(fixture, b"wish of the tester: ", wish)
}

/// A library without what is never loaded of it: in a debug build that is nine tenths.
///
/// # Panics
/// `strip`, which comes with every linker, is not there.
pub fn stripped(library: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let stripped = folder.path().join("stripped.so");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(library)
        .status()
        .expect("expected `strip`, install binutils");
    assert!(status.success(), "strip: {status}");
    fs::read(stripped).expect("it was just written")
}
