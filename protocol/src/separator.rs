//! Where a message ends.

use crate::limits::SEPARATOR;

/// Where the first separator begins.
///
/// Messages are short, so that a search with tables spends most of its time before the first byte. The separator's first
/// byte begins no other character than those beyond U+FFFF, which are rare in requests, and still cost no more than
/// reading them as text does.
#[inline]
pub(crate) fn find(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(SEPARATOR[0], &bytes[from..])?;
        if bytes[at..].starts_with(&SEPARATOR) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_first_one(parts in proptest::collection::vec(0_usize..6, 0..60)) {
            let parts = parts.into_iter().map(|part| {
                [&SEPARATOR[..], &SEPARATOR[..3], &SEPARATOR[..1], b"x", "🦁".as_bytes(), &SEPARATOR[1..]][part]
            });
            let bytes: Vec<u8> = parts.flatten().copied().collect();
            let plain = bytes.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
            prop_assert_eq!(find(&bytes), plain);
        }
    }
}
