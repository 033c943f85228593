//! Opens a plugin's private copy and makes the plugin from its configuration.
//!
//! Beside the lanes and the log the only file of the host that knows what carries a plugin's calls. It takes
//! what the check let pass; code of the plugin runs from here on, and is blamed for what it does.

#![allow(
    unsafe_code,
    reason = "opening a library and believing what it exports cannot be checked by the compiler"
)]

use std::{
    error::Error,
    fs::File,
    io,
    mem::ManuallyDrop,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::check_layout_compatibility,
    library::{
        AbiHeader, AbiHeaderRef, LibHeader, LibraryError, ROOT_MODULE_LOADER_NAME,
        ROOT_MODULE_LOADER_NAME_WITH_NUL,
    },
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use plugin_api::{
    abi::{
        ABI_VERSION, AbiHostObject, AbiLaneObject, AbiLogObject, AbiModule_Ref, AbiPluginObject,
    },
    description::{Creation, Description, Fault, FaultKind, HostDescription, Purpose},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{
    error::{CheckError, Step},
    shortage,
};
use crate::blame::{Blame, Blamed, blame, loads};

/// The dynamic symbol by which a plugin is known.
pub(super) const EXPORT: &str = ROOT_MODULE_LOADER_NAME;

/// How much of what is exported is looked at before it is known for what it is.
pub(super) const EXPORT_BYTES_MIN: u64 = size_of::<AbiHeader>() as u64;

/// The version of plugin-api that this host is built with.
const PLUGIN_API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A loaded file with the plugin that was made from it. Its code stays mapped until the process ends.
pub struct LoadedPlugin {
    name: String,
    // Dropped with this, and with it the plugin's own memory; its code is needed for that.
    object: Blamed<AbiPluginObject>,
    got_stuck: Arc<AtomicBool>,
}

impl LoadedPlugin {
    /// NAME of the `libNAME.so` that it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes that a call of it does not return: what it holds, such as a lock of its library, is held for ever, so
    /// the next version is made from the file anew.
    pub fn got_stuck(&self) {
        self.got_stuck.store(true, Ordering::Relaxed);
    }

    /// Makes the code of the lane with this number in the plugin's description.
    ///
    /// # Errors
    ///
    /// What the plugin says against it, its panic among that.
    pub fn open_lane(
        &self,
        lane: u32,
        host: AbiHostObject,
    ) -> Result<Blamed<AbiLaneObject>, String> {
        self.object.ask(|object| {
            let opened = object.open_lane(lane, host).into_result();
            opened
                .map(|lane| Blamed::new(*self.object.blame(), lane))
                .map_err(|fault| Fault::from_json(fault.as_slice()).to_string())
        })
    }

    /// What the plugin says of itself.
    pub(super) fn describe(&self) -> Result<Description, CheckError> {
        let said = self.object.ask(|object| object.describe());
        serde_json::from_slice(said.as_slice()).map_err(|error| {
            CheckError::new(
                Step::Description,
                format!("it does not describe itself as plugin-api does: {error}"),
                rebuild(),
            )
        })
    }
}

impl std::fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedPlugin")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A plugin's file, opened and found to speak the host's ABI; no plugin is made from it yet.
#[derive(Clone)]
pub(super) struct Module {
    module: AbiModule_Ref,
    abi_version: Arc<str>,
    blame: Blame,
    got_stuck: Arc<AtomicBool>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("blame", &self.blame)
            .finish_non_exhaustive()
    }
}

/// Why no plugin was made.
pub(super) enum Unmade {
    /// What the plugin said against its configuration.
    Refused(String),
    /// Its code panicked while it was made.
    Panicked(String),
}

impl Module {
    /// Opens `copy`, an absolute path that was never opened before in this process.
    pub(super) fn open(copy: &Path, of: Blame) -> Result<Self, CheckError> {
        let (module, abi_version) = loads(&of, || blame(&of, || Self::open_root(copy)))?;
        Ok(Self {
            module,
            abi_version: abi_version.into(),
            blame: of,
            got_stuck: Arc::default(),
        })
    }

    /// The code of a plugin that is compiled into this program.
    #[cfg(feature = "simulation")]
    pub(super) fn compiled_in<P: plugin_api::export::Plugin>(
        of: Blame,
    ) -> Result<Self, CheckError> {
        // As that of a file, it is there until the process ends.
        let header = Box::leak(Box::new(plugin_api::abi::header::<P>()));
        Ok(Self {
            module: root(header)?,
            abi_version: ABI_VERSION.into(),
            blame: of,
            got_stuck: Arc::default(),
        })
    }

    /// The same code, for another version of its plugin.
    pub(super) fn blamed_on(self, blame: Blame) -> Self {
        Self { blame, ..self }
    }

    /// Whether a call of what was made from it did not return in time.
    pub(super) fn has_got_stuck(&self) -> bool {
        self.got_stuck.load(Ordering::Relaxed)
    }

    /// The version of the ABI that the plugin was built against.
    pub(super) fn abi_version(&self) -> &str {
        &self.abi_version
    }

    fn open_root(copy: &Path) -> Result<(AbiModule_Ref, String), CheckError> {
        debug_assert!(copy.is_absolute());
        // SAFETY: Running the constructors of a file that others dropped is what this host is for; the check
        // has seen that the file is whole. What they may break is said in the page for authors.
        let library = unsafe { Library::open(Some(copy), RTLD_NOW | RTLD_LOCAL) };
        // Never unmapped, also if it is refused below: layouts that were compared once are kept for ever by
        // abi_stable with pointers into the file, and threads of the plugin's own may still run.
        let library = ManuallyDrop::new(library.map_err(|error| unopened(copy, &error))?);
        // SAFETY: The symbol is what `plugin_api::plugin!` exports under this name in every version: a static
        // that begins with an `AbiHeader`; of anything else, the check has seen that it is as large, and its
        // first bytes are compared before more is believed. The copied reference is used for as long as the
        // process lives, and so is the library.
        let header = unsafe {
            library
                .get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes())
                .map(|header| *header)
        };
        let header = header.map_err(|error| unopened(copy, &error))?;
        let header = header.upgrade().map_err(|error| misfit(None, &error))?;
        let module = root(header)?;
        let abi_version = header.version_strings().version.as_str().to_owned();
        Ok((module, abi_version))
    }

    /// Makes the plugin `name`. `config` is a JSON object.
    pub(super) fn create(
        &self,
        name: &str,
        config: &[u8],
        purpose: Purpose,
        log: AbiLogObject,
    ) -> Result<LoadedPlugin, Unmade> {
        let create = self.module.create();
        let creation = Creation {
            config: serde_json::from_slice(config).expect("the host has made it"),
            host: HostDescription {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                purpose,
            },
        };
        let creation = serde_json::to_vec(&creation).expect("JSON and plain strings");
        let made = blame(&self.blame, || {
            create(creation.as_slice().into(), log).into_result()
        });
        made.map(|object| LoadedPlugin {
            name: name.to_owned(),
            object: Blamed::new(self.blame, object),
            got_stuck: Arc::clone(&self.got_stuck),
        })
        .map_err(|fault| {
            let fault = Fault::from_json(fault.as_slice());
            let kind = fault.kind;
            let said = Fault {
                kind: FaultKind::Refused,
                ..fault
            };
            match kind {
                FaultKind::Panicked => Unmade::Panicked(said.to_string()),
                FaultKind::Refused => Unmade::Refused(said.to_string()),
            }
        })
    }
}

/// The module of a plugin that was built against this ABI, a newer version of it, or an older one.
fn root(header: &'static LibHeader) -> Result<AbiModule_Ref, CheckError> {
    let found = header.version_strings().version.as_str();
    if !speak_the_same(found, ABI_VERSION) {
        return Err(other_abi(found, ""));
    }
    let Some(layout) = header.layout() else {
        return Err(other_abi(found, "it does not say what it consists of"));
    };
    let refused = match header.init_root_module::<AbiModule_Ref>() {
        // It has less than this host knows, or it differs.
        Err(refused @ LibraryError::AbiInstability(_)) => refused,
        module => return module.map_err(|error| misfit(Some(header), &error)),
    };
    if check_layout_compatibility(layout, <AbiModule_Ref as StableAbi>::LAYOUT).is_err() {
        return Err(misfit(Some(header), &refused));
    }
    // SAFETY: All that the plugin has, this host has in the same places; what only the host has is appended
    // behind that, where accessors look at the length of what the plugin brings before they reach for it.
    unsafe { header.init_root_module_with_unchecked_layout::<AbiModule_Ref>() }
        .map_err(|error| misfit(Some(header), &error))
}

/// Whether a plugin of the ABI's version `found` may be loaded by a host that was built with `own`.
fn speak_the_same(found: &str, own: &str) -> bool {
    let generation = |version: &str| {
        let mut numbers = version.split('.').map(str::parse::<u32>);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        // Before the first release every minor version may change everything.
        Some((major, if major == 0 { minor } else { 0 }))
    };
    generation(found).is_some() && generation(found) == generation(own)
}

/// What is said of a plugin that panicked instead of being made.
pub(super) fn panicked_while_made(name: &str, said: &str) -> CheckError {
    CheckError::new(
        Step::Load,
        format!("it panicked while it was made from its configuration: {said}"),
        format!(
            "mend the plugin, or change {}",
            super::listing::config_file(name)
        ),
    )
}

/// Closes every descriptor beyond the standard three, which whoever started this process left open, so that
/// code that is to be tried cannot reach what is behind them.
///
/// To be called before the process has opened anything.
pub(super) fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<i32> = open
        .filter_map(|open| open.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: Nothing in this process holds a descriptor beyond the standard ones yet, so none of these has
        // an owner. The one that listed them is closed by now, and closing its number again does no more than fail.
        unsafe { libc::close(number) };
    }
}

/// The dynamic loader's own words, what is behind them, and what that calls for.
fn unopened(copy: &Path, error: &libloading::Error) -> CheckError {
    // The cause is not part of the error's own text.
    let said = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    let said = said.replace(&format!("{}: ", copy.display()), "");
    // Where no segment can be mapped, glibc does not say why: so it is tried.
    let could_not_map = said.contains("failed to map segment");
    let tried = could_not_map.then(|| try_to_map(copy).err()).flatten();
    shortage::of_loader(said, tried)
}

/// Maps a file as the dynamic loader does with code, and unmaps it.
fn try_to_map(copy: &Path) -> io::Result<()> {
    let file = File::open(copy)?;
    let bytes = file.metadata()?.len();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
    // SAFETY: The system chooses a place where nothing is, nobody looks at what is there, and it is gone before this
    // returns.
    unsafe {
        let place = mmap(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::EXEC,
            MapFlags::PRIVATE,
            &file,
            0,
        )?;
        munmap(place, bytes)?;
    }
    Ok(())
}

fn misfit(header: Option<&'static LibHeader>, error: &LibraryError) -> CheckError {
    let cause = match error {
        LibraryError::InvalidAbiHeader(found)
            if found.magic_string != AbiHeader::VALUE.magic_string =>
        {
            format!("what it exports as `{EXPORT}` is not what plugin_api::plugin! writes")
        }
        LibraryError::InvalidAbiHeader(found) => format!(
            "it is carried by abi_stable {}.{}, this host by {}.{}",
            found.abi_major,
            found.abi_minor,
            AbiHeader::VALUE.abi_major,
            AbiHeader::VALUE.abi_minor
        ),
        LibraryError::RootModule { err, .. } => format!("its module could not be made: {err}"),
        other => tail(&other.to_string()).to_owned(),
    };
    match header {
        Some(header) => other_abi(header.version_strings().version.as_str(), &cause),
        None => CheckError::new(Step::Abi, cause, rebuild()),
    }
}

fn other_abi(found: &str, cause: &str) -> CheckError {
    let speaks = match ABI_VERSION.split('.').collect::<Vec<_>>()[..] {
        ["0", minor, ..] => format!("0.{minor}.x"),
        [major, ..] => format!("{major}.x"),
        [] => ABI_VERSION.to_owned(),
    };
    let mut text = format!("built against ABI {found}, this host speaks {speaks}");
    if !cause.is_empty() {
        text.push_str(": ");
        text.push_str(cause);
    }
    CheckError::new(Step::Abi, text, rebuild())
}

fn rebuild() -> String {
    format!("rebuild it against plugin-api {PLUGIN_API_VERSION}")
}

/// Of a refused layout, tens of kilobytes, the part that says what differs.
fn tail(report: &str) -> &str {
    report
        .rfind("Error:")
        .map_or(report, |at| &report[at + "Error:".len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_refused_layout_only_the_difference_is_shown() {
        let report = "Compared <this>: … 30 kB … Error:one\n\nLayout … \nError:too many fields\nExpected:\n 1\nFound:\n 2\n";
        let error =
            LibraryError::AbiInstability(abi_stable::std_types::RBoxError::from_fmt(report));
        let refusal = misfit(None, &error).to_string();
        assert!(
            refusal.ends_with(&format!(
                "host: too many fields Expected: 1 Found: 2; rebuild it against plugin-api {PLUGIN_API_VERSION}"
            )),
            "{refusal}"
        );
    }

    #[test]
    fn a_plugin_needs_the_same_major_and_before_the_first_release_the_same_minor_version() {
        for (found, own, fits) in [
            ("0.1.0", "0.1.7", true),
            ("0.1.9", "0.1.0", true),
            ("0.2.0", "0.1.0", false),
            ("0.1.0", "0.2.0", false),
            ("1.0.0", "1.4.0", true),
            ("1.4.0", "1.0.0", true),
            ("2.0.0", "1.9.0", false),
            ("0.1.0", "1.0.0", false),
            ("1", "1.0.0", false),
            ("", "", false),
        ] {
            assert_eq!(speak_the_same(found, own), fits, "{found} on {own}");
        }
        let refusal = other_abi("2.0.0", "").to_string();
        let [major, minor, _] = ABI_VERSION.split('.').collect::<Vec<_>>()[..] else {
            panic!("expected three numbers");
        };
        let speaks = format!(
            "{major}.{}",
            if major == "0" {
                format!("{minor}.x")
            } else {
                "x".into()
            }
        );
        assert!(
            refusal.contains(&format!(
                "built against ABI 2.0.0, this host speaks {speaks}; rebuild"
            )),
            "{refusal}"
        );
    }

    #[test]
    fn what_the_dynamic_loader_cannot_open_is_told_in_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("0-libx.so");
        std::fs::write(&copy, "text").unwrap();
        let Err(error) = Module::open(&copy, Blame::new("x", "00", &copy)) else {
            panic!("text was loaded");
        };
        assert_eq!(error.step, Step::Load);
        assert!(
            error.cause.contains("file too short") || error.cause.contains("invalid ELF"),
            "{error}"
        );
        assert!(!error.cause.contains("0-libx"), "{error}");
    }
}
