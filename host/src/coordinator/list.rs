//! A doubly linked list through the entries of a slab, so that an entry leaves the middle of several lists
//! at a fixed cost.

use slab::Slab;

const NONE: u32 = u32::MAX;

/// The neighbours of an entry in each of the `N` lists that it may stand in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links<const N: usize>([Link; N]);

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
}

impl<const N: usize> Default for Links<N> {
    fn default() -> Self {
        let alone = Link {
            previous: NONE,
            next: NONE,
        };
        Self([alone; N])
    }
}

/// One list: its ends and its length. `W` names which of the entries' links it goes through.
#[derive(Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

impl List {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn push_back<const W: usize>(&mut self, slab: &mut Slab<impl Linked>, id: u32) {
        *slab.link::<W>(id) = Link {
            previous: self.last,
            next: NONE,
        };
        match self.last {
            NONE => self.first = id,
            last => slab.link::<W>(last).next = id,
        }
        self.last = id;
        self.len += 1;
    }

    pub(super) fn push_front<const W: usize>(&mut self, slab: &mut Slab<impl Linked>, id: u32) {
        *slab.link::<W>(id) = Link {
            previous: NONE,
            next: self.first,
        };
        match self.first {
            NONE => self.last = id,
            first => slab.link::<W>(first).previous = id,
        }
        self.first = id;
        self.len += 1;
    }

    /// Takes out an entry that stands in this list.
    pub(super) fn unlink<const W: usize>(&mut self, slab: &mut Slab<impl Linked>, id: u32) {
        let Link { previous, next } = *slab.link::<W>(id);
        match previous {
            NONE => self.first = next,
            previous => slab.link::<W>(previous).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => slab.link::<W>(next).previous = previous,
        }
        self.len -= 1;
    }

    pub(super) fn iter<'a, const W: usize, T: Linked>(
        &self,
        slab: &'a Slab<T>,
    ) -> impl Iterator<Item = u32> + use<'a, W, T> {
        let first = self.front();
        std::iter::successors(first, move |id| {
            let next = slab[*id as usize].links().0[W].next;
            (next != NONE).then_some(next)
        })
    }

    /// An entry of this list, and then those before it, back to the first.
    pub(super) fn iter_back<'a, const W: usize, T: Linked>(
        &self,
        slab: &'a Slab<T>,
        id: u32,
    ) -> impl Iterator<Item = u32> + use<'a, W, T> {
        std::iter::successors(Some(id), move |id| {
            let previous = slab[*id as usize].links().0[W].previous;
            (previous != NONE).then_some(previous)
        })
    }
}

/// An entry that can stand in lists.
pub(super) trait Linked {
    fn links(&self) -> &Links<3>;
    fn links_mut(&mut self) -> &mut Links<3>;
}

trait LinkOf {
    fn link<const W: usize>(&mut self, id: u32) -> &mut Link;
}

impl<T: Linked> LinkOf for Slab<T> {
    fn link<const W: usize>(&mut self, id: u32) -> &mut Link {
        &mut self[id as usize].links_mut().0[W]
    }
}
