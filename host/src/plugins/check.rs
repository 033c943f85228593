//! The verdict over a file's bytes, before any of its code has run.
//!
//! It is pure. It catches what is no shared library, was cut short, was built for another machine, would be written
//! over the memory of others when it is loaded, or is no plugin of ours; it cannot catch a file whose code or data
//! were damaged within their bounds.

use object::{
    LittleEndian as LE,
    elf::{ET_DYN, FileHeader64, PT_DYNAMIC, SHT_DYNSYM},
    read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym},
};

use self::placement::Placement;
use super::{
    error::{CheckError, Step},
    loader::{EXPORT, EXPORT_BYTES_MIN},
};

mod placement;

type Header = FileHeader64<LE>;

#[cfg(target_arch = "x86_64")]
const MACHINE: object::elf::Machine = object::elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: object::elf::Machine = object::elf::EM_AARCH64;
#[cfg(target_arch = "riscv64")]
const MACHINE: object::elf::Machine = object::elf::EM_RISCV;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!("name the ELF machine of this target here");

/// Why bytes are no plugin that this process could load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("expected a shared library, found an empty file")]
    Empty,
    #[error("expected a 64-bit little-endian ELF file, found one that begins with {0}")]
    NotElf(String),
    #[error("expected a shared library (ET_DYN), found an ELF file of type {0}")]
    NotShared(u16),
    #[error("expected a library for {here}, found one for ELF machine {0}", here = std::env::consts::ARCH)]
    OtherMachine(u16),
    #[error("it is cut short or damaged: {0}")]
    Damaged(String),
    #[error("it is a shared library but no rm-host plugin: it does not export `{EXPORT}`")]
    NoPlugin,
}

impl From<Unfit> for CheckError {
    fn from(unfit: Unfit) -> Self {
        let remedy = match unfit {
            Unfit::Empty | Unfit::Damaged(_) => "copy it anew, whole",
            Unfit::NotElf(_) | Unfit::NotShared(_) => {
                "build it with `crate-type = [\"cdylib\"]`, or take it out of the folder"
            }
            Unfit::OtherMachine(_) => "build it for the machine that the host runs on",
            Unfit::NoPlugin => "build it with plugin_api::plugin!, or take it out of the folder",
        };
        Self::new(Step::Format, unfit.to_string(), remedy)
    }
}

/// Says whether a file that begins so may be a plugin.
pub(super) fn head(bytes: &[u8]) -> Result<(), CheckError> {
    header(bytes)?;
    Ok(())
}

/// Says whether `bytes`, a whole file, may be handed to the loader.
pub(super) fn verdict(bytes: &[u8]) -> Result<(), Unfit> {
    let header = header(bytes)?;
    segments(header, bytes)?;
    exports(header, bytes)
}

fn header(bytes: &[u8]) -> Result<&Header, Unfit> {
    if bytes.is_empty() {
        return Err(Unfit::Empty);
    }
    let is_elf = bytes.starts_with(b"\x7fELF");
    let header = match Header::parse(bytes) {
        Ok(header) if header.is_class_64() && header.is_little_endian() => header,
        Err(_) if is_elf && bytes.len() < size_of::<Header>() => {
            return Err(Unfit::Damaged(format!("it has only {} bytes", bytes.len())));
        }
        _ => {
            let beginning = &bytes[..bytes.len().min(16)];
            return Err(Unfit::NotElf(format!("`{}`", beginning.escape_ascii())));
        }
    };
    let machine = header.e_machine(LE);
    if machine != MACHINE {
        return Err(Unfit::OtherMachine(machine.0));
    }
    let kind = header.e_type(LE);
    if kind != ET_DYN {
        return Err(Unfit::NotShared(kind.0));
    }
    Ok(header)
}

/// Every segment must lie inside the file, and in memory inside of what the loader reserves: it maps them unchecked, and the
/// first access behind the file's end ends the process.
fn segments(header: &Header, bytes: &[u8]) -> Result<(), Unfit> {
    let segments = header
        .program_headers(LE, bytes)
        .map_err(|error| Unfit::Damaged(error.to_string()))?;
    for (number, segment) in segments.iter().enumerate() {
        let (offset, len) = segment.file_range(LE);
        within(bytes, offset, len)
            .map_err(|cause| Unfit::Damaged(format!("segment {number} {cause}")))?;
    }
    // An executable without position is ET_DYN too, but a library must be linked dynamically.
    if !segments
        .iter()
        .any(|segment| segment.p_type(LE) == PT_DYNAMIC)
    {
        return Err(Unfit::Damaged("it has no dynamic segment".into()));
    }
    Placement::check(segments, bytes)
}

fn exports(header: &Header, bytes: &[u8]) -> Result<(), Unfit> {
    let damaged = |error: object::Error| Unfit::Damaged(error.to_string());
    let sections = header.sections(LE, bytes).map_err(damaged)?;
    if sections.is_empty() {
        return Err(Unfit::Damaged("it has no section table".into()));
    }
    for (number, section) in sections.iter().enumerate() {
        if let Some((offset, len)) = section.file_range(LE) {
            within(bytes, offset, len)
                .map_err(|cause| Unfit::Damaged(format!("section {number} {cause}")))?;
        }
    }
    let symbols = sections.symbols(LE, bytes, SHT_DYNSYM).map_err(damaged)?;
    if symbols.is_empty() {
        return Err(Unfit::Damaged("it has no table of dynamic symbols".into()));
    }
    let exported = symbols.iter().any(|symbol| {
        !symbol.is_undefined(LE)
            && symbol.st_size(LE) >= EXPORT_BYTES_MIN
            && symbol
                .name(LE, symbols.strings())
                .is_ok_and(|name| name == EXPORT.as_bytes())
    });
    if exported {
        Ok(())
    } else {
        Err(Unfit::NoPlugin)
    }
}

fn within(bytes: &[u8], offset: u64, len: u64) -> Result<(), String> {
    let end = offset.checked_add(len);
    match end {
        Some(end) if end <= bytes.len() as u64 => Ok(()),
        _ => Err(format!(
            "takes {len} bytes from {offset} on, of a file of {} bytes",
            bytes.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use super::{super::image::HEAD_BYTES, *};

    /// A shared library of this machine that exports `symbol`.
    fn library(symbol: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        let mut compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-x", "c", "-", "-o"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("cc, which links every Rust program too");
        let mut source = compiler.stdin.take().unwrap();
        writeln!(source, "char {symbol}[200] = {{1}}; char short_one = 1;").unwrap();
        drop(source);
        assert!(compiler.wait().unwrap().success());
        std::fs::read(path).unwrap()
    }

    fn is_damaged(bytes: &[u8]) -> bool {
        matches!(verdict(bytes), Err(Unfit::Damaged(_)))
    }

    #[test]
    fn a_library_with_the_export_passes() {
        assert_eq!(verdict(&library(EXPORT)), Ok(()));
    }

    #[test]
    fn a_library_cut_short_anywhere_does_not_pass() {
        let whole = library(EXPORT);
        assert_eq!(verdict(b""), Err(Unfit::Empty));
        for len in 1..whole.len() {
            assert!(verdict(&whole[..len]).is_err(), "cut to {len}");
        }
        for len in [10, 63, 64, 100, whole.len() / 2, whole.len() - 1] {
            assert!(is_damaged(&whole[..len]), "cut to {len}");
        }
    }

    #[test]
    fn the_head_says_what_is_none() {
        let whole = library(EXPORT);
        assert_eq!(head(&whole[..HEAD_BYTES]), Ok(()));
        for bytes in [&b""[..], &[0; HEAD_BYTES], b"#!/bin/sh\n", &whole[..63]] {
            assert_eq!(head(bytes), verdict(bytes).map_err(CheckError::from));
            assert!(head(bytes).is_err());
        }
    }

    #[test]
    fn what_is_no_library_does_not_pass() {
        for bytes in [
            &b"#!/bin/sh\necho no\n"[..],
            &[0; 4096],
            "kein 🦀".as_bytes(),
            b"MZ",
        ] {
            assert!(matches!(verdict(bytes), Err(Unfit::NotElf(_))));
        }
        let refusal = CheckError::from(verdict(b"hello\n").unwrap_err()).to_string();
        assert!(refusal.contains("begins with `hello\\n`"), "{refusal}");
        assert!(refusal.contains("cdylib"), "{refusal}");
    }

    #[test]
    fn other_machines_and_classes_do_not_pass() {
        let whole = library(EXPORT);
        let patched = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            verdict(&bytes)
        };
        // IA-64, which no longer runs anything.
        assert_eq!(patched(18, 50), Err(Unfit::OtherMachine(50)));
        assert!(matches!(patched(4, 1), Err(Unfit::NotElf(_))));
        assert!(matches!(patched(5, 2), Err(Unfit::NotElf(_))));
        // ET_REL, what `cc -c` makes.
        assert_eq!(patched(16, 1), Err(Unfit::NotShared(1)));
    }

    #[test]
    fn tables_that_are_zeroed_or_lead_outside_do_not_pass() {
        let whole = library(EXPORT);
        let table = u64::from_le_bytes(whole[40..48].try_into().unwrap()) as usize;
        let mut zeroed = whole.clone();
        zeroed[table..].fill(0);
        assert!(is_damaged(&zeroed));
        let mut no_table = whole.clone();
        no_table[40..48].fill(0);
        assert!(is_damaged(&no_table));
        for at in [32, 40] {
            let mut far = whole.clone();
            far[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            assert!(is_damaged(&far));
        }
        // The size in the file of the first program header.
        let mut long = whole;
        long[64 + 32..64 + 40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(is_damaged(&long));
    }

    /// Changes a number of the whole library.
    fn with_number(whole: &[u8], at: usize, change: impl FnOnce(u64) -> u64) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        let number = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&change(number).to_le_bytes());
        bytes
    }

    #[test]
    fn what_would_lie_outside_of_the_memory_of_the_library_does_not_pass() {
        // Of a segment's header: its addresses and its sizes.
        const ADDRESS: usize = 16;
        const FILE_BYTES: usize = 32;
        const MEMORY_BYTES: usize = 40;
        const FAR: u64 = 1 << 30;
        let whole = library(EXPORT);
        let segments = header(&whole)
            .unwrap()
            .program_headers(LE, &*whole)
            .unwrap();
        let at = |number: usize| 64 + number * size_of_val(&segments[number]);
        let of_type = |wanted| {
            let numbers = segments.iter().enumerate();
            let found = numbers.filter(move |(_, segment)| segment.p_type(LE) == wanted);
            found.map(|(number, _)| at(number)).collect::<Vec<_>>()
        };
        let loaded = of_type(object::elf::PT_LOAD);
        let (last, others) = loaded.split_last().unwrap();
        for segment in others {
            // It would take what lies behind it, of this library or of another.
            assert!(is_damaged(&with_number(
                &whole,
                segment + MEMORY_BYTES,
                |size| size + FAR
            )));
            assert!(is_damaged(&with_number(
                &whole,
                segment + ADDRESS,
                |start| start + FAR
            )));
        }
        let too_small = with_number(&whole, last + MEMORY_BYTES, |_| 0);
        assert!(is_damaged(&too_small));
        for segment in of_type(object::elf::PT_GNU_RELRO) {
            assert!(is_damaged(&with_number(
                &whole,
                segment + MEMORY_BYTES,
                |size| size + FAR
            )));
            assert!(is_damaged(&with_number(&whole, segment + ADDRESS, |_| FAR)));
        }
        let dynamic = of_type(PT_DYNAMIC)[0];
        assert!(is_damaged(&with_number(
            &whole,
            dynamic + ADDRESS,
            |start| start + FAR
        )));
        assert!(is_damaged(&with_number(
            &whole,
            dynamic + FILE_BYTES,
            |_| FAR
        )));
    }

    #[test]
    fn a_relocation_to_a_place_outside_of_the_library_does_not_pass() {
        let whole = library(EXPORT);
        let header = header(&whole).unwrap();
        let sections = header.sections(LE, &*whole).unwrap();
        let tables = sections
            .iter()
            .filter(|section| section.sh_type(LE) == object::elf::SHT_RELA);
        let mut tried = 0;
        for table in tables {
            let (start, bytes) = table.file_range(LE).unwrap();
            for relocation in (start..start + bytes).step_by(24) {
                let far = with_number(&whole, relocation as usize, |place| place ^ 1 << 33);
                assert!(is_damaged(&far), "the relocation at {relocation:#x}");
                tried += 1;
            }
        }
        assert!(tried > 0, "a library of C has some");
    }

    #[test]
    fn libraries_of_others_are_no_plugins() {
        assert_eq!(verdict(&library("something_else")), Err(Unfit::NoPlugin));
        let mapped = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = mapped
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .find(|path| path.contains("libc.so") || path.contains("libgcc_s"))
            .expect("a test of this target is linked dynamically");
        let libc = std::fs::read(libc).unwrap();
        assert_eq!(verdict(&libc), Err(Unfit::NoPlugin));
        let refusal = CheckError::from(Unfit::NoPlugin).to_string();
        assert!(refusal.contains("plugin_api::plugin!"), "{refusal}");
    }
}
