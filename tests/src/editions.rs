//! Other editions of this checkout: plugin-api, and with it the host, as they would be at another version of the ABI.
//!
//! An edition is a copy of the sources in the target folder, with what a later version appends written into it and its
//! versions changed, and is built like everything else. So a plugin of the past and one of the future are real
//! libraries of the code of today, and the sources hold no trace of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::artifacts::{profile_folder, workspace};

/// Tests that need the same one must not write it while another builds it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What an edition is.
#[derive(Clone, Copy, Debug)]
pub struct Edition {
    /// The version of its ABI.
    pub abi: &'static str,
    /// The version of the crate around it.
    pub plugin_api: &'static str,
    /// How many times something was appended to each of its types. What was appended first answers 11 in the plugin and
    /// 21 in the host, what was appended second 12 and 22; where the other side does not have it, its default is 0.
    pub appended: u32,
    /// Whether an argument has another type than its version says.
    pub is_misfit: bool,
}

impl Edition {
    /// With nothing appended.
    pub const fn new(abi: &'static str, plugin_api: &'static str) -> Self {
        Self {
            abi,
            plugin_api,
            appended: 0,
            is_misfit: false,
        }
    }

    /// With something appended so many times.
    pub const fn appended(self, appended: u32) -> Self {
        Self { appended, ..self }
    }

    /// With an argument that differs.
    pub const fn misfit(self) -> Self {
        Self {
            is_misfit: true,
            ..self
        }
    }

    /// Builds `fixtures/edition.rs` against it.
    ///
    /// # Panics
    /// It cannot be built.
    #[track_caller]
    pub fn plugin(self) -> PathBuf {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.name();
        let workspace_manifest = self.written("plugin", &["plugin-api"]);
        let package = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition.workspace = true\n\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nplugin-api.workspace = true\nserde.workspace = true\n\n"
        );
        let folder = self.folder("plugin");
        write_changed(&folder.join("Cargo.toml"), &(package + &workspace_manifest));
        let fixture = workspace().join("tests/fixtures/edition.rs");
        write_changed(&folder.join("src/lib.rs"), &read(&fixture));
        build(&folder, &name);
        profile_folder().join(format!("lib{name}.so"))
    }

    /// Builds the host with it. What was appended is asked for each time a plugin is made and a lane is opened, and logged.
    ///
    /// # Panics
    /// It cannot be built.
    #[track_caller]
    pub fn host(self) -> PathBuf {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let workspace_manifest = self.written("host", &["host", "plugin-api", "protocol"]);
        let folder = self.folder("host");
        write_changed(&folder.join("Cargo.toml"), &workspace_manifest);
        build(&folder, "rm-host");
        profile_folder().join(format!("rm-host-{}", self.name()))
    }

    fn name(self) -> String {
        let misfit = if self.is_misfit { "_misfit" } else { "" };
        format!("edition_{}{misfit}", self.abi.replace('.', "_"))
    }

    /// What tells its packages from all others that are built into the same target folder, those of this workspace above
    /// all: cargo knows a package by its name, its version and its path within its workspace, and takes two that have
    /// all of these in common for one.
    fn mark(self, kind: &str) -> String {
        format!("{}-{kind}", self.name().replace('_', "-"))
    }

    fn folder(self, kind: &str) -> PathBuf {
        target_folder().join("editions").join(self.mark(kind))
    }

    /// Writes its packages, and returns the manifest of their workspace. What is there already and has not changed keeps its
    /// time, so that nothing is built twice.
    fn written(self, kind: &str, members: &[&str]) -> String {
        let (folder, mark) = (self.folder(kind), self.mark(kind));
        for member in members {
            self.copy(
                &mark,
                &workspace().join(member),
                &folder.join(&mark).join(member),
            );
        }
        // The programs' build script, which stands beside them.
        let script = read(&workspace().join("commit.rs"));
        write_changed(&folder.join(&mark).join("commit.rs"), &script);
        let lock = read(&workspace().join("Cargo.lock"));
        // Cargo takes out of its own copy what an edition does not need.
        let taken = folder.join("Cargo.lock of the workspace");
        if fs::read_to_string(&taken).is_ok_and(|taken| taken == lock) {
            return own_workspace(&mark, members);
        }
        write_changed(&folder.join("Cargo.lock"), &lock);
        write_changed(&taken, &lock);
        own_workspace(&mark, members)
    }

    fn copy(self, mark: &str, from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("the target folder can be written");
        for entry in fs::read_dir(from).expect("it is part of the checkout") {
            let path = entry.expect("it can be listed").path();
            let copy = to.join(path.file_name().expect("it has a name"));
            if path.is_dir() {
                self.copy(mark, &path, &copy);
            } else {
                write_changed(&copy, &self.edited(mark, &path, read(&path)));
            }
        }
        // A module that was moved must not be there twice.
        for entry in fs::read_dir(to).expect("it was just made") {
            let copy = entry.expect("it can be listed").path();
            if from.join(copy.file_name().expect("it has a name")).exists() {
                continue;
            }
            let removed = if copy.is_dir() {
                fs::remove_dir_all(copy)
            } else {
                fs::remove_file(copy)
            };
            removed.expect("the target folder can be written");
        }
    }

    /// A file of the checkout as it is in this edition.
    fn edited(self, mark: &str, path: &Path, text: String) -> String {
        let file = path.strip_prefix(workspace()).expect("it lies in there");
        let mut text = Text { file, text };
        match file.to_str() {
            Some("plugin-api/Cargo.toml") => {
                let version = format!("\nversion = \"{}+{mark}\"", self.plugin_api);
                text.replace("\nversion.workspace = true", &version);
            }
            Some("plugin-api/src/abi.rs") => self.edit_abi(&mut text),
            Some("host/Cargo.toml") => {
                let program = format!("[[bin]]\nname = \"rm-host-{}\"", self.name());
                text.replace("[[bin]]\nname = \"rm-host\"", &program);
            }
            Some("host/src/plugins/loader.rs") => self.edit_loader(&mut text),
            Some("host/src/state/access.rs") => {
                for round in 1..=self.appended {
                    let method = format!("fn appended_{round}(&self) -> u32 {{ {} }}", 20 + round);
                    text.add_behind("impl AbiHost for LaneHost {", &method);
                }
            }
            _ => {}
        }
        text.text
    }

    fn edit_abi(self, abi: &mut Text<'_>) {
        let version = abi.between("pub const ABI_VERSION: &str = \"", "\";");
        abi.replace(
            &format!("ABI_VERSION: &str = \"{version}\""),
            &format!("ABI_VERSION: &str = \"{}\"", self.abi),
        );
        // What the fixture reads, whatever its edition knows.
        abi.add_behind(
            "pub const NO_DEADLINE: u64 = u64::MAX;",
            "pub static HEARD: [std::sync::atomic::AtomicU32; 2] = \
             [const { std::sync::atomic::AtomicU32::new(u32::MAX) }; 2];",
        );
        // The last comes first behind its place.
        for round in (1..=self.appended).rev() {
            append_to_abi(abi, round);
        }
        if self.is_misfit {
            abi.replace(
                "    fn handle(&mut self, jobber: u32, payload: RSlice<'_, u8>, answer: &mut RVec<u8>) -> u32",
                "    fn handle(&mut self, jobber: u64, payload: RSlice<'_, u8>, answer: &mut RVec<u8>) -> u32",
            );
            abi.replace(
                "self.value().handle(jobber, payload",
                "self.value().handle(jobber as u32, payload",
            );
        }
    }

    fn edit_loader(self, loader: &mut Text<'_>) {
        for round in 1..=self.appended {
            loader.replace(
                "        let create = self.module.create();",
                &format!(
                    "        tracing::info!(\"appended {round}: its module says {{:?}}\", \
                     self.module.appended_{round}().map(|ask| ask()));\n        let create = self.module.create();"
                ),
            );
            loader.replace(
                "        let said = self.object.ask(|object| object.describe());",
                &format!(
                    "        tracing::info!(\"appended {round}: its plugin says {{}}\", \
                     self.object.ask(|object| object.appended_{round}()));\n        \
                     let said = self.object.ask(|object| object.describe());"
                ),
            );
            loader.replace(
                "            opened\n                .map(|lane| Blamed::new",
                &format!(
                    "            opened\n                .map(|lane| {{ tracing::info!(\
                     \"appended {round}: its lane says {{}}\", lane.appended_{round}()); lane }})\n                \
                     .map(|lane| Blamed::new"
                ),
            );
        }
    }
}

/// Appends to the module, to each object and to who calls or has them.
fn append_to_abi(abi: &mut Text<'_>, round: u32) {
    let name = format!("appended_{round}");
    let default = format!("fn {name}(&self) -> u32 {{ 0 }}");
    let own = format!("fn {name}(&self) -> u32 {{ {} }}", 10 + round);
    abi.add_behind(
        "        log: AbiLogObject,\n    ) -> RResult<AbiPluginObject, RVec<u8>>,",
        &format!("pub {name}: extern \"C\" fn() -> u32,"),
    );
    abi.add_behind("            create: create::<P>,", &format!("{name},"));
    abi.add_behind(
        "pub type Header = LibHeader;",
        &format!("extern \"C\" fn {name}() -> u32 {{ {} }}", 10 + round),
    );
    for last in [
        "    fn open_lane(&self, lane: u32, host: AbiHostObject) -> RResult<AbiLaneObject, RVec<u8>>;",
        "    fn handle(&mut self, jobber: u32, payload: RSlice<'_, u8>, answer: &mut RVec<u8>) -> u32;",
        "    fn call_facts(&self, facts: RSliceMut<'_, u64>) -> u32;",
    ] {
        abi.add_behind(last, &default);
    }
    for implementation in [
        "impl AbiPlugin for Guard<Definition> {",
        "impl AbiLane for Guard<Box<dyn LaneCode>> {",
    ] {
        abi.add_behind(implementation, &own);
    }
    abi.add_behind(
        "        self.0.call_facts((&mut facts[..]).into());",
        &format!(
            "HEARD[{}].store(self.0.{name}(), std::sync::atomic::Ordering::SeqCst);",
            round - 1
        ),
    );
}

/// A file of the checkout that is being edited.
struct Text<'a> {
    file: &'a Path,
    text: String,
}

impl Text<'_> {
    fn add_behind(&mut self, place: &str, addition: &str) {
        self.replace(place, &format!("{place}\n{addition}"));
    }

    /// Replaces each occurrence, of which there has to be one.
    fn replace(&mut self, found: &str, by: &str) {
        assert!(
            self.text.contains(found),
            "{} has changed and no longer has {found:?}: teach tests/src/editions.rs what is there now",
            self.file.display()
        );
        self.text = self.text.replace(found, by);
    }

    fn between(&self, before: &str, behind: &str) -> String {
        let found = self.text.split_once(before).map(|(_, rest)| rest);
        let found = found.and_then(|rest| rest.split_once(behind));
        let Some((found, _)) = found else {
            panic!("{} no longer has {before:?}", self.file.display());
        };
        found.to_owned()
    }
}

/// The manifest of this workspace with other members, in a folder of their own.
fn own_workspace(mark: &str, members: &[&str]) -> String {
    let manifest = read(&workspace().join("Cargo.toml"));
    let (_, rest) = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once("]\n"))
        .expect("the workspace has members");
    let (package, rest) = rest
        .split_once("version = \"")
        .expect("they have a version");
    let (version, rest) = rest.split_once('"').expect("a string ends");
    let rest = rest.replace("{ path = \"", &format!("{{ path = \"{mark}/"));
    let members = members.iter().map(|member| format!("{mark}/{member}"));
    let members: Vec<_> = members.collect();
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = {members:?}\n{package}version = \"{version}+{mark}\"{rest}\n"
    )
}

/// In the target folder of this workspace, most of whose libraries it can take as they are.
fn build(folder: &Path, package: &str) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(cargo);
    build
        .current_dir(folder)
        .args([
            "build",
            "--offline",
            "--quiet",
            "-p",
            package,
            "--target-dir",
        ])
        .arg(target_folder());
    if profile_folder().ends_with("release") {
        build.arg("--release");
    }
    let output = build.output().expect("cargo runs this test");
    assert!(
        output.status.success(),
        "{build:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn target_folder() -> PathBuf {
    profile_folder().with_file_name("")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return;
    }
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).expect("the target folder can be written");
    fs::write(path, text).expect("the target folder can be written");
}
