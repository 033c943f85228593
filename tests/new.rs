//! `rm-host new` writes a plugin that builds, passes its tests and serves, as it is.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rm_tests::{TestHost, host, plugin_api_folder, profile_folder};
use serde_json::{Value, json};

fn new(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(host());
    command.arg("new").args(arguments).current_dir(folder);
    command.output().expect("the host was built")
}

/// Runs cargo offline, in the target folder of this workspace, most of whose libraries it can take as they are.
fn cargo(package: &Path, command: &str) {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()))
        .args([command, "--offline", "--quiet", "--target-dir"])
        .arg(profile_folder().with_file_name(""))
        .current_dir(package)
        .output()
        .expect("cargo runs this test");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    assert_eq!(said, "", "{command}: a new plugin has no warning");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_new_plugin_is_built_tested_and_served_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let written = new(folder.path(), &["new-plugin"]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let next = text(&written.stdout);
    for step in [
        "cd new-plugin && cargo test\n",
        "cargo build --release && cp target/release/libnew_plugin.so PLUGINS/\n",
        "rm-cli request countNewPlugin\n",
    ] {
        assert!(next.contains(step), "{next}");
    }

    let package = folder.path().join("new-plugin");
    // The same versions as here, so that nothing has to be fetched.
    let lock = plugin_api_folder().with_file_name("Cargo.lock");
    fs::copy(lock, package.join("Cargo.lock")).expect("the workspace has one");
    cargo(&package, "test");
    cargo(&package, "build");

    let library = profile_folder().with_file_name("debug/libnew_plugin.so");
    let host = TestHost::plan().library("new_plugin", &library).start();
    let mut client = host.connect();
    let mut ask = |payload| client.ask("countNewPlugin", payload).number("count");
    assert_eq!(ask(Value::Null), 1);
    assert_eq!(ask(json!({ "by": 4 })), 5);
}

#[test]
fn inside_this_checkout_a_new_plugin_is_a_workspace_of_its_own() {
    // Where cargo would take it for a package of this workspace that this does not name.
    let folder = tempfile::tempdir_in(plugin_api_folder()).expect("the checkout can be written");
    let api = plugin_api_folder();
    let api = api.to_str().expect("it is UTF-8");
    let written = new(folder.path(), &["inner", "--plugin-api", api]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let package = folder.path().join("inner");
    let lock = plugin_api_folder().with_file_name("Cargo.lock");
    fs::copy(lock, package.join("Cargo.lock")).expect("the workspace has one");
    cargo(&package, "build");
    let library = profile_folder().with_file_name("debug/libinner.so");
    let host = TestHost::plan().library("inner", &library).start();
    let mut client = host.connect();
    assert_eq!(client.ask("countInner", Value::Null).number("count"), 1);
}

#[test]
fn a_repository_and_a_version_stand_in_the_manifest_as_cargo_takes_them() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (name, plugin_api, dependency) in [
        (
            "by-git",
            "https://example.org/rm-host.git",
            "{ git = \"https://example.org/rm-host.git\" }",
        ),
        ("by-version", "0.1", "\"0.1\""),
    ] {
        let written = new(folder.path(), &[name, "--plugin-api", plugin_api]);
        assert!(written.status.success(), "{}", text(&written.stderr));
        let manifest = fs::read_to_string(folder.path().join(name).join("Cargo.toml"));
        let manifest = manifest.expect("it was written");
        let line = format!("plugin-api = {dependency}");
        assert!(manifest.contains(&line), "{manifest}");
    }
}

#[test]
fn what_exists_and_what_is_no_name_is_refused_with_a_word() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::create_dir(folder.path().join("hall")).expect("it can be written");
    for (arguments, words) in [
        (&["hall"][..], "`hall` exists already"),
        (&["Hall"], "all lower-case ASCII"),
        (&["seats", "--plugin-api", "/nowhere"], "No such file"),
    ] {
        let refused = new(folder.path(), arguments);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let left = fs::read_dir(folder.path()).expect("it can be read").count();
    assert_eq!(left, 1, "nothing was written");
}
