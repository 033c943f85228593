//! What the process, or the system, has run out of, where a plugin is refused for no fault of its own: told by what the
//! system says, with what to do.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

use rustix::io::Errno;

use super::error::{CheckError, Step};

const FILES: &str = "the host may have too few files open: raise that (`ulimit -n`, LimitNOFILE= of its unit), and start it again";
const FILES_OF_ALL: &str = "the whole system has too many files open: raise fs.file-max, or close some, and touch the file";
const THREADS: &str = "the host may have too few processes and threads: raise that (`ulimit -u`, TasksMax= of its unit, or the \
                       container's), and start it again";
const MEMORY: &str = "the memory, or the address space, that the host may have is used up: raise that (`ulimit -v`, `ulimit -d`, \
                      MemoryMax= of its unit, or the container's), or free some, and touch the file";
const SPACE: &str = "free some space there, or let TMPDIR name another folder, and touch the file";
const MAPPINGS: &str = "what was loaded stays mapped until the host ends: start it again, or raise vm.max_map_count (`sysctl`), and \
                        touch the file";
const EXECUTABLE: &str =
    "private copies must be executable: let TMPDIR name a folder that is not mounted noexec";

/// What the number of the system's error stands behind, in a text.
const OS_ERROR: &str = " (os error ";

/// So many mappings fewer than the system allows may be too few for one library more.
const MAPPINGS_OF_A_LIBRARY: usize = 32;

impl CheckError {
    /// A refusal by what the system has said, `cause` among other words; `otherwise` is to be done where it is no shortage.
    pub(super) fn of_system(
        step: Step,
        cause: impl AsRef<str>,
        error: &io::Error,
        otherwise: &str,
    ) -> Self {
        let remedy = errno(error).and_then(of_errno);
        Self::new(step, cause, remedy.unwrap_or(otherwise))
    }
}

fn of_errno(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::MFILE => FILES,
        Errno::NFILE => FILES_OF_ALL,
        Errno::AGAIN => THREADS,
        Errno::NOMEM => MEMORY,
        Errno::NOSPC | Errno::DQUOT => SPACE,
        _ => return None,
    })
}

/// The system's number; of an error that a library has made of the system's, by its text, which is all that is left of it.
fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error).or_else(|| {
        let text = error.to_string();
        let (_, rest) = text.split_once(OS_ERROR)?;
        let (number, _) = rest.split_once(')')?;
        Some(Errno::from_raw_os_error(number.parse().ok()?))
    })
}

/// What the system calls it.
fn name_of(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(OS_ERROR).next().unwrap_or_default().to_owned()
}

/// From what the dynamic loader `said`, which has no number, and what came of it when the file was mapped once more,
/// where that is what the loader could not do.
pub(super) fn of_loader(said: String, tried: Option<io::Error>) -> CheckError {
    let could_not_map = said.contains("failed to map segment");
    let lacks_memory = said.contains("Cannot allocate memory") || said.contains("out of memory");
    let tried = tried.as_ref().and_then(errno);
    let because = |what: Errno| match name_of(what) {
        name if said.contains(&name) => said.clone(),
        name => format!("{said}: {name}"),
    };
    let (cause, remedy) = match tried {
        Some(errno @ (Errno::PERM | Errno::ACCESS)) => (because(errno), EXECUTABLE),
        _ if could_not_map || lacks_memory => match Mappings::of_this_process() {
            Some(Mappings { present, most }) if present + MAPPINGS_OF_A_LIBRARY > most => {
                let cause = format!(
                    "{said}: the process has {present} memory mappings of the {most} that the system allows it"
                );
                (cause, MAPPINGS)
            }
            _ => (because(tried.unwrap_or(Errno::NOMEM)), MEMORY),
        },
        _ if said.contains("Too many open files") => (said, FILES),
        _ if said.contains("cannot open shared object file") => (
            said,
            "install the library that it needs (`ldd` lists them), or link it statically",
        ),
        _ if said.contains("version `") => (
            said,
            "build it on a system that is no newer than the one that the host runs on",
        ),
        _ => (said, "build it anew"),
    };
    CheckError::new(Step::Load, cause, remedy)
}

struct Mappings {
    present: usize,
    most: usize,
}

impl Mappings {
    /// Nothing where the system does not say.
    fn of_this_process() -> Option<Self> {
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
        let maps = BufReader::new(File::open("/proc/self/maps").ok()?);
        Some(Self {
            present: maps.split(b'\n').take_while(Result::is_ok).count(),
            most: most.trim().parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_loader_and(said: &str, tried: Option<Errno>) -> String {
        of_loader(said.to_owned(), tried.map(io::Error::from)).to_string()
    }

    #[test]
    fn what_cannot_be_mapped_is_refused_for_what_the_system_says() {
        let said = "failed to map segment from shared object";
        let noexec = of_loader_and(said, Some(Errno::PERM));
        assert!(noexec.contains("Operation not permitted"), "{noexec}");
        assert!(noexec.contains("noexec"), "{noexec}");
        let others = [
            of_loader_and(said, Some(Errno::NOMEM)),
            of_loader_and(said, None),
            of_loader_and("cannot apply: Cannot allocate memory", None),
        ];
        for memory in others {
            assert_eq!(
                memory.matches("Cannot allocate memory").count(),
                1,
                "{memory}"
            );
            assert!(memory.contains("ulimit -v"), "{memory}");
            assert!(!memory.contains("noexec"), "{memory}");
        }
        let files = of_loader_and("cannot open shared object file: Too many open files", None);
        assert!(files.contains("ulimit -n"), "{files}");
    }

    #[test]
    fn the_systems_error_is_found_inside_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir_in(folder.path().join("nowhere")).unwrap_err();
        assert_eq!(errno(&inside), Some(Errno::NOENT));
        let bare = io::Error::from(Errno::MFILE);
        let refusal = CheckError::of_system(Step::Read, bare.to_string(), &bare, "else");
        assert!(refusal.remedy.contains("ulimit -n"), "{refusal}");
        let other = io::Error::from(Errno::IO);
        assert_eq!(
            CheckError::of_system(Step::Read, "a", &other, "else").remedy,
            "else"
        );
    }

    #[test]
    fn the_mappings_of_a_process_are_counted() {
        let mappings = Mappings::of_this_process().expect("the system tells them");
        assert!((10..mappings.most).contains(&mappings.present));
    }
}
