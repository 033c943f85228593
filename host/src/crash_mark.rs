//! The crash mark: where a fatal signal comes while code of a plugin runs, a handler writes down whose, and
//! lets the process end as it would have.
//!
//! What cannot be caught blames nobody: `kill -9`, lack of memory, a loss of power. So does a signal that
//! somebody else has sent, and one on a thread that bears no note (see [`crate::blame`]).
//!
//! Who gets no memory aborts, in whatever code that happens. Where the system has none left this is nobody's fault, and
//! is told as what it is; who asked for more than there could be is blamed.
//!
//! A plugin that calls `exit` ends the host too, which would look as if all were well: a function that the system
//! calls on the way out says whose code ran, marks it, and ends the process with another exit code. What leaves the
//! process by `_exit` passes nobody.
//!
//! The handlers run on the alternate stacks that std gives the main thread and every thread that it starts:
//! the core thread is the main thread, and all others that call plugins are of std's.

#![allow(
    unsafe_code,
    reason = "handlers of signals, and an end without clean-up, are calls of C"
)]

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    mem, process,
    ptr::{null, null_mut},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use libc::{c_int, c_void, siginfo_t};

use crate::{
    blame::{self, Blame},
    crash_list::Mark,
    limits,
    logging::{self, OneLine},
    own_fault::EXIT_FAULT,
};

/// What is handled, and what is said of the code that brought it about.
const FATAL: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "ended the host with SIGSEGV"),
    (libc::SIGBUS, "ended the host with SIGBUS"),
    (libc::SIGILL, "ended the host with SIGILL"),
    (libc::SIGFPE, "ended the host with SIGFPE"),
    (libc::SIGABRT, "ended the host with SIGABRT"),
];

/// Where marks go; opened to append.
static MARKS: OnceLock<File> = OnceLock::new();

/// What handled each of [`FATAL`] before: std, which tells of an overflowed stack, or nobody.
static BEFORE: OnceLock<[libc::sigaction; FATAL.len()]> = OnceLock::new();

/// Handles fatal signals from now on, with marks that go to the end of `marks`.
///
/// # Errors
/// The system refuses. It does not, where these signals are known.
pub fn install(marks: File) -> io::Result<()> {
    if MARKS.set(marks).is_err() {
        return Ok(());
    }
    let mut before = FATAL.map(|_| none());
    for ((signal, _), before) in FATAL.iter().zip(&mut before) {
        // SAFETY: It changes nothing, and writes to a place that is ours.
        done(unsafe { libc::sigaction(*signal, null(), before) })?;
    }
    // Before the first handler can run, which looks there.
    let _ = BEFORE.set(before);
    let mut action = none();
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for (signal, _) in FATAL {
        // SAFETY: `handle` is what SA_SIGINFO asks for, and does only what a handler may do.
        done(unsafe { libc::sigaction(signal, &action, null_mut()) })?;
    }
    Ok(())
}

/// Set once the host itself has come to its end.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// The host's process id: a process that a plugin has forked may exit as it likes.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// From now on an `exit` of this process that the host does not mean is told, and ends it with [`EXIT_FAULT`].
///
/// # Errors
/// The system has no room for one more function to call.
pub fn notice_exit() -> io::Result<()> {
    PROCESS.store(process::id(), Ordering::Relaxed);
    // SAFETY: The function is there as long as the process, takes nothing, and does not unwind.
    done(unsafe { libc::atexit(exited) })?;
    // SAFETY: The same.
    done(unsafe { at_quick_exit(exited) })
}

/// The process ends because the host does.
pub fn exit_is_meant() {
    IS_OVER.store(true, Ordering::Relaxed);
}

unsafe extern "C" {
    fn at_quick_exit(function: extern "C" fn()) -> c_int;
}

/// Runs on the thread that called `exit`, whose thread-locals may be gone.
extern "C" fn exited() {
    if IS_OVER.load(Ordering::Relaxed) || process::id() != PROCESS.load(Ordering::Relaxed) {
        return;
    }
    let who = match blame::take_noted() {
        Some(blame) => {
            write(&blame, "ended the host with exit");
            format!(
                "code of a plugin called exit: the host ends with it, and leaves this plugin out when it is started \
                 again plugin={}",
                blame.plugin()
            )
        }
        None => format!(
            "something in this process called exit, on the thread `{}`, on which no code of a plugin is known to run; \
             it may be a thread that a plugin has started: the host ends with it",
            OneLine(thread::current().name().unwrap_or("without a name"))
        ),
    };
    logging::say_last(&who);
    end_at_once(EXIT_FAULT)
}

/// Writes one mark and waits until it is on the disk. A handler may call it: it is a few system calls, and
/// neither allocates nor waits for another thread.
pub fn write(blame: &Blame, its_code: &str) {
    let Some(mut marks) = MARKS.get() else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut digits = [0; 20];
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let parts = Mark::parts(blame.mark_head(), its_code, decimal(now_ms, &mut digits));
    // In one write, so that no other stands in between. What comes to be torn is not read.
    let _ = marks.write_vectored(&parts.map(IoSlice::new));
    let _ = marks.sync_all();
}

/// Ends the process, also while a plugin holds up threads: nothing is cleaned up.
pub fn end_at_once(code: i32) -> ! {
    // SAFETY: It touches nothing of this process.
    unsafe { libc::_exit(code) }
}

/// Ends the process for want of memory, which nobody is blamed for.
pub fn end_for_want_of_memory() -> ! {
    say_memory_has_run_out();
    default_action(libc::SIGABRT);
    process::abort()
}

/// Has memory that is free again go back to the system, also after a burst. It stands here because calls of C do.
pub fn give_memory_back() {
    for (setting, bytes) in [
        (libc::M_TRIM_THRESHOLD, limits::FREE_BYTES_KEPT),
        (libc::M_MMAP_THRESHOLD, limits::OWN_PIECE_BYTES),
    ] {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        // SAFETY: It sets numbers of the allocator, which allows that at any time. What it refuses stays as it is.
        unsafe { libc::mallopt(setting, bytes) };
    }
}

/// Whether the system has so much memory left. For signal handlers.
fn can_have(bytes: usize) -> bool {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: It asks for a mapping of its own, at a place that the kernel chooses, and touches nothing.
    let probe = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
    if probe == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: It is the mapping that was just made, and nobody else knows of it.
    unsafe { libc::munmap(probe, bytes) };
    true
}

/// Says so without the log, which needs memory.
fn say_memory_has_run_out() {
    let text = b"memory has run out: the host ends, and no plugin is blamed for it\n";
    // SAFETY: The bytes are there for as long as the process.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

/// Runs wherever the thread was interrupted, so it must not allocate, lock or unwind.
extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // First of all, for each call may change it. Between a refused request for memory and the abort for want of it std may
    // print a backtrace, if it is told to; then this is lost.
    let was_refused = io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM);
    // SAFETY: The kernel passes what tells of the signal.
    let told = unsafe { &*info };
    // A fault of the running code, unlike what a process has sent, this one (abort does) or another.
    let is_fault = told.si_code > 0;
    // SAFETY: What is sent by a process bears its id.
    let is_own = is_fault || unsafe { told.si_pid() }.cast_unsigned() == process::id();
    let at = FATAL.iter().position(|(fatal, _)| *fatal == signal);
    let no_memory = || {
        !can_have(limits::MEMORY_OUT_BYTES)
            || (was_refused && !can_have(limits::MEMORY_SHORT_BYTES))
    };
    if is_own && signal == libc::SIGABRT && no_memory() {
        say_memory_has_run_out();
    } else if is_own
        && let Some(blame) = blame::take_noted()
        && let Some(at) = at
    {
        write(&blame, FATAL[at].1);
    }
    // std ends an overflow of the stack with abort. Handling that one too, on top of this one, could be more
    // than the alternate stack holds.
    default_action(libc::SIGABRT);
    if let Some((before, at)) = BEFORE.get().zip(at) {
        hand_on(&before[at], signal, info, context);
    }
    default_action(signal);
    if !is_fault {
        // A fault comes again once this returns, with all that tells of it; a signal that was sent does not.
        // SAFETY: It sends this thread what it has, to be delivered when this handler returns.
        unsafe { libc::raise(signal) };
    }
}

fn hand_on(before: &libc::sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        return;
    }
    if before.sa_flags & libc::SA_SIGINFO == 0 {
        // SAFETY: Without SA_SIGINFO a handler takes the signal alone; this is none of the two special values.
        let handler: extern "C" fn(c_int) = unsafe { mem::transmute(before.sa_sigaction) };
        return handler(signal);
    }
    // SAFETY: With SA_SIGINFO it takes what this one was given.
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
        unsafe { mem::transmute(before.sa_sigaction) };
    handler(signal, info, context);
}

fn default_action(signal: c_int) {
    let mut action = none();
    action.sa_sigaction = libc::SIG_DFL;
    // SAFETY: It ends the process as if nobody had handled the signal. There is nobody to tell of a failure.
    unsafe { libc::sigaction(signal, &action, null_mut()) };
}

fn none() -> libc::sigaction {
    // SAFETY: All of it is numbers, a set of bits, and a function that may be absent; zero is valid for each.
    unsafe { mem::zeroed() }
}

fn done(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As `to_string`, without memory of its own.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        for number in [0, 7, 10, 1_752_000_000_123, u64::MAX] {
            let mut digits = [0; 20];
            assert_eq!(decimal(number, &mut digits), number.to_string().as_bytes());
        }
    }
}
