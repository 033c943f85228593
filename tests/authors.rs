//! What an author of a first plugin meets, in a package of their own outside of this workspace.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rm_tests::{SERVES, TestHost, plugin_api_folder, profile_folder};
use serde_json::Value;

/// As long as a first plugin may be.
const FIRST_PLUGIN: &str = r#"use plugin_api::prelude::*;

#[derive(Serialize)]
struct Hello { hello: u64 }

fn hello(n: &mut u64) -> Answer<Hello> { *n += 1; Ok(Hello { hello: *n }) }

plugin! { memory |_| 0 => { "hello" => hello } }
"#;

struct Package {
    folder: tempfile::TempDir,
}

impl Package {
    fn new(name: &str, profile: &str, source: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::create_dir(folder.path().join("src")).expect("it can be written");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nplugin-api = {{ path = {:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\n\
             {profile}\n[workspace]\n",
            plugin_api_folder()
        );
        fs::write(folder.path().join("Cargo.toml"), manifest).expect("it can be written");
        fs::write(folder.path().join("src/lib.rs"), source).expect("it can be written");
        // The same versions as here, so that nothing has to be fetched.
        let lock = plugin_api_folder().with_file_name("Cargo.lock");
        fs::copy(lock, folder.path().join("Cargo.lock")).expect("the workspace has one");
        Self { folder }
    }

    /// Runs cargo offline, in the target folder of this workspace, most of whose libraries it can take as they are.
    fn cargo(&self, command: &str) -> (PathBuf, Output) {
        self.cargo_with(&[command])
    }

    fn cargo_with(&self, arguments: &[&str]) -> (PathBuf, Output) {
        let target = profile_folder().with_file_name("");
        let output =
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()))
                .args(arguments)
                .args(["--offline", "--quiet", "--target-dir"])
                .arg(&target)
                .current_dir(self.folder.path())
                .output()
                .expect("cargo runs this test");
        (target.join("debug"), output)
    }

    /// What is wrong with it: of each error the line in which it stands, what it says, and how all of it is shown.
    fn errors(&self) -> Vec<(usize, String, String)> {
        let (_, output) = self.cargo_with(&["check", "--message-format=json"]);
        assert!(!output.status.success(), "it compiles");
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = messages.lines().map(|line| {
            let message: Value = serde_json::from_str(line).expect("cargo writes JSON");
            message["message"].clone()
        });
        let errors = messages.filter(|message| message["level"] == "error");
        let errors = errors.filter_map(|error| {
            // The last one counts the others, and stands nowhere.
            let spans = error["spans"].as_array()?;
            let span = spans.iter().find(|span| span["is_primary"] == true)?;
            let line = span["line_start"].as_u64()? as usize;
            let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
            Some((line, text("message"), text("rendered")))
        });
        errors.collect()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_first_plugin_has_eight_lines_and_is_served_from_where_it_was_built() {
    assert!(FIRST_PLUGIN.lines().count() <= 8);
    let package = Package::new("first_plugin", "", FIRST_PLUGIN);
    let (target, output) = package.cargo("build");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "", "a first plugin has no warning");
    let library: &Path = &target.join("libfirst_plugin.so");
    let host = TestHost::plan().library("first_plugin", library).start();
    let mut client = host.connect();
    for hello in 1..=3 {
        assert_eq!(client.ask("hello", Value::Null).number("hello"), hello);
    }
}

#[test]
fn a_folder_that_cargo_builds_into_is_watched_like_any_other() {
    let build = |package: &Package| {
        let (folder, output) = package.cargo("build");
        assert!(output.status.success(), "{}", text(&output));
        folder
    };
    let source = |by: u64| {
        // A type of its own, as other plugins are built there, too.
        let source = FIRST_PLUGIN.replace("\"hello\"", "\"helloHere\"");
        source.replace("*n += 1", &format!("*n += {by}"))
    };
    let package = Package::new("built_here", "", &source(1));
    let plan = TestHost::plan();
    fs::remove_dir(plan.folder()).expect("it is empty");
    symlink(build(&package), plan.folder()).expect("ln -s");
    let host = plan.start();
    let mut client = host.connect();
    let mut hello = || client.ask("helloHere", Value::Null).number("hello");
    assert_eq!(hello(), 1);
    for by in [10, 100] {
        let file = package.folder.path().join("src/lib.rs");
        fs::write(file, source(by)).expect("it can be written");
        let from = host.log().len();
        build(&package);
        host.said_of(from, "built_here", SERVES);
        assert_eq!(hello(), by);
    }
}

#[test]
fn a_plugin_that_would_abort_on_a_panic_does_not_compile_and_is_told_why() {
    let package = Package::new(
        "aborting_plugin",
        "[profile.dev]\npanic = \"abort\"\n",
        FIRST_PLUGIN,
    );
    let (_, output) = package.cargo("check");
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    for word in [
        "a plugin must be built with panic = \"unwind\"",
        "Take `panic = \"abort\"` out",
    ] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn each_mistake_of_an_author_gets_one_error_of_its_own_in_its_own_line() {
    let source = include_str!("fixtures/mistakes.rs");
    let package = Package::new("mistakes", "", source);
    let errors = package.errors();
    let expected = (1..).zip(source.lines());
    let expected = expected.filter_map(|(line, text)| Some((line, text.split_once("//~ ")?.1)));
    let expected: Vec<(usize, &str)> = expected.collect();
    for (line, words) in &expected {
        let said: Vec<_> = errors.iter().filter(|error| error.0 == *line).collect();
        let [(_, message, _)] = &said[..] else {
            panic!("line {line}: expected one error, {words:?}, found {said:#?}");
        };
        assert!(message.starts_with(words), "line {line}: {message}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    // Each says what to do, too.
    for (words, remedy) in [
        (
            "in this order",
            "as in `fn get(ask: Get, hall: &mut Numbers, call: &Call)",
        ),
        ("refuses with", "`.map_err(|error| Refusal::new("),
        ("as a payload", "say `#[derive(Deserialize)]` on `Plain`"),
        ("be answered", "say `#[derive(Serialize)]` on `Plain`"),
        ("not `async`", "take `async` out"),
        ("no `&Config`", "`Setting::new(…)` in a tuple"),
        ("returns `Answer", "`Answer<T>` is `Result<T, Refusal>`"),
        ("share `()`", "a `stateless` block shares nothing"),
    ] {
        let of_this = errors
            .iter()
            .find(|(_, message, _)| message.contains(words));
        let (_, _, shown) = of_this.expect("it is one of them");
        assert!(shown.contains(remedy), "{shown}");
    }
}

#[test]
fn what_is_no_block_is_named_with_the_blocks_that_there_are() {
    let hello = "use plugin_api::prelude::*;\n\nfn hello() -> Answer { Ok(()) }\n\n";
    let blocks = "A block is one of `state |c| STATE => { … }`, `memory |c| VALUE => { … }`, `stateless { … }`";
    let pairs =
        "expected `\"TYPE\" => FUNCTION`, one for each type and commas between them, found `";
    for (plugin, expected) in [
        (
            r#"plugin! { stateless { "a" > hello } statless { "hello" => hello } }"#,
            vec![
                [pairs, r#""a" > hello`"#],
                ["expected a block, found `statless`", blocks],
            ],
        ),
        (
            r#"plugin! { sate |_| Numbers::range("hall", 1..=5) => { "hello" => hello } }"#,
            vec![["expected a block, found `sate`", blocks]],
        ),
        (
            r#"plugin! { stateless { "hello" => hello } config u64; }"#,
            vec![[
                "expected a block, found `config`",
                "Before all of them come `name \"NAME\";` and `config TYPE;`, in this order",
            ]],
        ),
        (
            r#"plugin! { stateless { "hello" => hello } test "it is said" { "hello" = {} } }"#,
            vec![[
                "expected `\"TYPE\" PAYLOAD => ANSWER`",
                r#"found `"hello" = {}`"#,
            ]],
        ),
    ] {
        let package = Package::new("no_block", "", &format!("{hello}{plugin}\n"));
        let errors = package.errors();
        let said: Vec<_> = errors.iter().map(|(_, message, _)| message).collect();
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for words in expected {
            let told = said
                .iter()
                .any(|said| words.iter().all(|word| said.contains(word)));
            assert!(told, "{words:?}: {said:#?}");
        }
    }
}
