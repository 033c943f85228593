//! A plugin's file that was cut short, changed anywhere, or built for something else is refused, and never takes the
//! host along.

use std::{
    fs,
    ops::Range,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use rm_tests::{SERVES, TestHost, fixture};
use serde_json::Value;

/// A library of this machine with the places of its parts.
struct Library(Vec<u8>);

impl Library {
    fn read() -> Self {
        Self(fs::read(fixture("versioned_1")).expect("it was built"))
    }

    fn number(&self, at: usize, bytes: usize) -> usize {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(&self.0[at..at + bytes]);
        usize::try_from(u64::from_le_bytes(number)).expect("a small number")
    }

    /// Where its entries are, of a table that the header tells of.
    fn table(&self, place: usize, entry_bytes: usize, entries: usize) -> Vec<usize> {
        let (start, bytes) = (self.number(place, 8), self.number(entry_bytes, 2));
        (0..self.number(entries, 2))
            .map(|entry| start + entry * bytes)
            .collect()
    }

    fn segments(&self) -> Vec<usize> {
        self.table(32, 54, 56)
    }

    fn sections(&self) -> Vec<usize> {
        self.table(40, 58, 60)
    }

    fn loaded_segments(&self) -> Vec<usize> {
        const PT_LOAD: usize = 1;
        let mut segments = self.segments();
        segments.retain(|segment| self.number(*segment, 4) == PT_LOAD);
        segments
    }

    /// The parts of the file that are loaded, beside its headers.
    fn loaded(&self) -> Vec<Range<usize>> {
        let segments = self.loaded_segments().into_iter();
        segments
            .map(|segment| {
                let start = self.number(segment + 8, 8);
                start..start + self.number(segment + 32, 8)
            })
            .collect()
    }

    /// Where each section with content begins.
    fn section_starts(&self) -> impl Iterator<Item = usize> {
        const SHT_NOBITS: usize = 8;
        let sections = self.sections().into_iter().skip(1);
        sections
            .filter(|section| self.number(section + 4, 4) != SHT_NOBITS)
            .map(|section| self.number(section + 24, 8))
    }
}

/// What is dropped in, one after the other, beside a plugin that serves all the time.
struct Dropped {
    host: TestHost,
    unfinished: PathBuf,
}

impl Dropped {
    fn start() -> Self {
        let host = TestHost::with_fixture("gates");
        let unfinished = host.beside().join("damaged.so");
        Self { host, unfinished }
    }

    /// What the host says of a file with this content.
    #[track_caller]
    fn said_of(&mut self, content: &[u8], what: &str) -> String {
        let said = self.said_unless_ended(content);
        let said = said.unwrap_or_else(|| panic!("{what}: the host has ended or is silent"));
        self.host.expect_running();
        let who = self.host.connect().ask("who", Value::Null);
        assert!(who.code().is_none(), "{what}: {said}");
        said
    }

    fn said_unless_ended(&mut self, content: &[u8]) -> Option<String> {
        fs::write(&self.unfinished, content).expect("a temporary folder can be written");
        let from = self.host.log().len();
        let target = self.host.folder().join("libversioned.so");
        fs::rename(&self.unfinished, target).expect("both are on one file system");
        self.host.log().wait_from_any_or_end(
            from,
            &["plugin=versioned"],
            &[" refused: ", ": serves ", "loaded last"],
        )
    }

    /// Starts a host that has ended anew, with all that lies in its folder.
    #[track_caller]
    fn start_again(self) -> Self {
        let host = self.host.wait_and_plan().1.start();
        host.connect().ask("who", Value::Null).ok();
        let unfinished = host.beside().join("damaged.so");
        Self { host, unfinished }
    }
}

#[test]
fn a_library_that_is_cut_short_anywhere_is_refused_before_any_of_it_runs() {
    let library = Library::read();
    let len = library.0.len();
    let mut cuts = vec![0, 1, 4, 5, 16, 18, 20, 32, 40, 63, 64, len / 2, len - 1];
    for table in [library.segments(), library.sections()] {
        let (first, last) = (table[0], table[table.len() - 1]);
        cuts.extend([first, first + 1, table[table.len() / 2], last, last + 63]);
    }
    for section in library.section_starts() {
        cuts.extend([section, section + 1]);
    }
    for loaded in library.loaded() {
        cuts.extend([loaded.end - 1, loaded.end]);
    }
    cuts.sort_unstable();
    cuts.dedup();
    assert!(cuts.len() > 60, "{cuts:?}");

    let mut dropped = Dropped::start();
    for cut in cuts {
        let said = dropped.said_of(&library.0[..cut], "cut");
        for words in [
            "refused",
            "libversioned.so",
            "is not a plugin of this machine",
        ] {
            assert!(said.contains(words), "{cut} of {len} bytes: {said}");
        }
    }
    assert!(dropped.said_of(&library.0, "whole").contains(SERVES[1]));
}

/// In the small process of a trial there may be nothing that is written over; in the host there is.
#[test]
fn a_library_that_would_take_the_memory_of_others_is_refused_before_it_is_mapped() {
    let library = Library::read();
    let mut dropped = Dropped::start();
    for segment in library.loaded_segments() {
        // Its place in memory, and its size there, which is a MiB more than what is reserved for it.
        for field in [segment + 16, segment + 40] {
            let mut larger = library.0.clone();
            larger[field + 2] ^= 0x10;
            let said = dropped.said_of(&larger, "larger");
            let is_last = segment == *library.loaded_segments().last().expect("there are some");
            assert!(
                said.contains("outside of the library's memory") || is_last,
                "{segment}: {said}"
            );
        }
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("less than the bound")
    }
}

/// Damages a library again and again, repeatably.
struct Damage {
    seed: u64,
    random: Random,
    rounds: u32,
}

impl Damage {
    /// `RM_TEST_SEED` repeats what failed, `RM_TEST_ROUNDS` looks for more.
    fn new() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let from_clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let new_seed = || from_clock.expect("it is later than 1970").as_nanos() as u64 | 1;
        let seed = number("RM_TEST_SEED").unwrap_or_else(new_seed);
        let rounds = number("RM_TEST_ROUNDS").and_then(|rounds| rounds.try_into().ok());
        Self {
            seed,
            random: Random(seed),
            rounds: rounds.unwrap_or(30),
        }
    }

    /// The library with a few bits flipped in these places, each of which is hit as often as the others.
    fn done(&mut self, round: u32, places: impl Fn(&Library) -> Vec<Range<usize>>) -> Vec<u8> {
        let mut library = Library::read();
        let places = places(&library);
        let mut flipped = Vec::new();
        for _ in 0..1 << (round % 4) {
            let place = places[self.random.below(places.len())].clone();
            let at = place.start + self.random.below(place.len());
            let bit = self.random.below(8);
            library.0[at] ^= 1 << bit;
            flipped.push((at, bit));
        }
        // Shown if it fails.
        #[expect(clippy::print_stdout, reason = "a failure is repeated with its seed")]
        {
            println!("RM_TEST_SEED={}, round {round}: {flipped:?}", self.seed);
        }
        library.0
    }
}

#[test]
fn bits_that_were_flipped_in_what_says_where_its_parts_are_never_take_the_host_along() {
    let (mut dropped, mut damage) = (Dropped::start(), Damage::new());
    let mut refused = 0;
    for round in 0..damage.rounds {
        let damaged = damage.done(round, |library| {
            let tables = [library.segments(), library.sections()];
            let tables = tables.map(|table| table[0]..table[table.len() - 1] + 56);
            tables.into_iter().chain(std::iter::once(0..64)).collect()
        });
        let said = dropped.said_of(&damaged, "flipped");
        refused += u64::from(said.contains("refused: "));
    }
    assert!(refused > 0, "nothing that was flipped mattered");
    dropped.said_of(&Library::read().0, "whole");
}

/// The trial finds nearly all of it. Code that was damaged where the host comes by and its trial did not may do anything.
#[test]
fn bits_that_were_flipped_anywhere_take_the_host_along_once_at_most() {
    let (mut dropped, mut damage) = (Dropped::start(), Damage::new());
    let mut refused = 0;
    for round in 0..damage.rounds {
        let damaged = damage.done(round, Library::loaded);
        match dropped.said_unless_ended(&damaged) {
            Some(said) => refused += u64::from(said.contains("refused: ")),
            None => dropped = dropped.start_again(),
        }
    }
    assert!(refused > 0, "nothing that was flipped mattered");
    if dropped.said_unless_ended(&Library::read().0).is_none() {
        dropped.start_again();
    }
}

#[test]
fn what_was_built_for_another_machine_is_refused_with_what_it_was_built_for() {
    const AARCH64: u8 = 183;
    const IA_32: u8 = 3;
    let mut dropped = Dropped::start();
    let library = Library::read().0;
    for (changes, says) in [
        (&[(18, AARCH64)][..], "found one for ELF machine 183"),
        (
            &[(4, 1), (18, IA_32)],
            "expected a 64-bit little-endian ELF",
        ),
        (&[(5, 2)], "expected a 64-bit little-endian ELF"),
        (&[(16, 2)], "found an ELF file of type 2"),
        (&[(16, 1)], "found an ELF file of type 1"),
    ] {
        let mut other = library.clone();
        for (at, byte) in changes {
            other[*at] = *byte;
        }
        let said = dropped.said_of(&other, says);
        assert!(said.contains("refused") && said.contains(says), "{said}");
    }
    // A program of this machine, and a library of C.
    let program = fs::read(rm_tests::host()).expect("it was built");
    let said = dropped.said_of(&program, "a program");
    assert!(said.contains("no rm-host plugin"), "{said}");
}
