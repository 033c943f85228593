//! What others want of the thread that watches: to look, to stop, to know what serves.
//!
//! Nobody waits to say it, and a swarm of events fills no queue: what is wanted is kept here once, and one
//! call to wake up is enough for all of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
};

use notify::{EventKind, event};

use super::Standing;

/// The way to the thread that watches.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    flags: Arc<Flags>,
    wake: SyncSender<()>,
}

#[derive(Debug, Default)]
struct Flags {
    stop: AtomicBool,
    /// The watched folder was removed or renamed, so that its watch is of no use.
    watch_died: AtomicBool,
    /// Everything is to be read anew, whether it seems to have changed or not.
    look_anew: AtomicBool,
    standings: Mutex<BTreeMap<String, Standing>>,
}

impl Signals {
    /// The signals, and where the thread waits to be woken.
    pub(super) fn new() -> (Self, Receiver<()>) {
        let (wake, woken) = mpsc::sync_channel(1);
        let flags = Arc::default();
        (Self { flags, wake }, woken)
    }

    pub(super) fn stop(&self) {
        self.flags.stop.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.flags.stop.load(Ordering::Acquire)
    }

    pub(super) fn look_anew(&self) {
        self.flags.look_anew.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn take_look_anew(&self) -> bool {
        self.flags.look_anew.swap(false, Ordering::AcqRel)
    }

    pub(super) fn stands(&self, standing: Standing) {
        self.standings().insert(standing.name.clone(), standing);
        self.wake();
    }

    pub(super) fn take_standings(&self) -> BTreeMap<String, Standing> {
        std::mem::take(&mut *self.standings())
    }

    pub(super) fn take_watch_died(&self) -> bool {
        self.flags.watch_died.swap(false, Ordering::AcqRel)
    }

    /// Something happened in or to `folder`.
    pub(super) fn note(&self, folder: &Path, event: notify::Result<notify::Event>) {
        if let Ok(event) = &event {
            let kind = &event.kind;
            let written = event::AccessKind::Close(event::AccessMode::Write);
            if kind.is_access() && *kind != EventKind::Access(written) {
                // Raised by reading, ours among that.
                return;
            }
            let moved = matches!(kind, EventKind::Modify(event::ModifyKind::Name(_)));
            if (kind.is_remove() || moved) && event.paths.iter().any(|path| path == folder) {
                self.flags.watch_died.store(true, Ordering::Release);
            }
        }
        self.wake();
    }

    /// Wakes the thread that watches: there is something to do.
    pub(super) fn wake(&self) {
        // If it is full, a call to wake up is waiting already; if it is closed, there is nobody to wake.
        let _ = self.wake.try_send(());
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        let standings = self.flags.standings.lock();
        standings.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use notify::Event;

    use super::*;

    fn woken_by(kind: EventKind, path: &str) -> (bool, bool) {
        let (signals, woken) = Signals::new();
        let event = Event::new(kind).add_path(path.into());
        signals.note(Path::new("/plugins"), Ok(event));
        (woken.try_recv().is_ok(), signals.take_watch_died())
    }

    #[test]
    fn reading_a_file_wakes_nobody_and_writing_does() {
        use event::{AccessKind, AccessMode, ModifyKind, RemoveKind, RenameMode};
        let file = "/plugins/liba.so";
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let removed = EventKind::Remove(RemoveKind::Any);
        assert_eq!(woken_by(opened, file), (false, false));
        for kind in [closed, renamed, removed] {
            assert_eq!(woken_by(kind, file), (true, false));
        }
        for kind in [renamed, removed] {
            assert_eq!(woken_by(kind, "/plugins"), (true, true));
        }
    }

    #[test]
    fn many_signals_wake_once_and_none_is_lost() {
        let (signals, woken) = Signals::new();
        for name in ["b", "a", "b"] {
            signals.stands(Standing {
                name: name.to_owned(),
                latest: None,
                serving: None,
            });
        }
        signals.stop();
        assert_eq!(woken.try_iter().count(), 1);
        assert!(signals.is_stopped());
        let names = signals.take_standings().into_keys();
        assert_eq!(Vec::from_iter(names), ["a", "b"]);
        assert!(signals.take_standings().is_empty());
    }
}
