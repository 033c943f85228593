//! What becomes of the host where its own code is wrong: it says so, and ends. What it holds in memory may be half
//! changed then, so it promises nothing more to anybody; what was answered is kept as `--durability` says.
//!
//! A panic of a plugin does not come here: each plugin has a standard library of its own, and catches its panics.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io,
    panic::PanicHookInfo,
    thread,
};

use crate::{
    blame, crash_mark,
    logging::{self, OneLine},
};

/// The exit code of a process that cannot serve on: by a fault of its own, or because a plugin holds it up or has
/// ended it.
pub const EXIT_FAULT: i32 = 70;

/// From now on a panic of the host's own code ends the process, on whatever thread it comes.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload_as_str().is_some_and(is_want_of_memory) {
            crash_mark::end_for_want_of_memory();
        }
        logging::say_last(&told(panic));
        crash_mark::end_at_once(EXIT_FAULT)
    }));
}

/// Whether the system refused memory to who panicked. std panics then where a thread cannot begin, instead of aborting as it does
/// elsewhere.
fn is_want_of_memory(text: &str) -> bool {
    text.contains(&io::Error::from_raw_os_error(libc::ENOMEM).to_string())
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("a panic without a text");
    let place = panic.location().map(ToString::to_string);
    let call =
        blame::take_noted().map(|blame| format!(" in a call of the plugin {}", blame.plugin()));
    let backtrace = Backtrace::capture();
    let mut told = format!(
        "a fault of the host's own, on the thread `{}`{}: {} ({}); the host ends itself, since it cannot promise anything \
         any more. What was answered holds as far as --durability says; start it again, and tell its makers this line",
        OneLine(thread::current().name().unwrap_or("without a name")),
        call.unwrap_or_default(),
        OneLine(text),
        place.unwrap_or_default(),
    );
    if backtrace.status() == BacktraceStatus::Captured {
        told = format!("{told}\n{backtrace}");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_begin_for_want_of_memory_is_no_fault_of_the_hosts() {
        let refused =
            "failed to allocate an alternative stack: Cannot allocate memory (os error 12)";
        assert!(is_want_of_memory(refused));
        assert!(!is_want_of_memory("index out of bounds: the len is 12"));
    }
}
