//! How records lie in a segment: the last byte of each sector is a mark that is not zero.
//!
//! A disk writes whole sectors, so after a power loss each sector of what was being written is there or is not. What is
//! not there reads as zeros. Thanks to the marks, and to a last byte of each record that is not zero either, the part of a
//! written record in any sector is never all zeros, whatever the record holds: zeros are proof that the sector was
//! never written.
//!
//! Positions are bytes of the file, and never that of a mark.

/// What a disk writes as a whole, at least.
pub(super) const SECTOR_BYTES: u64 = 512;

/// Several bits are set, so that no flip of one makes it zero.
const MARK: u8 = 0x96;

const MARK_AT: u64 = SECTOR_BYTES - 1;

/// Where something with `length` bytes of content ends that begins at `at`.
pub(super) fn end_of(at: u64, length: u64) -> u64 {
    let content = at / SECTOR_BYTES * MARK_AT + at % SECTOR_BYTES + length;
    content / MARK_AT * SECTOR_BYTES + content % MARK_AT
}

/// Adds `content`, which begins at `at`, with the marks. Returns where it ends.
pub(super) fn lay(out: &mut Vec<u8>, mut at: u64, mut content: &[u8]) -> u64 {
    while !content.is_empty() {
        let room = (MARK_AT - at % SECTOR_BYTES) as usize;
        let (part, rest) = content.split_at(room.min(content.len()));
        out.extend_from_slice(part);
        at += part.len() as u64;
        if at % SECTOR_BYTES == MARK_AT {
            out.push(MARK);
            at += 1;
        }
        content = rest;
    }
    at
}

/// Adds the content of `laid`, which begins at `at`, to `out`. If a mark is not what it should be: where, and what it is.
pub(super) fn lift(out: &mut Vec<u8>, mut at: u64, mut laid: &[u8]) -> Result<(), (u64, u8)> {
    while !laid.is_empty() {
        let room = (MARK_AT - at % SECTOR_BYTES) as usize;
        let (part, rest) = laid.split_at(room.min(laid.len()));
        out.extend_from_slice(part);
        at += part.len() as u64;
        laid = rest;
        if at % SECTOR_BYTES == MARK_AT
            && let Some((mark, rest)) = laid.split_first()
        {
            if *mark != MARK {
                return Err((at, *mark));
            }
            at += 1;
            laid = rest;
        }
    }
    Ok(())
}

/// Whether a position is one of a mark.
pub(super) fn is_mark(at: u64) -> bool {
    at % SECTOR_BYTES == MARK_AT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_is_lifted_and_leaves_no_sector_zero() {
        for at in [0, 64, 509, 510, 512, 1022] {
            for length in [1_usize, 2, 446, 447, 448, 511, 512, 1022, 1023, 5000] {
                let content = vec![0; length];
                let mut laid = vec![];
                let end = lay(&mut laid, at, &content);
                assert_eq!(end, at + laid.len() as u64);
                assert_eq!(end, end_of(at, length as u64));
                assert!(!is_mark(end));
                let mut lifted = vec![];
                assert_eq!(lift(&mut lifted, at, &laid), Ok(()));
                assert_eq!(lifted, content);
                let mut sectors = vec![0_u8; at as usize];
                sectors.extend(&laid);
                for sector in sectors[at as usize / 512 * 512..].chunks_exact(512) {
                    assert!(sector.iter().any(|byte| *byte != 0));
                }
            }
        }
    }

    #[test]
    fn a_mark_that_changed_is_told() {
        let mut laid = vec![];
        lay(&mut laid, 64, &[0; 1000]);
        laid[447] ^= 1;
        assert_eq!(lift(&mut vec![], 64, &laid), Err((511, 0x97)));
    }
}
