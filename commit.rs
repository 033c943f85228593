//! Build script of the programs: tells them, as `BUILT_FROM`, which commit they are built from, for `--version`; nothing where that is not
//! known, as in a tarball.
//!
//! It runs anew only when another commit is checked out. Changes that are not committed are not told of: to know of them it would
//! have to run at each build.
#![allow(
    clippy::print_stdout,
    reason = "it is how a build script speaks to cargo"
)]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=../commit.rs");
    let commit = commit_of(&package).unwrap_or_default();
    println!("cargo::rustc-env=BUILT_FROM={commit}");
}

/// ` (commit 0123456789ab)`.
fn commit_of(package: &Path) -> Option<String> {
    // The sources may lie in a repository that is not theirs.
    let prefix = git(package, &["rev-parse", "--show-prefix"])?;
    if Path::new(&prefix) != Path::new(package.file_name()?) {
        return None;
    }
    git(package, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let commit = git(package, &["rev-parse", "--short=12", "HEAD"])?;
    // The second grows by a line with each commit, wherever HEAD leads.
    for name in ["HEAD", "logs/HEAD"] {
        let path = package.join(git(package, &["rev-parse", "--git-path", name])?);
        // Of a file that is not there cargo takes each build for a change.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    Some(format!(" (commit {commit})"))
}

/// The one line that git answers with.
fn git(package: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.current_dir(package).args(words);
    // Of a hook in whose course this is built, maybe in another repository.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    command.env_remove("GIT_INDEX_FILE");
    let output = command.output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| line.trim_end().to_owned())
}
