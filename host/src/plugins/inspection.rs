//! What a plugin offers, or why it is refused, told without a host that runs.

use std::{ffi::OsStr, fmt, path::Path, thread, time::Duration};

use plugin_api::description::{LaneDescription, Purpose, StateDescription};
use protocol::shown;
use serde::Serialize;

use super::{
    error::{CheckError, Step},
    image::Untaken,
    inspect::{FileInspector, Inspected, Taken},
    listing, stray,
    trial::{self, SelfTested, Shown},
};

/// How often a file is read that changes meanwhile, and how long it is left alone in between.
const READS_MAX: u32 = 5;
const READ_PAUSE: Duration = Duration::from_millis(200);

/// Examines files as the host would.
#[derive(Debug)]
pub struct Inspector(FileInspector);

/// What was found of one file.
#[derive(Debug, Serialize)]
pub struct Inspection {
    file: String,
    /// Whether the host would load the file.
    fits: bool,
    /// Of the library's content, as far as the host shows it.
    sha256: Option<String>,
    /// What it offers, as far as it came to show that.
    #[serde(flatten)]
    offer: Option<Offer>,
    refusal: Option<CheckError>,
    /// What it wrote to stderr or to its log meanwhile, warnings and errors.
    said: Vec<String>,
    /// Sentences about files beside it that nothing reads.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Offer {
    name: String,
    version: String,
    plugin_api: String,
    abi: String,
    /// Functions of one group never run together.
    groups: Vec<Group>,
    self_tests: Vec<SelfTested>,
}

#[derive(Debug, Serialize)]
struct Group {
    types: Vec<String>,
    /// They run where requests arrive, not on a thread of their own.
    inline: bool,
    states: Vec<StateDescription>,
}

impl Inspector {
    /// Needs the program of this process to be one that runs trials.
    #[allow(clippy::new_without_default, reason = "it is no value among others")]
    pub fn new() -> Self {
        Self(FileInspector::new(Purpose::Check))
    }

    /// Examines `file`, with its `NAME.toml` if there is one beside it.
    pub fn inspect(&self, file: &Path) -> Inspection {
        let shown_as = file.display().to_string();
        let mut inspection = Inspection {
            file: shown_as,
            fits: false,
            sha256: None,
            offer: None,
            refusal: None,
            said: Vec::new(),
            warnings: Vec::new(),
        };
        inspection.warnings = warnings_of(file);
        match self.examine(file, &mut inspection.sha256) {
            Err(error) => inspection.refusal = Some(error),
            Ok(examined) => {
                inspection.refusal = trial::self_tests_passed(&examined.shown).err();
                inspection.fits = inspection.refusal.is_none();
                inspection.offer = Some(examined.shown.into());
                inspection.said = examined.said;
            }
        }
        inspection
    }

    fn examine(&self, file: &Path, sha256: &mut Option<String>) -> Result<Inspected, CheckError> {
        let name = file.file_name().and_then(OsStr::to_str).ok_or_else(|| {
            let cause = "expected the path of a library, with a name in UTF-8";
            CheckError::new(Step::Read, cause, "name a file like libNAME.so")
        })?;
        let folder = folder_of(file);
        let plugin = listing::plugin_name(name);
        let mut taken = self.take(folder, plugin, name)?;
        *sha256 = Some(taken.library.hash.to_string());
        self.0.examine(plugin, name, &mut taken)
    }

    fn take(&self, folder: &Path, plugin: &str, file: &str) -> Result<Taken, CheckError> {
        let moving = |cause| {
            let remedy = "name a file that is there and that nobody writes to";
            CheckError::new(Step::Read, cause, remedy)
        };
        if !folder.join(file).exists() {
            return Err(moving("there is no such file"));
        }
        let has_config = folder.join(listing::config_file(plugin)).exists();
        for _ in 0..READS_MAX {
            match self.0.take(folder, plugin, file, has_config) {
                Ok(taken) => return Ok(taken),
                Err(Untaken::Refused(error)) => return Err(error),
                Err(Untaken::Moving) => thread::sleep(READ_PAUSE),
            }
        }
        Err(moving("it changes while it is read"))
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// What lies beside a library and seems to be for it, but is not read.
fn warnings_of(file: &Path) -> Vec<String> {
    let (folder, name) = (folder_of(file), file.file_name().and_then(OsStr::to_str));
    let listing = listing::read(folder).ok().flatten();
    let (Some(name), Some(listing)) = (name, listing) else {
        return Vec::new();
    };
    let plugin = listing::plugin_name(name);
    let strays = stray::strays(folder, &listing);
    let strays = strays.iter().filter(|stray| stray.plugin() == plugin);
    strays.map(ToString::to_string).collect()
}

impl Inspection {
    /// Whether the host would load it.
    pub fn fits(&self) -> bool {
        self.fits
    }
}

impl From<Shown> for Offer {
    fn from(shown: Shown) -> Self {
        let description = shown.description;
        Self {
            name: description.name,
            version: description.version,
            plugin_api: description.plugin_api,
            abi: shown.abi,
            groups: description.lanes.into_iter().map(Group::from).collect(),
            self_tests: shown.self_tests,
        }
    }
}

impl From<LaneDescription> for Group {
    fn from(lane: LaneDescription) -> Self {
        Self {
            types: lane.types().map(str::to_owned).collect(),
            inline: lane.inline,
            states: lane.states,
        }
    }
}

/// For people: a line, and what belongs to it indented below.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = shown::OneLine(&self.file);
        match &self.refusal {
            None => writeln!(f, "{file}: fits")?,
            Some(error) => {
                let error = error.to_string();
                writeln!(f, "{file}: refused: {}", shown::OneLine(&error))?;
            }
        }
        if let Some(offer) = &self.offer {
            offer.fmt(f)?;
        }
        if let Some(sha256) = &self.sha256 {
            writeln!(f, "  sha256 {sha256}")?;
        }
        for line in &self.said {
            writeln!(f, "  it said: {}", crate::logging::OneLine(line))?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning: {}", shown::OneLine(warning))?;
        }
        Ok(())
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {} {}, built against plugin-api {}, ABI {}",
            shown::OneLine(&self.name),
            shown::OneLine(&self.version),
            shown::OneLine(&self.plugin_api),
            shown::OneLine(&self.abi)
        )?;
        for group in &self.groups {
            let place = match group.inline {
                true => "inline",
                false => "on a thread",
            };
            let types = group.types.join(", ");
            write!(f, "  {place}: {}", shown::OneLine(&types))?;
            for state in &group.states {
                let StateDescription {
                    name, kind, schema, ..
                } = state;
                let (name, kind) = (shown::OneLine(name), shown::OneLine(kind));
                write!(f, "; state {name} ({kind}, schema {schema})")?;
            }
            writeln!(f)?;
        }
        if self.self_tests.is_empty() {
            writeln!(f, "  no self-tests")?;
        }
        for SelfTested { name, failure } in &self.self_tests {
            let name = shown::OneLine(name);
            match failure {
                None => writeln!(f, "  self-test passed: {name}")?,
                Some(failure) => {
                    let failure = shown::OneLine(failure);
                    writeln!(f, "  self-test failed: {name}: {failure}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_with_a_word() {
        for file in ["/nowhere/liba.so", "/", "liba-that-is-not-there.so"] {
            let inspection = Inspector::new().inspect(Path::new(file));
            assert!(!inspection.fits());
            let text = inspection.to_string();
            assert!(
                text.starts_with(&format!("{file}: refused: cannot be read: ")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_was_found_is_told_to_people_and_to_programs() {
        let offer = Offer {
            name: "tickets".to_owned(),
            version: "1.2.3".to_owned(),
            plugin_api: "0.1.0".to_owned(),
            abi: "0.1.0".to_owned(),
            groups: vec![Group {
                types: vec!["get".to_owned(), "put".to_owned()],
                inline: true,
                states: vec![StateDescription {
                    name: "hall".to_owned(),
                    kind: "numbers".to_owned(),
                    schema: 2,
                    books: 0,
                }],
            }],
            self_tests: vec![SelfTested {
                name: "sold once".to_owned(),
                failure: Some("request 1, `get`: expected 1, found 2".to_owned()),
            }],
        };
        let inspection = Inspection {
            file: "libtickets.so".to_owned(),
            fits: false,
            sha256: None,
            offer: Some(offer),
            refusal: Some(CheckError::new(Step::SelfTest, "it failed", "mend it")),
            said: vec!["nearly full".to_owned()],
            warnings: vec!["libtickets.toml is not read".to_owned()],
        };
        assert_eq!(
            inspection.to_string(),
            "libtickets.so: refused: fails its self-tests: it failed; mend it\n  \
             tickets 1.2.3, built against plugin-api 0.1.0, ABI 0.1.0\n  \
             inline: get, put; state hall (numbers, schema 2)\n  \
             self-test failed: sold once: request 1, `get`: expected 1, found 2\n  \
             it said: nearly full\n  \
             warning: libtickets.toml is not read\n"
        );
        let json = serde_json::to_value(&inspection).unwrap();
        assert_eq!(json["fits"], false);
        assert_eq!(json["groups"][0]["states"][0]["kind"], "numbers");
        assert_eq!(json["refusal"]["step"], "self_test");
    }
}
