//! Whether a number was given twice.

use memchr::memmem::Finder;
use rustc_hash::FxHashMap;

/// The field that is looked at where none was named.
const USUAL_FIELD: &str = "token";

/// Results without the usual field after which nobody looks for it any more.
const USUAL_FIELD_SOUGHT: u64 = 1_000;

/// Numbers that one piece of memory remembers.
const PIECE_NUMBERS: u64 = 1 << 19;

/// Of them, how many are remembered one by one; with more, there is a bit for each of the piece.
const FEW_NUMBERS: usize = 64;

/// What is remembered takes up at most so much, by what follows.
const BYTES_MAX: usize = 512 * 1024 * 1024;
/// A piece with a place in a table, and room for some numbers.
const FEW_BYTES: usize = 128;
const MANY_BYTES: usize = PIECE_NUMBERS as usize / 8;

/// The numbers of one piece that were seen.
enum Piece {
    Few(Vec<u32>),
    Many(Box<[u64]>),
}

/// Remembers every number that the results bear in one field: an integer, or an array of integers.
pub(super) struct Unique {
    field: String,
    key: Finder<'static>,
    /// Nobody asked for it: it may be missing.
    is_usual: bool,
    pieces: FxHashMap<u64, Piece>,
    bytes: usize,
    bytes_max: usize,
    found: Found,
}

/// What was found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Numbers that were seen.
    pub(super) numbers: u64,
    /// Of those, numbers that had been seen before.
    pub(super) twice: u64,
    /// One of them.
    pub(super) example: Option<u64>,
    /// Places where there is something else.
    pub(super) missing: u64,
    /// Numbers that were not compared, for there are too many that lie too far apart to be remembered all.
    pub(super) not_compared: u64,
}

impl Unique {
    /// `None`: the usual field.
    pub(super) fn new(field: Option<&str>) -> Self {
        let name = field.unwrap_or(USUAL_FIELD);
        let key = format!("{}:", serde_json::Value::from(name));
        Self {
            field: name.to_owned(),
            key: Finder::new(key.as_bytes()).into_owned(),
            is_usual: field.is_none(),
            pieces: FxHashMap::default(),
            bytes: 0,
            bytes_max: BYTES_MAX,
            found: Found::default(),
        }
    }

    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// `None`: nobody asked, and there was nothing to look at.
    pub(super) fn found(&self) -> Option<Found> {
        Some(self.found).filter(|found| !self.is_usual || found.numbers > 0)
    }

    /// Counts anew, and still knows what was given before.
    pub(super) fn go_on(self) -> Self {
        Self {
            found: Found::default(),
            ..self
        }
    }

    /// Looks at one result: at the field wherever it stands.
    pub(super) fn look_at(&mut self, result: &[u8]) {
        if self.is_usual && self.found.numbers == 0 && self.found.missing >= USUAL_FIELD_SOUGHT {
            return;
        }
        let mut at = 0;
        let mut seen = false;
        while let Some(key) = self.key.find(&result[at..]) {
            at += key + self.key.needle().len();
            seen = true;
            self.look_at_value(skip_space(&result[at..]));
        }
        if !seen {
            self.found.missing += 1;
        }
    }

    fn look_at_value(&mut self, json: &[u8]) {
        let Some(mut rest) = json.strip_prefix(b"[") else {
            match integer(json) {
                Some((number, _)) => self.note(number),
                None => self.found.missing += 1,
            }
            return;
        };
        loop {
            let Some((number, after)) = integer(skip_space(rest)) else {
                self.found.missing += 1;
                return;
            };
            self.note(number);
            match skip_space(after).strip_prefix(b",") {
                Some(next) => rest = next,
                None => return,
            }
        }
    }

    fn note(&mut self, number: u64) {
        let found = &mut self.found;
        found.numbers += 1;
        let (at, bit) = (number / PIECE_NUMBERS, (number % PIECE_NUMBERS) as u32);
        let is_full = self.bytes + MANY_BYTES > self.bytes_max;
        let piece = match self.pieces.get_mut(&at) {
            Some(piece) => piece,
            None if is_full => return found.not_compared += 1,
            None => {
                self.bytes += FEW_BYTES;
                self.pieces.entry(at).or_insert(Piece::Few(Vec::new()))
            }
        };
        let is_known = match piece {
            Piece::Few(few) if few.contains(&bit) => true,
            Piece::Few(few) if few.len() < FEW_NUMBERS => {
                few.push(bit);
                // What the list grows by.
                self.bytes += size_of::<u32>();
                false
            }
            Piece::Few(_) if is_full => return found.not_compared += 1,
            Piece::Few(few) => {
                let mut words = vec![0; MANY_BYTES / 8].into_boxed_slice();
                few.iter().chain([&bit]).for_each(|bit| {
                    mark(&mut words, *bit);
                });
                *piece = Piece::Many(words);
                self.bytes += MANY_BYTES;
                false
            }
            Piece::Many(words) => mark(words, bit),
        };
        if is_known {
            found.twice += 1;
            found.example.get_or_insert(number);
        }
    }
}

/// Sets a bit, and says whether it was set.
fn mark(words: &mut [u64], bit: u32) -> bool {
    let (word, mask) = (&mut words[(bit / 64) as usize], 1 << (bit % 64));
    let was = *word & mask != 0;
    *word |= mask;
    was
}

fn skip_space(json: &[u8]) -> &[u8] {
    json.trim_ascii_start()
}

/// A whole number of at most 64 bits and what stands behind it. A sign or a fraction makes it none.
fn integer(json: &[u8]) -> Option<(u64, &[u8])> {
    let digits = json.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = json.split_at(digits);
    if matches!(rest.first(), Some(b'.' | b'e' | b'E')) {
        return None;
    }
    let digits = str::from_utf8(digits).ok()?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(field: Option<&str>, results: &[&str]) -> Option<Found> {
        let mut unique = Unique::new(field);
        for result in results {
            unique.look_at(result.as_bytes());
        }
        unique.found()
    }

    #[test]
    fn a_number_that_comes_again_is_told_alone_and_in_a_list() {
        let results = [
            r#"{"tickets":[1,2],"left":7}"#,
            r#"{"tickets": [ 3 , 2 ],"left":7}"#,
            r#"{"left":5,"tickets":18446744073709551615}"#,
            r#"{"left":5,"tickets":3}"#,
        ];
        let expected = Found {
            numbers: 6,
            twice: 2,
            example: Some(2),
            ..Found::default()
        };
        assert_eq!(found(Some("tickets"), &results), Some(expected));
    }

    #[test]
    fn results_without_a_number_are_counted_where_one_was_asked_for() {
        for result in [
            "{}",
            r#"{"n":"1"}"#,
            r#"{"n":-1}"#,
            r#"{"n":1.5}"#,
            r#"{"n":[]}"#,
        ] {
            let missing = found(Some("n"), &[result]).map(|found| (found.numbers, found.missing));
            assert_eq!(missing, Some((0, 1)), "{result}");
            assert_eq!(found(None, &[result]), None);
        }
        assert_eq!(
            found(None, &[r#"{"token":1}"#]).map(|found| found.numbers),
            Some(1)
        );
    }

    #[test]
    fn the_field_counts_wherever_it_stands_and_what_is_no_number_is_told() {
        let results = [
            r#"{"proxies":[{"token":1},{"token":7}]}"#,
            r#"{"proxies":[{"token":2},{"token":7}],"\"token\":":1}"#,
            r#"{"token":[3,null,7]}"#,
        ];
        let expected = Found {
            numbers: 5,
            twice: 1,
            example: Some(7),
            missing: 1,
            ..Found::default()
        };
        assert_eq!(found(None, &results), Some(expected));
    }

    #[test]
    fn it_goes_on_with_what_it_knows_and_counts_anew() {
        let mut unique = Unique::new(Some("n"));
        unique.note(5);
        let mut unique = unique.go_on();
        (5..7).for_each(|number| unique.note(number));
        let found = unique.found().expect("it was asked for");
        assert_eq!((found.numbers, found.twice), (2, 1));
    }

    #[test]
    fn numbers_far_apart_are_compared_and_do_not_take_all_memory() {
        let mut unique = Unique::new(Some("n"));
        // Of all 64 bits, as random tokens are.
        let far = |index: u64| index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (0..100_000).for_each(|index| unique.note(far(index)));
        (0..100).for_each(|index| unique.note(far(index * 1_000)));
        let found = unique.found().expect("it was asked for");
        assert_eq!((found.twice, found.not_compared), (100, 0));
        unique.bytes_max = unique.bytes + 1_000_000;
        (0..200_000).for_each(|index| unique.note(far(index)));
        assert!(unique.bytes <= unique.bytes_max);
        let found = unique.found().expect("it was asked for");
        assert!(found.not_compared > 90_000, "{found:?}");
    }

    #[test]
    fn many_numbers_side_by_side_are_each_remembered() {
        let mut unique = Unique::new(Some("n"));
        (0..PIECE_NUMBERS * 2)
            .step_by(3)
            .for_each(|number| unique.note(number));
        (0..PIECE_NUMBERS * 2).for_each(|number| unique.note(number));
        let found = unique.found().expect("it was asked for");
        assert_eq!(found.twice, (PIECE_NUMBERS * 2).div_ceil(3));
        assert!(unique.bytes < 3 * MANY_BYTES);
    }
}
