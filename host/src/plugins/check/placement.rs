//! Where the parts of a library would come to lie in memory, from its bytes.
//!
//! The loader reserves room for all that is loaded, and believes every address: what leads out of that room is written
//! over whatever else the process has there. A trial alone does not show that, since in its small process there may be
//! nothing.

use std::{mem::size_of, ops::Range};

use object::{
    LittleEndian as LE,
    elf::{self, Dyn64, DynamicTag, PF_W, ProgramHeader64, Rela64},
    read::elf::ProgramHeader,
};

use super::Unfit;

/// The smallest page there is.
const PAGE_BYTES: u64 = 4096;

type Segment = ProgramHeader64<LE>;

/// The segments that are loaded, in the order of their addresses.
pub(super) struct Placement<'a> {
    bytes: &'a [u8],
    loaded: Vec<&'a Segment>,
}

impl<'a> Placement<'a> {
    /// Of a library with these segments, all of which lie inside of `bytes`.
    pub(super) fn check(segments: &'a [Segment], bytes: &'a [u8]) -> Result<(), Unfit> {
        let loaded = segments
            .iter()
            .filter(|segment| segment.p_type(LE) == elf::PT_LOAD);
        let placement = Self {
            bytes,
            loaded: loaded.collect(),
        };
        placement.check_loaded()?;
        for segment in segments {
            match segment.p_type(LE) {
                elf::PT_GNU_RELRO => placement.check_protected(segment)?,
                elf::PT_TLS => placement.expect_within(
                    "what each thread begins with",
                    segment.p_vaddr(LE),
                    segment.p_filesz(LE),
                )?,
                elf::PT_DYNAMIC => placement.check_dynamic(segment)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// In the order of their addresses and none over another: the room ends where the last one does.
    fn check_loaded(&self) -> Result<(), Unfit> {
        let mut end = 0;
        for segment in &self.loaded {
            let (start, size) = (segment.p_vaddr(LE), segment.p_memsz(LE));
            let own_end = start.checked_add(size);
            match own_end {
                Some(own_end) if start >= end && size >= segment.p_filesz(LE) => end = own_end,
                _ => {
                    return Err(outside(&format!("a segment of {size} bytes at {start:#x}")));
                }
            }
        }
        Ok(())
    }

    /// What is made read-only once it is set up, in whole pages.
    fn check_protected(&self, segment: &Segment) -> Result<(), Unfit> {
        let (start, size) = (segment.p_vaddr(LE), segment.p_memsz(LE));
        let end = start.saturating_add(size);
        let is_within = self.loaded.iter().any(|loaded| {
            let loaded = memory(loaded);
            start >= loaded.start && end <= loaded.end.next_multiple_of(PAGE_BYTES)
        });
        if is_within {
            return Ok(());
        }
        Err(outside(&format!(
            "what is protected, {size} bytes at {start:#x}"
        )))
    }

    /// The table that the loader goes by, and the places that it writes to.
    fn check_dynamic(&self, segment: &Segment) -> Result<(), Unfit> {
        let (start, size) = (segment.p_vaddr(LE), segment.p_filesz(LE));
        self.expect_within("the dynamic segment", start, size)?;
        let entries: &[Dyn64<LE>] = self.table(start, size)?;
        let value = |tag: DynamicTag| {
            let entry = entries.iter().find(|entry| entry.d_tag.get(LE) == tag);
            entry.map(|entry| entry.d_val.get(LE))
        };
        for tag in [
            elf::DT_INIT,
            elf::DT_FINI,
            elf::DT_HASH,
            elf::DT_GNU_HASH,
            elf::DT_STRTAB,
            elf::DT_SYMTAB,
            elf::DT_PLTGOT,
            elf::DT_VERSYM,
            elf::DT_VERNEED,
            elf::DT_VERDEF,
        ] {
            if let Some(address) = value(tag) {
                self.expect_within("a table of the loader", address, 1)?;
            }
        }
        for (start, size) in [
            (elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ),
            (elf::DT_FINI_ARRAY, elf::DT_FINI_ARRAYSZ),
            (elf::DT_RELR, elf::DT_RELRSZ),
        ] {
            if let (Some(start), Some(size)) = (value(start), value(size)) {
                self.expect_within("a table of the loader", start, size)?;
            }
        }
        for (start, size) in [
            (elf::DT_RELA, elf::DT_RELASZ),
            (elf::DT_JMPREL, elf::DT_PLTRELSZ),
        ] {
            if let (Some(start), Some(size)) = (value(start), value(size)) {
                self.check_relocations(start, size)?;
            }
        }
        Ok(())
    }

    fn check_relocations(&self, start: u64, size: u64) -> Result<(), Unfit> {
        let relocations: &[Rela64<LE>] = self.table(start, size)?;
        let writable: Vec<_> = self
            .loaded
            .iter()
            .filter(|segment| segment.p_flags(LE).0 & PF_W.0 != 0)
            .map(|segment| memory(segment))
            .collect();
        for relocation in relocations {
            let place = relocation.r_offset.get(LE);
            let end = place.saturating_add(size_of::<u64>() as u64);
            if !writable
                .iter()
                .any(|room| place >= room.start && end <= room.end)
            {
                return Err(outside(&format!("a place to be written, {place:#x}")));
            }
        }
        Ok(())
    }

    /// What the file holds for these addresses.
    fn table<T: object::Pod>(&self, start: u64, size: u64) -> Result<&'a [T], Unfit> {
        let cut = || {
            outside(&format!(
                "a table of the loader, {size} bytes at {start:#x}"
            ))
        };
        let holder = self.loaded.iter().find(|segment| {
            let offset = start.checked_sub(segment.p_vaddr(LE));
            let end = offset.and_then(|offset| offset.checked_add(size));
            end.is_some_and(|end| end <= segment.p_filesz(LE))
        });
        let holder = holder.ok_or_else(cut)?;
        let from = holder.p_offset(LE) + (start - holder.p_vaddr(LE));
        let bytes = usize::try_from(from)
            .ok()
            .zip(usize::try_from(size).ok())
            .and_then(|(from, size)| self.bytes.get(from..from.checked_add(size)?));
        let bytes = bytes.ok_or_else(cut)?;
        let entries = bytes.len() / size_of::<T>();
        let (table, _) = object::slice_from_bytes(bytes, entries).map_err(|()| cut())?;
        Ok(table)
    }

    fn expect_within(&self, what: &str, start: u64, size: u64) -> Result<(), Unfit> {
        let end = start.saturating_add(size);
        let rooms = self.loaded.iter().map(|segment| memory(segment));
        if rooms
            .into_iter()
            .any(|room| start >= room.start && end <= room.end)
        {
            return Ok(());
        }
        Err(outside(&format!("{what}, {size} bytes at {start:#x}")))
    }
}

/// Where a segment lies once it is loaded. Its end was looked at.
fn memory(segment: &Segment) -> Range<u64> {
    let start = segment.p_vaddr(LE);
    start..start.saturating_add(segment.p_memsz(LE))
}

fn outside(what: &str) -> Unfit {
    Unfit::Damaged(format!("{what}, would lie outside of the library's memory"))
}
