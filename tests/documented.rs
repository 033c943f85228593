//! What the docs show of a program is what it says.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

/// Where the files lie that a page names by the end of their path.
const ROOTS: [&str; 8] = [
    "",
    "host",
    "host/src",
    "plugin-api/src",
    "protocol/src",
    "client/src",
    "cli/src",
    "tests",
];

/// The file or folder that a page calls `name`.
fn named(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ways = ROOTS.iter().flat_map(|root| {
        let path = workspace.join(root).join(name.trim_end_matches('/'));
        [path.with_extension("rs"), path]
    });
    ways.into_iter().find(|path| path.exists())
}

#[test]
fn every_file_that_the_page_on_the_house_names_is_there() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/architecture.md");
    let text = fs::read_to_string(page).expect("the page is there");
    let is_path = |word: &&str| {
        let letters = word.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/_-.".contains(&byte)
        });
        letters && word.trim_end_matches('/').contains('/') && !word.starts_with('/')
    };
    let words = text.split('`').skip(1).step_by(2).filter(is_path);
    let mut count = 0;
    for word in words {
        assert!(named(word).is_some(), "nothing is called `{word}`");
        count += 1;
    }
    assert!(count > 60, "the page names {count} files");

    // What it says where to look for is there.
    let (_, table) = text.split_once("## Where things are").expect("it has them");
    let (table, _) = table.split_once("\n## ").expect("more follows");
    let rows: Vec<_> = table.lines().filter(|line| line.contains('?')).collect();
    assert!(rows.len() >= 10, "{table}");
    for row in rows {
        let words: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let file = named(words[0]).expect("it was looked for");
        let code = fs::read_to_string(file).expect("it is a file");
        let function = words[1];
        let is_there = ["(", "<"]
            .iter()
            .any(|end| code.contains(&format!("fn {function}{end}")));
        assert!(is_there || function.contains('/'), "{row}");
    }
}

/// The fields of a struct as they are declared: name and type, and the visibility where there is one.
type Fields = Vec<String>;

/// The structs with named fields that are declared in `code`, by name.
fn structs(code: &str) -> BTreeMap<String, Fields> {
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = BTreeMap::new();
    for after in code.split("struct ").skip(1) {
        let Some((name, after)) = after.split_once(" {\n") else {
            continue;
        };
        let (body, _) = after.split_once("\n}").expect("a struct ends");
        if name.chars().all(char::is_alphanumeric) {
            found.insert(name.to_owned(), fields(body));
        }
    }
    found
}

/// Parts at commas, except for those within a type.
fn fields(body: &str) -> Fields {
    let mut depth = 0;
    let parts = body.split(|char| {
        depth += match char {
            '<' | '(' | '[' => 1,
            '>' | ')' | ']' => -1,
            _ => 0,
        };
        char == ',' && depth == 0
    });
    let words = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|field| !field.is_empty()).collect()
}

/// A field without its visibility.
fn bare(field: &str) -> &str {
    match field.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").expect("it ends").1,
        Some(rest) if rest.starts_with(' ') => rest.trim_start(),
        _ => field,
    }
}

/// All files below a folder that hold Rust.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|end| end == "rs");
    files.filter(is_rust).collect()
}

#[test]
fn the_page_shows_what_the_coordinator_owns_and_each_owner_has_its_fields_for_itself() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(workspace.join("docs/architecture.md"));
    let page = page.expect("the page is there");
    let (_, after) = page
        .split_once("## What the coordinator owns")
        .expect("the page has the section");
    let (_, block) = after.split_once("```rust\n").expect("a block follows");
    let (block, _) = block.split_once("```").expect("it ends");
    let shown = structs(block);

    let folder = workspace.join("host/src/coordinator");
    let declared = |path: &Path| structs(&fs::read_to_string(path).expect("it can be read"));
    let coordinator = declared(&folder.join("coordinator.rs")).remove("Coordinator");
    let coordinator = coordinator.expect("it is declared there");
    let coordinator: Vec<_> = coordinator.iter().map(|field| bare(field)).collect();
    assert_eq!(shown["Coordinator"], coordinator, "Coordinator");

    // Every other struct of its folder that the coordinator has as a field is an owner.
    let files = sources(&folder).into_iter();
    let files = files.filter(|path| !path.ends_with("coordinator.rs"));
    let others: BTreeMap<_, _> = files.flat_map(|path| declared(&path)).collect();
    let types = shown["Coordinator"].iter();
    let types = types.filter_map(|field| field.split_once(": "));
    let owners = types.filter_map(|(_, of)| Some((of, others.get(of)?)));
    let mut count = 1;
    for (owner, fields) in owners {
        assert_eq!(shown.get(owner), Some(fields), "{owner}, all of it private");
        count += 1;
    }
    assert!(count > 5, "the owners are found: {count}");
    assert_eq!(shown.len(), count, "all that is shown is an owner");
}
