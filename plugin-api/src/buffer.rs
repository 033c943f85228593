//! Bytes that a host and its plugins write for each other.

use abi_stable::std_types::RVec;

/// Bytes that cross the boundary; grown by either side, freed by the one that made them.
#[derive(Default)]
pub struct Buffer(pub RVec<u8>);

impl Buffer {
    pub fn new() -> Self {
        Self(RVec::new())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_copy_slice(bytes);
    }

    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub fn remove_first(&mut self, len: usize) {
        self.0.drain(..len);
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }
}
