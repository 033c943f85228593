//! Plugins as a table: one row each, in columns of spaces, so that it is the same on a terminal and in a pipe.

use std::borrow::Borrow;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::outcome::harmless;

const HEADER: [&str; 8] = [
    "NAME", "STATE", "VERSION", "HASH", "SINCE", "SERVED", "PANICS", "TYPES",
];
/// The columns of numbers, which end where their neighbours do.
const RIGHT: std::ops::RangeInclusive<usize> = 4..=6;

/// What a host says of one plugin. A host of another version may leave things out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) version: Option<String>,
    pub(crate) hash: Option<String>,
    /// On the host's clock, since 1970.
    pub(crate) since_ms: Option<u64>,
    pub(crate) lanes: Option<Vec<Group>>,
    pub(crate) error: Option<String>,
    pub(crate) served: u64,
    pub(crate) panics: u64,
    /// Another version is about to take over.
    pub(crate) coming: Option<Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) types: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
    pub(crate) hash: String,
}

/// Lines, the last one without its end.
pub(crate) fn table(reports: &[impl Borrow<Report>], now: SystemTime) -> String {
    let reports: Vec<&Report> = reports.iter().map(Borrow::borrow).collect();
    let rows: Vec<_> = reports.iter().map(|report| row(report, now)).collect();
    let header = HEADER.map(str::to_owned);
    let mut widths = [0; HEADER.len()];
    for row in rows.iter().chain([&header]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut lines = vec![line(&header, &widths)];
    for (report, row) in reports.iter().zip(&rows) {
        lines.push(line(row, &widths));
        if let Some(coming) = &report.coming {
            let text = format!("coming: {} {}", coming.version, coming.hash);
            lines.push(format!("  {}", one_line(&text)));
        }
        if let Some(error) = &report.error {
            lines.push(format!("  error: {}", one_line(error)));
        }
    }
    lines.join("\n")
}

fn row(report: &Report, now: SystemTime) -> [String; HEADER.len()] {
    let since = report.since_ms.map(|since_ms| {
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since_ms));
        // A host whose clock goes before this one has begun just now.
        let age = since.and_then(|since| now.duration_since(since).ok());
        age_text(age.unwrap_or_default())
    });
    let types = report.lanes.iter().flatten().flat_map(|group| &group.types);
    let types: Vec<&str> = types.map(String::as_str).collect();
    [
        Some(report.name.clone()),
        Some(report.state.clone()),
        report.version.clone(),
        report.hash.clone(),
        since,
        Some(report.served.to_string()),
        Some(report.panics.to_string()),
        Some(types.join(", ")),
    ]
    .map(|cell| {
        let cell = cell.filter(|cell| !cell.is_empty());
        cell.map_or_else(|| "-".to_owned(), |cell| one_line(&cell))
    })
}

fn line(row: &[String; HEADER.len()], widths: &[usize; HEADER.len()]) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in row.iter().zip(*widths).enumerate() {
        let cell = if RIGHT.contains(&at) {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        };
        line += &cell;
        line += "  ";
    }
    line.truncate(line.trim_end().len());
    line
}

/// In its largest unit, as far as it is full.
fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn one_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_plugin_and_its_error_below() {
        let report = |json| serde_json::from_str::<Report>(json).unwrap();
        let reports = [
            report(
                r#"{"name":"tickets","state":"serving","version":"0.1.0","hash":"c22c72948172","since_ms":1000,
                    "lanes":[{"types":["get","put"],"inline":true},{"types":["add"]}],"served":12,"panics":0,
                    "error":"not a\nplugin\u001b[2J","coming":{"version":"0.2.0","hash":"aa"},"new":1}"#,
            ),
            report(r#"{"name":"b","state":"refused","version":null,"error":null,"served":0}"#),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(3_700);
        let expected = "\
NAME     STATE    VERSION  HASH          SINCE  SERVED  PANICS  TYPES
tickets  serving  0.1.0    c22c72948172     1h      12       0  get, put, add
  coming: 0.2.0 aa
  error: not a\\nplugin\\u{1b}[2J
b        refused  -        -                 -       0       0  -";
        assert_eq!(table(&reports, now), expected);
        assert_eq!(table(&[] as &[Report], now).lines().count(), 1);
    }

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7_199, "1h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age_text(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_host_whose_clock_goes_before_is_no_trouble() {
        let report = Report {
            since_ms: Some(u64::MAX),
            ..Report::default()
        };
        assert!(table(&[report], SystemTime::UNIX_EPOCH).contains("0s"));
    }
}
