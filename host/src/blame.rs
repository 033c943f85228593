//! Whose code runs: noted on each thread for the handler of fatal signals, and of the watched thread, which
//! is the core thread, also for the watchdog.
//!
//! A note is two stores, so that every call of a plugin can afford it. A thread that a plugin has started
//! itself bears no note: what ends the host there is blamed on nobody. What the host does on behalf of a
//! call, such as reading its state, counts as part of it.

use std::{
    cell::Cell,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering, compiler_fence},
    },
    time::Instant,
};

use crate::crash_list::Mark;

/// One version of a plugin, as it is blamed. It stays until the process ends, as the version's code does.
#[derive(Clone, Copy, Debug)]
pub struct Blame(&'static Noted);

#[derive(Debug)]
struct Noted {
    /// Its place among [`ALL`], from 1.
    number: u32,
    plugin: Box<str>,
    /// The beginning of its mark, ready before anything goes wrong.
    mark_head: Box<[u8]>,
}

/// Everybody who can be blamed, so that a note fits into one atomic.
static ALL: Mutex<Vec<Blame>> = Mutex::new(Vec::new());

/// The call in which the watched thread is: its number and, in the lower half, whose it is; 0 for none.
static WATCHED: AtomicU64 = AtomicU64::new(0);

/// Whose file is being loaded, and since when.
static LOADING: Mutex<Option<(Blame, Instant)>> = Mutex::new(None);

struct Thread {
    note: Cell<Option<Blame>>,
    is_watched: Cell<bool>,
    calls: Cell<u32>,
}

thread_local! {
    // Without a destructor and made at compile time: a signal handler may look at any time.
    static THREAD: Thread = const {
        Thread {
            note: Cell::new(None),
            is_watched: Cell::new(false),
            calls: Cell::new(0),
        }
    };
}

impl Blame {
    /// For the plugin `plugin` with this `content`, which tells its version from every other, from `file`.
    pub fn new(plugin: &str, content: &str, file: &Path) -> Self {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(all.len() + 1).expect("each has code in memory");
        let blame = Self(Box::leak(Box::new(Noted {
            number,
            plugin: plugin.into(),
            mark_head: Mark::head(plugin, content, file).into(),
        })));
        all.push(blame);
        blame
    }

    /// NAME of the plugin.
    pub fn plugin(&self) -> &'static str {
        &self.0.plugin
    }

    /// See [`Mark::head`].
    pub(crate) fn mark_head(&self) -> &'static [u8] {
        &self.0.mark_head
    }
}

/// Runs `call`, which is code of `plugin`. Calls nest.
#[inline]
pub fn blame<R>(plugin: &Blame, call: impl FnOnce() -> R) -> R {
    THREAD.with(|thread| {
        let _noted = Entered::new(thread, *plugin);
        call()
    })
}

/// Runs `load`, which opens a file of `plugin` as a library. The dynamic loader is locked meanwhile, and stays so
/// for everybody if it does not return; so others who load wait here, where they are not taken for the one.
pub fn loads<R>(plugin: &Blame, load: impl FnOnce() -> R) -> R {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let loading = || LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    *loading() = Some((*plugin, Instant::now()));
    let loaded = load();
    *loading() = None;
    loaded
}

/// Whose file is being loaded, and since when.
pub fn loading() -> Option<(Blame, Instant)> {
    *LOADING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something of a plugin's: whatever is done with it is done by the plugin, and so is its drop.
#[derive(Debug)]
pub struct Blamed<T> {
    blame: Blame,
    /// There until the drop.
    object: Option<T>,
}

impl<T> Blamed<T> {
    /// `object` is one of `blame`'s.
    pub fn new(blame: Blame, object: T) -> Self {
        Self {
            blame,
            object: Some(object),
        }
    }

    /// Whose it is.
    pub fn blame(&self) -> &Blame {
        &self.blame
    }

    /// Calls it.
    #[inline]
    pub fn call<R>(&mut self, call: impl FnOnce(&mut T) -> R) -> R {
        let object = self.object.as_mut().expect("only the drop takes it");
        blame(&self.blame, || call(object))
    }

    /// Calls it, where others may at the same time.
    #[inline]
    pub fn ask<R>(&self, ask: impl FnOnce(&T) -> R) -> R {
        let object = self.object.as_ref().expect("only the drop takes it");
        blame(&self.blame, || ask(object))
    }
}

impl<T> Drop for Blamed<T> {
    fn drop(&mut self) {
        let object = self.object.take();
        blame(&self.blame, || drop(object));
    }
}

/// Has the watchdog look at the calls of this thread from now on. There is one such thread.
pub fn watch_this_thread() {
    THREAD.with(|thread| thread.is_watched.set(true));
}

/// The call in which the watched thread is, by a number that no later one soon has, and whose it is.
pub fn watched_call() -> Option<(u64, Blame)> {
    let call = WATCHED.load(Ordering::Relaxed);
    let number = (call & u64::from(u32::MAX)) as usize;
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let blame = all.get(number.checked_sub(1)?)?;
    Some((call, *blame))
}

/// Whose code runs on this thread; from now on nobody's, so that one end is blamed once. For signal handlers.
pub(crate) fn take_noted() -> Option<Blame> {
    THREAD.with(|thread| thread.note.take())
}

/// A call that is in work; dropped when it returns or unwinds.
struct Entered<'a> {
    thread: &'a Thread,
    before: Option<Blame>,
}

impl<'a> Entered<'a> {
    #[inline]
    fn new(thread: &'a Thread, plugin: Blame) -> Self {
        let before = thread.note.get();
        thread.set(Some(plugin));
        Self { thread, before }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        self.thread.set(self.before);
    }
}

impl Thread {
    #[inline]
    fn set(&self, note: Option<Blame>) {
        self.note.set(note);
        if self.is_watched.get() {
            self.set_watched(note);
        }
        // A handler that interrupts this thread must find the note as it stands here, and the compiler does
        // not know that any instruction of the call may be interrupted.
        compiler_fence(Ordering::SeqCst);
    }

    #[inline]
    fn set_watched(&self, note: Option<Blame>) {
        let call = note.map_or(0, |blame| {
            let calls = self.calls.get().wrapping_add(1);
            self.calls.set(calls);
            u64::from(calls) << 32 | u64::from(blame.0.number)
        });
        WATCHED.store(call, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn someone(name: &str) -> Blame {
        Blame::new(name, "00", Path::new("/plugins/liba.so"))
    }

    fn noted() -> Option<&'static str> {
        THREAD.with(|thread| thread.note.get().map(|blame| blame.plugin()))
    }

    #[test]
    fn a_note_lasts_for_the_call_and_calls_nest() {
        let (a, b) = (someone("a"), someone("b"));
        assert_eq!(noted(), None);
        blame(&a, || {
            assert_eq!(noted(), Some("a"));
            blame(&b, || assert_eq!(noted(), Some("b")));
            assert_eq!(noted(), Some("a"));
        });
        assert_eq!(noted(), None);
    }

    #[test]
    fn a_call_that_unwinds_is_over() {
        let a = someone("a");
        let unwound = std::panic::catch_unwind(|| blame(&a, || panic!("a test's panic")));
        assert!(unwound.is_err());
        assert_eq!(noted(), None);
    }

    #[test]
    fn what_an_object_of_a_plugin_does_is_the_plugins_its_drop_too() {
        struct OfA;
        impl Drop for OfA {
            fn drop(&mut self) {
                assert_eq!(noted(), Some("a"));
            }
        }
        let mut object = Blamed::new(someone("a"), OfA);
        assert_eq!(object.call(|_| noted()), Some("a"));
        assert_eq!(object.ask(|_| noted()), Some("a"));
        drop(object);
        assert_eq!(noted(), None);
    }

    #[test]
    fn a_thread_that_a_call_starts_has_no_note() {
        blame(&someone("a"), || {
            assert_eq!(std::thread::spawn(noted).join().unwrap(), None);
        });
    }

    #[test]
    fn one_end_is_blamed_once() {
        blame(&someone("a"), || {
            assert_eq!(take_noted().map(|blame| blame.plugin()), Some("a"));
            assert!(take_noted().is_none());
        });
    }

    #[test]
    fn of_the_watched_thread_others_see_each_call() {
        let seen = || {
            let call = std::thread::spawn(watched_call).join().unwrap();
            call.map(|(number, blame)| (number, blame.plugin()))
        };
        let a = someone("a");
        blame(&a, || assert_eq!(seen(), None));
        watch_this_thread();
        assert_eq!(seen(), None);
        let first = blame(&a, seen);
        let second = blame(&a, || {
            assert_eq!(seen(), seen());
            seen()
        });
        assert_eq!(first.map(|(_, name)| name), Some("a"));
        assert!(first != second && second.is_some());
        assert_eq!(seen(), None);
    }
}
