//! What the docs show of a program is what it says.

use std::{fs, path::Path, process::Command};

/// What a program prints for `--help`, for no terminal and with no flag in its environment.
fn help(program: &Path, of: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(of).arg("--help").env_clear();
    let output = command.output().expect("it was built");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

/// The block of text that follows on a mark.
#[track_caller]
fn shown(page: &str, mark: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page);
    let text = fs::read_to_string(&path).expect("the page is there");
    let (_, after) = text.split_once(mark).expect("the page has the mark");
    let (_, block) = after.split_once("```text\n").expect("a block follows");
    let (block, _) = block.split_once("```").expect("it ends");
    block.to_owned()
}

#[test]
fn the_flags_of_the_host_are_shown_as_it_tells_them() {
    let said = help(&rm_tests::host(), &[]);
    let shown = shown("operations.md", "<!-- `rm-host --help` -->");
    for (shown, said) in shown.lines().zip(said.lines()) {
        assert_eq!(shown.trim_end(), said.trim_end(), "copy `rm-host --help`");
    }
    assert_eq!(shown.lines().count(), said.lines().count());
}

#[test]
fn each_flag_of_the_host_can_be_given_in_the_environment() {
    let said = help(&rm_tests::host(), &[]);
    let flags = said
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags = flags.filter_map(|flag| flag.split([' ', '=']).next());
    let mut count = 0;
    for flag in flags {
        let variable = format!("[env: RM_{}=]", flag.replace('-', "_").to_uppercase());
        assert!(said.contains(&variable), "--{flag}: no {variable}");
        count += 1;
    }
    assert!(count > 10, "the flags are found: {said}");
}
