//! Budgets of bytes: what is kept for somebody counts against a share, and a share against its whole.
//!
//! Whoever keeps bytes takes them from a share first ([`Budget::take`]), and is refused where there is no room: a request
//! is answered `busy`. What cannot be refused any more, as a reply that is owed, is added ([`Budget::add`]), and whoever
//! owns the share sheds what is largest while it is over. All of it is on the core thread.

use std::{cell::Cell, fmt, rc::Rc};

use crate::{
    limits,
    planted::{Fault, planted},
};

/// A number of bytes that may be kept, and how many are. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the bytes are, for a sentence: "queued requests".
    name: &'static str,
    bytes_max: usize,
    bytes: Cell<usize>,
    /// What this is a share of. Its bytes count there as well.
    whole: Option<Budget>,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// What the bytes are.
    pub name: &'static str,
    /// How many are kept.
    pub bytes: usize,
    /// How many may be.
    pub bytes_max: usize,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            bytes,
            bytes_max,
        } = self;
        write!(
            f,
            "{bytes} bytes of {name} are kept already, of at most {bytes_max}"
        )
    }
}

impl Budget {
    /// A budget of its own.
    pub fn whole(name: &'static str, bytes_max: usize) -> Self {
        Self::new(name, bytes_max, None)
    }

    /// A share of this one: never more than `bytes_max`, nor more than the whole has left.
    pub fn share(&self, name: &'static str, bytes_max: usize) -> Self {
        Self::new(name, bytes_max, Some(self.clone()))
    }

    fn new(name: &'static str, bytes_max: usize, whole: Option<Self>) -> Self {
        Self(Rc::new(Inner {
            name,
            bytes_max,
            bytes: Cell::new(0),
            whole,
        }))
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.0.bytes.get()
    }

    /// Whether there is room for so many bytes more, here and in the whole.
    ///
    /// # Errors
    /// Which of them has none.
    pub fn has_room(&self, bytes: usize) -> Result<(), Spent> {
        if self.bytes().saturating_add(bytes) > self.0.bytes_max {
            return Err(self.as_it_is());
        }
        match &self.0.whole {
            Some(whole) => whole.has_room(bytes),
            None => Ok(()),
        }
    }

    /// Counts so many bytes more, if there is room.
    ///
    /// # Errors
    /// There is none, and nothing was counted.
    pub fn take(&self, bytes: usize) -> Result<(), Spent> {
        self.has_room(bytes)?;
        self.add(bytes);
        Ok(())
    }

    /// Counts bytes that are there already. Whoever does so looks whether that is [too much](Budget::over).
    pub fn add(&self, bytes: usize) {
        self.0.bytes.set(self.bytes() + bytes);
        if let Some(whole) = &self.0.whole {
            whole.add(bytes);
        }
    }

    /// So many bytes are kept no more.
    pub fn give_back(&self, bytes: usize) {
        if planted(Fault::BytesKept) {
            return;
        }
        debug_assert!(
            bytes <= self.bytes(),
            "{}: what was never taken",
            self.0.name
        );
        self.0.bytes.set(self.bytes().saturating_sub(bytes));
        if let Some(whole) = &self.0.whole {
            whole.give_back(bytes);
        }
    }

    /// More is kept than may be, here or in the whole.
    pub fn over(&self) -> Option<Spent> {
        if self.bytes() > self.0.bytes_max {
            return Some(self.as_it_is());
        }
        self.0.whole.as_ref().and_then(Self::over)
    }

    fn as_it_is(&self) -> Spent {
        Spent {
            name: self.0.name,
            bytes: self.bytes(),
            bytes_max: self.0.bytes_max,
        }
    }
}

/// What one owner keeps of a budget. Dropped, it is given back.
#[derive(Debug)]
pub struct Kept {
    of: Budget,
    bytes: Cell<usize>,
}

impl Kept {
    /// Nothing yet.
    pub fn none_of(budget: &Budget) -> Self {
        Self {
            of: budget.clone(),
            bytes: Cell::new(0),
        }
    }

    /// How many bytes it keeps.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether half of the budget is kept, by whomever.
    pub fn are_many(&self) -> bool {
        self.of.bytes() > self.of.0.bytes_max / 2
    }

    /// It keeps so many bytes now.
    #[inline]
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.replace(bytes);
        if bytes > before {
            self.of.add(bytes - before);
        } else if bytes < before {
            self.of.give_back(before - bytes);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The host's budget, by what the bytes are kept for.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Requests that have not begun, and who has asked again for one that is under way.
    pub requests: Budget,
    /// Replies that clients have not read.
    pub replies: Budget,
    /// Messages that have begun to come.
    pub messages: Budget,
    /// Answers that are kept to be given again, with their sessions.
    pub answers: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        let host = Budget::whole("all that is kept for clients", limits::HOST_BYTES_MAX);
        Self {
            requests: host.share("queued requests", limits::QUEUE_BYTES_ALL_MAX),
            replies: host.share("unread replies", limits::UNREAD_REPLY_BYTES_ALL_MAX),
            messages: host.share("unfinished messages", limits::BEGUN_BYTES_ALL_MAX),
            answers: host.share("kept answers", limits::ANSWERS_KEPT_BYTES_ALL_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_no_more_than_its_whole_has_left() {
        let whole = Budget::whole("all", 100);
        let (some, others) = (whole.share("some", 80), whole.share("others", 60));
        assert_eq!(some.take(70), Ok(()));
        let spent = some.take(11).expect_err("the share is spent");
        assert_eq!((spent.name, spent.bytes, spent.bytes_max), ("some", 70, 80));
        let spent = others.take(31).expect_err("the whole is spent");
        assert_eq!((spent.name, spent.bytes), ("all", 70));
        assert_eq!((others.bytes(), others.take(30)), (0, Ok(())));
        some.give_back(70);
        assert_eq!((whole.bytes(), others.take(30)), (30, Ok(())));
    }

    #[test]
    fn what_one_owner_keeps_is_given_back_with_it() {
        let budget = Budget::whole("bytes", 10);
        let kept = Kept::none_of(&budget);
        kept.set(12);
        assert_eq!(budget.over().map(|spent| spent.bytes), Some(12));
        kept.set(4);
        assert_eq!((budget.over(), budget.bytes()), (None, 4));
        drop(kept);
        assert_eq!(budget.bytes(), 0);
    }
}
