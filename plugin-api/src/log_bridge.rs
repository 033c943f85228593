//! Carries the plugin's log lines to the host.
//!
//! A plugin has its own copy of `tracing`, whose events go nowhere by themselves. This subscriber hands them
//! to the host, which adds the plugin's name. Spans are not carried: a line has to stand alone.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    panic::PanicHookInfo,
    sync::atomic::{AtomicU64, Ordering},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// The host's log, as the plugin sees it.
pub(crate) trait HostLog: Send + Sync + 'static {
    fn level_max(&self) -> u32;
    fn line(&self, level: u32, target: &str, message: &str);
}

/// Makes `log` the destination of all that this plugin logs, and keeps its panics off stderr.
///
/// The second call in one loaded file has no effect: the host makes a plugin once for each file it opens.
pub(crate) fn install(log: impl HostLog) {
    let level_max = match log.level_max() {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let bridge = Bridge {
        log,
        level_max,
        span_ids: AtomicU64::new(1),
    };
    if tracing::subscriber::set_global_default(bridge).is_ok() {
        std::panic::set_hook(Box::new(note_panic));
    }
}

thread_local! {
    /// Set while a call from the host is under way on this thread.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `f` and turns its panic into the text that says what it was and where.
///
/// Every entry from the host goes through here: a panic that leaves a plugin ends the whole process.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn std::any::Any + Send>> {
    let outer = GUARDED.replace(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    GUARDED.set(outer);
    result
}

/// What a caught panic said, with its place.
pub(crate) fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let (mut text, place) = panic_said(payload);
    if let Some(place) = place {
        let _ = write!(text, " ({place})");
    }
    text
}

/// What a caught panic said, and where, if that is known. Takes the payload by value because dropping it may panic in turn.
pub(crate) fn panic_said(payload: Box<dyn std::any::Any + Send>) -> (String, Option<String>) {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    // Before the payload goes, whose own panic would leave another place.
    let place = PANIC_PLACE.with_borrow_mut(std::mem::take);
    if let Err(payload_of_drop) = guarded(|| drop(payload)) {
        std::mem::forget(payload_of_drop);
    }
    (text, Some(place).filter(|place| !place.is_empty()))
}

fn note_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if GUARDED.get() {
        PANIC_PLACE.with_borrow_mut(|noted| *noted = place);
    } else {
        let text = info.payload_as_str().unwrap_or("a panic without a text");
        tracing::error!("a thread of the plugin's own panicked: {text} ({place})");
    }
}

struct Bridge<L> {
    log: L,
    level_max: LevelFilter,
    span_ids: AtomicU64,
}

impl<L: HostLog> Subscriber for Bridge<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level_max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level_max)
    }

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => 1,
            Level::WARN => 2,
            Level::INFO => 3,
            Level::DEBUG => 4,
            Level::TRACE => 5,
        };
        let mut line = Line::default();
        event.record(&mut line);
        self.log
            .line(level, event.metadata().target(), &line.finish());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.span_ids.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// An event as one line: its message, then its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_panic_is_its_own_and_not_that_of_its_payload() {
        struct PanicsToo;
        impl Drop for PanicsToo {
            fn drop(&mut self) {
                // As the hook does, which tests must not replace.
                PANIC_PLACE.set("the place of the drop".to_owned());
                std::panic::resume_unwind(Box::new("in drop"));
            }
        }
        PANIC_PLACE.set("src/lib.rs:1:2".to_owned());
        let text = panic_text(Box::new(PanicsToo));
        assert_eq!(text, "a panic without a text (src/lib.rs:1:2)");
    }
}
