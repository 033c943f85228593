//! How much of the plugins' files is in memory at once, however many lie in the folder and however large they are.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// So many bytes of files may be in memory, and who has them.
#[derive(Debug)]
pub(super) struct ReadingRoom {
    bytes_max: u64,
    bytes: Mutex<u64>,
    left: Condvar,
}

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<ReadingRoom>,
    bytes: u64,
}

impl ReadingRoom {
    pub(super) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes: Mutex::default(),
            left: Condvar::new(),
        })
    }

    /// Waits until so many bytes are free. More than all of them are as good as all.
    pub(super) fn enter(self: &Arc<Self>, bytes: u64) -> Seat {
        let bytes = bytes.min(self.bytes_max);
        let taken = self
            .left
            .wait_while(self.lock(), |taken| *taken + bytes > self.bytes_max);
        *taken.unwrap_or_else(PoisonError::into_inner) += bytes;
        Seat {
            room: Arc::clone(self),
            bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.room.lock() -= self.bytes;
        self.room.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn who_finds_no_room_waits_until_there_is_some() {
        let room = ReadingRoom::new(10);
        let (first, small) = (room.enter(8), room.enter(2));
        let (entered, told) = mpsc::channel();
        let others = Arc::clone(&room);
        let waiting = thread::spawn(move || {
            let all = others.enter(1_000);
            entered.send(*others.lock()).unwrap();
            drop(all);
        });
        drop(first);
        assert!(told.try_recv().is_err(), "two bytes are still taken");
        drop(small);
        assert_eq!(told.recv().unwrap(), 10);
        waiting.join().unwrap();
        assert_eq!(*room.lock(), 0);
    }
}
