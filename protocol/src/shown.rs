//! Text of somebody else's as it may be shown: what a client, a plugin or the name of a file says must not steer the
//! terminal of who reads it, nor look like a line of the program's own.

use std::{borrow::Cow, fmt};

/// Whether a character does something else than to be seen: control characters, and marks that change the order in
/// which others are shown, or break the line.
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// Shown in one line, with what steers written as `\n` or `\u{1b}`.
///
/// ```
/// let shown = protocol::shown::OneLine("a\nb\u{202e}c").to_string();
/// assert_eq!(shown, "a\\nb\\u{202e}c");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(steers) {
            match piece.char_indices().next_back() {
                Some((at, last)) if steers(last) => {
                    write!(f, "{}{}", &piece[..at], last.escape_default())?;
                }
                _ => f.write_str(piece)?,
            }
        }
        Ok(())
    }
}

/// The text with what steers written as in [`OneLine`], but for the characters in `kept`.
pub fn escaped<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let is_escaped = |letter: char| steers(letter) && !kept.contains(&letter);
    rewritten(text, is_escaped, |out, letter| {
        out.extend(letter.escape_default());
    })
}

/// JSON text that means the same, without anything in its strings that steers. Line breaks between values stay.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    // Valid JSON has control characters below U+0020 between values only.
    let is_escaped = |letter| letter >= '\u{7f}' && steers(letter);
    rewritten(json, is_escaped, |out, letter| {
        use fmt::Write as _;
        let _ = write!(out, "\\u{:04x}", u32::from(letter));
    })
}

fn rewritten(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    mut escape: impl FnMut(&mut String, char),
) -> Cow<'_, str> {
    // Nearly every text is of this kind.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_escaped(letter) {
            true => escape(&mut out, letter),
            false => out.push(letter),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_out_and_the_rest_stays() {
        assert_eq!(OneLine("plain ü 🦀").to_string(), "plain ü 🦀");
        let text = "a\n\u{1b}[2J\u{9b}\u{202e}b\u{2066}\u{2029}ё";
        let shown = "a\\n\\u{1b}[2J\\u{9b}\\u{202e}b\\u{2066}\\u{2029}ё";
        assert_eq!(OneLine(text).to_string(), shown);
        assert_eq!(escaped(text, &[]), shown);
        assert_eq!(escaped(text, &['\n']), shown.replacen("\\n", "\n", 1));
    }

    #[test]
    fn json_stays_json_of_the_same_meaning() {
        let json = "{\n \"a\u{202e}\": \"\u{9b}\u{7f}\\n ü\" }";
        let shown = escaped_json(json);
        assert_eq!(shown, "{\n \"a\\u202e\": \"\\u009b\\u007f\\n ü\" }");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(json), read(&shown));
        assert!(matches!(escaped_json("{\"a\": \"ü\"}"), Cow::Borrowed(_)));
    }
}
