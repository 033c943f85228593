//! Plugins as a table: one row each, in columns of spaces, so that it is the same on a terminal and in a pipe.

use std::{
    borrow::Borrow,
    time::{Duration, SystemTime},
};

use protocol::shown;
use serde::Deserialize;

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
    pub(crate) stuck_threads: Option<Stuck>,
    /// When its time out of service ends, on the host's clock.
    pub(crate) back_ms: Option<u64>,
    pub(crate) out_of_service: Vec<OutOfService>,
    /// So many clients are refused by a type for a time.
    pub(crate) shut_out: u64,
    /// The latest first.
    pub(crate) retired: Vec<Retired>,
    pub(crate) retired_forgotten: u64,
}

/// How the host's keeping of the states is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Storage {
    state: String,
    since_ms: Option<u64>,
    error: Option<String>,
}

impl Storage {
    /// What the user has to know of it.
    pub(crate) fn remark(&self, now: SystemTime) -> Option<String> {
        if matches!(&*self.state, "" | "sound") {
            return None;
        }
        let since = self.since_ms.map(|since_ms| age(since_ms, now));
        let remark = format!(
            "storage {} for {}: what needs a state is answered storage_failed: {}",
            self.state,
            since.as_deref().unwrap_or("-"),
            self.error.as_deref().unwrap_or("-")
        );
        Some(one_line(&remark))
    }
}

/// Threads whose jobs do not end.
#[derive(Debug, Deserialize)]
pub(crate) struct Stuck {
    pub(crate) count: u64,
    pub(crate) since_ms: u64,
}

/// A type that serves nobody for a time.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OutOfService {
    pub(crate) r#type: String,
    /// On the host's clock.
    pub(crate) until_ms: u64,
    pub(crate) why: String,
}

/// A version that served earlier.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Retired {
    pub(crate) version: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) until_ms: Option<u64>,
    pub(crate) served: u64,
    pub(crate) panics: u64,
    pub(crate) stuck_threads: Option<Stuck>,
    /// It would be brought back.
    pub(crate) rollback: bool,
}

impl Report {
    /// Whether only earlier versions of it are there.
    pub(crate) fn is_retired(&self) -> bool {
        self.state == "retired"
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) types: Vec<String>,
    /// Its functions were inline, and are not any more.
    pub(crate) moved: Option<Moved>,
}

/// Since when they run on a thread of their own, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Moved {
    pub(crate) since_ms: u64,
    pub(crate) why: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
    pub(crate) hash: String,
}

/// Lines, the last one without its end. What is retired has rows where `all` is asked for.
pub(crate) fn table(reports: &[impl Borrow<Report>], all: bool, now: SystemTime) -> String {
    let mut rows = vec![(HEADER.map(str::to_owned), Vec::new())];
    for report in reports.iter().map(Borrow::borrow) {
        if all || !report.is_retired() {
            rows.push((row(report, now), remarks(report, all, now)));
        }
        let retired = report.retired.iter().filter(|_| all);
        rows.extend(retired.map(|one| {
            let stuck = one.stuck_threads.iter().map(|stuck| stuck_text(stuck, now));
            (retired_row(&report.name, one, now), stuck.collect())
        }));
    }
    let mut widths = [0; HEADER.len()];
    for (row, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().flat_map(|(row, remarks)| {
        let remarks = remarks
            .iter()
            .map(|remark| format!("  {}", one_line(remark)));
        std::iter::once(line(row, &widths)).chain(remarks)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands below a plugin's row.
fn remarks(report: &Report, all: bool, now: SystemTime) -> Vec<String> {
    let coming = report.coming.as_ref();
    let coming = coming.map(|coming| format!("coming: {} {}", coming.version, coming.hash));
    let error = report.error.as_ref().map(|error| format!("error: {error}"));
    let stuck = report.stuck_threads.as_ref();
    let stuck = stuck.map(|stuck| stuck_text(stuck, now));
    let back = report
        .back_ms
        .map(|back_ms| format!("back in {}", time_left(back_ms, now)));
    let out = report.out_of_service.iter().map(|out| {
        let left = time_left(out.until_ms, now);
        format!(
            "out of service: {}, back in {left}: {}",
            out.r#type, out.why
        )
    });
    let shut_out = report.shut_out;
    let shut_out = (shut_out > 0).then(|| {
        format!("clients that are refused for a time, for their requests panic: {shut_out}")
    });
    let moved = report.lanes.iter().flatten().filter_map(|group| {
        let Moved { since_ms, why } = group.moved.as_ref()?;
        let (types, age) = (group.types.join(", "), age(*since_ms, now));
        Some(format!("moved to a thread: {types}, {age} ago: {why}"))
    });
    let older = report.retired_forgotten;
    let older = (all && older > 0).then(|| format!("{older} older versions are not listed"));
    let first = [coming, stuck, error, back].into_iter().flatten();
    let last = shut_out.into_iter().chain(moved).chain(older);
    first.chain(out).chain(last).collect()
}

fn stuck_text(Stuck { count, since_ms }: &Stuck, now: SystemTime) -> String {
    let age = age(*since_ms, now);
    format!("stuck threads: {count}, the first for {age}")
}

/// How long it is until then on the host's clock.
fn time_left(until_ms: u64, now: SystemTime) -> String {
    let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(until_ms));
    let left = until.and_then(|until| until.duration_since(now).ok());
    age_text(left.unwrap_or_default())
}

/// How long that is ago on the host's clock.
fn age(since_ms: u64, now: SystemTime) -> String {
    let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since_ms));
    // A host whose clock goes before this one has begun just now.
    let age = since.and_then(|since| now.duration_since(since).ok());
    age_text(age.unwrap_or_default())
}

fn row(report: &Report, now: SystemTime) -> [String; HEADER.len()] {
    let types = report.lanes.iter().flatten().flat_map(|group| &group.types);
    let types: Vec<&str> = types.map(String::as_str).collect();
    cells([
        Some(report.name.clone()),
        Some(report.state.clone()),
        report.version.clone(),
        report.hash.clone(),
        report.since_ms.map(|since_ms| age(since_ms, now)),
        Some(report.served.to_string()),
        Some(report.panics.to_string()),
        Some(types.join(", ")),
    ])
}

fn retired_row(name: &str, retired: &Retired, now: SystemTime) -> [String; HEADER.len()] {
    let rollback = retired.rollback.then(|| "(rollback goes here)".to_owned());
    cells([
        Some(name.to_owned()),
        Some("retired".to_owned()),
        retired.version.clone(),
        retired.hash.clone(),
        retired.until_ms.map(|until_ms| age(until_ms, now)),
        Some(retired.served.to_string()),
        Some(retired.panics.to_string()),
        rollback,
    ])
}

fn cells(cells: [Option<String>; HEADER.len()]) -> [String; HEADER.len()] {
    cells.map(|cell| {
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
    shown::OneLine(text).to_string()
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
        assert_eq!(table(&reports, false, now), expected);
        assert_eq!(table(&[] as &[Report], true, now).lines().count(), 1);
    }

    #[test]
    fn what_is_retired_and_what_is_stuck_has_its_lines() {
        let report = serde_json::from_str::<Report>(
            r#"{"name":"hall","state":"stuck","version":"0.3.0","hash":"cc","since_ms":40000,
                "stuck_threads":{"count":2,"since_ms":40000},"served":3,"panics":0,"retired_forgotten":4,
                "retired":[{"version":"0.2.0","hash":"bb","until_ms":30000,"served":2,"panics":1,"rollback":true},
                    {"version":"0.1.0","hash":"aa","until_ms":20000,"served":1,"panics":0,
                     "stuck_threads":{"count":1,"since_ms":10000}}]}"#,
        )
        .unwrap();
        let gone = Report {
            name: "gone".to_owned(),
            state: "retired".to_owned(),
            ..Report::default()
        };
        let reports = [report, gone];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(45);
        let expected = "\
NAME  STATE    VERSION  HASH  SINCE  SERVED  PANICS  TYPES
hall  stuck    0.3.0    cc       5s       3       0  -
  stuck threads: 2, the first for 5s
  4 older versions are not listed
hall  retired  0.2.0    bb      15s       2       1  (rollback goes here)
hall  retired  0.1.0    aa      25s       1       0  -
  stuck threads: 1, the first for 35s
gone  retired  -        -         -       0       0  -";
        assert_eq!(table(&reports, true, now), expected);
        assert_eq!(table(&reports, false, now).lines().count(), 3);
    }

    #[test]
    fn what_is_out_of_service_and_what_was_moved_is_told_with_its_reason() {
        let report = serde_json::from_str::<Report>(
            r#"{"name":"hall","state":"quarantined","since_ms":40000,"error":"two of its types","back_ms":105000,
                "lanes":[{"types":["get","put"],"moved":{"since_ms":40000,"why":"an inline call took 150 ms"}},
                    {"types":["hang"],"moved":null}],
                "out_of_service":[{"type":"hang","since_ms":1,"until_ms":100000,"why":"3 of its jobs"}],"shut_out":2}"#,
        )
        .unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(45);
        let expected = "\
NAME  STATE        VERSION  HASH  SINCE  SERVED  PANICS  TYPES
hall  quarantined  -        -        5s       0       0  get, put, hang
  error: two of its types
  back in 1m
  out of service: hang, back in 55s: 3 of its jobs
  clients that are refused for a time, for their requests panic: 2
  moved to a thread: get, put, 5s ago: an inline call took 150 ms";
        assert_eq!(table(&[report], false, now), expected);
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
        assert!(table(&[report], false, SystemTime::UNIX_EPOCH).contains("0s"));
    }
}
