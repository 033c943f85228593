//! The crate of a new plugin: what its files hold, and where it finds plugin-api.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

/// The folder that this host was built with, if it still lies on this machine.
const OWN_PLUGIN_API: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-api");

/// Cargo's registries take no more.
const NAME_BYTES_MAX: usize = 64;

/// What no library can be called, in the order of the alphabet.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Libraries that a plugin uses.
const LIBRARIES: [&str; 7] = [
    "alloc",
    "core",
    "plugin_api",
    "proc_macro",
    "serde",
    "std",
    "test",
];

/// A plugin that is yet to be written.
#[derive(Debug)]
pub struct NewPlugin {
    /// Its name, and its folder's.
    pub name: CrateName,
    /// What it is written against.
    pub plugin_api: PluginApi,
}

/// A name that cargo and the host take, and that is a folder's as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrateName(String);

/// Where a plugin finds plugin-api.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginApi {
    /// In this folder, from the root on.
    Folder(String),
    /// In the git repository with this URL.
    Git(String),
    /// In cargo's registry, in a version that this allows.
    Version(String),
}

/// Why there is no new plugin.
#[derive(Debug, thiserror::Error)]
pub enum NewPluginError {
    /// Its folder's name is taken.
    #[error("`{}` exists already: choose another name, or another folder to run this in", .0.display())]
    Exists(PathBuf),
    /// What this host was built from has been moved, or lies on another machine.
    #[error(
        "the plugin-api that this host was built from is not on this machine: say where it is with \
         --plugin-api, which takes its folder, the URL of a git repository or a version of the registry"
    )]
    NoPluginApi,
    /// The system does not let it be written.
    #[error("`{}` cannot be written: {cause}", path.display())]
    Unwritten {
        /// The folder or the file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl NewPlugin {
    /// Makes its folder below `parent`, which is "" for the current one, and all that is in it. Returns what to
    /// do next, for people.
    ///
    /// # Errors
    ///
    /// The folder exists, or the system does not let it be written; then nothing is left behind.
    pub fn write(&self, parent: &Path) -> Result<String, NewPluginError> {
        let folder = parent.join(&self.name.0);
        let unwritten = |path: &Path| {
            let path = path.to_owned();
            |cause| NewPluginError::Unwritten { path, cause }
        };
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(NewPluginError::Exists(folder));
            }
            made => made.map_err(unwritten(&folder))?,
        }
        let written = fs::create_dir(folder.join("src"))
            .map_err(unwritten(&folder.join("src")))
            .and_then(|()| {
                self.files().iter().try_for_each(|(file, content)| {
                    let file = folder.join(file);
                    fs::write(&file, content).map_err(unwritten(&file))
                })
            });
        if written.is_err() {
            // Made above, so it is nobody else's.
            let _ = fs::remove_dir_all(&folder);
        }
        written.map(|()| self.next_steps(parent))
    }

    fn files(&self) -> [(&'static str, String); 4] {
        let filled = |template: &str| {
            template
                .replace("{name}", &self.name.0)
                .replace("{type}", &self.name.type_name())
                .replace("{library}", &self.name.library())
                .replace("{plugin_api}", &self.plugin_api.in_manifest())
        };
        [
            (
                "Cargo.toml",
                filled(include_str!("new_plugin/Cargo.toml.in")),
            ),
            ("src/lib.rs", filled(include_str!("new_plugin/lib.rs.in"))),
            ("README.md", filled(include_str!("new_plugin/README.md.in"))),
            (".gitignore", "/target/\n".to_owned()),
        ]
    }

    fn next_steps(&self, parent: &Path) -> String {
        let name = &self.name.0;
        let (plugins, which) = match parent.join("plugins").is_dir() {
            true => ("../plugins/", ""),
            false => ("PLUGINS/", ", PLUGINS being the folder that it watches"),
        };
        format!(
            "{name}/ is written: a function that counts up, and its tests. Test it, then build it and drop it \
             into a host{which}:\n\n  \
             cd {name} && cargo test\n  \
             cargo build --release && cp target/release/{} {plugins}\n\n\
             Then ask it:\n\n  rm-cli request {}\n",
            self.name.library(),
            self.name.type_name()
        )
    }
}

impl CrateName {
    /// What cargo makes of it.
    fn library(&self) -> String {
        format!("lib{}.so", self.0.replace('-', "_"))
    }

    /// Of its only function; no other plugin is likely to have it.
    fn type_name(&self) -> String {
        let words = self.0.split(['-', '_']);
        let words = words.map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_ascii_uppercase() + rest
        });
        format!("count{}", words.collect::<String>())
    }
}

impl FromStr for CrateName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let refused = |found: &str| {
            Err(format!(
                "expected a name that begins with a letter and goes on with letters, digits, `-` and `_`, all \
                 lower-case ASCII, at most {NAME_BYTES_MAX}; {found}"
            ))
        };
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        match name.bytes().next() {
            None => return refused("found none"),
            Some(b'a'..=b'z') => {}
            Some(_) => return refused("found another beginning"),
        }
        if let Some(other) = name
            .chars()
            .find(|letter| !letter.is_ascii() || !fits(*letter as u8))
        {
            return refused(&format!("found {other:?} in it"));
        }
        if name.len() > NAME_BYTES_MAX {
            return refused(&format!("found {}", name.len()));
        }
        let library = name.replace('-', "_");
        if KEYWORDS.contains(&name) {
            return Err("it is a word of Rust's own: choose another".to_owned());
        }
        if LIBRARIES.contains(&&*library) {
            return Err("a plugin uses a library of that name: choose another".to_owned());
        }
        Ok(Self(name.to_owned()))
    }
}

impl PluginApi {
    /// The one that this host was built from.
    ///
    /// # Errors
    ///
    /// It does not lie on this machine any more.
    pub fn of_this_host() -> Result<Self, NewPluginError> {
        Self::in_folder(Path::new(OWN_PLUGIN_API)).map_err(|_| NewPluginError::NoPluginApi)
    }

    fn in_folder(folder: &Path) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Manifest {
            package: Package,
        }
        #[derive(Deserialize)]
        struct Package {
            name: String,
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))
            .map_err(|error| format!("no Cargo.toml can be read there: {error}"))?;
        match toml::from_str::<Manifest>(&manifest) {
            Ok(manifest) if manifest.package.name == "plugin-api" => {}
            _ => {
                return Err(
                    "its Cargo.toml is another one's: name the folder plugin-api itself".to_owned(),
                );
            }
        }
        let folder = folder.canonicalize().map_err(|error| error.to_string())?;
        let folder = folder.into_os_string().into_string();
        folder
            .map(Self::Folder)
            .map_err(|_| "its path is not UTF-8, which Cargo.toml has to be".to_owned())
    }

    /// As a value in Cargo.toml.
    fn in_manifest(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        match self {
            Self::Folder(folder) => format!("{{ path = {} }}", quoted(folder)),
            Self::Git(url) => format!("{{ git = {} }}", quoted(url)),
            Self::Version(version) => quoted(version),
        }
    }
}

impl FromStr for PluginApi {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Ok(Self::Git(text.to_owned()));
        }
        if is_version(text) {
            return Ok(Self::Version(text.to_owned()));
        }
        Self::in_folder(Path::new(text)).map_err(|cause| {
            format!(
                "expected the folder of plugin-api, a git URL such as https://… or ssh://…, or a version such as \
                 0.1; as a folder: {cause}"
            )
        })
    }
}

/// Whether it is one of cargo's version requirements, of the usual kind.
fn is_version(text: &str) -> bool {
    let numbers = text.trim_start_matches(['^', '~', '=']);
    let (numbers, rest) = match numbers.find(['-', '+']) {
        Some(at) => numbers.split_at(at),
        None => (numbers, "-0"),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    numbers.split('.').count() <= 3
        && numbers.split('.').all(is_number)
        && rest.len() > 1
        && rest.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> NewPlugin {
        NewPlugin {
            name: name.parse().unwrap(),
            plugin_api: PluginApi::Version("0.1".to_owned()),
        }
    }

    #[test]
    fn names_are_those_that_cargo_and_the_host_take() {
        for (name, library, type_name) in [
            ("hall", "libhall.so", "countHall"),
            ("big-hall_2", "libbig_hall_2.so", "countBigHall2"),
            ("a--b-", "liba__b_.so", "countAB"),
        ] {
            let name: CrateName = name.parse().unwrap();
            assert_eq!((&*name.library(), &*name.type_name()), (library, type_name));
        }
        for (name, words) in [
            ("", "found none"),
            ("1hall", "another beginning"),
            ("-hall", "another beginning"),
            ("Hall", "another beginning"),
            ("../hall", "another beginning"),
            ("a/b", "found '/' in it"),
            ("a b", "found ' ' in it"),
            ("großer", "found 'ß' in it"),
            ("match", "a word of Rust's own"),
            ("test", "a library of that name"),
            ("plugin-api", "a library of that name"),
            (&"a".repeat(65), "found 65"),
        ] {
            let error = name.parse::<CrateName>().unwrap_err();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    #[test]
    fn plugin_api_is_a_folder_a_repository_or_a_version() {
        for version in ["1", "0.1", "=0.1.2", "^1.0.0-beta.2", "~1.2"] {
            assert_eq!(version.parse(), Ok(PluginApi::Version(version.to_owned())));
        }
        let url = "ssh://git@example.org/rm-host.git";
        let git: PluginApi = url.parse().unwrap();
        assert_eq!(git.in_manifest(), format!("{{ git = \"{url}\" }}"));

        let own: PluginApi = OWN_PLUGIN_API.parse().unwrap();
        assert_eq!(own, PluginApi::of_this_host().unwrap());
        let PluginApi::Folder(folder) = own else {
            panic!("expected a folder, found {own:?}");
        };
        assert!(
            folder.starts_with('/') && folder.ends_with("/plugin-api"),
            "{folder}"
        );

        for (text, words) in [
            ("/nowhere", "No such file"),
            ("1.2.3.4", "No such file"),
            ("1.", "No such file"),
            (env!("CARGO_MANIFEST_DIR"), "another one's"),
        ] {
            let error = text.parse::<PluginApi>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn its_files_say_its_name_wherever_it_belongs() {
        let files = plugin("big-hall").files();
        for (file, content) in &files {
            for placeholder in ["{name}", "{type}", "{library}", "{plugin_api}"] {
                assert!(!content.contains(placeholder), "{file}: {content}");
            }
        }
        let [(_, manifest), (_, source), (_, readme), ..] = files;
        let manifest: toml::Table = manifest.parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("big-hall"));
        assert_eq!(manifest["dependencies"]["plugin-api"].as_str(), Some("0.1"));
        assert!(manifest.contains_key("workspace"));
        assert_eq!(manifest["profile"]["release"]["lto"].as_str(), Some("fat"));
        assert!(source.contains("\"countBigHall\" => count"), "{source}");
        assert!(
            readme.contains("cp target/release/libbig_hall.so "),
            "{readme}"
        );
    }

    #[test]
    fn a_path_with_quotes_is_one_string_in_the_manifest() {
        let folder = r#"/a "b" \c/plugin-api"#;
        let manifest = NewPlugin {
            plugin_api: PluginApi::Folder(folder.to_owned()),
            ..plugin("hall")
        };
        let manifest: toml::Table = manifest.files()[0].1.parse().unwrap();
        let found = &manifest["dependencies"]["plugin-api"]["path"];
        assert_eq!(found.as_str(), Some(folder));
    }

    #[test]
    fn what_exists_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let next = plugin("hall").write(parent.path()).unwrap();
        assert!(next.contains("libhall.so PLUGINS/"), "{next}");
        fs::write(parent.path().join("hall/README.md"), "mine").unwrap();
        fs::write(parent.path().join("room"), "").unwrap();
        fs::create_dir(parent.path().join("plugins")).unwrap();
        for name in ["hall", "room", "plugins"] {
            let error = plugin(name).write(parent.path()).unwrap_err();
            assert!(matches!(error, NewPluginError::Exists(_)), "{error}");
        }
        let readme = fs::read_to_string(parent.path().join("hall/README.md"));
        assert_eq!(readme.unwrap(), "mine");
        let next = plugin("seats").write(parent.path()).unwrap();
        assert!(next.contains("libseats.so ../plugins/"), "{next}");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = plugin("hall").write(Path::new("/nowhere")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("`/nowhere/hall` cannot be written: "),
            "{text}"
        );
    }
}
