//! The programs and libraries under test, built once for each test program by the cargo that runs it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The example plugins of the workspace.
const EXAMPLES: [&str; 4] = ["counter", "proxies", "rooms", "tickets"];

/// `rm-host`.
pub fn host() -> PathBuf {
    built().join("rm-host")
}

/// `rm-cli`.
pub fn cli() -> PathBuf {
    built().join("rm-cli")
}

/// The library of one of the workspace's example plugins.
pub fn example_plugin(name: &str) -> PathBuf {
    assert!(EXAMPLES.contains(&name), "no example plugin `{name}`");
    built().join(format!("lib{name}.so"))
}

/// The library of a plugin in `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    fixtures_built()
        .join("examples")
        .join(format!("lib{name}.so"))
}

/// Where a plugin finds the crate that it is written against.
pub fn plugin_api_folder() -> PathBuf {
    workspace().join("plugin-api")
}

/// Where cargo puts what it builds in the profile of this test, `target/debug` mostly.
pub fn profile_folder() -> PathBuf {
    let program = env::current_exe().expect("a test knows its own file");
    // …/PROFILE/deps/NAME-HASH
    let folder = program.ancestors().nth(2);
    folder.expect("cargo puts tests into a folder").to_owned()
}

pub(crate) fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("this package lies in the workspace")
}

/// Builds the programs and the example plugins, which takes a moment where nothing has changed. `cargo test` alone
/// would build the fixtures only, and those only if no single test is named.
fn built() -> &'static Path {
    // A failure is kept too: what cannot be built once is not tried again for every test.
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let packages = ["rm-host", "rm-cli"].iter().chain(&EXAMPLES);
    let packages = packages.flat_map(|name| ["-p", name]);
    let what: Vec<_> = ["--bins", "--lib"].into_iter().chain(packages).collect();
    or_panic(BUILT.get_or_init(|| build(&what)))
}

/// Builds the fixtures. Optimized that takes minutes, so what needs none does without.
fn fixtures_built() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    or_panic(BUILT.get_or_init(|| build(&["--examples", "-p", "rm-tests"])))
}

fn build(what: &[&str]) -> Result<PathBuf, String> {
    let profile = profile_folder();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(cargo);
    build
        .current_dir(workspace())
        .args(["build", "--quiet"])
        .args(what)
        .arg("--target-dir")
        .arg(profile.parent().expect("profiles lie in the target folder"));
    if profile.file_name().is_some_and(|name| name == "release") {
        build.arg("--release");
    }
    let status = build.status().expect("cargo runs this test");
    if status.success() {
        Ok(profile)
    } else {
        Err(format!("what is to be tested cannot be built: {build:?}"))
    }
}

fn or_panic(built: &'static Result<PathBuf, String>) -> &'static Path {
    built.as_ref().unwrap_or_else(|failure| panic!("{failure}"))
}
