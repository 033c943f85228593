//! The versions of one plugin that have served since the host started: which they were, what each of them did, and
//! what of it still runs.
//!
//! A version is what its two files hold. One that comes back goes on with its own counts.

use std::collections::VecDeque;

use serde::Serialize;

use crate::{
    lane::Remains,
    limits,
    plugins::{Content, Prepared},
};

/// Threads whose jobs do not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(in crate::coordinator) struct StuckReport {
    count: usize,
    /// Since when the first of them has been stuck, in milliseconds since 1970.
    since_ms: u64,
}

/// A version that served, and does not any more.
#[derive(Debug, Serialize)]
pub(in crate::coordinator) struct RetiredReport<'a> {
    version: &'a str,
    /// The beginning of the library's SHA-256, in hex.
    hash: &'a str,
    /// The same of its configuration, if it had one.
    config: Option<&'a str>,
    /// From when until when it served last, in milliseconds since 1970.
    since_ms: u64,
    until_ms: Option<u64>,
    /// Requests that it answered.
    served: u64,
    panics: u64,
    stuck_threads: Option<StuckReport>,
    /// Whether `rollback` would bring it back.
    rollback: bool,
}

/// All versions of one plugin that have served: see the file's head.
#[derive(Default)]
pub(in crate::coordinator) struct History {
    /// The one that serves, or did before it was disabled.
    present: Option<Version>,
    /// Versions that served before, the latest first.
    retired: VecDeque<Version>,
    /// Older ones, which are not remembered any more.
    forgotten: u64,
}

struct Version {
    content: Content,
    version: String,
    hash: String,
    config: Option<String>,
    since_ms: u64,
    until_ms: Option<u64>,
    served: u64,
    panics: u64,
    stuck: Vec<Stuck>,
}

/// A job past its time limit whose thread does not end.
struct Stuck {
    thread: Remains,
    since_ms: u64,
}

impl Version {
    fn new(prepared: &Prepared) -> Self {
        Self {
            content: prepared.content,
            version: prepared.description.version.clone(),
            hash: prepared.hash.clone(),
            config: prepared.config_hash.clone(),
            since_ms: 0,
            until_ms: None,
            served: 0,
            panics: 0,
            stuck: Vec::new(),
        }
    }

    fn still_stuck(&self) -> impl Iterator<Item = &Stuck> {
        self.stuck.iter().filter(|stuck| stuck.thread.are_there())
    }

    fn stuck_report(&self) -> Option<StuckReport> {
        let since_ms = self.still_stuck().map(|stuck| stuck.since_ms).min()?;
        let count = self.still_stuck().count();
        Some(StuckReport { count, since_ms })
    }
}

impl History {
    /// From now on `prepared` serves. What served before retires, unless it is the same.
    pub(in crate::coordinator) fn begins(&mut self, prepared: &Prepared, now_ms: u64) {
        let is_it = |version: &Version| version.content == prepared.content;
        if self.present.as_ref().is_some_and(is_it) {
            let present = self.present.as_mut().expect("it has just been looked at");
            present.since_ms = now_ms;
            return;
        }
        self.ends(now_ms);
        let known = self.retired.iter().position(is_it);
        let known = known.and_then(|at| self.retired.remove(at));
        let mut present = known.unwrap_or_else(|| Version::new(prepared));
        (present.since_ms, present.until_ms) = (now_ms, None);
        self.present = Some(present);
    }

    /// The version that serves does so no more.
    pub(in crate::coordinator) fn ends(&mut self, now_ms: u64) {
        let Some(mut ended) = self.present.take() else {
            return;
        };
        ended.until_ms = Some(now_ms);
        ended.stuck.retain(|stuck| stuck.thread.are_there());
        self.retired.push_front(ended);
        while self.retired.len() > limits::RETIRED_VERSIONS_MAX {
            self.retired.pop_back();
            self.forgotten += 1;
        }
    }

    /// Its jobbers were run so often.
    pub(in crate::coordinator) fn served(&mut self, times: u64) {
        if let Some(present) = &mut self.present {
            present.served += times;
        }
    }

    /// One of its jobbers has panicked.
    pub(in crate::coordinator) fn panicked(&mut self) {
        if let Some(present) = &mut self.present {
            present.panics += 1;
        }
    }

    /// A job of it, begun then, was given up.
    pub(in crate::coordinator) fn got_stuck(&mut self, thread: Remains, since_ms: u64) {
        if let Some(present) = &mut self.present {
            present.stuck.retain(|stuck| stuck.thread.are_there());
            present.stuck.push(Stuck { thread, since_ms });
        }
    }

    /// Since when a job runs of the version that serves that was given up.
    pub(in crate::coordinator) fn stuck_since_ms(&self) -> Option<u64> {
        let present = self.present.as_ref()?;
        present.still_stuck().map(|stuck| stuck.since_ms).min()
    }

    /// How many threads jobs of the version that serves still hold that were given up.
    pub(in crate::coordinator) fn stuck_threads(&self) -> usize {
        self.present.iter().flat_map(Version::still_stuck).count()
    }

    /// Whether the version with this content serves, or did before it was disabled.
    pub(in crate::coordinator) fn is_present(&self, content: Content) -> bool {
        let present = self.present.as_ref();
        present.is_some_and(|present| present.content == content)
    }

    /// Whether no version of it has ever served.
    pub(in crate::coordinator) fn is_empty(&self) -> bool {
        self.present.is_none() && self.retired.is_empty()
    }

    /// When the last version of it ended.
    pub(in crate::coordinator) fn ended_ms(&self) -> Option<u64> {
        self.retired.front()?.until_ms
    }

    /// What the version with this content did: how often it was run, and how often it panicked.
    pub(in crate::coordinator) fn counts(&self, content: Option<Content>) -> (u64, u64) {
        let all = self.present.iter().chain(&self.retired);
        let found = all.clone().find(|version| Some(version.content) == content);
        found.map_or((0, 0), |version| (version.served, version.panics))
    }

    /// The last one that retired: its version, the beginning of its hash and that of its configuration's.
    pub(in crate::coordinator) fn last(&self) -> Option<(&str, &str, Option<&str>)> {
        let last = self.retired.front()?;
        Some((&last.version, &last.hash, last.config.as_deref()))
    }

    /// Threads that are stuck in the version that serves.
    pub(in crate::coordinator) fn stuck_report(&self) -> Option<StuckReport> {
        self.present.as_ref()?.stuck_report()
    }

    /// All that served, but for what is `shown`, the latest first; and how many more there were. `rollback` would
    /// be brought back.
    pub(in crate::coordinator) fn retired_report(
        &self,
        shown: Option<Content>,
        rollback: Option<Content>,
    ) -> (Vec<RetiredReport<'_>>, u64) {
        let versions = self.present.iter().chain(&self.retired);
        let retired = versions.filter(|version| Some(version.content) != shown);
        let retired = retired.map(|version| RetiredReport {
            version: &version.version,
            hash: &version.hash,
            config: version.config.as_deref(),
            since_ms: version.since_ms,
            until_ms: version.until_ms,
            served: version.served,
            panics: version.panics,
            stuck_threads: version.stuck_report(),
            rollback: Some(version.content) == rollback,
        });
        (retired.collect(), self.forgotten)
    }
}
