//! Whether a number was given twice.

use memchr::memmem::Finder;
use rustc_hash::FxHashMap;

/// The field that is looked at where none was named.
const USUAL_FIELD: &str = "token";

/// Results without the usual field after which nobody looks for it any more.
const USUAL_FIELD_SOUGHT: u64 = 1_000;

/// Numbers that one piece of memory remembers, a bit for each: 64 KiB.
const PIECE_NUMBERS: u64 = 1 << 19;

/// Pieces at most: 512 MiB.
const PIECES_MAX: usize = 8_192;

type Piece = Box<[u64; (PIECE_NUMBERS / 64) as usize]>;

/// Remembers every number that the results bear in one field: an integer, or an array of integers.
pub(super) struct Unique {
    field: String,
    key: Finder<'static>,
    /// Nobody asked for it: it may be missing.
    is_usual: bool,
    pieces: FxHashMap<u64, Piece>,
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
    /// Results without such a number.
    pub(super) missing: u64,
    /// The numbers lie too far apart to be remembered all: those after so many were not compared.
    pub(super) compared_until: Option<u64>,
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

    /// Looks at one result.
    pub(super) fn look_at(&mut self, result: &[u8]) {
        if self.is_usual && self.found.numbers == 0 && self.found.missing >= USUAL_FIELD_SOUGHT {
            return;
        }
        let before = self.found.numbers;
        if let Some(at) = self.key.find(result) {
            let mut rest = skip_space(&result[at + self.key.needle().len()..]);
            let is_list = rest.first() == Some(&b'[');
            if is_list {
                rest = skip_space(&rest[1..]);
            }
            while let Some((number, after)) = integer(rest) {
                self.note(number);
                rest = skip_space(after);
                match rest.first() {
                    Some(b',') if is_list => rest = skip_space(&rest[1..]),
                    _ => break,
                }
            }
        }
        if self.found.numbers == before {
            self.found.missing += 1;
        }
    }

    fn note(&mut self, number: u64) {
        let found = &mut self.found;
        found.numbers += 1;
        let (piece, bit) = (number / PIECE_NUMBERS, number % PIECE_NUMBERS);
        if self.pieces.len() == PIECES_MAX && !self.pieces.contains_key(&piece) {
            found.compared_until.get_or_insert(found.numbers - 1);
            return;
        }
        let piece = self.pieces.entry(piece).or_insert_with(empty_piece);
        let word = &mut piece[(bit / 64) as usize];
        let mask = 1 << (bit % 64);
        if *word & mask != 0 {
            found.twice += 1;
            found.example.get_or_insert(number);
        }
        *word |= mask;
    }
}

fn empty_piece() -> Piece {
    let words = vec![0; (PIECE_NUMBERS / 64) as usize].into_boxed_slice();
    words.try_into().expect("it has so many")
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
    fn numbers_far_apart_do_not_take_all_memory() {
        let mut unique = Unique::new(Some("n"));
        for number in 0..PIECES_MAX as u64 + 5 {
            unique.note(number * PIECE_NUMBERS);
        }
        let found = unique.found().expect("it was asked for");
        assert_eq!(found.compared_until, Some(PIECES_MAX as u64));
        assert_eq!(unique.pieces.len(), PIECES_MAX);
    }
}
