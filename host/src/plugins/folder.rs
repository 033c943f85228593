//! Decides from listings of the plugin folder which files have come to rest, which are new and which are
//! gone. It reads no file and no clock, so that every way of writing a file can be tried in a test.
//!
//! It owns what was seen of each name, and since when.

use std::{collections::BTreeMap, time::Duration};

/// What the folder held at one moment, by plugin name.
pub(super) type Listing = BTreeMap<String, Entry>;

/// A plugin's files, as one look at the folder found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The library's file name, without a folder.
    pub(super) file: String,
    /// Why no plugin can be loaded from a file of this name, if so.
    pub(super) misnamed: Option<String>,
    pub(super) library: Stamp,
    /// Of `NAME.toml`, if there is one.
    pub(super) config: Option<Stamp>,
}

/// By these a change of a file is noticed without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    /// When its content was changed last, in nanoseconds since 1970.
    pub(super) modified: i128,
    /// Nanoseconds since 1970. It shows what `cp -p` and `touch` hide: nobody can set it.
    pub(super) changed: i128,
}

impl Stamp {
    fn rested_for(&self, now_wall: i128) -> i128 {
        now_wall - self.modified.max(self.changed)
    }
}

/// The moment of a look, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Since the folder is watched; never goes back.
    pub(super) elapsed: Duration,
    /// Nanoseconds since 1970, to be compared with what files bear.
    pub(super) wall: i128,
}

/// What has to be done after a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Names that were reported as settled before and are no longer there. To be handled first, as one of
    /// those that settled may take the place of one that is gone.
    pub(super) gone: Vec<String>,
    /// Names that are no longer there and were never reported as settled.
    pub(super) passed: Vec<String>,
    /// Names that are new or differ from what was last settled, and stand still now.
    pub(super) settled: Vec<String>,
    /// How long from now something comes due if nothing else happens.
    pub(super) look_again_in: Option<Duration>,
}

/// The plugin folder, as far as it was seen.
#[derive(Debug)]
pub(super) struct Folder {
    settle: Duration,
    looked_once: bool,
    names: BTreeMap<String, Watched>,
}

#[derive(Debug)]
struct Watched {
    seen: Entry,
    /// Since when it has been what it is.
    seen_since: Duration,
    /// What was last reported as settled, and need not be again.
    taken: Option<Entry>,
    /// Whether anything was reported as settled, so that its end has to be as well.
    told_of: bool,
    missing_since: Option<Duration>,
}

impl Folder {
    /// A folder of which nothing has been seen. A name counts once its files stood still for `settle`.
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            settle,
            looked_once: false,
            names: BTreeMap::new(),
        }
    }

    /// Takes in what the folder holds now; `None` if the folder itself is not there, which says nothing
    /// about what it held.
    pub(super) fn look(&mut self, now: Moment, listing: Option<&Listing>) -> Findings {
        let mut findings = Findings::default();
        let Some(listing) = listing else {
            for watched in self.names.values_mut() {
                watched.missing_since = None;
            }
            return findings;
        };
        self.note_missing(now, listing, &mut findings);
        for (name, entry) in listing {
            self.note_present(now, name, entry, &mut findings);
        }
        self.looked_once = true;
        findings
    }

    /// Whether `name` was seen and neither settled nor went since.
    pub(super) fn is_unsettled(&self, name: &str) -> bool {
        self.names
            .get(name)
            .is_some_and(|watched| watched.taken.as_ref() != Some(&watched.seen))
    }

    /// What was last seen under `name`.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.names.get(name).map(|watched| &watched.seen)
    }

    /// A name that was reported as settled turned out to be still moving: it has to settle anew.
    pub(super) fn unsettle(&mut self, name: &str, now: Moment) {
        if let Some(watched) = self.names.get_mut(name) {
            watched.seen_since = now.elapsed;
            watched.taken = None;
        }
    }

    fn note_missing(&mut self, now: Moment, listing: &Listing, findings: &mut Findings) {
        let settle = self.settle;
        self.names.retain(|name, watched| {
            if listing.contains_key(name) {
                watched.missing_since = None;
                return true;
            }
            let since = *watched.missing_since.get_or_insert(now.elapsed);
            let missing_for = now.elapsed - since;
            if missing_for < settle {
                findings.come_back_in(settle - missing_for);
                return true;
            }
            match watched.told_of {
                true => findings.gone.push(name.clone()),
                false => findings.passed.push(name.clone()),
            }
            false
        });
    }

    fn note_present(&mut self, now: Moment, name: &str, entry: &Entry, findings: &mut Findings) {
        let Some(watched) = self.names.get_mut(name) else {
            // What has been lying there since before the host started need not be looked at twice.
            let at_rest = !self.looked_once && self.was_at_rest(now, entry);
            if at_rest {
                findings.settled.push(name.to_owned());
            } else {
                findings.come_back_in(self.settle);
            }
            self.names.insert(
                name.to_owned(),
                Watched {
                    seen: entry.clone(),
                    seen_since: now.elapsed,
                    taken: at_rest.then(|| entry.clone()),
                    told_of: at_rest,
                    missing_since: None,
                },
            );
            return;
        };
        if watched.seen != *entry {
            watched.seen = entry.clone();
            watched.seen_since = now.elapsed;
        }
        if watched.taken.as_ref() == Some(entry) {
            return;
        }
        let still_for = now.elapsed - watched.seen_since;
        if still_for < self.settle {
            findings.come_back_in(self.settle - still_for);
        } else {
            watched.taken = Some(entry.clone());
            watched.told_of = true;
            findings.settled.push(name.to_owned());
        }
    }

    fn was_at_rest(&self, now: Moment, entry: &Entry) -> bool {
        let settle = self.settle.as_nanos().cast_signed();
        [Some(entry.library), entry.config]
            .into_iter()
            .flatten()
            .all(|stamp| stamp.rested_for(now.wall) >= settle)
    }
}

impl Findings {
    fn come_back_in(&mut self, wait: Duration) {
        self.look_again_in = Some(self.look_again_in.map_or(wait, |least| least.min(wait)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(200);
    /// The wall clock at the start of every test, in milliseconds.
    const START_MS: i128 = 1_000_000;

    fn at(ms: u64) -> Moment {
        Moment {
            elapsed: Duration::from_millis(ms),
            wall: (START_MS + i128::from(ms)) * 1_000_000,
        }
    }

    fn stamp(inode: u64, bytes: u64, changed_ms: i128) -> Stamp {
        Stamp {
            device: 1,
            inode,
            bytes,
            modified: (START_MS + changed_ms) * 1_000_000,
            changed: (START_MS + changed_ms) * 1_000_000,
        }
    }

    fn entry(library: Stamp) -> Entry {
        Entry {
            file: "liba.so".into(),
            misnamed: None,
            library,
            config: None,
        }
    }

    fn only(entry: Entry) -> Listing {
        Listing::from([("a".to_owned(), entry)])
    }

    fn nothing() -> Listing {
        Listing::new()
    }

    #[test]
    fn at_start_a_file_at_rest_counts_at_once() {
        let mut folder = Folder::new(SETTLE);
        let found = folder.look(at(0), Some(&only(entry(stamp(1, 9, -5_000)))));
        assert_eq!(found.settled, ["a"]);
        assert_eq!(found.look_again_in, None);
        assert!(!folder.is_unsettled("a"));
    }

    #[test]
    fn at_start_a_fresh_file_needs_one_more_look() {
        let mut folder = Folder::new(SETTLE);
        let listing = only(entry(stamp(1, 9, -50)));
        let found = folder.look(at(0), Some(&listing));
        assert!(found.settled.is_empty());
        assert_eq!(found.look_again_in, Some(SETTLE));
        assert!(folder.is_unsettled("a"));
        assert_eq!(folder.look(at(200), Some(&listing)).settled, ["a"]);
    }

    #[test]
    fn at_start_a_file_from_the_future_needs_one_more_look() {
        let mut folder = Folder::new(SETTLE);
        let listing = only(entry(stamp(1, 9, 3_600_000)));
        assert!(folder.look(at(0), Some(&listing)).settled.is_empty());
        assert_eq!(folder.look(at(200), Some(&listing)).settled, ["a"]);
    }

    #[test]
    fn at_start_a_fresh_configuration_holds_its_library_back() {
        let mut folder = Folder::new(SETTLE);
        let mut fresh = entry(stamp(1, 9, -5_000));
        fresh.config = Some(stamp(2, 9, -10));
        assert!(folder.look(at(0), Some(&only(fresh))).settled.is_empty());
    }

    #[test]
    fn an_old_file_moved_in_later_has_to_stand_still() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&nothing()));
        let listing = only(entry(stamp(1, 9, -5_000)));
        assert!(folder.look(at(1_000), Some(&listing)).settled.is_empty());
        assert!(folder.look(at(1_100), Some(&listing)).settled.is_empty());
        assert_eq!(folder.look(at(1_200), Some(&listing)).settled, ["a"]);
    }

    #[test]
    fn a_slow_copy_counts_only_once_it_has_stopped_growing() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&nothing()));
        for step in 1..=10_u64 {
            let ms = step * 150;
            let listing = only(entry(stamp(1, step, i128::from(ms))));
            assert!(folder.look(at(ms), Some(&listing)).settled.is_empty());
        }
        let listing = only(entry(stamp(1, 10, 1_500)));
        let found = folder.look(at(1_600), Some(&listing));
        assert_eq!(found.look_again_in, Some(Duration::from_millis(100)));
        assert_eq!(folder.look(at(1_700), Some(&listing)).settled, ["a"]);
    }

    #[test]
    fn what_has_settled_is_told_once() {
        let mut folder = Folder::new(SETTLE);
        let listing = only(entry(stamp(1, 9, -5_000)));
        folder.look(at(0), Some(&listing));
        assert_eq!(folder.look(at(5_000), Some(&listing)), Findings::default());
    }

    #[test]
    fn a_replaced_file_of_the_same_size_and_time_is_noticed() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&only(entry(stamp(1, 9, -5_000)))));
        let replaced = only(entry(stamp(2, 9, -5_000)));
        folder.look(at(1_000), Some(&replaced));
        assert_eq!(folder.look(at(1_200), Some(&replaced)).settled, ["a"]);
    }

    #[test]
    fn a_changed_new_or_removed_configuration_is_noticed() {
        let mut folder = Folder::new(SETTLE);
        let bare = entry(stamp(1, 9, -5_000));
        let mut configured = bare.clone();
        configured.config = Some(stamp(2, 9, 900));
        let mut edited = bare.clone();
        edited.config = Some(stamp(2, 9, 1_900));
        folder.look(at(0), Some(&only(bare.clone())));
        for (start, entry) in [(1_000, configured), (2_000, edited), (3_000, bare)] {
            let listing = only(entry);
            assert!(folder.look(at(start), Some(&listing)).settled.is_empty());
            assert_eq!(
                folder.look(at(start + 200), Some(&listing)).settled,
                ["a"],
                "at {start}"
            );
        }
    }

    #[test]
    fn a_removed_file_is_gone_after_one_settle_time() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&only(entry(stamp(1, 9, -5_000)))));
        let found = folder.look(at(1_000), Some(&nothing()));
        assert_eq!(found.gone, [""; 0]);
        assert_eq!(found.look_again_in, Some(SETTLE));
        assert_eq!(folder.look(at(1_200), Some(&nothing())).gone, ["a"]);
        assert_eq!(
            folder.look(at(2_000), Some(&nothing())),
            Findings::default()
        );
    }

    #[test]
    fn a_file_that_is_to_be_read_anew_and_goes_before_it_was_is_gone_all_the_same() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&only(entry(stamp(1, 9, -5_000)))));
        folder.unsettle("a", at(100));
        folder.look(at(200), Some(&nothing()));
        assert_eq!(folder.look(at(400), Some(&nothing())).gone, ["a"]);
    }

    #[test]
    fn a_file_that_is_back_in_time_was_never_gone() {
        let mut folder = Folder::new(SETTLE);
        let listing = only(entry(stamp(1, 9, -5_000)));
        folder.look(at(0), Some(&listing));
        folder.look(at(1_000), Some(&nothing()));
        assert_eq!(folder.look(at(1_100), Some(&listing)), Findings::default());
        // The absence counts from its own beginning.
        folder.look(at(1_190), Some(&nothing()));
        assert_eq!(folder.look(at(1_300), Some(&nothing())).gone, [""; 0]);
    }

    #[test]
    fn a_file_that_never_settled_goes_without_a_word() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&only(entry(stamp(1, 9, 0)))));
        folder.look(at(100), Some(&nothing()));
        assert_eq!(
            folder.look(at(300), Some(&nothing())),
            Findings {
                passed: vec!["a".to_owned()],
                ..Findings::default()
            }
        );
        assert!(!folder.is_unsettled("a"));
    }

    #[test]
    fn if_the_folder_itself_vanishes_nothing_is_gone() {
        let mut folder = Folder::new(SETTLE);
        let listing = only(entry(stamp(1, 9, -5_000)));
        folder.look(at(0), Some(&listing));
        folder.look(at(900), Some(&nothing()));
        for ms in [1_000, 5_000, 60_000] {
            assert_eq!(folder.look(at(ms), None), Findings::default());
        }
        // Made anew and still empty: the absence counts from here.
        assert_eq!(folder.look(at(60_100), Some(&nothing())).gone, [""; 0]);
        assert_eq!(folder.look(at(60_300), Some(&nothing())).gone, ["a"]);
    }

    #[test]
    fn what_moved_while_it_was_copied_is_told_again() {
        let mut folder = Folder::new(SETTLE);
        let listing = only(entry(stamp(1, 9, -5_000)));
        assert_eq!(folder.look(at(0), Some(&listing)).settled, ["a"]);
        folder.unsettle("a", at(10));
        assert!(folder.is_unsettled("a"));
        assert!(folder.look(at(100), Some(&listing)).settled.is_empty());
        assert_eq!(folder.look(at(210), Some(&listing)).settled, ["a"]);
    }

    #[test]
    fn one_name_in_motion_does_not_hold_the_others_up() {
        let mut folder = Folder::new(SETTLE);
        folder.look(at(0), Some(&nothing()));
        for ms in [1_000, 1_100, 1_200] {
            let moving = entry(stamp(2, ms, i128::from(ms)));
            let listing = Listing::from([
                ("a".to_owned(), entry(stamp(1, 9, 900))),
                ("b".to_owned(), moving),
            ]);
            let found = folder.look(at(ms), Some(&listing));
            let expected: &[&str] = if ms == 1_200 { &["a"] } else { &[] };
            assert_eq!(found.settled, expected, "at {ms}");
        }
    }
}
