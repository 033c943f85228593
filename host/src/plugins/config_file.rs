//! Reads `NAME.toml`: what is for the host, and what is handed to the plugin as a JSON object.
//!
//! Whatever is wrong in it, also what the plugin finds wrong, is told with its line and column.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{CheckError, Step},
    settings::{HostSettings, TypeSettings},
};
use crate::config;

/// The table that the host takes out and reads itself.
const HOST_TABLE: &str = "host";

type Item<'i> = Spanned<DeValue<'i>>;
type Key<'i> = Spanned<toml::de::DeString<'i>>;

/// A plugin's configuration file, as it was read.
#[derive(Debug)]
pub(super) struct ConfigFile {
    /// The file's name, without its folder.
    file: String,
    /// Its text; `None` if there is no such file.
    text: Option<String>,
    /// What the plugin gets, a JSON object.
    pub(super) plugin: Vec<u8>,
    /// The settings in it that are the host's.
    pub(super) host: HostSettings,
}

impl ConfigFile {
    /// Reads the content of `file`. No file is the same as an empty one.
    pub(super) fn read(file: String, bytes: Option<Vec<u8>>) -> Result<Self, CheckError> {
        let mut config = Self {
            file,
            text: None,
            plugin: b"{}".to_vec(),
            host: HostSettings::default(),
        };
        if let Some(bytes) = bytes {
            let text = String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                config.refusal(format!("expected UTF-8 text, found another byte at {at}"))
            })?;
            let (plugin, host) = parse(&text).map_err(|wrong| {
                let place = place(&text, wrong.span.start);
                config.refusal(format!("{place}: {}", wrong.cause))
            })?;
            config.text = Some(text);
            config.plugin = plugin;
            config.host = host;
        }
        Ok(config)
    }

    /// Turns what a plugin said against its configuration into a refusal that names the line. A plugin names
    /// the key in backquotes at the beginning, if it knows it.
    pub(super) fn refused_by_plugin(&self, said: &str) -> CheckError {
        let Some(text) = &self.text else {
            return CheckError::new(
                Step::Configuration,
                format!("there is no {}, and the plugin says: {said}", self.file),
                format!("write {} beside the library", self.file),
            );
        };
        match quoted_path(said).and_then(|path| span_of(text, path)) {
            Some(span) => self.refusal(format!("{}: {said}", place(text, span.start))),
            None => self.refusal(said),
        }
    }

    /// Refuses settings of types that the plugin does not have.
    pub(super) fn check_types(&self, types: &[&str]) -> Result<(), CheckError> {
        let unknown = self
            .host
            .types
            .keys()
            .find(|name| !types.contains(&name.as_str()));
        let Some((unknown, text)) = unknown.zip(self.text.as_deref()) else {
            return Ok(());
        };
        let span = span_of_keys(text, &[HOST_TABLE, "types", unknown]).unwrap_or(0..0);
        Err(self.refusal(format!(
            "{}: `{HOST_TABLE}.types.{unknown}`: expected a type of this plugin ({}), found `{unknown}`",
            place(text, span.start),
            types.join(", ")
        )))
    }

    fn refusal(&self, cause: impl AsRef<str>) -> CheckError {
        CheckError::new(
            Step::Configuration,
            format!("{}: {}", self.file, cause.as_ref()),
            format!("correct {}", self.file),
        )
    }
}

/// What is wrong in a configuration, and where.
struct Wrong {
    span: Range<usize>,
    cause: String,
}

impl Wrong {
    fn new(span: Range<usize>, cause: impl Into<String>) -> Self {
        Self {
            span,
            cause: cause.into(),
        }
    }

    fn expected(path: &str, expected: &str, found: &Item<'_>) -> Self {
        let shown = match found.get_ref() {
            DeValue::String(text) => format!("the string {text:?}"),
            DeValue::Integer(number) => format!("the integer {number}"),
            DeValue::Boolean(value) => format!("{value}"),
            other => format!("a value of type {}", other.type_str()),
        };
        Self::new(
            found.span(),
            format!("`{path}`: expected {expected}, found {shown}"),
        )
    }

    fn unknown(path: &str, key: &Key<'_>, expected: &str) -> Self {
        let name = key.get_ref();
        Self::new(
            key.span(),
            format!("`{path}.{name}`: expected {expected}, found `{name}`"),
        )
    }
}

fn parse(text: &str) -> Result<(Vec<u8>, HostSettings), Wrong> {
    let document = DeTable::parse(text)
        .map_err(|error| Wrong::new(error.span().unwrap_or(0..0), error.message()))?;
    let mut host = HostSettings::default();
    let mut plugin = Map::new();
    for (key, item) in document.get_ref() {
        let name = key.get_ref();
        if name == HOST_TABLE {
            host = read_host(item)?;
        } else {
            plugin.insert(name.to_string(), json(name, item)?);
        }
    }
    let plugin = serde_json::to_vec(&plugin).expect("a JSON value is JSON");
    Ok((plugin, host))
}

fn read_host(item: &Item<'_>) -> Result<HostSettings, Wrong> {
    let mut settings = HostSettings::default();
    for (key, item) in table(HOST_TABLE, item)? {
        match key.get_ref().as_ref() {
            "deadline" => settings.deadline = Some(duration("host.deadline", item)?),
            "wait" => settings.wait = Some(boolean("host.wait", item)?),
            "time_limit" => settings.time_limit = Some(duration("host.time_limit", item)?),
            "types" => settings.types = read_types(item)?,
            _ => {
                return Err(Wrong::unknown(
                    HOST_TABLE,
                    key,
                    "deadline, wait, time_limit or types",
                ));
            }
        }
    }
    Ok(settings)
}

fn read_types(item: &Item<'_>) -> Result<BTreeMap<String, TypeSettings>, Wrong> {
    let mut types = BTreeMap::new();
    for (type_name, item) in table("host.types", item)? {
        let path = format!("host.types.{}", type_name.get_ref());
        let mut settings = TypeSettings::default();
        for (key, item) in table(&path, item)? {
            let path_of_key = format!("{path}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "deadline" => settings.deadline = Some(duration(&path_of_key, item)?),
                "wait" => settings.wait = Some(boolean(&path_of_key, item)?),
                _ => return Err(Wrong::unknown(&path, key, "deadline or wait")),
            }
        }
        types.insert(type_name.get_ref().to_string(), settings);
    }
    Ok(types)
}

fn table<'a, 'i>(path: &str, item: &'a Item<'i>) -> Result<&'a DeTable<'i>, Wrong> {
    let found = item.get_ref().as_table();
    found.ok_or_else(|| Wrong::expected(path, &format!("a table, `[{path}]`"), item))
}

fn boolean(path: &str, item: &Item<'_>) -> Result<bool, Wrong> {
    let found = item.get_ref().as_bool();
    found.ok_or_else(|| Wrong::expected(path, "true or false", item))
}

fn duration(path: &str, item: &Item<'_>) -> Result<Duration, Wrong> {
    match item.get_ref() {
        DeValue::String(text) => config::duration(text)
            .map_err(|error| Wrong::new(item.span(), format!("`{path}`: {error}"))),
        DeValue::Integer(number) if number.as_str() == "0" => Ok(Duration::ZERO),
        _ => Err(Wrong::expected(path, config::DURATION_EXPECTED, item)),
    }
}

/// Tables nest only as deep as `toml` reads them, so the recursion is bounded.
fn json(path: &str, item: &Item<'_>) -> Result<Value, Wrong> {
    Ok(match item.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(number) => {
            let (digits, radix) = (number.as_str(), number.radix());
            let signed = i64::from_str_radix(digits, radix).map(Number::from);
            let number = signed.or_else(|_| u64::from_str_radix(digits, radix).map(Number::from));
            Value::Number(
                number.map_err(|_| Wrong::expected(path, "an integer of at most 64 bits", item))?,
            )
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or_else(|| {
                Wrong::new(
                    item.span(),
                    format!("`{path}`: expected a finite number, found what JSON cannot hold"),
                )
            })?)
        }
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| json(&format!("{path}[{index}]"), item))
            .collect::<Result<_, _>>()?,
        DeValue::Table(items) => items
            .iter()
            .map(|(key, item)| {
                let name = key.get_ref();
                Ok((name.to_string(), json(&format!("{path}.{name}"), item)?))
            })
            .collect::<Result<_, _>>()?,
    })
}

/// `line 3, column 7`, counted from 1, columns in characters.
fn place(text: &str, at: usize) -> String {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("line {line}, column {column}")
}

/// The path in the backquotes that `said` begins with.
fn quoted_path(said: &str) -> Option<&str> {
    said.strip_prefix('`')?.split('`').next()
}

/// Where in `text` the value of a path like `hall.rows[2].seats` or `hall.rows.2.?.seats` is set, or, for as
/// far as it leads, what it should be in. A key that holds a dot itself is not found, which costs the line.
fn span_of(text: &str, path: &str) -> Option<Range<usize>> {
    let keys: Vec<_> = path
        .split(['.', '[', ']'])
        // `?` stands for what is only there in the types.
        .filter(|key| !key.is_empty() && *key != "?")
        .collect();
    span_of_keys(text, &keys)
}

fn span_of_keys(text: &str, keys: &[&str]) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let mut table = Some(document.get_ref());
    let mut items: Option<&toml::de::DeArray<'_>> = None;
    let mut found = None;
    for key in keys {
        let (span, item) = if let Some(table) = table {
            let (key, item) = table.iter().find(|(name, _)| name.get_ref() == key)?;
            (key.span(), item)
        } else if let (Some(items), Ok(index)) = (items, key.parse::<usize>()) {
            let item = items.get(index)?;
            (item.span(), item)
        } else {
            break;
        };
        found = Some(span);
        table = item.get_ref().as_table();
        items = item.get_ref().as_array();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfigFile, CheckError> {
        ConfigFile::read("a.toml".into(), Some(text.into()))
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn no_file_and_an_empty_one_are_an_empty_object() {
        for bytes in [None, Some(Vec::new()), Some(b"# nothing\n".to_vec())] {
            let config = ConfigFile::read("a.toml".into(), bytes).unwrap();
            assert_eq!(config.plugin, b"{}");
            assert_eq!(config.host, HostSettings::default());
        }
    }

    #[test]
    fn the_plugin_gets_all_but_the_table_of_the_host() {
        let config = read(
            "seats = 5\nname = 'x'\nshare = 0.5\nbig = 18446744073709551615\nmask = 0xff\n\
             open = 2026-01-02T03:04:05Z\nday = 2026-01-02\nrooms = ['a', { id = 1 }]\n\
             [host]\nwait = true\n[hall.row]\nend = false\n",
        )
        .unwrap();
        let plugin: Value = serde_json::from_slice(&config.plugin).unwrap();
        assert_eq!(
            plugin,
            serde_json::json!({
                "seats": 5, "name": "x", "share": 0.5, "big": u64::MAX, "mask": 255,
                "open": "2026-01-02T03:04:05Z", "day": "2026-01-02",
                "rooms": ["a", {"id": 1}], "hall": {"row": {"end": false}},
            })
        );
        assert_eq!(config.host.wait, Some(true));
    }

    #[test]
    fn the_host_reads_deadlines_and_waiting_for_all_and_for_single_types() {
        let config = read(
            "[host]\ndeadline = '20s'\n[host.types.a]\ndeadline = '0'\nwait = true\n\
             [host.types.'b.c']\ndeadline = 0\n",
        )
        .unwrap();
        let host = config.host;
        assert_eq!(host.deadline, Some(Duration::from_secs(20)));
        assert_eq!(host.wait, None);
        assert_eq!(host.types["a"].deadline, Some(Duration::ZERO));
        assert_eq!(host.types["a"].wait, Some(true));
        assert_eq!(host.types["b.c"].deadline, Some(Duration::ZERO));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_its_key_and_what_was_expected() {
        for (text, expected) in [
            ("a = 1\nb = = 2\n", &["line 2, column 5", "a.toml"][..]),
            ("a = 1\na = 2\n", &["line 2", "duplicate"]),
            (
                "[host]\nqueue = 1\n",
                &[
                    "line 2, column 1",
                    "`host.queue`",
                    "deadline, wait, time_limit or types",
                ],
            ),
            (
                "host = 3\n",
                &["line 1, column 8", "expected a table", "the integer 3"],
            ),
            (
                "[host]\nwait = 'yes'\n",
                &[
                    "line 2, column 8",
                    "`host.wait`",
                    "true or false",
                    "\"yes\"",
                ],
            ),
            (
                "[host]\ndeadline = 20\n",
                &[
                    "line 2, column 12",
                    "`host.deadline`",
                    "20s",
                    "the integer 20",
                ],
            ),
            (
                "[host]\ndeadline = 'soon'\n",
                &["line 2, column 12", "`host.deadline`", "20s", "`soon`"],
            ),
            (
                "[host.types.a]\nretry = 1\n",
                &["line 2", "`host.types.a.retry`", "deadline or wait"],
            ),
            (
                "[host.types]\na = 1\n",
                &["line 2, column 5", "`host.types.a`", "a table"],
            ),
            ("x = nan\n", &["line 1, column 5", "`x`", "finite"]),
            (
                "x = [1, { y = 99999999999999999999 }]\n",
                &["line 1", "64 bits"],
            ),
        ] {
            let refusal = refusal(text);
            for part in expected {
                assert!(
                    refusal.contains(part),
                    "{text:?}: {refusal:?} lacks {part:?}"
                );
            }
            assert!(!refusal.contains('\n'), "{refusal:?}");
        }
        let refusal = ConfigFile::read("a.toml".into(), Some(vec![b'a', 0xff])).unwrap_err();
        assert!(
            refusal
                .to_string()
                .contains("UTF-8 text, found another byte at 1")
        );
    }

    #[test]
    fn what_the_plugin_finds_wrong_gets_its_line() {
        let config =
            read("name = 'x'\nseats = 'many'\n[[rows]]\nlen = 1\n[[rows]]\nlen = -1\n").unwrap();
        for (said, place) in [
            (
                "`seats`: invalid type: string \"many\", expected u64",
                "line 2, column 1: `seats`",
            ),
            ("`rows[1].len`: invalid value", "line 6, column 1: "),
            (
                "`rows.1.?.len`: a key that this plugin does not know",
                "line 6, column 1: ",
            ),
            // Missing: where it should be.
            ("missing field `hall`", "a.toml: missing field `hall`"),
        ] {
            let refusal = config.refused_by_plugin(said).to_string();
            assert!(refusal.contains(place), "{refusal}");
        }
        let none = ConfigFile::read("a.toml".into(), None).unwrap();
        let refusal = none.refused_by_plugin("missing field `hall`").to_string();
        assert!(refusal.contains("there is no a.toml"), "{refusal}");
        assert!(
            refusal.contains("write a.toml beside the library"),
            "{refusal}"
        );
    }

    #[test]
    fn settings_for_a_type_that_the_plugin_lacks_are_refused() {
        let config = read("[host.types.get]\nwait = true\n").unwrap();
        config.check_types(&["get", "put"]).unwrap();
        let refusal = config.check_types(&["put"]).unwrap_err().to_string();
        for part in ["line 1, column 13", "`host.types.get`", "(put)"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
