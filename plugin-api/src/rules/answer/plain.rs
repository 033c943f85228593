//! Reads an answer that is written as plugin-api writes them: the type in front, nothing between the tokens, no escape,
//! and whole numbers only.
//!
//! Nearly all are. What is written in any other way, right or wrong, is left to the careful way, which alone names
//! faults.

/// How deep an answer may be nested here.
const DEPTH_MAX: usize = 16;

/// Where the type's value ends in `answer`, which is UTF-8. `None`: read it the careful way.
#[inline]
pub(super) fn type_end(answer: &[u8], type_name: &str) -> Option<usize> {
    let mut rest = Rest(answer);
    rest.token(b"{\"type\":")?;
    if rest.string()? != type_name.as_bytes() {
        return None;
    }
    let end = answer.len() - rest.0.len();
    match rest.next()? {
        b',' => rest.entries(0, |key| key != b"type")?,
        b'}' => {}
        _ => return None,
    }
    rest.0.is_empty().then_some(end)
}

/// What is not yet read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    #[inline]
    fn token(&mut self, token: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(token)?;
        Some(())
    }

    /// What is between the quotes.
    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        self.token(b"\"")?;
        self.string_end()
    }

    /// The same, behind the first quote.
    #[inline]
    fn string_end(&mut self) -> Option<&'a [u8]> {
        let end = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
        let (text, rest) = self.0.split_at(self.0.iter().position(end)?);
        self.0 = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    /// The entries of an object and its end.
    #[inline]
    fn entries(&mut self, depth: usize, admits: impl Fn(&[u8]) -> bool) -> Option<()> {
        loop {
            let key = self.string()?;
            if !admits(key) {
                return None;
            }
            self.token(b":")?;
            self.value(depth)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<()> {
        loop {
            self.value(depth)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth == DEPTH_MAX {
            return None;
        }
        match self.next()? {
            b'"' => self.string_end().map(drop),
            // What follows is no digit, so one that begins with 0 is refused by whoever expects a comma.
            b'0' => Some(()),
            b'1'..=b'9' => {
                let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
                self.0 = &self.0[digits.count()..];
                Some(())
            }
            b'{' => match self.token(b"}") {
                Some(()) => Some(()),
                None => self.entries(depth + 1, |_| true),
            },
            b'[' => match self.token(b"]") {
                Some(()) => Some(()),
                None => self.items(depth + 1),
            },
            b't' => self.token(b"rue"),
            b'f' => self.token(b"alse"),
            b'n' => self.token(b"ull"),
            _ => None,
        }
    }
}
